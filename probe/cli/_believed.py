"""What is published, by whom, whether it is true, and which mail programs go by it: one row a server."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probe.report import Report

# By source; docs/discover.md has where each is from, and what is not known.
BELIEVED_BY: Mapping[str, tuple[str, ...]] = {
    "srv": ("Evolution", "aerc"),
    "autoconfig": ("Thunderbird", "Evolution", "KMail", "FairEmail"),
    "autodiscover-pox": ("Outlook", "eM Client"),
    "autodiscover-soap": (),
    "autodiscover-v2": (),
    "pacc": ("Himalaya",),
}


def table(report: "Report") -> Iterator[str]:
    """The rows, with a heading; nothing where nothing is published."""
    from probe.output._safe import safe

    rows = list(_rows(report))
    if rows:
        widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
        yield ""
        for row in rows:
            yield "  " + safe("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _rows(report: "Report") -> Iterator[tuple[str, ...]]:
    from probe.tasks.discover import answers, tried

    sources: dict[tuple[str, str, int, str], list[str]] = {}
    for answer in answers(report):
        for server in answer["told"]:
            known = sources.setdefault((server["protocol"], server["host"], server["port"], server["security"]), [])
            known += [answer["source"]] * (answer["source"] not in known)
    seen = {(one["protocol"], one["host"], one["port"], one["security"]): one for one in tried(report).servers}
    if sources:
        yield "published", "by", "true?", "DANE", "used by"
    for key, by in sorted(sources.items()):
        protocol, host, port, security = key
        who = dict.fromkeys(name for source in by for name in BELIEVED_BY.get(source, ()))
        yield f"{protocol} {host}:{port} {security}", ", ".join(by), *_truth(seen.get(key)), ", ".join(who) or "-"


def _truth(server: Mapping[str, Any] | None) -> tuple[str, str]:
    """(whether it is as published, whether its TLSA records are for its certificate)."""
    if server is None:
        return "not tried", "-"
    certificate, dane = server["certificate"], server.get("dane")
    true = "yes"
    if server["really"]:
        true = f"no: {server['really']}"
    elif server["trouble"]:
        true = f"no: {server['trouble']['id']}"
    elif certificate and not certificate["name_matches"]:
        true = "no: another name"
    if dane is None:
        return true, "-"
    signed = "" if dane["authenticated"] else ", not signed"
    return true, ("yes" if dane["matching"] else "no") + signed
