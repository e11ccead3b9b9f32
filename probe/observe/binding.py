"""Channel binding: what ties a logon to the TLS session it runs in (RFC 5056)."""

import hashlib
import warnings

from probe.observe.connection import Connection


def end_point(connection: Connection) -> bytes | None:
    """The `tls-server-end-point` binding (RFC 5929 section 4.1): the leaf's hash, by the hash of its own signature.

    SHA-256 stands in for MD5 and SHA-1. None without TLS, and for a signature that names no hash (Ed25519).
    """
    handshake = connection.handshake
    if handshake is None or not connection.is_tls or not handshake.chain:
        return None
    from cryptography import x509

    leaf = handshake.chain[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            algorithm = x509.load_der_x509_certificate(leaf).signature_hash_algorithm
    except Exception:
        # A certificate that cannot be read is the certificate stage's finding; here it only means: no binding.
        return None
    if algorithm is None:
        return None
    name = "sha256" if algorithm.name in ("md5", "sha1") else algorithm.name
    return hashlib.new(name, leaf).digest()
