"""What servers say when they refuse: a reply's likely cause and the commands, from replies/, one file a family of servers.

An entry holds when all its keys hold: `stages` (a stage, or a protocol before a dot and a star), `families` (of the server; without
the key the one of its file, and in a file without a family any: _families.py), `code` (of the reply, basic and enhanced), `text` (a
pattern in the reply, case aside), `findings` (the id the refusal already has), `port`, and `elsewhere` (`taken`: another service of
the run took the same user's password). `means` says what a refused logon says of the password (_refused_logon.py). The
first entry that holds is taken, so the special stand before the general; files are tried in the order of their `order`: families by
their own words, then about.toml by what a refusal is about, general.toml, and logon.toml last. The cause always says how sure it
is. `check` only reads; `fix` changes something; a command for one product only stands behind its label (`Postfix: postconf …`), and
is left out for the others.

The other checks know that a logon was refused; here the server's own words say why. A finding whose reply is known keeps its
id, severity and evidence, and gets the entry's cause and commands instead of the general ones. The file is read when a stage has
failed, never for a run that went well. Codes: RFC 3463 (enhanced status codes), RFC 5530 (IMAP4), RFC 2449 (POP3).
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Literal

from probe.judge._elsewhere import Elsewhere, elsewhere, of_this_node, weighed
from probe.judge._families import File, by_all, by_itself, by_words, families, family, files, fitting, likely
from probe.plain import dataclass
from probe.record import Record
from probe.report import Finding, Kind

_CODE = r"(?<!\S)([245]\d\d)[ -](?:([245]\.\d{1,3}\.\d{1,3})\b)?"
_ADDRESS = re.compile(r"[^\s<>()\[\]:;,]+@[\w.-]+")
# A report's status, and the reply code behind it where another server's words are quoted (RFC 3464 sections 2.3.4 and 2.3.6).
_STATUS = re.compile(r"^([45])(\.\d{1,3}\.\d{1,3}) (\d{3}[ -])?")
# Long texts are no replies; a pattern never runs over more.
_MOST_CHARACTERS = 2_000

Means = Literal["password", "other-password", "temporary", "limit", "in-use", "policy", "mechanism", "unknown-mechanism", "failure"]
FINDING_OF: dict[Means, str] = {
    "password": "auth.refused",
    "other-password": "auth.not-allowed",
    "temporary": "auth.temporary",
    "limit": "auth.login-delay",
    "in-use": "auth.mailbox-in-use",
    "policy": "auth.not-allowed",
    "mechanism": "auth.mechanism-failed",
    # RFC 4954 section 4: 504 is said of a mechanism that the server does not have.
    "unknown-mechanism": "auth.mechanism-not-offered",
    "failure": "auth.server-failure",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a server says, and what it likely means. An empty condition holds always."""

    id: str
    stages: tuple[str, ...]
    cause: str
    check: str
    fix: str
    source: str
    families: tuple[str, ...] = ()
    code: frozenset[str] = frozenset()
    # A pattern; compiled when a reply is held against it, as most never are.
    text: str | None = None
    findings: tuple[str, ...] = ()
    port: int | None = None
    # Of a refused logon: what it says of the password, and with it whether the next run logs on (_refused_logon.py).
    means: Means | None = None
    elsewhere: Elsewhere | None = None

    @property
    def steps(self) -> tuple[str, ...]:
        return (f"Check: {self.check}", f"Fix: {self.fix}", f"Source: {self.source}")

    @property
    def remedy(self) -> tuple[str, ...]:
        """The steps as a finding shows them: with the way to the whole entry."""
        return (*self.steps[:-1], f"More: probe explain reply.{self.id}; {self.source}")


@dataclass(frozen=True, slots=True)
class Said:
    """A refusal as it is looked up. `family` and `port` are None where they are not known."""

    text: str
    stage: str = ""
    finding: str = ""
    family: str | None = None
    port: int | None = None
    elsewhere: Elsewhere | None = None


@cache
def entries() -> tuple[Entry, ...]:
    """Every entry, in the order in which they are tried."""
    return tuple(_entry(row, _own(file)) for file in files() for row in file.get("reply", ()))


def _own(file: File) -> tuple[str, ...]:
    return (str(file["family"]["name"]),) if "family" in file else ()


def _entry(said: Mapping[str, Any], own: tuple[str, ...]) -> Entry:
    row = {"families": own, **said}
    for name in ("stages", "families", "findings"):
        row[name] = tuple(row.get(name, ()))
    row["code"] = frozenset(row.get("code", "").split())
    return Entry(**row)


def known(said: Said) -> Entry | None:
    """The first entry that holds for what was said, or None."""
    return next(_held(said), None)


def means_of(said: Said, greeting: str, allowed: Collection[Means]) -> Means | None:
    """What the first entry that knows this refused logon says of it, of the meanings that are allowed; None where none does."""
    held = _held(replace(said, family=by_itself(greeting)))
    return next((entry.means for entry in held if entry.means in allowed), None)


