"""What changed when, one line a change: for `probe history --changes`."""

from collections.abc import Container, Iterator, Sequence

from probe.facts import instant
from probe.output._safe import safe
from probe.report.changes import ADDRESS, Change

_NAMES = {
    "tls": "", "group": "key exchange", "cipher": "cipher", "mechanisms": "mechanisms", "ehlo": "", "certificate": "certificate",
    "software": "software", "dkim": "DKIM", ADDRESS: "address",
}  # fmt: skip
_CAPABILITIES = {"smtp": "EHLO", "imap": "capabilities", "pop3": "capabilities"}
_MOST = 300
# A change that nobody saw for longer than this may have been any time in between.
_HOURS = 24


def lines(
    changes: Sequence[Change], *, profiles: bool = True, several: Container[tuple[str, str, str]] = ()
) -> Iterator[str]:  # fmt: skip
    """Each change in a line; `profiles`: with the profile's name. Servers (profile, protocol, host) that have `several` addresses
    get the address too."""
    width = max((len(safe(change.profile)) for change in changes), default=0) if profiles else 0
    for change in changes:
        name = f"{safe(change.profile):<{width}}  " if profiles else ""
        key = (change.profile, change.protocol, change.host)
        where = f" ({safe(change.node)})" if key in several and change.key != ADDRESS else ""
        mark = "  DOWNGRADE" if change.downgrade else ""
        yield f"{moment(change.at)}  {name}{change.protocol:<4}  {what(change)}{where}{mark}{_unseen(change)}".rstrip()


def moment(at: str) -> str:
    """To the minute, UTC."""
    return safe(at)[:16].replace("T", " ")


def _unseen(change: Change) -> str:
    """Where no run had seen it for a while: the change may be as old as the run before."""
    at, before = instant(change.at), instant(change.before_at)
    long = at is not None and before is not None and at - before > _HOURS * 3600
    return f"  (the run before: {moment(change.before_at)})" if long else ""


def what(change: Change) -> str:
    """The change in words: `TLS 1.3 → 1.2`; `certificate alternates between A and B`."""
    name = _CAPABILITIES[change.protocol] if change.key == "ehlo" else _NAMES.get(change.key, change.key)
    label = f"{name} " if name else ""
    after = [_value(change, value) for value in change.after]
    if change.how == "alternates":
        return _cut(f"{name or 'TLS'} alternates between {' and '.join(_bare(change, after))}")
    if change.how == "settled":
        return _cut(f"{label}{after[0]}, alternates no longer")
    if change.how == "added":
        return _cut(f"{label}{after[0]} too, beside {', '.join(_value(change, value) for value in change.before)}")
    if change.key in ("mechanisms", "ehlo") and len(change.before) == len(change.after) == 1:
        return _cut(f"{label}{_words(change.before[0], change.after[0])}")
    if change.key == "dkim" and change.after == ("",):
        return _cut(f"DKIM stopped: {' or '.join(_value(change, value) for value in change.before)} signed before")
    before = " or ".join(_value(change, value) for value in change.before)
    # "TLS 1.3 → 1.2": the second needs no name of its own.
    return _cut(f"{label}{before} → {' or '.join(_bare(change, after))}")


def _bare(change: Change, values: Sequence[str]) -> list[str]:
    return [value.removeprefix("TLS ") if change.key == "tls" else value for value in values]


def _value(change: Change, value: str) -> str:
    if change.key == "tls":
        return safe(value.replace("TLSv", "TLS ", 1))
    if change.key in ("mechanisms", "ehlo", "dkim"):
        return safe(", ".join(value.split("\n"))) if value else "none"
    return safe(value)


def _words(before: str, after: str) -> str:
    """Which words came and went: `+CHUNKING -SMTPUTF8`; of one keyword with other parameters both."""
    old, new = (set(filter(None, text.split("\n"))) for text in (before, after))
    signs = [f"-{word}" for word in sorted(old - new)] + [f"+{word}" for word in sorted(new - old)]
    return safe(", ".join(signs))


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"
