"""The certificates of many servers as text, CSV and metrics; page and calendar are _certificates_page.py and _calendar.py."""

import csv
import io
from collections.abc import Container, Iterator, Sequence

from probe.facts import instant
from probe.output._past_runs import columns
from probe.output._safe import safe
from probe.report import Report
from probe.report.fleet import Certificate, Fleet, FleetFinding, Port, Sighting, certificates, sightings_of

_MOST_PORTS, _MOST_LINES, _MOST_NAME = 6, 20, 48
_TITLES = ("days left", "of its life", "until", "name", "issuer", "serial", "ports")


def text(fleet: Fleet) -> str:
    """The verdict, each certificate with its ports, what could not be seen, what was renewed, what is wrong."""
    return "".join(f"{line}\n" for line in _lines(fleet))


def _lines(fleet: Fleet) -> Iterator[str]:
    yield headline(fleet)
    if fleet.certificates:
        yield ""
        apart = several(fleet)
        head, *rows = columns(_TITLES, [_row(one, apart) for one in fleet.certificates], left=(2, 3, 4, 5, 6))
        yield f"  {head}"
        for row, one in zip(rows, fleet.certificates, strict=True):
            yield f"  {row}"
            yield from (f"      {line}" for line in _old(one))
    yield from _not_seen(fleet)
    if fleet.renewals:
        yield from ("", "renewed")
        for new in fleet.renewals[-_MOST_LINES:]:
            where = f"{new.protocol:<4}  {safe(new.host)} ({safe(new.node)})"
            yield f"  {moment(new.at)}  {where}  {new.before[:12]}… → {new.after[:12]}…, until {day(new.not_after or '')}"
    for finding in fleet.findings:
        yield from _finding(finding)


def headline(fleet: Fleet) -> str:
    """One line: how many, and what comes next."""
    many = f"{_many(len(fleet.certificates), 'certificate')} at {_many(fleet.ports, 'port')}"
    missing = sum(1 for one in fleet.not_seen if one.finding)
    parts = [many, *([f"{_many(missing, 'port')} not seen"] if missing else []), *_next(fleet)]
    return f"{fleet.verdict.upper()}  {'; '.join(parts)}{' (interrupted)' if fleet.interrupted else ''}"


def _next(fleet: Fleet) -> Iterator[str]:
    for one in fleet.certificates:
        if one.days_left is not None:
            when = f"in {one.days_left:.0f} days" if one.days_left >= 0 else f"{-one.days_left:.0f} days ago"
            yield f"{safe(one.name)[:_MOST_NAME]} {'ends' if one.days_left >= 0 else 'ended'} {when}"
            return


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def day(instant: str) -> str:
    """The date of an RFC 3339 instant, as it is written: no calendar has to know its year."""
    return safe(instant)[:10] or "?"


def moment(instant: str) -> str:
    return safe(instant)[:16].replace("T", " ")


def issuer_of(certificate: Certificate) -> str:
    """Its common name, else its organisation, else all of it."""
    parts = certificate.issuer.split(", ")
    return next((part[len(key) :] for key in ("CN=", "O=") for part in parts if part.startswith(key)), certificate.issuer)


def _row(one: Certificate, apart: Container[str]) -> tuple[str, ...]:
    left = "?" if one.days_left is None else f"{one.days_left:.1f}"
    share = "?" if one.share_left is None else f"{one.share_left * 100:.0f} %"
    return (
        left, share, day(one.not_after), _cut(safe(one.name)), _cut(safe(issuer_of(one))), _cut(safe(one.serial), 20),
        ports_of(one.ports, apart),
    )  # fmt: skip


def _cut(text: str, most: int = _MOST_NAME) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def several(fleet: Fleet) -> set[str]:
    """Hosts with more machines than one."""
    found: dict[str, set[str]] = {}
    for port in (port for one in fleet.certificates for port in one.ports):
        found.setdefault(port.host, set()).add(port.address.rpartition(":")[0])
    return {host for host, machines in found.items() if len(machines) > 1}


def ports_of(ports: Sequence[Port], apart: Container[str], most: int = _MOST_PORTS) -> str:
    """`mail.contoso.com smtp 587, imap 993; …`: each host once; those in `apart` once for each machine."""
    by_host: dict[tuple[str, str], list[Port]] = {}
    for port in ports:
        by_host.setdefault((port.host, port.address.rpartition(":")[0]), []).append(port)
    said = []
    for (host, machine), group in by_host.items():
        at = f" at {machine}" if host in apart else ""
        said.append(f"{safe(host)}{safe(at)} {', '.join(f'{port.protocol} {port.port}' for port in group)}")
    return "; ".join(said[:most]) + (f"; and {len(said) - most} more servers" if len(said) > most else "")


def _old(one: Certificate) -> Iterator[str]:
    old = [port for port in one.ports if port.renewed_as]
    for port in old[:_MOST_PORTS]:
        yield f"OLD at {safe(port.label)} ({safe(port.address)}): renewed as {port.renewed_as}"
    if len(old) > _MOST_PORTS:
        yield f"OLD at {len(old) - _MOST_PORTS} more ports"


