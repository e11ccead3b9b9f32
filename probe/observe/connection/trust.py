"""TLS contexts: one per trust set, built once and shared (the system's bundle costs about 22 ms of CPU each time)."""

import ssl
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from probe.textfile import certificates

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
    minimum_version: str = "TLSv1.2"
    verified: bool = True
    maximum_version: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None


@lru_cache(maxsize=64)
def context_for(trust: Trust) -> ssl.SSLContext:
    """The client context for a trust set.

    Verification flags and security level are set explicitly, so that CPython 3.11 and 3.13, and OpenSSL as Debian
    or others build it, give the same verdict. CN is never a name (RFC 9525 section 6.2).
    Raises OSError, ssl.SSLError or probe.textfile.NoCertificate when `ca_file` cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
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
    context.set_ciphers(f"DEFAULT:@SECLEVEL={0 if old else 1}")
    if trust.client_certificate:
        # An empty passphrase keeps OpenSSL from asking for one on the terminal.
        context.load_cert_chain(trust.client_certificate, trust.client_key, password="")
    if not trust.verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif trust.ca_file:
        context.load_verify_locations(cadata=b"".join(certificates(Path(trust.ca_file).read_bytes())))
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context
