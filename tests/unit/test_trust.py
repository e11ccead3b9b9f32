"""Which store is trusted: the profile's file, Windows' ROOT store and nothing else of Windows', or the system's."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from probe.observe.connection import Trust, context_for
from probe.observe.connection.trust import store

SERVER_AUTH, CODE_SIGNING = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.3"


def der(authority: trustme.CA) -> bytes:
    return ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())


def names(context: ssl.SSLContext) -> set[bytes]:
    return set(context.get_ca_certs(binary_form=True))


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[tuple[bytes, str, Any]]]]:
    """Windows' stores, with an environment that names no file of OpenSSL's."""
    stores: dict[str, list[tuple[bytes, str, Any]]] = {"ROOT": [], "CA": []}
    monkeypatch.setattr(ssl, "enum_certificates", stores.__getitem__, raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, "/nowhere")
    context_for.cache_clear()
    yield stores
    context_for.cache_clear()


def test_windows_roots_are_trusted_and_its_intermediates_are_not(windows: dict[str, list[tuple[bytes, str, Any]]]) -> None:
    """An intermediate in Windows' CA store hides, on an Exchange server, that the server does not send it."""
    root, intermediate, for_code, narrowed = (trustme.CA() for _ in range(4))
    windows["ROOT"] = [
        (der(root), "x509_asn", True),
        (der(for_code), "x509_asn", frozenset({CODE_SIGNING})),
        (der(narrowed), "x509_asn", frozenset({SERVER_AUTH, CODE_SIGNING})),
        (b"a PKCS #7 bundle", "pkcs_7_asn", True),
        (b"damaged", "x509_asn", True),
    ]
    windows["CA"] = [(der(intermediate), "x509_asn", True)]
    assert names(context_for(Trust())) == {der(root), der(narrowed)}
    assert store(Trust()) == "Windows ROOT"


def test_a_store_that_may_not_be_read_trusts_nobody(monkeypatch: pytest.MonkeyPatch, windows: object) -> None:
    def forbidden(_: str) -> None:
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(ssl, "enum_certificates", forbidden)
    assert names(context_for(Trust())) == set()


def test_the_profiles_own_file_takes_the_place_of_the_store(
    tmp_path: Path, windows: dict[str, list[tuple[bytes, str, Any]]]
) -> None:
    root, own = trustme.CA(), trustme.CA()
    windows["ROOT"] = [(der(root), "x509_asn", True)]
    own.cert_pem.write_to_path(str(tmp_path / "own.pem"))
    trust = Trust(ca_file=str(tmp_path / "own.pem"))
    assert names(context_for(trust)) == {der(own)}
    assert store(trust) == "ca_file"


@pytest.mark.not_on_windows("Windows has a store of its own")
def test_elsewhere_it_is_openssls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    (tmp_path / "bundle.pem").touch()
    assert store(Trust()) == f"system {tmp_path / 'bundle.pem'} {tmp_path}"
    assert store(Trust(verified=False)) is None
