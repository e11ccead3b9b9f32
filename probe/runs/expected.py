"""Changes that were announced: which of those found they cover, and which did not happen. Pure.

An expectation is a key and a value. In a key `*` stands for anything, and `*.` before one for every port (the submission's facts
bear no prefix, and are meant too); the value `*` is any other than before. The key `certificate` means the certificate of every
port, by its thumbprint (SHA-1 or SHA-256), with all that follows from it: issuer, names, key, dates, chain; `imap.certificate` that
of one. A `*` excuses nothing that broke.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

from probe.plain import dataclass
from probe.report.comparison import CERTIFICATE, Change

ANY = "*"
# The value of a fact that shall be there no longer.
GONE = ("None", "(none)")
# What follows from a certificate; whether it is trusted does not.
_OF_CERTIFICATE = re.compile(r"((?:[a-z0-9]+\.)?)certificate\.(thumbprint|sha256|issuer|subject|names|key|not_after|chain)")
# What the keys of a comparison begin with (compare.py); a reader's begin with its name.
FIRST_WORDS = (
    "addresses", CERTIFICATE, "ehlo", "ehlo_tls", "finding", "greeting", "latency", "mechanism", "mechanisms", "smtp", "target",
    "tls",
)  # fmt: skip
_PRINTED = re.compile(r"[\s:\u200e\u200f\ufeff]")
_PRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")
# Several nodes, or repeated runs, may be meant: what a target without the fact is called.
EVERYWHERE = "every target"

Values = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sides:
    """A target's facts on both sides, and what was found to differ."""

    target: str
    before: Values
    after: Values
    changes: Sequence[Change]

    def known(self) -> list[str]:
        """Every key of a fact, or of a change."""
        named = (change.key for change in self.changes)
        return list(dict.fromkeys([*self.before, *self.after, *named]))

    def changed(self, key: str) -> bool:
        return self.before.get(key) != self.after.get(key) or any(change.key == key for change in self.changes)


def thumbprint(value: str) -> str | None:
    """A thumbprint in upper hex, however it was printed (colons, blanks, lower case); None for anything else."""
    digits = _PRINTED.sub("", value).upper()
    return digits if _PRINT.fullmatch(digits) else None


def eased(sides: Sequence[Sides], expected: Sequence[tuple[str, str]]) -> Iterator[Change]:
    """Every change, those that were announced as such; and what was announced and did not happen.

    `sides`: of every target; a change of a target that one run lacks has two empty sides.
    """
    for one in sides:
        failed = dict(_failed(one, expected))
        for change in one.changes:
            if change.key in failed:
                yield replace(change, wanted=failed.pop(change.key))
            elif any(_covers(key, value, change, one) for key, value in expected):
                yield replace(change, severity="info", expected=True)
            else:
                yield change
        for key, value in failed.items():
            yield Change(one.target, key, one.before.get(key), one.after.get(key), "warning", wanted=value)
        yield from _already(one, expected)
    yield from _nowhere(sides, expected)


def remarks(sides: Sequence[Sides], expected: Sequence[tuple[str, str]]) -> Iterator[str]:
    """On keys that no run knows: what was likely meant."""
    known = {key for one in sides for key in one.known()}
    for key, _ in expected:
        # A keyword or capability that no server offers is no slip of the pen.
        strange = not key.rpartition(".")[2].isupper() and not any(_fits(key, each) for each in known)
        near = get_close_matches(key, _short(known), 1, 0.85) if strange else []
        if near:
            yield f"no fact is called {key}; did you mean {near[0]}?"


def _short(keys: Iterable[str]) -> list[str]:
    """Keys that an administrator may have meant: a server can name any number, of any length."""
    return sorted(key for key in keys if len(key) <= 80)[:2000]


def _thumbprints(key: str) -> str | None:
    """Which thumbprints a key means that stands for whole certificates; None for any other key."""
    if key == CERTIFICATE:
        return f"*.{CERTIFICATE}.thumbprint"
    return f"{key}.thumbprint" if key.endswith(f".{CERTIFICATE}") else None


def _fits(key: str, fact: str) -> bool:
    """Whether the key of an expectation names that fact."""
    words = (_thumbprints(key) or key).split("*")
    pattern = re.compile(".*".join(map(re.escape, words)), re.IGNORECASE | re.DOTALL)
    return bool(pattern.fullmatch(fact) or pattern.fullmatch(f"smtp.{fact}"))


def _holds(key: str, value: str, fact: str, one: Sides) -> bool:
    """Whether a fact is as it was announced."""
    if value == ANY:
        return one.changed(fact)
    now = one.after.get(fact, _after(one, fact))
    if now is None:
        return value in GONE
    if fact.endswith("certificate.thumbprint"):
        sha256 = one.after.get(fact.removesuffix("thumbprint") + "sha256")
        return (thumbprint(value) or value) in (now, sha256)
    return value == now


def _after(one: Sides, key: str) -> str | None:
    """Of a change that is none of a fact (latency, a target that came)."""
    return next((change.after for change in one.changes if change.key == key), None)


def _covers(key: str, value: str, change: Change, one: Sides) -> bool:
    """Whether an expectation announced this change."""
    if change.severity == "critical" and "*" in key:
        return False
    if _thumbprints(key):
        part = _OF_CERTIFICATE.fullmatch(change.key)
        fact = f"{part[1]}certificate.thumbprint" if part and change.after is not None else ""
        return _fits(key, fact) and _holds(key, value, fact, one)
    return _fits(key, change.key) and _holds(key, value, change.key, one)


def _failed(one: Sides, expected: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Facts that were to change, and are not what was announced: (key, value)."""
    for key, value in expected:
        if value == ANY and "*" in key.removeprefix("*."):
            continue  # one change anywhere is enough: `_nowhere`
        for fact in one.known():
            if _fits(key, fact) and not _holds(key, value, fact, one) and not _excepted(key, fact, one, expected):
                yield fact, value


def _excepted(key: str, fact: str, one: Sides, expected: Iterable[tuple[str, str]]) -> bool:
    """Whether a narrower expectation of the same fact holds: POP3 may have a certificate of its own."""
    return any(
        other != key and _fits(other, fact) and _holds(other, value, fact, one)
        for other, value in expected
        if value != ANY or ("*" not in other and other != CERTIFICATE)
    )


def _already(one: Sides, expected: Sequence[tuple[str, str]]) -> Iterator[Change]:
    """What was announced and stood there before: no change, and no fault."""
    for fact in one.known():
        held = any(_fits(key, fact) and _holds(key, value, fact, one) for key, value in expected if value != ANY)
        if held and not one.changed(fact):
            yield Change(one.target, fact, one.before.get(fact), one.after.get(fact), "info", expected=True)


def _nowhere(sides: Sequence[Sides], expected: Sequence[tuple[str, str]]) -> Iterator[Change]:
    """Expectations that fit no fact, or none that has changed."""
    for key, value in expected:
        fitting = [(one, fact) for one in sides for fact in one.known() if _fits(key, fact)]
        loose = value == ANY and "*" in key.removeprefix("*.")
        if not fitting and value in GONE:
            continue  # gone, as announced
        if not fitting or (loose and not any(one.changed(fact) for one, fact in fitting)):
            target = sides[0].target if len(sides) == 1 else EVERYWHERE
            yield Change(target, key, None, None, "warning", wanted=value)
