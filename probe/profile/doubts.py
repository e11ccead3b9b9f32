"""What a profile may say, and a run cannot begin with: a template's placeholders, and a delivery that outlasts the run.

A profile that is shown, planned or checked may hold them; they are found while the places of its keys are known.
"""

import os
import re
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from probe.profile.layers import Merged
from probe.profile.model import Limits, Profile, Reader
from probe.profile.problem import Doubts, KeyPath, Problem
from probe.profile.values import nodes, spell

# What profiles/, deploy/ and the pages show where a name of one's own belongs; tests/unit/test_doubts.py reads them.
_HOSTS = frozenset({"mail.example.com", "mail.example.org", "imap.example.org", "mail.contoso.com"})
_ADDRESSES = frozenset({"probe@example.com", "probe@example.org", "probe@contoso.com", "probe@gmail.com", "contoso\\probe"})
_CHANGE_ME = re.compile(r"change[-_ ]?me", re.IGNORECASE)
# RFC 2606 and RFC 6761: names that lead nowhere outside a test of somebody's own.
_OF_TESTS = re.compile(r"(^|\.)(localhost|test|invalid)\.?$")
_WANTED = {
    "host": "the name your users type",
    "username": "the user name of the probe's own mailbox",
    "sender": "an address of the probe's own mailbox",
    "recipient": "the address of the probe's own mailbox",
}
_CRITICAL: KeyPath = ("limits", "delivery_critical")
_TIMEOUT: KeyPath = ("limits", "timeout")


def doubts(profile: Profile, merged: Merged) -> Doubts:
    """What is doubtful in a profile that is right in itself."""
    return Doubts(
        _late(profile.limits, merged), _placeholders(profile, merged), "--readback" in merged.removed and not profile.readers
    )


def _late(limits: Limits, merged: Merged) -> Problem | None:
    """delivery_critical, where somebody set it longer than the run may last.

    Not the pair of the defaults, nor what lies between them: of a delivery of more than 50 s --collect is the judge. Nor a
    profile whose time-out the command line shortens for once.
    """
    usual = Limits()
    fits = limits.delivery_critical <= limits.timeout or limits.timeout == 0
    as_usual = limits.timeout >= usual.timeout and limits.delivery_critical <= usual.delivery_critical
    critical, timeout = merged.origins.get(_CRITICAL), merged.origins.get(_TIMEOUT)
    if fits or as_usual or critical is None or (timeout is not None and timeout.origin and not critical.origin):
        return None
    longer, shorter = spell(limits.delivery_critical), spell(limits.timeout)
    place = timeout.label(_TIMEOUT) if timeout is not None else "the default"
    text = (
        f"{longer} is longer than limits.timeout ({shorter}, {place}): timeout ends the whole run, delivery_critical is how long "
        f"the message may take within it. Raise timeout to {longer} or more (and the scheduler's own limit above it), or lower "
        "delivery_critical; only runs with --send-only may have it longer, since a later --collect judges those"
    )
    return critical.problem(_CRITICAL, text)


def _placeholders(profile: Profile, merged: Merged) -> Problem | None:
    """One problem for all of them, placed at the first."""
    found = [(path, value) for path, value in _names(profile) if _is_placeholder(value)]
    if _of_contoso(profile.submission.host):
        found = [(path, value) for path, value in found if not _of_contoso(value)]
    if not found or _leads_to_a_test(profile):
        return None
    first = found[0][0]
    # The line begins with the first one's key.
    said = " and ".join(value if path == first else f"{value} ({'.'.join(map(str, path))})" for path, value in found)
    wanted = " and ".join(dict.fromkeys(_WANTED[str(path[-1])] for path, _ in found))
    text = f"{said} {'is a placeholder' if len(found) == 1 else 'are placeholders'} of a template; set {wanted}"
    return merged.layer(first).problem(first, text)


def _names(profile: Profile) -> Iterator[tuple[KeyPath, str]]:
    yield ("submission", "host"), profile.submission.host
    for name, reader in _readers(profile).items():
        yield ("readback", name, "host"), reader.host or ""
        yield ("readback", name, "account", "username"), (reader.account and reader.account.username) or ""
    yield ("account", "username"), profile.account.username or ""
    yield ("message", "sender"), profile.message.sender or ""
    yield ("message", "recipient"), profile.message.recipient or ""


def _readers(profile: Profile) -> dict[str, Reader]:
    """Those that are servers: a plug-in's table may be any."""
    return {name: table for name, table in profile.readers.items() if isinstance(table, Reader)}


def _is_placeholder(value: str) -> bool:
    return value.lower() in _HOSTS | _ADDRESSES or _CHANGE_ME.search(value) is not None


def _of_contoso(name: str) -> bool:
    """Microsoft's company of the examples, for which a laboratory's own DNS may have servers: there its users belong to them."""
    return re.search(r"(^|[@.])contoso(\.com$|\\)", name.lower()) is not None


def _leads_to_a_test(profile: Profile) -> bool:
    """Whether every server is one that somebody chose by address: a test of one's own may use any name."""
    sides = [(profile.submission.host, nodes(profile.submission.connect))]
    sides += [(profile.host_for(reader), nodes(reader.connect)) for reader in _readers(profile).values()]
    return all(connect or _is_chosen(host.lower()) for host, connect in sides)


def _is_chosen(host: str) -> bool:
    if _OF_TESTS.search(host) or host in _hosts_file():
        return True
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _hosts_file() -> set[str]:
    """The names that this machine's own file knows (hosts(5))."""
    root = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "drivers") if sys.platform == "win32" else Path("/")
    try:
        text = (root / "etc" / "hosts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    return {name.lower() for line in text.splitlines() for name in line.partition("#")[0].split()[1:]}
