"""Which mail programs can still use a server, as text and as a page; the offers themselves, as a list."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from probe.clients import Client
from probe.output._flow import flowed
from probe.output._safe import safe
from probe.report.clients import ClientsTable, Service, Used

SIGNS = {"yes": "yes", "no": "NO", "undecided": "?", "unused": "-"}
_FOLDER = Path(__file__).parent


def text(table: ClientsTable, width: int | None = None) -> Iterator[str]:
    """The verdict, then each port's programs, one line each (two where the terminal is narrow)."""
    yield from flowed("", headline(table), hang=2, width=width)
    for service in table.services:
        yield ""
        yield from flowed("", f"{head(service)}: {safe(offered(service))}", hang=2, width=width)
        names = max((len(row.client) for row in service.rows), default=0)
        for row in service.rows:
            begins = f"  {SIGNS[row.outcome]:<4}{row.client:<{names}} "
            yield from flowed(begins, f"{'~' if row.doubts else ' '} {detail(row)}", hang=8, width=width)
    yield ""
    for note in notes(table):
        yield from flowed("", note, hang=2, width=width)


def headline(table: ClientsTable) -> str:
    """The verdict in one line: how many programs can, and which of the expected cannot."""
    can = [row for row in table.rows if row.outcome == "yes"]
    asked = [row for row in table.rows if row.outcome != "unused"]
    failed = ", ".join(dict.fromkeys(row.client for row in table.failed))
    more = f"; expected, but cannot: {failed}" if failed else ""
    words = "can connect and log on, each at each port it uses"
    return f"{table.verdict.upper()}  {safe(table.profile)}: {len(can)} of {len(asked)} {words}{more}"


def head(service: Service) -> str:
    return f"{service.leg} {safe(service.host)} port {service.port} ({service.security})"


def offered(service: Service) -> str:
    """What the port advertises, in a few words."""
    if service.mechanisms is None:
        return "its mechanisms could not be asked for"
    return " ".join(service.mechanisms) or "no mechanism"


def detail(row: Used) -> str:
    """What was agreed on, or why not."""
    agreed = " ".join(filter(None, (row.version, row.cipher, row.mechanism)))
    return safe(" – ".join(filter(None, (agreed, row.why))))


def notes(table: ClientsTable) -> list[str]:
    """What the table does not say."""
    found = [
        "~ what this program offers in TLS is not certain; how most of them log on is not either: probe audit --clients --list",
        f"Certificates: by our own trust ({safe(table.trust)}), not by each program's.",
        f"{table.openssl} made the handshakes; nobody logged on.",
        *(f"Not imitated: {one}." for one in table.not_imitated),
    ]
    if table.left_out:
        names = sorted({name for one in table.left_out.values() for name in one})
        found.append(f"Offered by some of these programs and not by OpenSSL here: {' '.join(names)}.")
    return found


def offers(clients: Mapping[str, Client]) -> Iterator[str]:
    """Every program with its offer, mechanisms, source, and what is not certain."""
    for client in clients.values():
        offer = client.offer
        yield f"{client.id}: {client.name}"
        yield f"  TLS: {offer.what}, {offer.minimum} to {offer.maximum}"
        for word, names in (
            ("suites", (*offer.suites, *offer.ciphers)),
            ("groups", offer.groups),
            ("signatures", offer.signatures),
        ):
            if names:
                yield f"  {word}: {' '.join(names)}"
        yield f"  ports: {' '.join(sorted(client.services))}"
        yield from (f"  {protocol}: {' '.join(names)}" for protocol, names in client.mechanisms.items() if names)
        yield f"  sources: {offer.source} ({offer.checked}), {client.source} ({client.checked})"
        if client.doubts or client.unsure:
            yield f"  not certain: {'; '.join(filter(None, (client.doubts, client.unsure)))}"


def page(table: ClientsTable, version: str) -> str:
    """A page of its own: no script, no network, as the page of a run."""
    from markupsafe import Markup

    from probe.output.html import environment, policy

    style = (_FOLDER / "_page.css").read_text(encoding="utf-8")
    template = environment(_FOLDER).get_template("_clients.html")
    rows = {row.client: row.name for row in table.rows}
    return template.render(
        table=table,
        policy=policy(style),
        style=Markup(style),  # noqa: S704 (our own)
        version=version,
        headline=headline(table),
        names=rows,
        cells={client: [_of(service.rows, client) for service in table.services] for client in rows},
        heads=[f"{head(service)}: {offered(service)}" for service in table.services],
        signs=SIGNS,
        detail=detail,
        notes=notes(table),
    )


def _of(rows: Sequence[Used], client: str) -> Used:
    return next(row for row in rows if row.client == client)
