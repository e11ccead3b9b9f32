"""TLS contexts: one per trust set, built once and shared (the system's bundle costs about 22 ms of CPU each time), and built anew
when the files or the store behind it have changed: `probe serve` runs for months."""

import contextlib
import ssl
import warnings
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from probe.plain import dataclass
from probe.profile.textfile import NoCertificate, certificates

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


@dataclass(slots=True)
class _Kept:
    """The last context of a trust set, and what its files were when it was built."""

    built: tuple[Hashable, ssl.SSLContext] | None = None


@lru_cache(maxsize=64)
def _kept(trust: Trust) -> _Kept:
    return _Kept()


def context_for(trust: Trust) -> ssl.SSLContext:
    """The shared context for a trust set, by what its files and the store hold now. Raises as `new_context` does."""
    kept, now = _kept(trust), (_stamp(trust.client_certificate), _stamp(trust.client_key), _authorities(trust))
    if kept.built is None or kept.built[0] != now:
        # The files are looked at before they are read: who changes them in between is noticed next time.
        kept.built = (now, new_context(trust))
    return kept.built[1]


def unusable(trust: Trust) -> tuple[str, str] | None:
    """The setting whose file cannot be used as it is now, and why; None when all can."""
    try:
        context_for(trust)
    except NoCertificate as error:
        return "ca_file", f"{trust.ca_file} {error}"
    except OSError as error:
        if error.filename:
            return "ca_file", f"{trust.ca_file} cannot be read: {error.strerror}"
        # OpenSSL reads the certificate and its key itself and names no file.
        files = " and ".join(filter(None, (trust.client_certificate, trust.client_key)))
        return "client_certificate", f"{files}: {_why_no_pair(error)}"
    return None


def _why_no_pair(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return f"cannot be read: {error.strerror}"
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key belongs to another certificate"
    return "no PEM certificate and its key can be read there (a key with a passphrase cannot be used)"


def _authorities(trust: Trust) -> Hashable:
    """What says whether those who are trusted have changed."""
    if not trust.verified:
        return None
    if trust.ca_file:
        return _stamp(trust.ca_file)
    paths = ssl.get_default_verify_paths()
    # Windows' store has no time stamp; it gains roots while programs run, each when somebody first meets it.
    return _stamp(paths.cafile), _stamp(paths.capath), frozenset(_windows_roots())


def _stamp(path: str | None) -> tuple[int, ...] | None:
    """A file's or folder's identity and last change; None where there is none (reading it says what is wrong)."""
    if not path:
        return None
    try:
        seen = Path(path).stat()
    except OSError:
        return None
    # ctime too: `cp -p` may leave a file with its size and another file's time.
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def new_context(trust: Trust) -> ssl.SSLContext:
    """A client context for a trust set, of its own.

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


def _windows_roots() -> list[bytes]:
    """Windows' ROOT store: its certificates for TLS servers, DER. Not the CA store, which Python loads too: a machine that has the
    intermediate there, as every Exchange server has, would not see that the server fails to send it to its clients."""
    enumerate_store = _windows_store()
    found: list[bytes] = []
    # Some service accounts may not read the store; CPython's own loader lets that pass too (ssl.py, _load_windows_store_certs).
    with contextlib.suppress(PermissionError):
        for der, encoding, usages in enumerate_store("ROOT") if enumerate_store else ():
            if encoding == "x509_asn" and (usages is True or (usages and ssl.Purpose.SERVER_AUTH.oid in usages)):
                found.append(der)
    return found


def _load_windows_roots(context: ssl.SSLContext) -> None:
    for der in _windows_roots():
        # One that OpenSSL cannot read takes nothing from the others.
        with contextlib.suppress(ssl.SSLError):
            context.load_verify_locations(cadata=der)
    # SSL_CERT_FILE and SSL_CERT_DIR, for whoever sets them.
    context.set_default_verify_paths()
