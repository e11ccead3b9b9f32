"""A remedy's step without what is for another service than the one that failed: an IMAP4 command helps no POP3."""

import re
from collections.abc import Collection, Iterator, Set

from probe.report.steps import parted

_LEGS = ("smtp", "imap", "pop3")
# How a word names a service: SMTP, ImapEnabled, MSExchangePop3BE.
_NAMES = {leg: re.compile(word, re.IGNORECASE) for leg, word in (("smtp", "smtp"), ("imap", "imap"), ("pop3", "pop"))}
# Commands and settings that are one service's alone.
_ONLY = {
    "smtp": re.compile(r"ReceiveConnector|FrontEndTransport|\bsmtpd?_|submission/inet"),
    "imap": re.compile(r"(?:Get|Set)-ImapSettings|Test-ImapConnectivity|MSExchangeIMAP4|ImapProxy|-ImapEnabled", re.IGNORECASE),
    "pop3": re.compile(r"(?:Get|Set)-PopSettings|Test-PopConnectivity|MSExchangePOP3|-PopEnabled|pop3_lock", re.IGNORECASE),
}
# The product that has no other part than this in reaching a server and in TLS (a logon of Postfix's may be Dovecot's work).
_PRODUCTS = {"Postfix": ("smtp",), "Dovecot": ("imap", "pop3")}
_APART = ("connect", "greeting", "ehlo", "ehlo_tls", "starttls", "tls", "certificate")
# A message that is looked for may still be on its way by SMTP.
_BEHIND_SMTP = ("find", "verify", "delete")
_LABEL = re.compile(r"[A-Z][\w-]*(?:,? [A-Z][\w-]*)*: ")
_BRACKETED = re.compile(r" \(((?:Exchange|Postfix|Dovecot)[\w, -]*: [^()]*)\)")
_LIST = re.compile(r"(?<![\w.,'*-])[A-Za-z][\w*]*(?:,[A-Za-z][\w*]*)+(?![\w,])")
_OPTION = re.compile(r" -(?:Pop|Imap)Enabled \$true")
_STARTTLS = re.compile(r" -starttls smtp\b(?! or |,)(?: \(or imap, pop3; without it for TLS\))?")


def narrowed(step: str, stage: str, legs: Collection[str], security: str, *, says: str = "") -> str:
    """The step for these legs and the stage's own; empty where nothing of it is for them. `security` is that of the stage's leg,
    `says` what the server greets with: a product that names itself there is always concerned."""
    leg, _, word = stage.partition(".")
    if leg not in _LEGS:
        return step
    step = _STARTTLS.sub(f" -starttls {leg}" if security == "starttls" else "", step)
    own = {*legs, leg, *(("smtp",) if word in _BEHIND_SMTP else ())}
    strangers = [name for name, theirs in _PRODUCTS.items() if not own.intersection(theirs) and name not in says]
    strangers = strangers if word in _APART else []
    step = _BRACKETED.sub(lambda found: _bracketed(found[1], own, strangers), step)
    parts = parted(step)
    kept = list(_kept(parts, own, strangers))
    return step if kept == parts else "; ".join(kept)


def _bracketed(text: str, own: Set[str], strangers: Collection[str]) -> str:
    kept = "; ".join(_kept(parted(text), own, strangers))
    return f" ({kept})" if kept else ""


def _kept(parts: list[str], own: Set[str], strangers: Collection[str]) -> Iterator[str]:
    """Each part that is for one of our own; a label stands before the first that stays of those that it is for."""
    label, shown = "", True
    for part in parts:
        if labelled := _LABEL.match(part):
            label, shown = labelled[0], False
        body = _of_services(part.removeprefix(label) if labelled else part, own)
        if not body or label.removesuffix(": ") in strangers:
            continue
        yield body if shown else label + body
        shown = True


def _of_services(text: str, own: Set[str]) -> str:
    """The command without words that name other services alone; empty where it is theirs."""
    text = _LIST.sub(lambda found: ",".join(item for item in found[0].split(",") if _concerns(item, _NAMES, own)), text)
    text = _OPTION.sub(lambda found: found[0] if _concerns(found[0], _NAMES, own) else "", text)
    return "" if text.endswith(" ") or not _concerns(text, _ONLY, own) else text


def _concerns(text: str, names: dict[str, re.Pattern[str]], own: Set[str]) -> bool:
    """Whether it names one of our own services, or none at all."""
    named = [leg for leg, name in names.items() if name.search(text)]
    return not named or not own.isdisjoint(named)
