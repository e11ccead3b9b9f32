"""What servers say when they refuse: a reply's likely cause and the commands, from replies/, one file a family of servers.

An entry holds when all its keys hold: `stages` (a stage, or a protocol before a dot and a star), `families` (of the server, by its
greeting; without the key, any), `code` (of the reply, basic and enhanced), `text` (a pattern in the reply, case aside), `findings`
(the id the refusal already has) and `port`. The first entry that holds is taken, so the special stand before the general; files are
tried in the order of their `order` (50 where there is none), general.toml last. The cause always says how sure it is. `check` only
reads; `fix` changes something.

The other checks know that a logon was refused; here the server's own words say why. A finding whose reply is known keeps its
id, severity and evidence, and gets the entry's cause and commands instead of the general ones. The file is read when a stage has
failed, never for a run that went well. Codes: RFC 3463 (enhanced status codes), RFC 5530 (IMAP4), RFC 2449 (POP3).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from probe.facts import greetings
from probe.record import Record
from probe.report import Finding

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
    codes = {part for match in re.finditer(_CODE, text) for part in match.groups() if part}
    return next((entry for entry in entries() if _holds(entry, said, text, codes)), None)


def _holds(entry: Entry, said: Said, text: str, codes: set[str]) -> bool:
    if said.stage and not any(_same_stage(pattern, said.stage) for pattern in entry.stages):
        return False
    if entry.findings and said.finding not in entry.findings:
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
    own = " ".join(_greetings(record, protocol))
    found = next((name for name, pattern in _FAMILIES if re.search(pattern, own, re.IGNORECASE)), None)
    return found if found or protocol == "smtp" else _exchange_only(family(record, "smtp"))


def _exchange_only(name: str | None) -> str | None:
    """Behind an Exchange submission stands Exchange's mailbox; behind Postfix may stand anything."""
    return name if name in ("exchange", "exchange-online") else None


def _greetings(record: Record, protocol: str) -> Iterable[str]:
    yield from greetings(record.seen, protocol)


def explained(record: Record, found: Iterable[Finding]) -> list[Finding]:
    """The findings; those of failed stages and the critical ones with the cause and commands that the server's words point at."""
    failed = {stage.name for stage in record.stages if stage.status == "failed"}
    return [_explained(record, item) if item.stage in failed or item.severity == "critical" else item for item in found]


def _explained(record: Record, finding: Finding) -> Finding:
    protocol = finding.stage.partition(".")[0]
    # The server's words first; our own sentence has the user's name, which some entries are about.
    text = f"{finding.evidence}\n{finding.summary}" if finding.evidence else finding.summary
    port = record.target.port if protocol == "smtp" else None
    entry = known(Said(text, finding.stage, finding.id, family(record, protocol), port))
    return replace(finding, cause=entry.cause, remedy=entry.remedy) if entry else finding
