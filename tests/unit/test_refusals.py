"""Refusals of many servers, as tests/replies/refusals.toml has them: the cause speaks of what each is about, the finding says what it
means for the password, and no other product than the one that answered is named."""

# ruff: noqa: E501 (a kind is easier to compare in one line)
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from probe.facts import LoggedOn, from_json
from probe.judge import findings
from probe.judge._families import families
from probe.judge._refused_logon import finding_of
from probe.observe.legs.submission import _refused
from probe.observe.protocol.smtp import Reply
from probe.profile import load_mapping
from probe.record import Record, StageRecord, Target, Trouble
from probe.report import Finding
from probe.tasks.plan import plugins

# What a refusal is about → the findings of a logon that are right, what the cause must speak of, and what it must not say.
UNKNOWN = r"no such recipient|knows? no such|does not exist|misspelt"
WRONG = r"password is likely wrong|password is wrong"
ABOUT: dict[str, tuple[tuple[str, ...], str, str]] = {
    "password": (("auth.refused",), r"password", r"$^"),
    "other-password": (("auth.refused", "auth.not-allowed"), r"app(-specific)? password|external applications|token|API key|SMTP (credential|key|password)|Bridge", r"$^"),
    "bridge": (("auth.temporary",), r"Bridge", WRONG),
    "code": (("auth.refused", "auth.not-allowed"), r"authori[sz]ation code", r"$^"),
    "token": (("auth.not-allowed",), r"token|OAuth", WRONG),
    "web-logon": (("auth.not-allowed",), r"web|browser|app password", r"$^"),
    "protocol-off": (("auth.not-allowed",), r"switched (off|on)|not (enabled|allow)|does not allow", WRONG),
    "permission": (("auth.not-allowed",), r"allow|permission|may not", WRONG),
    "temporary": (("auth.temporary", "auth.server-failure"), r"at (the|that) moment|busy|later|could not|cannot|not answer|for now|puts off", WRONG),
    "rate": (("auth.login-delay",), r"rate|often|many|limit|volume|quota|too fast", rf"{UNKNOWN}|{WRONG}|mailbox is likely full"),
    "connections": (("auth.login-delay",), r"connections", rf"{UNKNOWN}|{WRONG}"),
    "in-use": (("auth.mailbox-in-use",), r"another", WRONG),
    "disabled": (("auth.not-allowed",), r"disabled|suspended|blocked|locked|closed|inactive|paused|not (yet )?activ", WRONG),
    "full": ((), r"\bfull\b|quota|space", UNKNOWN),
    "relay": ((), r"relay", r"mailbox is likely full"),
    "unknown": ((), r"exist|know|no such|misspelt", r"spam|mailbox is likely full"),
    "domain": ((), r"SPF|DKIM|DMARC", UNKNOWN),
    "content": ((), r"spam|content|filter|virus", UNKNOWN),
    "policy": ((), r"polic|filter|rule|block", UNKNOWN),
    "reputation": ((), r"block list|reputation|reverse|blocks", UNKNOWN),
    "sender": ((), r"send as|sender", rf"{UNKNOWN}|mailbox is likely full"),
    "loop": ((), r"loop", r"mailbox is likely full"),
    "sender-domain": ((), r"sender", r"mailbox is likely full"),
    "size": ((), r"\bsize\b|larger", r"mailbox is likely full"),
    "resources": ((), r"disk|memory|space|fault|busy|behind|configuration|resources|file system|service that", UNKNOWN),
    "log-on": ((), r"log ?on|logged on", UNKNOWN),
    "tls": ((), r"TLS", UNKNOWN),
    "greylisting": ((), r"gr[ea]ylist", UNKNOWN),
}  # fmt: skip
# Words that are one product's or provider's alone.
NAMES = {
    "exchange": r"\b(Get|Set|New|Enable|Add)-[A-Z]\w+|\bExchange\b|SCHANNEL",
    "exchange-online": r"Entra|Microsoft 365|Exchange Online",
    "gmail": r"Google|Gmail",
    "yahoo": r"Yahoo",
    "icloud": r"iCloud|Apple",
    "qq": r"\bQQ\b",
    "netease": r"NetEase|\b163\b",
    "zoho": r"Zoho",
    "yandex": r"Yandex",
    "mailru": r"Mail\.ru",
    "gmx": r"GMX|web\.de",
    "fastmail": r"Fastmail",
    "proton": r"Proton",
    "ses": r"\bSES\b|Amazon|\bAWS\b",
    "sendgrid": r"SendGrid|apikey",
    "mailgun": r"Mailgun",
    "postmark": r"Postmark",
    "brevo": r"Brevo",
    "postfix": r"\bpostconf\b|\bPostfix\b|main\.cf|postqueue",
    "dovecot": r"\bdove(conf|adm)\b|\bDovecot\b",
    "exim": r"\bexim\b|\bExim\b",
    "sendmail": r"[Ss]endmail",
    "opensmtpd": r"OpenSMTPD|smtpctl",
    "courier": r"Courier|authtest",
    "cyrus": r"\bCyrus\b|cyradm|imtest",
    "hmailserver": r"hMailServer",
    "mdaemon": r"MDaemon",
    "zimbra": r"Zimbra|zmprov",
    "stalwart": r"Stalwart",
    "proofpoint": r"Proofpoint",
    "mimecast": r"Mimecast",
    "barracuda": r"Barracuda",
}
STAGES = {"auth": "smtp.auth", "greeting": "smtp.greeting", "imap": "imap.login", "pop3": "pop3.login"}
COMMANDS = {"mail": "MAIL FROM:<a@contoso.com>", "rcpt": "RCPT TO:<a@contoso.com>", "data": "the message"}
PROFILE = load_mapping(
    {"submission": {"host": "mail.contoso.com"}, "message": {"sender": "a@b.test", "recipient": "a@b.test"}}, plugins=plugins()
)


