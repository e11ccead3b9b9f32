"""What each kind of stage may show: every key of the JSON's `facts` is a field here, with its type, unit and source.

Observe fills the fields, judge and output read them; the JSON Schema of a run and docs/reference/facts.md are made from them. A
field that was not seen holds None, () or {}; facts of which nothing was seen are `{}` in JSON.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, fields
from datetime import datetime
from typing import Any, Protocol, TypeVar

from probe.facts.parts import (
    Answered,
    ArcSeen,
    Attempt,
    Collected,
    CommandReply,
    Difference,
    HopSeen,
    Leftover,
    Link,
    Lookup,
    Nodes,
    Quota,
    ResultSeen,
    Returned,
    SignatureSeen,
    SpamSeen,
    TlsaAnswer,
)
from probe.plain import dataclass


def one(what: str) -> Any:
    """A single value; None until it is seen."""
    return field(default=None, metadata={"what": what})


def some(what: str) -> Any:
    """Several values in order; () until they are seen."""
    return field(default=(), metadata={"what": what})


def named(what: str) -> Any:
    """Values by name; {} until they are seen."""
    return field(default_factory=dict, metadata={"what": what})


def instant(text: object) -> float | None:
    """Seconds since 1970 of an RFC 3339 instant, None when it is none."""
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) and text.endswith("Z") else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a stage of one kind showed. A reader with stages of its own derives its own kinds."""


F = TypeVar("F", bound=Facts)


# -- one kind a stage ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Resolved(Facts):
    """`smtp.resolve`: the name look-up."""

    name: str | None = one("host name that was looked up")
    source: str | None = one("`system` (the system's resolver) or `literal` (the host is an address)")
    addresses: Sequence[str] = some("IP addresses, in the order they are dialled")
    resolvers: Mapping[str, Lookup] = named("by the name the profile gives it, what each resolver of `[dns.resolvers]` answered")
    reader_hosts: Mapping[str, Mapping[str, Lookup]] = named("the same of each other host name that a reader has, by that name")


@dataclass(frozen=True, slots=True)
class Connected(Facts):
    """`smtp.connect`, `imap.connect`, `pop3.connect`: TCP; of a reader that is not spoken to in TLS at once, its greeting too."""

    attempts: Sequence[Attempt] = some("every address that was dialled")
    addresses_left_out: int | None = one("how many addresses more the name has than are dialled")
    remote: str | None = one("the server's address and port")
    local: str | None = one("our own address and port")
    greeting: str | None = one("the reader's greeting")
    node: str | None = one("the server's name as Exchange's greeting encodes it")
    nodes: Nodes | None = one("where every address was probed (`--every-address`): what each node showed")


@dataclass(frozen=True, slots=True)
class Greeted(Facts):
    """`smtp.greeting` (RFC 5321 section 4.2)."""

    lines: Sequence[str] = some("the reply's lines, as they came")
    code: int | None = one("the reply code")
    name: str | None = one("the name by which the server calls itself")


@dataclass(frozen=True, slots=True)
class Ehlo(Facts):
    """`smtp.ehlo` (in clear) and `smtp.ehlo_tls` (after TLS), RFC 5321 section 4.1.1.1."""

    lines: Sequence[str] = some("the reply's lines, as they came")
    code: int | None = one("the reply code")
    name: str | None = one("the name by which the server calls itself")
    keywords: Mapping[str, Sequence[str]] = named("by keyword, upper case, its parameters")
    mechanisms: Sequence[str] = some("SASL mechanisms of the AUTH keyword (RFC 4954)")
    differs: Difference | None = one("after TLS: lines that differ from the EHLO in clear")


@dataclass(frozen=True, slots=True)
class Secured(Facts):
    """`smtp.starttls`, `imap.tls`, `pop3.tls`: the TLS handshake and what led to it."""

    implicit: bool | None = one("whether TLS begins with the connection (RFC 8314), not by STARTTLS or STLS")
    capabilities: Sequence[str] = some("capabilities that a reader listed in clear")
    reply: Sequence[str] | str | None = one("the answer to STARTTLS or STLS: lines over SMTP, else one line")
    version: str | None = one("TLS version, such as `TLSv1.3`")
    cipher: str | None = one("cipher suite, by OpenSSL's name")
    bits: int | None = one("secret bits of the cipher")
    alpn: str | None = one("application protocol that was agreed on (RFC 7301)")
    group: str | None = one("key-exchange group, such as `X25519MLKEM768`; null before CPython 3.15, which first shows it")
    post_quantum: bool | None = one("whether that group is a hybrid with ML-KEM; null where the group is not known")
    minimum_version: str | None = one("lowest version that the profile accepts")
    sni: str | None = one("server name that was sent (RFC 6066), null for an address")
    greeting: str | None = one("the greeting, where it comes after implicit TLS")
    node: str | None = one("the server's name as Exchange's greeting encodes it")


