"""A first look at the servers, without credentials and without a message: whose they are, and which shipped profile fits."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from probe.plain import dataclass

if TYPE_CHECKING:
    from probe.cli._starter import Server

SECONDS = "8s"
# By what the services are called, and what servers say of themselves: greetings, and EHLO keywords that one product alone has.
_PARENTS = (
    ("exchange-online", r"\b(outlook\.com|office365\.(com|us)|outlook\.cn)\b"),
    ("gmail", r"\b(gsmtp|Gimap|Gpop)\b|\bsmtp\.gmail\.com\b"),
    ("exchange-2016", r"Microsoft ESMTP MAIL|Microsoft Exchange (Server|IMAP4|POP3)|\bX-(EXPS|ANONYMOUSTLS)\b"),
    ("postfix-dovecot", r"\bPostfix\b|\bDovecot\b"),
)


@dataclass(frozen=True, slots=True)
class Looked:
    """The parent that fits (None: nothing was recognised), what was seen, as one line, and whether a server answered."""

    parent: str | None
    words: str
    reached: bool = False


def look(servers: "Mapping[str, Server]", connect: Sequence[str] = (), ca_file: str | None = None) -> Looked | None:
    """Connect to each as far as a client comes that does not log on. None where the host is a template's placeholder."""
    from probe.facts import Ehlo, greetings
    from probe.output._safe import safe
    from probe.profile import ProfileError
    from probe.tasks.run import run

    submission = servers["smtp"]
    try:
        report = asyncio.run(run(_profile(servers, connect, ca_file), light=True))
    except ProfileError as error:
        return None if "placeholder" in str(error) else Looked(None, str(error).partition("\n")[0])
    lines = [line for leg in ("smtp", "imap", "pop3") for line in greetings(report.seen, leg)]
    keywords = [word for stage in ("smtp.ehlo", "smtp.ehlo_tls") for word in report.seen(stage, Ehlo).keywords]
    parent = recognised(" ".join([submission.host, *lines, *keywords]))
    first = [*lines, *(stage.record.reason or "" for stage in report.stages if stage.status == "failed"), "nothing was said"][0]
    return Looked(parent, safe(f"{submission.host}: {_without(submission.host, first)}"[:160]), bool(lines))


def _without(host: str, reason: str) -> str:
    """What failed, without the name that stands before it."""
    return reason.removeprefix(f"look up {host}: ").removeprefix(f"{host}: ")


def recognised(said: str) -> str | None:
    """The shipped profile for the server that says this."""
    return next((parent for parent, pattern in _PARENTS if re.search(pattern, said, re.IGNORECASE)), None)


def _profile(servers: "Mapping[str, Server]", connect: Sequence[str], ca_file: str | None) -> dict[str, object]:
    """Nobody logs on: there is no account."""
    from probe.cli._starter import without_ports

    tables = {name: _table(server, connect if name == "smtp" else without_ports(connect)) for name, server in servers.items()}
    return {
        "submission": tables.pop("smtp"),
        "readback": tables,
        "message": {"sender": "nobody@look.invalid", "recipient": "nobody@look.invalid"},
        "tls": {} if ca_file is None else {"ca_file": ca_file},
        "limits": {"timeout": SECONDS, "per_connection": SECONDS},
    }


def _table(server: "Server", connect: Sequence[str]) -> dict[str, object]:
    given = {"host": server.host, "port": server.port, "security": server.security, "connect": list(connect)}
    return {key: value for key, value in given.items() if value not in (None, [])}
