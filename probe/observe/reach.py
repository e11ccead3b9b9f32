"""The steps that every leg shares: address, TCP, TLS, certificate, and which connection may carry a secret."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from probe.facts import Certified, Connected, LoggedOn, Secured
from probe.facts.parts import Attempt as Dialled
from probe.observe.certified import certified
from probe.observe.connection import (
    Address,
    Attempt,
    Connection,
    Dialling,
    Handshake,
    Proxy,
    Resolution,
    Trust,
    dial,
    dial_through,
    resolve,
)
from probe.observe.connection.resolve import literal
from probe.observe.gate import Permission, certificate_allows, may_send_secret
from probe.observe.job import Job, Side
from probe.observe.journal import Journal, Stage
from probe.observe.trouble import Stopped, stop
from probe.record import Trouble


class Talk(Protocol):
    """A conversation over a recorded connection."""

    @property
    def connection(self) -> Connection: ...

    async def close(self) -> None: ...


T = TypeVar("T", bound=Talk)


async def addresses(job: Job, side: Side) -> Resolution:
    """The addresses to dial: the profile's `connect` entries, else what the resolver says; asked once a run. Through a proxy the
    names as they are, which it looks up.

    Raises Stopped with a `dns.*` trouble.
    """
    if side.proxy is not None:
        nodes = (split_node(entry, side.port) for entry in side.connect or (_written(side.host),))
        return Resolution(tuple(Address(host, port) for host, port in nodes))
    if side.connect:
        found = [await _node(job, entry, side) for entry in side.connect]
        return Resolution(tuple(address for resolution in found for address in resolution.addresses))
    return await _resolved(job, side.host, side.port, side.family)


async def _node(job: Job, entry: str, side: Side) -> Resolution:
    host, port = split_node(entry, side.port)
    return await _resolved(job, host, port, side.family)


async def _resolved(job: Job, host: str, port: int, family: str) -> Resolution:
    address = literal(host)
    if address is not None:
        return Resolution((Address(address, port),))
    key = (host, port, family)
    if key not in job.resolved:
        # Stored before it is awaited, so that two legs that want the same name ask once.
        job.resolved[key] = asyncio.ensure_future(resolve(host, port, family))
    try:
        async with job.deadline.limit():
            return await asyncio.shield(job.resolved[key])
    except TimeoutError:
        raise stop("dns.failed", f"look up {host}: no answer in time") from None


def split_node(entry: str, port: int) -> tuple[str, int]:
    """`HOST`, `HOST:PORT`, `[V6]:PORT` or a bare IPv6 address → (host, port)."""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host, int(rest[1:]) if rest.startswith(":") else port
    host, colon, digits = entry.rpartition(":")
    if not colon or ":" in host:
        return entry, port
    return host, int(digits)


async def connect(job: Job, journal: Journal, side: Side, stage: Stage[Connected]) -> Connection:
    """TCP to the first address that answers; the stage gets endpoints and every attempt."""
    loop = asyncio.get_running_loop()
    await job.pace.turn()
    resolution = await addresses(job, side)
    until = loop.time() + job.conduct.per_connection
    attempts: list[Attempt] = []
    try:
        wanted = _wanted(resolution.addresses, side)
        if side.proxy is None:
            sock, address = await dial(wanted, job.deadline.until(until), attempts)
        else:
            sock, address = await _through(job, side.proxy, wanted, until, attempts)
    finally:
        dialled = [_dialled(attempt) for attempt in attempts]
        stage.facts = replace(stage.facts, attempts=dialled, addresses_left_out=resolution.left_out)
    connection = Connection(sock, address, name=side.leg, journal=journal, deadline=job.deadline, until=until, pace=job.pace)
    stage.facts = replace(stage.facts, remote=str(address), local=connection.local)
    way = f" through the proxy {side.proxy.place}, which looks names up itself" if side.proxy else ""
    connection.note(f"connected to {address}{way}")
    return connection


def _written(host: str) -> str:
    """A host as `connect` has it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


async def _through(job: Job, proxy: Proxy, wanted: Sequence[Address], until: float, attempts: list[Attempt]) -> Dialling:
    try:
        found = await _resolved(job, proxy.host, proxy.port, "any")
    except Stopped as error:
        raise stop("proxy.unreachable", f"the proxy {proxy.place}: {error.trouble.text}", error.trouble.evidence) from None
    return await dial_through(proxy, found.addresses, wanted, job.deadline.until(until), attempts)


def _wanted(addresses: tuple[Address, ...], side: Side) -> tuple[Address, ...]:
    """All of them, or the one this run is for; where a reader has no such address, all of its own."""
    return tuple(address for address in addresses if side.only in (address.ip, str(address))) or addresses


def _dialled(attempt: Attempt) -> Dialled:
    seconds = None if attempt.seconds is None else round(attempt.seconds, 6)
    return {
        "address": str(attempt.address),
        "seconds": seconds,
        "error": attempt.trouble.text if attempt.trouble else None,
    }


