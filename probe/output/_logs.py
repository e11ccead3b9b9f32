"""Where the server's own log has a session: which file, which command, what to look for. From recorded facts alone."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from probe.facts import Connected, Submitted, greetings
from probe.plain import dataclass
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
    local = report.seen(f"{leg}.connect", Connected).local
    if not local:
        return [Place("The server was not reached: it has no session of this.")]
    at = _instant(report, stage)
    host = local.rpartition(":")[0].strip("[]")
    text = f"Client {local} (as this machine sees itself), about {at} UTC"
    queue = report.seen("smtp.submit", Submitted).queue_id if leg == "smtp" else None
    if queue:
        text += f", queue id {queue}"
    return [Place(f"{text}."), *_commands(leg, local, host, queue, _software(report, leg))]


def _commands(leg: str, local: str, host: str, queue: str | None, software: str) -> Iterator[Place]:
    if not _HARMLESS.fullmatch(local):
        return
    if software == "exchange":
        pattern = f"$env:ExchangeInstallPath\\{_EXCHANGE_LOGS.get(leg, '')}"
        yield Place("Exchange's protocol log (logging must be on):", f'Select-String -SimpleMatch "{local}" -Path "{pattern}"')
        return
    if leg == "smtp":
        words = queue if queue and _HARMLESS.fullmatch(queue) else f"[{host}]"
        yield Place("Postfix:", f"grep -F '{words}' /var/log/mail.log")
        yield Place("Postfix under systemd:", f"journalctl -u 'postfix*' | grep -F '{words}'")
    else:
        yield Place("Dovecot:", f"grep -F 'rip={host}' /var/log/mail.log")
        yield Place("Dovecot under systemd:", f"journalctl -u dovecot | grep -F 'rip={host}'")
        yield Place("Dovecot, wherever it logs:", "doveadm log find")


def _software(report: Report, leg: str) -> str:
    """By the greeting, in which servers name themselves; a reader that showed none is taken for what the submission is."""
    said = list(greetings(report.seen, leg)) or list(greetings(report.seen, "smtp"))
    return "exchange" if any("Microsoft" in line for line in said) else "unix"


def _instant(report: Report, stage: str) -> str:
    at = next((item.record.at for item in report.stages if item.name == stage), 0.0)
    try:
        return (datetime.fromisoformat(report.started) + timedelta(seconds=at)).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return report.started
