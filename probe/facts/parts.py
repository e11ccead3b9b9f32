"""What facts are made of where one value has several parts: each table within `facts` of the JSON."""

from collections.abc import Mapping
from typing import NotRequired, TypedDict


class Lookup(TypedDict):
    """What one name server answered: `ttl` in seconds; `error` is `no-record` or `failed`, null where addresses came."""

    server: str
    addresses: list[str]
    cnames: list[str]
    ttl: int | None
    error: str | None
    text: str


class TlsaRecord(TypedDict):
    """One TLSA record (RFC 6698 section 2.1): `data` in hex; `mismatch` why it is not this server's, null where it is."""

    usage: int
    selector: int
    matching_type: int
    data: str
    mismatch: str | None


class TlsaAnswer(TypedDict):
    """What one name server answered for `name`. `authenticated`: it vouches for the records by DNSSEC (AD); `signed`: signatures
    came with them; `left_out`: how many records more there are; `error` is `no-record` or `failed`, null where records came."""

    server: str
    name: str
    authenticated: bool | None
    signed: bool | None
    records: list[TlsaRecord]
    left_out: int
    error: str | None
    text: str


class Attempt(TypedDict):
    """One address that was dialled: `seconds` until the connection stood, null where it never did."""

    address: str
    seconds: float | None
    error: str | None


class Node(TypedDict):
    """What one node of several showed; null what it did not show. `ehlo`: keywords after TLS; `chain`: subjects, leaf first;
    `failed_stage`: the first stage that failed there, null where none did."""

    address: str | None
    node: str | None
    ehlo: list[str] | None
    tls: str | None
    thumbprint: str | None
    chain: list[str] | None
    failed_stage: NotRequired[str | None]


class Offered(TypedDict):
    """One server as published. `protocol` smtp, imap or pop3; `security` as in a profile; `scope` external, internal or any."""

    protocol: str
    host: str
    port: int
    security: str
    scope: str
    username: str | None


class Answered(TypedDict):
    """What one source answered: `place` the DNS name or URL asked, `hops` where it was redirected to, `declined` the protocols that
    it says are not offered."""

    source: str
    place: str
    outcome: str
    text: str
    hops: list[str]
    told: list[Offered]
    declined: list[str]
    username_sent: bool


class Nodes(TypedDict):
    """All nodes of a target: `this` is the index of the report's own in `seen`; `usual` what most of them show."""

    this: int
    usual: Mapping[str, object]
    seen: list[Node]


class Difference(TypedDict):
    """EHLO lines that TLS made disappear and appear, without code."""

    removed: list[str]
    added: list[str]


class CommandReply(TypedDict):
    """One command and its reply lines. `seconds` since the flight left: pipelined replies overlap."""

    command: str
    reply: list[str]
    seconds: float


class Quota(TypedDict):
    """One resource of the mailbox's quota, in the unit of that resource."""

    used: int
    limit: int


class HopSeen(TypedDict):
    """One Received field, oldest first: `at` RFC 3339 UTC; `seconds` since the hop before, negative where clocks disagree;
    `exchange` the build of the Exchange server that wrote it (`15.2.1748.10`). `source` and `address`: name and IP address of whom
    it had the message from; `protocol` as RFC 3848 names it (`ESMTPSA`, `LMTP`); `tls` the version, `cipher` its name;
    `transport`: `tls`, `none` (over a network, without TLS) or `local` (within one machine, or into its own mailbox store). Each of
    these only where the field says it."""

    by: str
    at: str | None
    seconds: float | None
    exchange: NotRequired[str]
    source: NotRequired[str]
    address: NotRequired[str]
    protocol: NotRequired[str]
    tls: NotRequired[str]
    cipher: NotRequired[str]
    transport: NotRequired[str]


class Returned(TypedDict):
    """A report about the message (RFC 3464): `action` failed, delayed, delivered, relayed or expanded; `status` the enhanced
    status code; `diagnostic` the refusing server's words; `recipient` for whom; `reporting` who wrote it; `remote` who refused it;
    `arrived` when `reporting` had taken it, as it writes dates. Empty where it does not say."""

    action: str
    status: str
    diagnostic: str
    recipient: str
    reporting: str
    remote: str
    arrived: str