def _held(said: Said) -> Iterator[Entry]:
    """The entries that hold. A banner can be changed: a server that does not say what it is shows it by words of its own."""
    text = said.text[:_MOST_CHARACTERS]
    if said.stage == "smtp.submit":  # in an address "spam", "relay" or a provider's domain says nothing of the refusal
        text = _ADDRESS.sub("address", text)
    said, codes = replace(said, text=text, family=by_all(said.family, text)), _codes(text)
    return (entry for entry in entries() if _holds(entry, said, text, codes))


def _codes(text: str) -> set[str]:
    return {part for match in re.finditer(_CODE, text) for part in match.groups() if part}


def _holds(entry: Entry, said: Said, text: str, codes: set[str]) -> bool:
    if said.stage and not any(_same_stage(pattern, said.stage) for pattern in entry.stages):
        return False
    if entry.findings and said.finding not in entry.findings:
        return False
    # Advice about a wrong password helps nobody whose server is busy, and the other way round.
    if entry.means and said.finding.startswith("auth.") and said.finding not in _findings_of(entry.means):
        return False
    if entry.port is not None and said.port != entry.port:
        return False
    if (entry.families and said.family not in entry.families) or entry.elsewhere not in (None, said.elsewhere):
        return False
    return entry.code <= codes and (entry.text is None or _pattern(entry.text).search(text) is not None)


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


def _findings_of(means: Means) -> tuple[str, ...]:
    """The findings that such an entry may explain: where an app password is wanted, the one that was sent is wrong too."""
    return (FINDING_OF[means], FINDING_OF["password"]) if means == "other-password" else (FINDING_OF[means],)


def _same_stage(pattern: str, stage: str) -> bool:
    protocol, _, step = pattern.partition(".")
    own_protocol, _, own_step = stage.partition(".")
    return protocol in ("*", own_protocol) and step in ("*", own_step)


def explained(record: Record, found: Iterable[Finding], kinds: Mapping[str, Kind], parent: str | None = None) -> list[Finding]:
    """The findings; those of failed stages and the critical ones with the cause and commands that the server's words point at, and
    all without the commands of other products than the one that answered, or that `parent`, the profile's, is for."""
    failed = {stage.name for stage in record.stages if stage.status == "failed"}
    told = [
        _fitted(record, _explained(record, item, kinds.get(item.id)), parent)
        if item.stage in failed or item.severity == "critical"
        else _fitted(record, item, parent)
        for item in found
    ]
    return of_this_node(record, told)


def _explained(record: Record, finding: Finding, kind: Kind | None) -> Finding:
    protocol = finding.stage.partition(".")[0]
    # The server's words first; at a logon our own sentence has the user's name, which some entries are about.
    words = (finding.evidence, "" if finding.stage == "smtp.submit" and finding.evidence else finding.summary)
    text = "\n".join(filter(None, words))
    if finding.id == "delivery.bounced":
        return _of_report(finding)
    port = record.target.port if protocol == "smtp" else None
    said = Said(text, finding.stage, finding.id, family(record, protocol), port, elsewhere(record, finding))
    entry = known(said)
    # A check that looked at more than one port's words (at which certificate each shows) and found a cause of its own.
    says_why = kind is not None and finding.cause != kind.cause
    if entry and not (says_why and entry.text is None and not entry.code):
        finding = replace(finding, cause=entry.cause, remedy=_remedy(entry, said))
    return weighed(record, finding)


def _of_report(finding: Finding) -> Finding:
    """What a report says is what some server answered to MAIL, RCPT or the message: its words say which, not the one probed."""
    text = _STATUS.sub(lambda found: found[0] if found[3] else f"{found[1]}50 {found[0]}", finding.evidence or finding.summary)
    text = _STATUS.sub(lambda found: found[3] or found[0], text)
    said = Said(text, "smtp.submit")
    entry = known(said)
    return replace(finding, cause=entry.cause, remedy=_remedy(entry, said)) if entry else finding


def _remedy(entry: Entry, said: Said) -> tuple[str, ...]:
    """The entry's steps; under the family's label where only the refusal's words point at it."""
    guessed = by_words(_ADDRESS.sub("address", said.text)) if said.family is None and entry.families else None
    if guessed is None:
        return entry.remedy
    return tuple(f"{families()[guessed].title}: {step[:1].lower()}{step[1:]}" for step in entry.remedy)


def _fitted(record: Record, finding: Finding, parent: str | None) -> Finding:
    seen = likely(record, finding.stage.partition(".")[0], parent)
    # Exchange Online greets like Exchange, and refuses in words of its own.
    said = by_all(seen, finding.evidence or "") if seen else None
    return replace(finding, remedy=fitting(finding.remedy, said or seen))
