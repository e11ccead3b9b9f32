"""What servers say when they refuse: a reply's likely cause and the commands, from replies/, one file a family of servers.

An entry holds when all its keys hold: `stages` (a stage, or a protocol before a dot and a star), `families` (of the server, by its
greeting; without the key, any), `code` (of the reply, basic and enhanced), `text` (a pattern in the reply, case aside), `findings`
(the id the refusal already has) and `port`. `means` says what a refused logon says of the password (_refused_logon.py). The first
entry that holds is taken, so the special stand before the general; files are tried in the order of their `order` (50 where there is
none), logon.toml last. The cause always says how sure it is. `check` only reads; `fix` changes something.

The other checks know that a logon was refused; here the server's own words say why. A finding whose reply is known keeps its
id, severity and evidence, and gets the entry's cause and commands instead of the general ones. The file is read when a stage has
failed, never for a run that went well. Codes: RFC 3463 (enhanced status codes), RFC 5530 (IMAP4), RFC 2449 (POP3).
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from probe.facts import LoggedOn, greetings
from probe.record import Record
from probe.report import Finding, Kind

# One file a family of servers.
_FOLDER = Path(__file__).with_name("replies")
# Patterns are compiled when they are needed, for the same reason.
_CODE = r"(?<!\S)([245]\d\d)[ -](?:([245]\.\d{1,3}\.\d{1,3})\b)?"
# Long texts are no replies; a pattern never runs over more.
_MOST_CHARACTERS = 2_000

_FAMILIES = (
    ("exchange-online", r"outlook\.com|office365\.com|office365\.us|partner\.outlook\.cn"),
    ("exchange", r"Microsoft ESMTP MAIL|Microsoft Exchange (Server|IMAP4|POP3)"),
    ("postfix", r"\bPostfix\b"),
    ("dovecot", r"\bDovecot\b"),
)


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
    text: re.Pattern[str] | None = None
    findings: tuple[str, ...] = ()
    port: int | None = None
    # Of a refused logon: what it says of the password, and with it whether the next run logs on (_refused_logon.py).
    means: Means | None = None

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


@cache
def entries() -> tuple[Entry, ...]:
    """Every entry, in the order in which they are tried."""
    import tomllib  # a run that goes well needs neither the file nor what reads it

    files = [tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(_FOLDER.glob("[!_]*.toml"))]
    files.sort(key=lambda file: int(file.get("order", 50)))
    return tuple(_entry(row) for file in files for row in file["reply"])


def _entry(row: dict[str, Any]) -> Entry:
    for name in ("stages", "families", "findings"):
        row[name] = tuple(row.get(name, ()))
    row["code"] = frozenset(row.get("code", "").split())
    row["text"] = re.compile(row["text"], re.IGNORECASE) if "text" in row else None
    return Entry(**row)


def known(said: Said) -> Entry | None:
    """The first entry that holds for what was said, or None."""
    text = said.text[:_MOST_CHARACTERS]
    codes = _codes(text)
    return next((entry for entry in entries() if _holds(entry, said, text, codes)), None)


def means_of(said: Said, greeting: str, allowed: Collection[Means]) -> Means | None:
    """What the first entry that knows this refused logon says of it, of the meanings that are allowed; None where none does."""
    said = replace(said, family=_family_of(greeting))
    text = said.text[:_MOST_CHARACTERS]
    codes = _codes(text)
    return next((entry.means for entry in entries() if entry.means in allowed and _holds(entry, said, text, codes)), None)


def _codes(text: str) -> set[str]:
    return {part for match in re.finditer(_CODE, text) for part in match.groups() if part}


def _holds(entry: Entry, said: Said, text: str, codes: set[str]) -> bool:
    if said.stage and not any(_same_stage(pattern, said.stage) for pattern in entry.stages):
        return False
    if entry.findings and said.finding not in entry.findings:
        return False
    # Advice about a wrong password helps nobody whose server is busy, and the other way round.
    if entry.means and said.finding.startswith("auth.") and FINDING_OF[entry.means] != said.finding:
        return False
    if entry.port is not None and said.port != entry.port:
        return False
    if not _of_family(entry, said):
        return False
    return entry.code <= codes and (entry.text is None or entry.text.search(text) is not None)


def _same_stage(pattern: str, stage: str) -> bool:
    protocol, _, step = pattern.partition(".")
    own_protocol, _, own_step = stage.partition(".")
    return protocol in ("*", own_protocol) and step in ("*", own_step)


def _of_family(entry: Entry, said: Said) -> bool:
    """A banner can be changed: for a server that does not say what it is, only words or a code as special as words decide."""
    if not entry.families or said.family in entry.families:
        return True
    return said.family is None and (entry.text is not None or len(entry.code) > 1)


def family(record: Record, protocol: str) -> str | None:
    """What kind of server answered on this protocol, by its greeting; SMTP's where a reader's says nothing."""
    found = _family_of(" ".join(greetings(record.seen, protocol)))
    return found if found or protocol == "smtp" else _exchange_only(family(record, "smtp"))


def _exchange_only(name: str | None) -> str | None:
    """Behind an Exchange submission stands Exchange's mailbox; behind Postfix may stand anything."""
    return name if name in ("exchange", "exchange-online") else None


def _family_of(greeting: str) -> str | None:
    return next((name for name, pattern in _FAMILIES if re.search(pattern, greeting, re.IGNORECASE)), None)


def explained(record: Record, found: Iterable[Finding], kinds: Mapping[str, Kind]) -> list[Finding]:
    """The findings; those of failed stages and the critical ones with the cause and commands that the server's words point at."""
    failed = {stage.name for stage in record.stages if stage.status == "failed"}
    return [
        _explained(record, item, kinds.get(item.id)) if item.stage in failed or item.severity == "critical" else item
        for item in found
    ]


def _explained(record: Record, finding: Finding, kind: Kind | None) -> Finding:
    protocol = finding.stage.partition(".")[0]
    # The server's words first; our own sentence has the user's name, which some entries are about.
    text = f"{finding.evidence}\n{finding.summary}" if finding.evidence else finding.summary
    port = record.target.port if protocol == "smtp" else None
    entry = known(Said(text, finding.stage, finding.id, family(record, protocol), port))
    # A check that looked at more than one port's words (at which certificate each shows) and found a cause of its own.
    says_why = kind is not None and finding.cause != kind.cause
    if entry and not (says_why and entry.text is None and not entry.code):
        finding = replace(finding, cause=entry.cause, remedy=entry.remedy)
    return _of_mechanism(record, finding)


def _of_mechanism(record: Record, finding: Finding) -> Finding:
    """A wrong password, or one that the server keeps only hashed: where it is not sent, a refusal may mean either."""
    mechanism = next((stage.seen(LoggedOn).mechanism for stage in record.stages if stage.name == finding.stage), None)
    if finding.id != "auth.refused" or mechanism is None or not mechanism.startswith(_KEEPS_THE_PASSWORD):
        return finding
    cause = f"{finding.cause} Or the server keeps this password only hashed, and cannot do {mechanism} with it."
    return replace(finding, cause=cause, remedy=(*finding.remedy, f'If {mechanism} is the matter: account.mechanism = "PLAIN"'))


_KEEPS_THE_PASSWORD = ("CRAM-", "SCRAM-", "DIGEST-", "NTLM", "APOP")
