"""What the rest of a run says of a refusal: its other services, its other nodes, the mechanism that was used."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from probe.facts import Connected, LoggedOn
from probe.record import Record, StageRecord
from probe.report import Finding
from probe.report.causes import by_severity

# What the other services of a run say of a logon that one of them refused.
Elsewhere = Literal["taken"]


def weighed(record: Record, finding: Finding) -> Finding:
    """The finding, with what the rest of the run says of its cause."""
    return _of_mechanism(record, _of_every_service(record, finding))


def elsewhere(record: Record, finding: Finding) -> Elsewhere | None:
    """Whether another service of this run took the same user's secret."""
    return "taken" if any(stage.status == "ok" for stage in _logons_of_the_same(record, finding)) else None


def _logons_of_the_same(record: Record, finding: Finding) -> list[StageRecord]:
    """The logons of this run's other services by the same user, with the same kind of secret (a password, or a token)."""
    mine = record.seen(finding.stage, LoggedOn)
    others = [stage for stage in record.stages if stage.name in _LOGONS and stage.name != finding.stage]
    return [stage for stage in others if mine.attempts and _secret_of(stage.seen(LoggedOn)) == _secret_of(mine)]


def _secret_of(seen: LoggedOn) -> tuple[str | None, bool, bool]:
    return seen.username, seen.token is not None, bool(seen.attempts)


def _of_every_service(record: Record, finding: Finding) -> Finding:
    """Where every service refused the user, no single protocol is the matter."""
    others = _logons_of_the_same(record, finding) if finding.id == "auth.refused" else []
    if not others or not all(stage.trouble and stage.trouble.id == "auth.refused" for stage in others):
        return finding
    said = "Every service of this run refused this user: it is the name, the password or the account, not one protocol."
    return replace(finding, cause=f"{finding.cause} {said}")


_LOGONS = ("smtp.auth", "imap.login", "pop3.login")


def _of_mechanism(record: Record, finding: Finding) -> Finding:
    """A wrong password, or one that the server keeps only hashed: where it is not sent, a refusal may mean either."""
    mechanism = next((stage.seen(LoggedOn).mechanism for stage in record.stages if stage.name == finding.stage), None)
    if finding.id != "auth.refused" or mechanism is None or not mechanism.startswith(_KEEPS_THE_PASSWORD):
        return finding
    cause = f"{finding.cause} Or the server keeps this password only hashed, and cannot do {mechanism} with it."
    return replace(finding, cause=cause, remedy=(*finding.remedy, f'If {mechanism} is the matter: account.mechanism = "PLAIN"'))


_KEEPS_THE_PASSWORD = ("CRAM-", "SCRAM-", "DIGEST-", "NTLM", "APOP")


def of_this_node(record: Record, found: Sequence[Finding]) -> list[Finding]:
    """Where other nodes behind the name do what this one cannot, it is this node and neither the user nor the network: said once,
    by the worst finding of the stage that failed."""
    said = _other_nodes(record)
    stage = _failed_here(record)
    told = next(iter(by_severity(one for one in found if one.stage == stage)), None)
    return [replace(one, cause=f"{one.cause} {said}".strip()) if said and one is told else one for one in found]


def _failed_here(record: Record) -> str | None:
    nodes = record.seen("smtp.connect", Connected).nodes
    return nodes["seen"][nodes["this"]].get("failed_stage") if nodes else None


def _other_nodes(record: Record) -> str:
    """Empty where there are none that went well."""
    nodes = record.seen("smtp.connect", Connected).nodes
    if nodes is None:
        return ""
    here = nodes["seen"][nodes["this"]]
    well = [str(node["address"]) for node in nodes["seen"] if node.get("failed_stage", "") is None]
    name = f"{here['address']} ({here['node']})" if here["node"] else str(here["address"])
    begins = "Only node" if len(well) == len(nodes["seen"]) - 1 else "Node"
    return f"{begins} {name} fails; {', '.join(well)} went well in this run." if well else ""