@dataclass(frozen=True, slots=True)
class Certified(Facts):
    """`smtp.certificate`, `imap.certificate`, `pop3.certificate`: the chain, and what OpenSSL and our own reading say of it."""

    trusted: bool | None = one("whether the chain leads to a trusted root and holds today; the name is judged apart")
    openssl_code: int | None = one("X509_V_ERR_… code, 0 for none; null where OpenSSL did not verify")
    openssl_text: str | None = one("OpenSSL's words for it")
    name_checked: str | None = one("the host name that a client asks for")
    name_matches: bool | None = one("whether a name of the leaf matches it (RFC 9525)")
    name_reasons: Sequence[str] = some("of each name that does not match, why")
    thumbprint: str | None = one("SHA-1 of the leaf, as Exchange and Windows print it")
    sha256: str | None = one("SHA-256 of the leaf")
    not_before: str | None = one("from when the leaf holds, RFC 3339 UTC")
    not_after: str | None = one("until when the leaf holds, RFC 3339 UTC")
    subject_names: Sequence[str] = some("DNS names and IP addresses of the leaf's subjectAltName")
    certificate_name: str | None = one("`<I>issuer<S>subject`, as Exchange's TlsCertificateName has it")
    scts: int | None = one("signed certificate timestamps in the leaf (RFC 6962)")
    checked_at: str | None = one("when dates were compared, RFC 3339 UTC")
    chain: Sequence[Link] = some("the certificates as they were sent, leaf first")
    chain_der: Sequence[str] = some("the same in DER, base64")
    trust_store: str | None = one("which roots were trusted")
    roots_named_alike: Sequence[str] = some("SHA-256 of trusted roots that have the missing issuer's name, and did not sign")
    verified_path: Sequence[str] = some("SHA-256 of each certificate on the path that OpenSSL verified, leaf to root")
    tlsa: Mapping[str, TlsaAnswer] = named(
        "by resolver (its name in `[dns.resolvers]`, or `system`), the port's TLSA records, where asked"
    )
    tlsa_right: str | None = one("the TLSA record that stands for this server, such as `3 1 1 …`, where asked")
    accepted_by: str | None = one("why a secret may be sent: `verified`, `thumbprint` or `trust-any-certificate`; null: it may not")

    @property
    def days_left(self) -> float | None:
        """Days the leaf was still valid when it was looked at; None where either instant is missing, or is none."""
        ends, looked = instant(self.not_after), instant(self.checked_at)
        return None if ends is None or looked is None else (ends - looked) / 86400

    @property
    def lifetime(self) -> float | None:
        """Seconds from the leaf's first instant to its last."""
        begins, ends = instant(self.not_before), instant(self.not_after)
        return None if begins is None or ends is None else ends - begins


@dataclass(frozen=True, slots=True)
class LoggedOn(Facts):
    """`smtp.auth`, `imap.login`, `pop3.login`, and `….NAME` for each further mechanism."""

    capabilities: Sequence[str] = some("a reader's capabilities before the logon")
    greeting: str | None = one("the greeting, where it was read in this stage (implicit TLS over IMAP4)")
    node: str | None = one("the server's name as Exchange's greeting encodes it")
    offered: Sequence[str] = some("SASL mechanisms that the server offers")
    mechanism: str | None = one("the mechanism or command used; null where none could be")
    alternatives: Sequence[str] = some("other mechanisms that would have served")
    attempts: int | None = one("logons tried: 0 or 1")
    username: str | None = one("who logs on")
    secret_allowed_by: str | None = one("why the secret may be sent over this connection; null: it may not")
    token: Mapping[str, object] | None = one("what an access token says of itself (RFC 7519), never the token")
    reply: Sequence[str] | str | None = one("the last answer: lines over SMTP, else one line")
    enhanced: str | None = one("its enhanced status code (RFC 3463)")
    reason: Mapping[str, object] | None = one("what a server says in JSON of a refused token (RFC 7628)")
    asked_for: Mapping[str, object] = named("what the mechanism's challenge asks for: SCRAM's hash and iterations")
    refusal_stored: bool | None = one("false where a refusal could not be stored for later runs; else null")
    server_proven: bool | None = one("whether the server proved that it knows the password (SCRAM); null: nothing to prove")
    capabilities_after: Sequence[str] = some("IMAP4 capabilities after the logon")
    id_sent: str | None = one("the IMAP4 ID command, as it was sent (RFC 2971); null where none was")
    folders: Sequence[str] = some("mailboxes to look into that exist")
    messages: int | None = one("IMAP4: messages in the first mailbox before this run's")
    quota: Mapping[str, Quota] = named("IMAP4: what the quota limits (RFC 9208), such as `STORAGE` (in 1024 octets) and `MESSAGE`")
    folders_missing: Sequence[str] = some("mailboxes of the profile that do not exist")