class Refusal(NamedTuple):
    server: dict[str, Any]
    where: str
    about: str
    said: str


def _refusals() -> Iterator[Refusal]:
    read = tomllib.loads((Path(__file__).parent.parent / "replies" / "refusals.toml").read_text("utf-8"))
    for server in read["server"]:
        for where, about, said in server["said"]:
            yield Refusal(server, where, about, said)


REFUSALS = tuple(_refusals())


def _found(refusal: Refusal) -> Finding:
    """What the judges say of a run that this refusal ended."""
    server, where, _, said = refusal
    greeting = server.get({"imap": "imap", "pop3": "pop3"}.get(where, "greeting"), "")
    stage = STAGES.get(where, "smtp.submit")
    trouble = _trouble(where, stage, said, greeting)
    ended = StageRecord(stage, "failed", trouble=trouble, facts=_facts(where, greeting))
    first = StageRecord("smtp.greeting", "ok", facts=from_json("smtp.greeting", {"lines": greeting.splitlines()}))
    stages = (ended,) if where in ("greeting", "imap", "pop3") else (first, ended)
    target = Target(server.get("host", "mail.contoso.com"), 587, "starttls")
    (found,) = findings(Record("0" * 16, "p", target, "2026-11-24T00:00:00Z", 1.0, stages), PROFILE)
    return found


def _facts(where: str, greeting: str) -> Any:
    return LoggedOn(username="a@b.test", attempts=1, greeting=greeting) if where in ("imap", "pop3", "auth") else None


def _trouble(where: str, stage: str, said: str, greeting: str) -> Trouble:
    if where in COMMANDS:
        return _refused(COMMANDS[where], Reply(int(said[:3]), tuple(said.splitlines()))).trouble
    if where == "greeting":
        return Trouble("smtp.unavailable" if said.startswith("421") else "greeting.refused", said, said)
    return Trouble(finding_of(stage, said, greeting), f"logon as a@b.test: refused: {said}", said)


def _faults(refusal: Refusal) -> list[str]:
    found = _found(refusal)
    ids, speaks, never = ABOUT[refusal.about]
    text = "\n".join((found.cause, *found.remedy))
    faults = [] if speaks and re.search(speaks, found.cause, re.I) else [f"does not speak of {refusal.about}"]
    if re.search(never, found.cause):
        faults.append("speaks of something else")
    if found.stage in ("smtp.auth", "imap.login", "pop3.login") and found.id not in ids:
        faults.append(f"is {found.id}")
    return faults + [f"names {name}" for name in _strangers(refusal, text)]


def _strangers(refusal: Refusal, text: str) -> list[str]:
    known = refusal.server.get("family")
    own = {known, *families()[known].beside} if known else set()
    own |= {"exchange"} if known == "exchange-online" else set()
    if not known or refusal.where == "greeting":  # a greeting that refuses says no name
        labels = "|".join(re.escape(label) for one in families().values() for label in one.labels)
        text = re.sub(rf"(?:{labels})(?:(?:, |/)(?:{labels}))*: [^\n]*", "", text)
    seen = [name for name, pattern in NAMES.items() if name not in own and re.search(pattern, text)]
    return [name for name in seen if not re.search(NAMES[name], refusal.said)]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda one: f"{one.server.get('family', 'any')}-{one.where}-{one.said[:40]}")
def test_the_advice_fits_the_server_that_spoke(refusal: Refusal) -> None:
    found = _found(refusal)
    assert _faults(refusal) == [], (found.id, found.cause, found.remedy)


def test_every_family_and_every_kind_is_in_the_table() -> None:
    assert {refusal.server.get("family") for refusal in REFUSALS} - {None} == set(families())
    assert {refusal.about for refusal in REFUSALS} == set(ABOUT)
