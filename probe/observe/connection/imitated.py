"""A TLS handshake with another program's offer: its versions, suites, groups and signature algorithms, and nothing else of it.

The standard library sets ciphers and versions only: groups, signature algorithms and the suites of TLS 1.3 can be set from Python
3.15 on. So these handshakes are pyOpenSSL's (extra `clients`), over the recorded connection's octets. pyOpenSSL has no method of
its own for groups and signature algorithms; OpenSSL's functions (SSL_CTX_set1_groups_list(3), SSL_CTX_set1_sigalgs_list(3)) are
called through the binding that it is made of. The connection ends with the handshake: nothing is ever sent in it.
"""

import contextlib
import ssl
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from probe.clients import Offer
from probe.observe.connection.recorded import Connection
from probe.observe.connection.resolve import literal
from probe.observe.connection.trust import Trust, context_for
from probe.observe.trouble import Stopped, stop
from probe.plain import dataclass

if TYPE_CHECKING:
    from OpenSSL import SSL

# Of a handshake; above what any server sends (its certificates, at most 16 MiB by the protocol, are far below).
MOST_OCTETS = 256 * 1024


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a server chose from an offer: OpenSSL's names. `chain` is DER as sent."""

    version: str
    cipher: str
    group: str | None
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Imitation:
    """An offer as this OpenSSL can make it. `left_out` are the names of the offer that it does not have."""

    context: "SSL.Context"
    left_out: tuple[str, ...]


def is_possible() -> bool:
    """Whether pyOpenSSL is installed."""
    try:
        import OpenSSL.SSL  # noqa: F401
    except ImportError:
        return False
    return True


def openssl_version() -> str:
    """pyOpenSSL's library: cryptography's own, not the standard library's."""
    from OpenSSL import SSL

    return SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii", "backslashreplace")


@lru_cache(maxsize=64)
def imitation(offer: Offer) -> Imitation:
    """The offer as a context of OpenSSL's, without verification. Level 0, so that old versions and keys are taken."""
    from OpenSSL import SSL

    versions = {
        "TLSv1": SSL.TLS1_VERSION,
        "TLSv1.1": SSL.TLS1_1_VERSION,
        "TLSv1.2": SSL.TLS1_2_VERSION,
        "TLSv1.3": SSL.TLS1_3_VERSION,
    }
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(versions[offer.minimum])
    context.set_max_proto_version(versions[offer.maximum])
    context.set_cipher_list(":".join((*offer.ciphers, "@SECLEVEL=0")).encode())
    with contextlib.suppress(SSL.Error):  # none but TLS 1.3's is set by an empty list
        context.set_tls13_ciphersuites(":".join(offer.suites).encode())
    context.set_verify(SSL.VERIFY_NONE)
    raw, library = context._context, SSL._lib  # type: ignore[attr-defined]
    groups = _settable(offer.groups, lambda names: library.SSL_CTX_set1_curves_list(raw, names))
    signatures = _settable(offer.signatures, lambda names: library.SSL_CTX_set1_sigalgs_list(raw, names))
    library.ERR_clear_error()
    offered = set(SSL.Connection(context, None).get_cipher_list())
    missing = [name for name in (*offer.suites, *offer.ciphers) if name not in offered]
    return Imitation(context, (*missing, *groups, *signatures))


def _settable(names: Sequence[str], set_list: Callable[[bytes], int]) -> list[str]:
    """Set those that OpenSSL knows, in their order; the others are returned. One name that it does not know spoils a whole list."""
    known = [name for name in names if set_list(name.encode()) == 1]
    if known:
        set_list(":".join(known).encode())
    return [name for name in names if name not in known]


async def imitate(connection: Connection, offer: Offer, server_name: str) -> Agreed:
    """Do the handshake. Raises Stopped: `tls.handshake-failed` with the server's alert, and what `Connection.exchange` raises."""
    from OpenSSL import SSL

    tls = SSL.Connection(imitation(offer).context, None)
    tls.set_connect_state()
    if literal(server_name) is None:  # addresses are no server names (RFC 6066 section 3)
        tls.set_tlsext_host_name(server_name.encode())
    tried, received = "TLS handshake", 0
    while True:
        try:
            tls.do_handshake()
            break
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            await connection.exchange(_outgoing(tls), tried, wait=False)
            raise stop("tls.handshake-failed", f"{tried}: {_words(error)}") from None
        try:
            octets = await connection.exchange(_outgoing(tls), tried)
        except Stopped as error:
            if error.trouble.id != "connect.closed":
                raise
            # Windows (Schannel) may end a connection so where no cipher suite is shared (event 36874).
            raise stop("tls.handshake-failed", error.trouble.text) from None
        received += len(octets)
        if not octets:
            raise stop("tls.handshake-failed", f"{tried}: the server closed the connection")
        if received > MOST_OCTETS:
            raise stop("protocol.too-long", f"{tried}: more than {MOST_OCTETS} octets came")
        tls.bio_write(octets)
    await connection.exchange(_outgoing(tls), tried, wait=False)
    return _agreed(tls)


def _outgoing(tls: Any) -> bytes:
    from OpenSSL import SSL

    pieces = []
    with contextlib.suppress(SSL.WantReadError):
        while True:
            pieces.append(tls.bio_read(65_536))
    return b"".join(pieces)


def _words(error: Exception) -> str:
    """The last reason of OpenSSL's queue, such as `sslv3 alert handshake failure`."""
    reasons = [str(entry[-1]) for entry in (error.args[0] if error.args else []) if entry and entry[-1]]
    return reasons[-1] if reasons else "the server closed the connection"


def _agreed(tls: Any) -> Agreed:
    from cryptography.hazmat.primitives.serialization import Encoding

    chain = tls.get_peer_cert_chain(as_cryptography=True) or []
    return Agreed(
        version=tls.get_protocol_version_name(),
        cipher=tls.get_cipher_name() or "",
        group=tls.get_group_name() or None,
        chain=tuple(certificate.public_bytes(Encoding.DER) for certificate in chain),
    )


def why_not_trusted(chain: Sequence[bytes], trust: Trust) -> str:
    """OpenSSL's reason why this chain leads to no root of ours; empty where it does. The name is not looked at."""
    from cryptography import x509
    from OpenSSL import crypto

    if not chain:
        return "no certificate was sent"
    try:
        leaf, *others = (crypto.X509.from_cryptography(x509.load_der_x509_certificate(der)) for der in chain)
    except ValueError as error:
        return f"cannot be read: {error}"
    try:
        crypto.X509StoreContext(_store(trust), leaf, others).verify_certificate()
    except crypto.X509StoreContextError as error:
        return str(error)
    return ""


@lru_cache(maxsize=8)
def _store(trust: Trust) -> Any:
    """Our trust as pyOpenSSL's store: the roots that the standard library's context holds, and the folder that it would look in."""
    from cryptography import x509
    from OpenSSL import crypto

    store = crypto.X509Store()
    for der in context_for(trust).get_ca_certs(binary_form=True):
        # One that cannot be read takes nothing from the others.
        with contextlib.suppress(ValueError, crypto.Error):
            store.add_cert(crypto.X509.from_cryptography(x509.load_der_x509_certificate(der)))
    paths = ssl.get_default_verify_paths()
    if trust.ca_file is None and (paths.cafile or paths.capath):
        store.load_locations(paths.cafile, paths.capath)
    return store