class SignatureSeen(TypedDict):
    """One DKIM-Signature field, from the top: `domain` (d=), `selector` (s=), `algorithm` (a=), as it says of itself. `result`:
    `pass`, `fail`, or `unknown` where it could not be looked at, with `why` in words; `aligned` with From's domain: `strict`,
    `relaxed`, `no` or `unknown` (which of two domains is an organisation's takes a list that the probe has not). `testing`: the
    key record says t=y. `expires` RFC 3339 UTC; `covers`: octets of the body that are signed (l=), null for all; `resolver`: who
    had the key."""

    domain: str
    selector: str
    algorithm: str
    key_bits: int | None
    result: str
    why: str | None
    aligned: str | None
    testing: bool
    expires: str | None
    covers: int | None
    resolver: str | None


class ArcSeen(TypedDict):
    """The chain of ARC sets (RFC 8617): how many, who sealed them (oldest first), whether it holds (`pass`, `fail`, `unknown`)."""

    sets: int
    sealers: list[str]
    result: str
    why: str | None


class ResultSeen(TypedDict):
    """One result of an Authentication-Results field (RFC 8601), from the top: `by` the authserv-id, empty where none was written;
    `about` the domain it is about; `ignored`: why it does not count, null where it does; `instance` of an ARC set, null else."""

    by: str
    method: str
    result: str
    about: str
    reason: str
    ignored: str | None
    instance: int | None


class SpamSeen(TypedDict):
    """One filter's verdict, in its own unit: `score` and `threshold` (from which on it is spam), null where it wrote none;
    `tests` the names of its rules."""

    by: str
    field: str
    score: float | None
    threshold: float | None
    spam: bool | None
    tests: list[str]


class Collected(TypedDict):
    """A message of an earlier run, as a later one found it: `seconds` on the way by the servers' stamps, null where they say
    nothing; `copies`: how many of it lay in that reader's folders; the rest as the verify stage has it."""

    marker: str
    folder: str
    copies: int
    seconds: float | None
    proven_by: str | None
    text: str
    enclosed: bool
    subject: str
    message_id_changed: bool
    sender_rewritten: str | None
    link_rewritten: str | None
    hops: list[HopSeen]
    evidence: NotRequired[str]
    author: NotRequired[str]
    signatures: NotRequired[list[SignatureSeen]]
    arc: NotRequired[ArcSeen | None]
    authentication: NotRequired[list[ResultSeen]]
    spam: NotRequired[list[SpamSeen]]


class Leftover(TypedDict):
    """A message of an earlier run, as a later run found it: `sent` RFC 3339 UTC, as the proof signs it; `seconds` on the way by the
    servers' stamps, null where they say nothing; `run` the id of the run that sent it and `ended` how that had ended (`missing`: it
    was looked for in vain; `read`: it was read, so that this is a second copy, or could not be deleted), null where not known."""

    marker: str
    folder: str | None
    sent: str
    seconds: float | None
    run: str | None
    ended: str | None
    deleted: bool


class Link(TypedDict, total=False):
    """One certificate as it was sent. One that cannot be read has `error`, and only its names and thumbprints beside it."""

    subject: str
    issuer: str
    serial: str
    not_before: str
    not_after: str
    sha1: str
    sha256: str
    key: str
    key_bits: int | None
    signature_hash: str | None
    dns_names: list[str]
    ip_addresses: list[str]
    common_names: list[str]
    has_san: bool
    ca: bool
    basic_constraints: bool
    self_issued: bool
    issuer_urls: list[str]
    key_usage: list[str] | None
    extended_key_usage: list[str] | None
    scts: int | None
    self_signed: bool
    signed_by_next: bool | None
    issuer_index: int | None
    issuers: list[int]
    unread_extensions: list[str]
    error: str
