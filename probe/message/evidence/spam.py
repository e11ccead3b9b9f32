"""Spam verdicts as filters write them into the header: score, threshold, and which tests said so.

SpamAssassin (X-Spam-Status), rspamd (X-Spamd-Result), Exchange (X-MS-Exchange-Organization-SCL, X-Forefront-Antispam-Report),
Proofpoint (X-Proofpoint-Spam-Details), Gmail (X-Gm-Spam). Only what the receiving side may have written is read: anybody can
write such a field.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from probe.message.evidence.border import border
from probe.message.evidence.header import Delivered
from probe.plain import dataclass

MOST_TESTS = 60
# learn.microsoft.com/defender-office-365/anti-spam-spam-confidence-level-scl-about: 5 and 6 are spam, 9 is high confidence spam.
SPAM_FROM_SCL = 5.0
_NUMBER = r"(-?[0-9]{1,6}(?:\.[0-9]{1,6})?)"
_SCORE = re.compile(rf"\b(?:score|hits)={_NUMBER}")
_REQUIRED = re.compile(rf"\brequired={_NUMBER}")
_TESTS = re.compile(r"\btests=\[?([A-Za-z0-9_.,=\s-]{0,3000})")
_RSPAMD = re.compile(rf"\[{_NUMBER} / {_NUMBER}\]")
_SYMBOL = re.compile(rf"\b([A-Z][A-Z0-9_]{{1,60}})\({_NUMBER}\)")
_TEST = re.compile(r"[A-Z0-9][A-Z0-9_]{1,60}")
_SCL = re.compile(r"\s*(-?[0-9])\s*")
_PAIR = re.compile(r"\b([A-Za-z]{2,20})[:=]([^;\s]{1,60})")


@dataclass(frozen=True, slots=True)
class Spam:
    """One filter's verdict. `score` and `threshold` in that filter's own unit (SCL: -1 to 9; Proofpoint: 0 to 100); None where it
    wrote none. `tests` are names of rules, those that weighed against the message first where weights are written."""

    by: str
    field: str
    score: float | None = None
    threshold: float | None = None
    spam: bool | None = None
    tests: tuple[str, ...] = ()


def verdicts(message: Delivered, trusted: Sequence[str] = ()) -> list[Spam]:
    """Each filter's topmost verdict; of two fields of one filter the first that has a threshold."""
    found: dict[str, Spam] = {}
    for field in border(message, trusted).inside:
        read = _FILTERS.get(field.name)
        verdict = read(field.text) if read else None
        if verdict is not None:
            first = found.setdefault(verdict.by, verdict)
            if first.threshold is None:
                found[verdict.by] = verdict if verdict.threshold is not None else first
    return list(found.values())


def _spamassassin(text: str) -> Spam | None:
    """`Yes, score=7.1 required=5.0 tests=A,B`; amavis writes `tests=[A=0.1, B=2]`, and rspamd the same field without tests."""
    word = text.partition(",")[0].strip().lower()
    if word not in ("yes", "no"):
        return None
    tests = _TESTS.search(text)
    names = _TEST.findall(tests[1].partition(" autolearn")[0]) if tests else []
    required = _first(_REQUIRED, text)
    by = "rspamd" if required is None and not names else "SpamAssassin"
    return Spam(by, "X-Spam-Status", _first(_SCORE, text), required, word == "yes", tuple(names[:MOST_TESTS]))


def _rspamd(text: str) -> Spam | None:
    """`default: False [-0.10 / 15.00]; MIME_GOOD(-0.10)[text/plain]; …`"""
    found = _RSPAMD.search(text)
    if found is None:
        return None
    symbols = sorted(((name, float(weight)) for name, weight in _SYMBOL.findall(text)), key=lambda pair: -pair[1])
    spam = {"true": True, "false": False}.get(text.partition("[")[0].rpartition(":")[2].strip().lower())
    return Spam("rspamd", "X-Spamd-Result", float(found[1]), float(found[2]), spam, tuple(name for name, _ in symbols[:MOST_TESTS]))


def _scl(text: str) -> Spam | None:
    found = _SCL.fullmatch(text)
    return _of_exchange("X-MS-Exchange-Organization-SCL", found[1], ()) if found else None


def _forefront(text: str) -> Spam | None:
    """`CIP:…;SCL:1;SFV:NSPM;CAT:NONE;…`: the verdict's name (SFV) and its category say why."""
    values = {name.upper(): value for name, value in _PAIR.findall(text)}
    if "SCL" not in values or not _SCL.fullmatch(values["SCL"]):
        return None
    why = tuple(f"{name}:{values[name]}" for name in ("SFV", "CAT", "IPV") if values.get(name, "NONE") not in ("NONE", ""))
    return _of_exchange("X-Forefront-Antispam-Report", values["SCL"], why)


def _of_exchange(field: str, score: str, why: tuple[str, ...]) -> Spam:
    return Spam("Exchange", field, float(score), SPAM_FROM_SCL, float(score) >= SPAM_FROM_SCL, why)


def _proofpoint(text: str) -> Spam | None:
    """`rule=notspam policy=default score=0 … reason=mlx …`; the threshold is the policy's, and not written."""
    values = {name.lower(): value for name, value in _PAIR.findall(text)}
    if "rule" not in values:
        return None
    rule = values["rule"].lower()
    return Spam("Proofpoint", "X-Proofpoint-Spam-Details", _number(values.get("score")), None, "notspam" not in rule, (rule,))


def _gmail(text: str) -> Spam | None:
    """0 or 1, where the administrator has Gmail write it."""
    return Spam("Gmail", "X-Gm-Spam", None, None, text == "1") if text in ("0", "1") else None


def _first(pattern: re.Pattern[str], text: str) -> float | None:
    found = pattern.search(text)
    return float(found[1]) if found else None


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(_NUMBER, text) else None


_FILTERS: Mapping[str, Callable[[str], Spam | None]] = {
    "x-spam-status": _spamassassin,
    "x-spamd-result": _rspamd,
    "x-ms-exchange-organization-scl": _scl,
    "x-forefront-antispam-report": _forefront,
    "x-proofpoint-spam-details": _proofpoint,
    "x-gm-spam": _gmail,
}
