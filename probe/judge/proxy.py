"""A SOCKS5 proxy on the way: what it refuses or cannot do says nothing of the mail server."""

from collections.abc import Iterator

from probe.judge._troubles import from_troubles
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind

_PLACE = "connect in the profile (socks5://[USER@]HOST:PORT)"
FINDINGS = {
    "proxy.unreachable": Kind(
        "the proxy cannot be reached",
        "The SOCKS5 proxy likely does not run, has another port, or a firewall stands before it. No server was asked.",
        (f"Check: Test-NetConnection PROXY -Port 1080 (Windows), or nc -vz PROXY 1080; that ssh -D still runs; {_PLACE}",),
    ),
    "proxy.refused": Kind(
        "the proxy refuses",
        "Its rules do not allow this connection, or it wants a logon that the profile does not have. No server was asked.",
        ("dante: client pass, socks pass and socksmethod in danted.conf, and its log", f"Check: {_PLACE}, proxy_password"),
    ),
    "proxy.auth-refused": Kind(
        "the proxy refuses user name or password",
        "The proxy's own password is wrong, not the mailbox's. Later runs leave it alone until it changes or a while has passed.",
        ("Fix: proxy_password in the profile, or the user before @ in connect", "Then: --try-again"),
    ),
    "proxy.failed": Kind(
        "the proxy could not connect",
        "It gives no reason or broke off. The name may be unknown to it: the proxy looks names up, not this machine.",
        ("Check: the proxy's log; on its machine Test-NetConnection NAME -Port PORT (Windows), or nc -vz NAME PORT",),
    ),
}


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    yield from from_troubles(record, FINDINGS)
