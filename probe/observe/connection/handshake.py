"""What a TLS handshake showed: version, cipher, the certificates as they were sent, and OpenSSL's verdict."""

import ssl
from collections.abc import Sequence
from typing import Any

from probe.observe.connection.resolve import literal
from probe.observe.connection.trust import Trust, store
from probe.plain import dataclass


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a TLS handshake showed. `chain` is DER as sent; `openssl_code` 0 when OpenSSL accepted chain and name."""

    version: str | None
    cipher: str | None
    server_name: str
    sni_sent: bool
    chain: tuple[bytes, ...]
    verified: bool
    openssl_code: int | None
    openssl_text: str
    # The cipher's secret bits; the application protocol agreed on (ALPN), as a rule none.
    bits: int | None = None
    alpn: str | None = None
    # The key-exchange group, where Python says it (from 3.15 on).
    group: str | None = None
    # Whom we trust: the profile's ca_file, or the system's store.
    trust_store: str | None = None
    # DER, leaf to root: what OpenSSL built from the chain and the store; empty where it accepted nothing.
    verified_path: tuple[bytes, ...] = ()
    # DER: the roots that were trusted, where OpenSSL refused the chain, but for those that it looks up by name in a folder.
    roots: tuple[bytes, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether there is a TLS session to go on in: OpenSSL ends a handshake whose certificate it refuses."""
        return self.openssl_code in (0, None)


def seen_in(tls: ssl.SSLObject, server_name: str, trust: Trust, error: ssl.SSLCertVerificationError | None) -> Handshake:
    """What a handshake showed, whether it went well or OpenSSL ended it with this error."""
    cipher = tls.cipher()
    return Handshake(
        # version() is None until a handshake is complete; the cipher is known from the ServerHello on.
        version=cipher[1] if error and cipher else tls.version(),
        cipher=cipher[0] if cipher else None,
        server_name=server_name,
        sni_sent=literal(server_name) is None,  # addresses are no server names (RFC 6066 section 3)
        chain=_chain(tls),
        verified_path=_verified_path(tls) if trust.verified and error is None else (),
        verified=trust.verified and error is None,
        # X509_V_ERR_UNSPECIFIED where OpenSSL refuses and gives no reason: 0 would say that it accepts.
        openssl_code=(error.verify_code or 1) if error else (0 if trust.verified else None),
        openssl_text=(error.verify_message or str(error)) if error else ("ok" if trust.verified else "not verified"),
        bits=cipher[2] if cipher else None,
        alpn=tls.selected_alpn_protocol(),
        group=tls.group() if hasattr(tls, "group") else None,
        trust_store=store(trust),
        roots=tuple(tls.context.get_ca_certs(binary_form=True)) if error else (),
    )


def _chain(tls: ssl.SSLObject) -> tuple[bytes, ...]:
    """The certificates as sent, DER. Public only from CPython 3.13 on; before, and after a failed verification, by
    the C object underneath, which keeps them."""
    return _der(tls._sslobj.get_unverified_chain())  # type: ignore[attr-defined]


def _verified_path(tls: ssl.SSLObject) -> tuple[bytes, ...]:
    """Public only from CPython 3.13 on, as `get_unverified_chain`."""
    return _der(tls._sslobj.get_verified_chain())  # type: ignore[attr-defined]


def _der(certificates: Sequence[Any] | None) -> tuple[bytes, ...]:
    # Encoding 2 is _ssl.ENCODING_DER.
    return tuple(certificate.public_bytes(2) for certificate in certificates or ())
