"""Which certificate may be sent a secret: verified and, where there is a pin, the pinned one."""

import hashlib

import pytest

from probe.observe.connection import Handshake
from probe.observe.gate import Permission, Policy, certificate_allows

LEAF = b"leaf"
PIN = hashlib.sha256(LEAF).hexdigest().upper()
REFUSED = "the certificate is not the one pinned by thumbprint"


@pytest.mark.parametrize(
    ("verified", "names", "policy", "expected"),
    [
        (True, True, Policy(), Permission(True, "verified")),
        (True, True, Policy(thumbprint=PIN), Permission(True, "verified")),
        (True, True, Policy(thumbprint="AB" * 20), Permission(False, REFUSED)),
        (True, False, Policy(thumbprint="AB" * 20), Permission(False, REFUSED)),
        (False, True, Policy(thumbprint="AB" * 20), Permission(False, REFUSED)),
        (False, False, Policy(thumbprint=PIN), Permission(True, "thumbprint")),
        (True, True, Policy(thumbprint="AB" * 20, trust_any_certificate=True), Permission(True, "trust-any-certificate")),
        (False, True, Policy(), Permission(False, "the certificate is not verified")),
        (True, False, Policy(), Permission(False, "the certificate is not verified")),
    ],
)
def test_the_pin_wins(verified: bool, names: bool, policy: Policy, expected: Permission) -> None:
    handshake = Handshake("TLSv1.3", "x", "mail.example", True, (LEAF,), verified, 0 if verified else 20, "ok")
    assert certificate_allows(handshake, policy, name_matches=names) == expected