def _not_seen(fleet: Fleet) -> Iterator[str]:
    if fleet.not_seen:
        yield from ("", "not seen")
    for one in fleet.not_seen[:_MOST_LINES]:
        yield f"  {one.protocol:<4}  {safe(one.host)}:{one.port}  {safe(one.text)}"
    if len(fleet.not_seen) > _MOST_LINES:
        yield f"  and {len(fleet.not_seen) - _MOST_LINES} more ports (-o json has all)"


def _finding(finding: FleetFinding) -> Iterator[str]:
    yield ""
    yield f"{finding.severity.upper()}  {finding.id}: {safe(finding.summary)}"
    if finding.severity == "info":
        return
    places = finding.places[:_MOST_PORTS]
    more = f" and {len(finding.places) - len(places)} more" if len(finding.places) > len(places) else ""
    yield f"  at:     {', '.join(map(safe, places))}{more}"
    yield f"  likely: {safe(finding.cause)}"
    yield from (f"  {'do:    ' if index == 0 else '       '} {safe(step)}" for index, step in enumerate(finding.remedy))


# -- CSV -----------------------------------------------------------------------------------------------------------

_HEAD = (
    "name", "issuer", "serial", "sha1", "not_before", "not_after", "days_left", "share_left", "status", "protocol", "host", "port",
    "address", "node", "software", "profiles", "seen", "renewed_as",
)  # fmt: skip


def table(fleet: Fleet) -> str:
    """RFC 4180: one line for each certificate at each port; ports whose certificate was not seen have none."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_HEAD)
    for one in fleet.certificates:
        for port in one.ports:
            own = (
                one.name,
                one.issuer,
                one.serial,
                one.sha1,
                one.not_before,
                one.not_after,
                one.days_left,
                one.share_left,
                one.status,
            )
            where = (
                port.protocol,
                port.host,
                port.port,
                port.address,
                port.node,
                port.software,
                " ".join(port.profiles),
                port.seen,
            )
            cells = (*own, *where, port.renewed_as)
            writer.writerow([_cell(cell) for cell in cells])
    return out.getvalue()


def _cell(value: object) -> object:
    """A spreadsheet takes what begins with one of these for a formula, and a server may have written it (CSV injection)."""
    if value is None or isinstance(value, int | float):
        return "" if value is None else value
    shown = safe(str(value))
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown


# -- metrics -------------------------------------------------------------------------------------------------------

_METRICS = (
    ("certificates_not_after_timestamp_seconds", "When a certificate ends, Unix time; one series, however many ports show it."),
    ("certificates_ports", "At how many ports a certificate is shown."),
    ("certificates_ports_not_reloaded", "At how many of them its renewal is shown at another port already."),
)


def metrics(fleet: Fleet) -> str:
    """For node_exporter's textfile collector; each certificate is one series."""
    lines = [line for name, help in _METRICS for line in _metric(name, help, fleet.certificates)]
    missing = sum(1 for one in fleet.not_seen if one.finding)
    totals = (
        ("certificates_ports_not_seen", "Ports whose certificate could not be seen.", missing),
        (
            "certificates_last_look_timestamp_seconds",
            "When the certificates were looked at, Unix time.",
            instant(fleet.started) or 0,
        ),
    )
    for name, help, value in totals:
        lines += [f"# HELP submission_probe_{name} {help}", f"# TYPE submission_probe_{name} gauge"]
        lines.append(f"submission_probe_{name} {value:.0f}")
    return "".join(f"{line}\n" for line in lines)


def series(reports: Sequence[Report]) -> str:
    """As `series_of`, of what these runs saw."""
    return series_of(sightings_of(reports))


def series_of(sightings: Sequence[Sighting]) -> str:
    """Of what an exporter's last runs saw: each certificate is one series, however many profiles and ports show it."""
    shown = certificates(sightings, "", {}, {})
    return "".join(f"{line}\n" for name, help in _METRICS[:2] for line in _metric(name, help, shown))


def _metric(name: str, help: str, certificates: Sequence[Certificate]) -> Iterator[str]:
    yield f"# HELP submission_probe_{name} {help}"
    yield f"# TYPE submission_probe_{name} gauge"
    for one in certificates:
        value = _measured(name, one)
        if value is not None:
            labels = {"name": one.name, "issuer": issuer_of(one), "sha1": one.sha1}
            written = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
            yield f"submission_probe_{name}{{{written}}} {value:.0f}"


def _measured(name: str, one: Certificate) -> float | None:
    if name.startswith("certificates_not_after"):
        return instant(one.not_after)
    return float(sum(1 for port in one.ports if port.renewed_as or name == "certificates_ports"))


def _escaped(text: str) -> str:
    return safe(text).replace("\\", "\\\\").replace('"', '\\"')
