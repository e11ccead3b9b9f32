"""The way to the server: name, address, port, and connections that end too early."""

from collections.abc import Iterator

from probe.judge._troubles import from_troubles
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind

FINDINGS = {
    "dns.no-record": Kind(
        "the name has no address",
        "The FQDN that users type is likely missing in the DNS this machine asks, or is misspelt in the profile.",
        (
            "Check: Resolve-DnsName NAME (Windows), or dig +short A NAME; dig +short AAAA NAME (inside and outside the network)",
            "Fix: add the A/AAAA record for the connector's FQDN to the internal and to the public zone",
        ),
    ),
    "dns.failed": Kind(
        "the resolver did not answer",
        "The resolver of this machine is likely unreachable, or the zone's servers fail (SERVFAIL).",
        ("Check: Resolve-DnsName NAME; Get-DnsClientServerAddress (Windows), or resolvectl query NAME; cat /etc/resolv.conf",),
    ),
    "dns.bad-name": Kind(
        "not a name that DNS can hold",
        "The host in the profile has an empty label, or one longer than 63 octets.",
        ("Fix: submission.host in the profile",),
    ),
    "connect.refused": Kind(
        "the port is closed",
        "Nothing listens on that port, or a firewall rejects it. The service may be stopped or bound elsewhere.",
        (
            "Exchange: Get-ReceiveConnector | fl Identity,Bindings; Test-NetConnection NAME -Port 587; "
            "Get-Service MSExchangeFrontEndTransport",
            "Postfix: postconf -M submission/inet; ss -ltn 'sport = :587'",
            "Dovecot: doveconf service; ss -ltn",
        ),
    ),
    "connect.timeout": Kind(
        "no answer to the connection attempt",
        "A firewall likely drops the packets (port 587 is often blocked on the way), or the host is down.",
        (
            "Check: from the same network Test-NetConnection NAME -Port 587 (Windows), or nc -vz NAME 587; then the firewall",
            "Fix: allow TCP 587 inbound",
        ),
    ),
    "connect.unreachable": Kind(
        "no route to the address",
        "This machine has no route to that address; with IPv6 addresses, likely no IPv6 at all.",
        ("Check: ip route get ADDRESS", 'Work around: family = "ipv4" in the profile'),
    ),
    "connect.failed": Kind(
        "the connection could not be made",
        "See the evidence.",
        ("Check: Test-NetConnection NAME -Port PORT (Windows), or nc -vz NAME PORT",),
    ),
    "connect.closed": Kind(
        "the connection ended too early",
        "The server or something between (a proxy, a connection limit, a crashed worker) closed it.",
        ("Check: the server's log at that time for the address shown in the transcript",),
    ),
    "reply.timeout": Kind(
        "the server stopped answering",
        "The server is likely overloaded, waits on something of its own (DNS, directory), or delays on purpose.",
        (
            "Check: the server's load and log; limits.per_connection in the profile sets how long is waited",
            "If it lists PIPELINING and loses what is sent together: --no-pipelining (one command at a time)",
        ),
    ),
    "probe.no-descriptors": Kind(
        "this machine ran out of file descriptors",
        "Too many probes run at once for the limit of this process.",
        ("Fix: a smaller --concurrency; on Linux also ulimit -n 4096",),
    ),
    "run.cancelled": Kind(
        "the run was cut short",
        "Whoever started the probe ended it: a person, or a scheduler whose time limit had passed. It says nothing of the server.",
        (
            "Run it again",
            "Check: the scheduler's limit (Icinga: timeout, systemd: TimeoutStartSec) is longer than the profile's limits.timeout",
        ),
    ),
    "run.paused": Kind(
        "the probe stood still during the run, which proves nothing therefore",
        "Its process was stopped, or its machine slept or had no time for it: deadlines passed and servers hung up meanwhile.",
        ("Run it again.", "Where it happens again: a machine that does not sleep, and has time and memory for the probe"),
    ),
}


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    yield from from_troubles(record, {name: kind for name, kind in FINDINGS.items() if name != "run.cancelled"})
    yield from from_troubles(record, {"run.cancelled": FINDINGS["run.cancelled"]}, "info")