@dataclass(frozen=True, slots=True)
class Submitted(Facts):
    """`smtp.submit`: MAIL, RCPT, DATA and the message."""

    marker: str | None = one("the marker by which the message is found")
    octets: int | None = one("the message's size in octets")
    size_limit: int | None = one(
        "the largest message that the server says it takes, in octets (SIZE, RFC 1870); null: it does not say"
    )
    limits: Mapping[str, int] = named("what LIMITS gives (RFC 9422), such as `RCPTMAX`, `MAILMAX` and `RCPTDOMAINMAX`")
    pipelined: bool | None = one("whether the commands were sent in one flight (RFC 2920)")
    replies: Sequence[CommandReply] = some("each command with its reply")
    reply: Sequence[str] = some("lines of the final reply")
    enhanced: str | None = one("its enhanced status code (RFC 3463)")
    queue_id: str | None = one("the queue id in it, as Postfix, Exim and others give it")
    hostname: str | None = one("the server's name in it (Exchange)")
    remembered: bool | None = one("false where no trace of the message could be kept for later runs; else null")


@dataclass(frozen=True, slots=True)
class Found(Facts):
    """`imap.find`, `pop3.find`: the message was looked for."""

    folder: str | None = one("where it was found; null: nowhere")
    looks: int | None = one("how often the mailbox was looked into")
    folders: Sequence[str] = some("IMAP4 mailboxes looked into, in this order")
    uid: int | None = one("its IMAP4 UID")
    number: int | None = one("its POP3 message number")
    seconds: float | None = one("seconds from the final reply until it was first seen")
    copies: int | None = one("how many copies of it arrived")
    logons: int | None = one("POP3 sessions it took: each shows the maildrop of its own begin")
    ours: int | None = one("how many earlier messages of this installation lay among those that were looked at; null: none were")
    report: Returned | None = one("what a report says of it that came instead, or before it; null: none came")
    leftovers: Sequence[Leftover] = some("those of this profile, older than its time-out: deleted, or tried to be")


@dataclass(frozen=True, slots=True)
class Swept(Facts):
    """`imap.find`, `pop3.find` of `sweep` and `--collect`: markers of this installation's messages by what became of them."""

    deleted: Sequence[str] = some("found and deleted")
    kept: Sequence[str] = some("found, and still there")
    too_young: Sequence[str] = some("found, and younger than was asked for")
    left: Sequence[str] = some("found, and left to the run that may be under way, or to the profile that sent them")
    foreign: int | None = one("how many messages carry a marker and are not proven to be ours")
    stumbled: int | None = one("how many messages could not be read for an error of our own")
    delays: Mapping[str, float] = named("by marker, seconds on the way by the servers' stamps")
    folders: Sequence[str] = some("`--collect`: mailboxes looked into, in this order")
    messages: Sequence[Collected] = some("`--collect`: each message that was awaited and found")
    returned: Mapping[str, str] = named("`--collect`: by marker, why a report says that it will not be delivered")
    sent: int | None = one("`--collect`: how many messages were awaited")
    waiting: Sequence[str] = some("sent, not found yet")
    ages: Mapping[str, float] = named("by marker, seconds since a message was sent that is not found yet")
    lost: Sequence[str] = some("sent, not found within `limits.lost_after`")
    recovered: Sequence[str] = some("found after they had been given up as lost")


@dataclass(frozen=True, slots=True)
class Verified(Facts):
    """`imap.verify`, `pop3.verify`: what became of the message on its way."""

    ours: bool | None = one("whether the proof holds")
    proven_by: str | None = one("`header` or `text`")
    text: str | None = one("`intact`, `rewrapped`, `added-to`, `html-only` or `changed`")
    enclosed: bool | None = one("whether a filter wrapped it as an attachment")
    subject: str | None = one("`intact`, `tagged` or `replaced`")
    subject_changed: bool | None = one("whether the Subject is another than was sent")
    message_id_changed: bool | None = one("whether the Message-ID is another than was sent")
    sender_rewritten: str | None = one("the field that names another sender than was sent, and whom; null: none")
    link_rewritten: str | None = one(
        "what the text has in place of the link that was sent (`message.link`); empty: it is gone; null: the same, or none was sent"
    )
    hops: Sequence[HopSeen] = some("its way, from the Received fields, oldest first")
    octets: int | None = one("its size as read, in octets")
    filling: str | None = one("of a message of a chosen size, its attachment: `intact`, `cut`, `changed` or `missing`; else null")
    filling_same: int | None = one("how many octets of that attachment, decoded, are as they were sent")
    folder: str | None = one("where it was read")
    evidence: str | None = one("`whole`, or what of the message was not read, and why; null where nobody looked")
    author: str | None = one("domain of its From field")
    signatures: Sequence[SignatureSeen] = some("its DKIM signatures, from the top")
    arc: ArcSeen | None = one("its ARC chain; null: none")
    authentication: Sequence[ResultSeen] = some(
        "what the receiving side wrote of SPF, DKIM, DMARC and ARC, and what is not its word"
    )
    spam: Sequence[SpamSeen] = some("what filters wrote of it, one verdict each")

    def said_of(self, method: str) -> ResultSeen | None:
        """The receiving side's result of a method (`spf`, `dkim`, `dmarc`, `arc`); None where it wrote none that counts."""
        return next((one for one in self.authentication if one["method"] == method and one["ignored"] is None), None)