def trust_of(side: Side, *, verified: bool = True) -> Trust:
    """Whom to trust at that server, and who we are there."""
    return Trust(
        side.ca_file, side.minimum_version, verified, client_certificate=side.client_certificate, client_key=side.client_key
    )


async def shake_hands(connection: Connection, side: Side, stage: Stage[Secured], *, verified: bool) -> Handshake:
    """The TLS handshake; the stage gets its facts. A certificate that fails is the next stage's business."""
    handshake = await connection.start_tls(trust_of(side, verified=verified), side.host)
    stage.facts = replace(
        stage.facts,
        version=handshake.version,
        cipher=handshake.cipher,
        bits=handshake.bits,
        alpn=handshake.alpn,
        group=handshake.group,
        post_quantum="MLKEM" in handshake.group.upper().replace("-", "") if handshake.group else None,
        minimum_version=side.minimum_version,
        sni=handshake.server_name if handshake.sni_sent else None,
    )
    connection.note(f"TLS handshake: {handshake.version or '?'} {handshake.cipher or '?'}, {handshake.openssl_text}")
    return handshake


def refuse_injected(connection: Connection, reply: str) -> None:
    """Octets behind the go-ahead, however few, were written by somebody who is not in the TLS session.

    What came in clear is not to be relied on (RFC 3207 section 4.2); servers had the same fault with commands (CVE-2011-0411).
    """
    unread = connection.unread()
    if unread:
        shown = connection.brief(unread)
        connection.note(f"{len(unread)} octets came behind the go-ahead", repr(shown))
        raise stop(
            "starttls.injected-reply",
            f"STARTTLS: {len(unread)} octets came in clear behind the reply {reply!r}: somebody may be injecting replies",
            shown,
        )


async def certify(job: Job, journal: Journal, side: Side, connection: Connection) -> None:
    """Stage `*.certificate`: record the chain, and go on only where the gate would let a secret pass.

    Raises Stopped when it would not.
    """
    handshake = connection.handshake
    assert handshake is not None
    job.chains.setdefault(side.leg, handshake.chain)
    name = f"{side.leg}.certificate"
    async with journal.stage(name, f"check the certificate of {side.host}", Certified()) as stage:
        seen = certified(
            handshake.chain,
            host=side.host,
            openssl_code=handshake.openssl_code,
            openssl_text=handshake.openssl_text,
            verified_path=handshake.verified_path,
            roots=handshake.roots,
            now=job.utc_now(),
        )
        stage.facts = replace(seen, trust_store=handshake.trust_store)
        matches = bool(stage.facts.name_matches)
        permission = certificate_allows(handshake, side.policy, name_matches=matches)
        stage.facts = replace(stage.facts, accepted_by=permission.by if permission.granted else None)
        if not permission.granted:
            why = permission.by if handshake.verified and matches else _why(handshake, matches)
            stage.refuse(f"certificate not accepted for {side.host}: {why}")
    if not permission.granted:
        raise Stopped(Trouble("certificate.not-accepted", f"{name} failed"))


def ask_gate(journal: Journal, side: Side, connection: Connection) -> Permission:
    """What the gate says of a secret on this connection."""
    matches = bool(journal.seen(f"{side.leg}.certificate", Certified).name_matches)
    return may_send_secret(connection, side.policy, name_matches=matches)


def pass_gate(permission: Permission, side: Side, stage: Stage[LoggedOn]) -> None:
    """Before a secret is sent; the stage says on what ground it is. Raises Stopped when the gate says no."""
    stage.facts = replace(stage.facts, secret_allowed_by=permission.by if permission.granted else None)
    if permission.granted and side.suspended:
        raise stop("auth.suspended", side.suspended)
    if not permission.granted:
        raise stop("auth.withheld", f"the password was not sent: {permission.by}")


def _why(handshake: Handshake, matches: bool) -> str:
    if handshake.openssl_code:
        return handshake.openssl_text
    return "its names do not match" if not matches else handshake.openssl_text


async def secured(approach: Callable[[bool], Awaitable[T]]) -> T:
    """Carry a conversation past its handshake: `approach(verified)` connects, talks, and certifies.

    OpenSSL ends a handshake whose certificate it refuses. Where the profile accepts that certificate all the same (pin,
    trust_any_certificate), a second connection is made without verification, and it must show the same leaf.
    """
    talk = await approach(True)
    first = talk.connection.handshake
    if first is None or first.complete:
        return talk
    talk.connection.note("certificate not verified, but accepted by the profile: connecting once more")
    await talk.close()
    talk = await approach(False)
    second = talk.connection.handshake
    if second is None or second.chain[:1] != first.chain[:1]:
        await talk.close()
        raise stop("certificate.changed", "the server showed another certificate on the second connection")
    return talk
