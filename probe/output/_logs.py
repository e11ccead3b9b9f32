"""Where the server's own log tells of a session: which file, which command, what to look for. From recorded facts alone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from probe.report import Report

# What may stand in a command that somebody pastes into a shell; a server chooses its queue ids freely.
_HARMLESS = re.compile(r"[A-Za-z0-9@._:\[\]-]{1,120}")
_EXCHANGE_LOGS = {
    "smtp": r"TransportRoles\Logs\FrontEnd\ProtocolLog\SmtpReceive\*.log",
    "imap": r"Logging\Imap4\*.log",
    "pop3": r"Logging\Pop3\*.log",
}


@dataclass(frozen=True, slots=True)
class Place:
    """What to look for, in a sentence, and the command that looks there (empty when none is known)."""

    text: str
    command: str = ""


def places(report: Report, stage: str) -> list[Place]:
    """Where to find the session that a stage belongs to."""
    leg = stage.partition(".")[0]
    facts = {item.name: item.record.facts for item in report.stages}
    local = facts.get(f"{leg}.connect", {}).get("local")
    if not isinstance(local, str) or not local:
        return [Place("The server was not reached: it has no session of this.")]
    at = _instant(report, stage)
    host = local.rpartition(":")[0].strip("[]")
    text = f"Client {local} (as this machine sees itself), about {at} UTC"
    queue = facts.get("smtp.submit", {}).get("queue_id") if leg == "smtp" else None
    if isinstance(queue, str) and queue:
        text += f", queue id {queue}"
    return [Place(f"{text}."), *_commands(leg, local, host, queue, _software(leg, facts))]


def _commands(leg: str, local: str, host: str, queue: Any, software: str) -> Iterator[Place]:
    if not _HARMLESS.fullmatch(local):
        return
    if software == "exchange":
        pattern = f"$env:ExchangeInstallPath\\{_EXCHANGE_LOGS.get(leg, '')}"
        yield Place("Exchange's protocol log (logging must be on):", f'Select-String -SimpleMatch "{local}" -Path "{pattern}"')
        return
    if leg == "smtp":
        words = queue if isinstance(queue, str) and _HARMLESS.fullmatch(queue) else f"[{host}]"
        yield Place("Postfix:", f"grep -F '{words}' /var/log/mail.log")
        yield Place("Postfix under systemd:", f"journalctl -u 'postfix*' | grep -F '{words}'")
    else:
        yield Place("Dovecot:", f"grep -F 'rip={host}' /var/log/mail.log")
        yield Place("Dovecot, wherever it logs:", "doveadm log find")


def _software(leg: str, facts: dict[str, Any]) -> str:
    """By the greeting, the one line in which servers name themselves."""
    greeting = facts.get("smtp.greeting", {}).get("lines") if leg == "smtp" else _greeting(leg, facts)
    return "exchange" if "Microsoft" in str(greeting) else "unix"


def _greeting(leg: str, facts: dict[str, Any]) -> object:
    return [facts.get(f"{leg}.{step}", {}).get("greeting") for step in ("connect", "tls", "login")]


def _instant(report: Report, stage: str) -> str:
    at = next((item.record.at for item in report.stages if item.name == stage), 0.0)
    try:
        return (datetime.fromisoformat(report.started) + timedelta(seconds=at)).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return report.started