@dataclass(frozen=True, slots=True)
class Deleted(Facts):
    """`imap.delete`, `pop3.delete`."""

    uids: str | None = one("IMAP4: the UIDs expunged")
    folder: str | None = one("IMAP4: the mailbox they were in")
    left: int | None = one("IMAP4 without UIDPLUS: how many messages of ours stay")
    numbers: Sequence[int] = some("POP3: the message numbers deleted")


@dataclass(frozen=True, slots=True)
class Published(Facts):
    """`discover.*`: what one source says of a domain's servers."""

    answers: Sequence[Answered] = some("each answer of the source: its servers, or why there is none")


@dataclass(frozen=True, slots=True)
class Tried(Facts):
    """`discover.verify`: the published servers, tried."""

    servers: Sequence[Mapping[str, object]] = some("each server, who names it, and what became of it")
    left_out: int | None = one("how many servers more are published than were tried")


@dataclass(frozen=True, slots=True)
class Other(Facts):
    """A stage that this version does not know (of another version's run)."""

    keys: Mapping[str, object] = named("whatever it showed")


# By a stage's step, the word behind its leg: `smtp.auth.ntlm` is an `auth`.
KINDS: Mapping[str, type[Facts]] = {
    "resolve": Resolved,
    "connect": Connected,
    "greeting": Greeted,
    "ehlo": Ehlo,
    "ehlo_tls": Ehlo,
    "starttls": Secured,
    "tls": Secured,
    "certificate": Certified,
    "auth": LoggedOn,
    "login": LoggedOn,
    "submit": Submitted,
    "find": Found,
    "verify": Verified,
    "delete": Deleted,
}


def trusts_this_machine(local: str | None, remote: str | None, greeting: str) -> bool:
    """Whether this is a Dovecot on the machine that probes it: a peer of its own address counts as secured there, so that what it
    offers in clear says nothing about other peers. `local`, `remote`: address and port."""
    here, there = ((place or "").rpartition(":")[0] for place in (local, remote))
    return bool(here) and here == there and "Dovecot" in greeting


class Seen(Protocol):
    """`seen` of a record or of a report: a stage's facts, with nothing in them when the stage did not take place."""

    def __call__(self, name: str, kind: type[F], /) -> F: ...


def greetings(seen: Seen, leg: str) -> Iterator[str]:
    """Every greeting line that a leg showed, wherever it came; `seen` is that of a record or a report."""
    if leg == "smtp":
        yield from seen("smtp.greeting", Greeted).lines
        return
    connected, secured = seen(f"{leg}.connect", Connected), seen(f"{leg}.tls", Secured)
    for line in (connected.greeting, secured.greeting, seen(f"{leg}.login", LoggedOn).greeting):
        if line:
            yield line


def kind_of(stage: str, keys: Mapping[str, object]) -> type[Facts]:
    """The kind of facts of a stage, by its name; a sweep's `find` is known by its keys."""
    leg, _, rest = stage.partition(".")
    step = rest.partition(".")[0]
    if leg == "discover":
        return Tried if step == "verify" else Published
    if step == "find" and "foreign" in keys:
        return Swept
    return KINDS.get(step, Other)


def to_json(facts: Facts | None) -> dict[str, object]:
    """Facts as JSON-able plain data; empty where nothing was seen."""
    if facts is None or facts == type(facts)():
        return {}
    if isinstance(facts, Other):
        return dict(facts.keys)
    return {item.name: getattr(facts, item.name) for item in fields(facts)}


def from_json(stage: str, keys: Mapping[str, object]) -> Facts | None:
    """Facts of that stage from `to_json`'s data; keys that this version does not know are passed over."""
    if not keys:
        return None
    kind = kind_of(stage, keys)
    return Other(dict(keys)) if kind is Other else rebuilt(kind, keys)


def rebuilt(kind: type[F], keys: Mapping[str, object]) -> F:
    """Facts of a kind from those of these keys that it has; a null where several values belong counts as not seen."""
    known = {item.name: item for item in fields(kind)}
    return kind(**{key: value for key, value in keys.items() if key in known and (value is not None or known[key].default is None)})
