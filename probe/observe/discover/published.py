"""The values of discovery: what a source published, and how asking it went."""

from collections.abc import Iterator
from typing import Literal

from probe.observe.trouble import Stopped
from probe.plain import dataclass
from probe.profile.values import host as host_name

# More than any real document holds: one that holds a thousand servers would make a port scanner of us.
MOST_TOLD = 20
_PORTS = {
    ("smtp", "tls"): 465,
    ("smtp", "starttls"): 587,
    ("imap", "tls"): 993,
    ("imap", "starttls"): 143,
    ("pop3", "tls"): 995,
    ("pop3", "starttls"): 110,
}
Outcome = Literal["found", "empty", "absent", "unreachable", "failed", "refused", "credentials", "redirected"]


@dataclass(frozen=True, slots=True)
class PublishedServer:
    """One server as published. `protocol` smtp, imap or pop3; `security` as in a profile; `scope` external, internal or any."""

    protocol: str
    host: str
    port: int
    security: str
    scope: str = "any"
    username: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """How one question went: `place` is the DNS name or URL asked, `hops` the URLs it was redirected to, `text` one plain sentence.

    `found` published something, `empty` answered and published nothing, `absent` there is none, `unreachable` nobody answers,
    `failed` DNS or TLS is broken, `refused` we would not read it, `credentials` it wants to know who asks, `redirected` it names
    somebody else.
    """

    source: str
    place: str
    outcome: Outcome
    text: str = ""
    hops: tuple[str, ...] = ()
    told: tuple[PublishedServer, ...] = ()
    # Protocols that SRV says are not offered at all (target ".", RFC 6186 section 3.4).
    declined: tuple[str, ...] = ()
    username_sent: bool = False


def entry(
    protocol: str, host: str | None, port: str | int | None, security: str, scope: str = "any", username: str | None = None
) -> Iterator[PublishedServer]:
    """What a document says, checked: nothing for a host that is no host name or a port that is no port."""
    try:
        name, number = host_name((host or "").strip()), int(port or 0)
    except ValueError:
        return
    if number == 0:
        number = _PORTS.get((protocol, security), 0)
    if 1 <= number <= 65535:
        yield PublishedServer(protocol, name.lower(), number, security, scope, username[:320] if username else None)


def secured_as(port: str | None) -> str:
    """`starttls` or `tls` where a document says only that the connection is encrypted: by the port's own habit (RFC 8314)."""
    return "starttls" if (port or "").strip() in ("25", "587", "143", "110") else "tls"


_OUTCOMES: dict[str, Outcome] = {
    "dns.no-record": "absent",
    "connect.timeout": "unreachable",
    "connect.refused": "unreachable",
    "connect.unreachable": "unreachable",
    "discover.document-refused": "refused",
}


def unanswered(source: str, place: str, error: Stopped, hops: tuple[str, ...] = ()) -> Answer:
    """The Answer of a question that came to nothing."""
    return Answer(source, place, _OUTCOMES.get(error.trouble.id, "failed"), error.trouble.text, hops)
