"""TLS contexts: one per trust set, built once and shared (the system's bundle costs about 22 ms of CPU each time)."""

import contextlib
import ssl
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from probe.profile.textfile import certificates

_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to trust: `ca_file` alone when given, else the system's store.

    `verified` is False only where no secret follows, or for a second look. `client_certificate` is a PEM file with our
    own certificate (and chain); `client_key` its private key, when that is not in the same file.
    """

    ca_file: str | None = None
    minimum_version: str = "TLSv1.2"  # RFC 8997: nothing older for submission and for reading mail
    verified: bool = True
    maximum_version: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None


@lru_cache(maxsize=64)
def context_for(trust: Trust) -> ssl.SSLContext:
    """The client context for a trust set.

    Verification flags and security level are set explicitly, so that CPython 3.11 and 3.13, and OpenSSL as Debian
    or others build it, give the same verdict. CN is never a name (RFC 9525 section 6.2).
    Raises OSError, ssl.SSLError or probe.profile.textfile.NoCertificate when `ca_file` cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Not VERIFY_X509_STRICT, a default of Python 3.13's create_default_context: it refuses chains that mail programs accept.
    context.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST
    context.hostname_checks_common_name = False
    with warnings.catch_warnings():
        # Python deprecates the names of TLS 1.0 and 1.1; whoever asks for them wants to know whether they are accepted.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[trust.minimum_version]
        if trust.maximum_version:
            context.maximum_version = _VERSIONS[trust.maximum_version]
    old = trust.minimum_version in ("TLSv1", "TLSv1.1")
    # TLS 1.0 and 1.1 need level 0 in OpenSSL 3; whoever asks for them in a profile wants to see them work.
    # Not Debian's level 2, which ends the handshake at a 1024-bit key (SSL_CTX_set_security_level(3)): a finding says more.
    context.set_ciphers(f"DEFAULT:@SECLEVEL={0 if old else 1}")
    if trust.client_certificate:
        # An empty passphrase keeps OpenSSL from asking for one on the terminal.
        context.load_cert_chain(trust.client_certificate, trust.client_key, password="")
    if not trust.verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif trust.ca_file:
        context.load_verify_locations(cadata=b"".join(_roots(certificates(Path(trust.ca_file).read_bytes()))))
    elif _windows_store() is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _load_windows_roots(context)
    return context


def _roots(found: Sequence[bytes]) -> list[bytes]:
    """Only roots are trust anchors. An intermediate in the file, which OpenSSL would build with, would hide that the server fails
    to send it: users' machines have no such file. A file without any root is taken as it is, and OpenSSL says what it lacks."""
    if len(found) == 1:
        return list(found)
    from cryptography import x509

    roots = []
    for der in found:
        try:
            certificate = x509.load_der_x509_certificate(der)
            is_root = certificate.subject == certificate.issuer
        except Exception:
            is_root = True  # ValueError and others: OpenSSL may read what cryptography does not
        if is_root:
            roots.append(der)
    return roots or list(found)


def store(trust: Trust) -> str | None:
    """Which store says whom to trust, in words that do not change from run to run; None where nothing is verified."""
    if not trust.verified:
        return None
    if trust.ca_file:
        return "ca_file"
    if _windows_store() is not None:
        return "Windows ROOT"
    paths = ssl.get_default_verify_paths()
    return " ".join(["system", *(path for path in (paths.cafile, paths.capath) if path)])


def _windows_store() -> Callable[[str], Iterable[tuple[bytes, str, bool | frozenset[str]]]] | None:
    return getattr(ssl, "enum_certificates", None)


def _load_windows_roots(context: ssl.SSLContext) -> None:
    """Windows' ROOT store: its certificates for TLS servers. Not the CA store, which Python loads too: a machine that has the
    intermediate there, as every Exchange server has, would not see that the server fails to send it to its clients."""
    enumerate_store = _windows_store()
    assert enumerate_store is not None
    # Some service accounts may not read the store; CPython's own loader lets that pass too (ssl.py, _load_windows_store_certs).
    with contextlib.suppress(PermissionError):
        for der, encoding, usages in enumerate_store("ROOT"):
            if encoding == "x509_asn" and (usages is True or (usages and ssl.Purpose.SERVER_AUTH.oid in usages)):
                # One that OpenSSL cannot read takes nothing from the others.
                with contextlib.suppress(ssl.SSLError):
                    context.load_verify_locations(cadata=der)
    # SSL_CERT_FILE and SSL_CERT_DIR, for whoever sets them.
    context.set_default_verify_paths()
