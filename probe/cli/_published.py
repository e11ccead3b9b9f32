"""What discovery says is published for a mailbox, as far as a first profile needs it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probe.cli._starter import Server
    from probe.observe.discover.published import PublishedServer
    from probe.report import Report


def best(report: "Report") -> "dict[str, Server]":
    """Of what is published, per protocol, never plaintext: what is vouched for first, for outside before inside.

    STARTTLS on 587 to submit, TLS to read.
    """
    from probe.cli._starter import Server
    from probe.tasks.discover import answers, told

    sources: dict[tuple[str, str, int, str], list[str]] = {}
    for answer in answers(report):
        for server in answer["told"]:
            key = (server["protocol"], server["host"], server["port"], server["security"])
            if answer["source"] not in sources.setdefault(key, []):
                sources[key].append(answer["source"])
    found: dict[str, Server] = {}
    doubtful = strangers(report)
    for one in sorted(told(report), key=lambda one: _rank(one, doubtful)):
        if one.security != "plaintext" and one.protocol not in found:
            who = ", ".join(sources[one.protocol, one.host, one.port, one.security])
            found[one.protocol] = Server(one.host, one.port, one.security, who)
    return found


def _rank(one: "PublishedServer", doubtful: set[str]) -> tuple[bool, ...]:
    return one.host in doubtful, one.scope == "internal", one.protocol == "smtp" and one.security != "starttls"


def strangers(report: "Report") -> set[str]:
    """The hosts of other domains that nothing but unsigned DNS names."""
    return {finding.evidence for finding in report.findings if finding.id == "discover.other-domain"}


def found_in_words(report: "Report") -> str:
    said = ", ".join(f"{name} {server.host}:{server.port} ({server.source})" for name, server in best(report).items())
    warnings = sum(finding.severity != "info" for finding in report.findings)
    more = f"; {warnings} warning(s): probe discover shows them" if warnings else ""
    nothing = "nothing is published"
    if any(finding.id == "discover.could-not-look" for finding in report.findings):
        nothing = f"could not look, since DNS could not be asked ({_first_failure(report)}); what is published is not known"
    return (said or nothing) + more


def _first_failure(report: "Report") -> str:
    from probe.tasks.discover import answers

    return next(answer["text"] for answer in answers(report) if answer["outcome"] == "failed")
