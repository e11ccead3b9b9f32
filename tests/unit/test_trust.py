"""Which store is trusted: the profile's file, Windows' ROOT store and nothing else of Windows', or the system's."""

import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from probe.observe.connection import Trust, context_for
from probe.observe.connection.trust import store
from probe.profile.textfile import NoCertificate

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
    yield stores


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


# -- a context is kept for as long as nothing behind it has changed -------------------------------------------------


def rewritten(path: Path, octets: bytes) -> None:
    path.write_bytes(octets)


def replaced(path: Path, octets: bytes) -> None:
    """As package managers, certbot and Kubernetes do it; the file's size and time are the old one's."""
    before = path.stat()
    beside = path.with_suffix(".new")
    beside.write_bytes(octets)
    os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))
    beside.replace(path)


@pytest.mark.parametrize("change", [rewritten, replaced])
def test_a_ca_file_that_changed_is_read_again_and_no_other(change: Callable[[Path, bytes], None], tmp_path: Path) -> None:
    first, second = trustme.CA(), trustme.CA()
    path = tmp_path / "own.pem"
    path.write_bytes(first.cert_pem.bytes())
    trust = Trust(ca_file=str(path))
    before = context_for(trust)
    assert context_for(trust) is before and names(before) == {der(first)}
    change(path, second.cert_pem.bytes())
    assert names(context_for(trust)) == {der(second)}
    assert context_for(trust) is context_for(trust) is not before


def test_a_ca_file_that_cannot_be_read_does_not_leave_the_old_one_trusted(tmp_path: Path) -> None:
    path = tmp_path / "own.pem"
    path.write_bytes(trustme.CA().cert_pem.bytes())
    trust = Trust(ca_file=str(path))
    context_for(trust)
    path.write_bytes(b"")
    with pytest.raises(NoCertificate):
        context_for(trust)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        context_for(trust)


def test_a_client_certificate_or_key_that_changed_is_read_again(tmp_path: Path) -> None:
    """A key that fits the new certificate only: whichever of the two were the old one, OpenSSL would refuse the pair."""
    certificate, key = tmp_path / "own.pem", tmp_path / "own.key"
    trust = Trust(client_certificate=str(certificate), client_key=str(key))
    contexts = []
    for _ in range(2):
        issued = trustme.CA().issue_cert("probe.contoso.test")
        certificate.write_bytes(issued.cert_chain_pems[0].bytes())
        key.write_bytes(issued.private_key_pem.bytes())
        contexts.append(context_for(trust))
        assert context_for(trust) is contexts[-1]
    assert contexts[0] is not contexts[1]
    # A key alone that is another's is noticed too.
    key.write_bytes(trustme.CA().issue_cert("probe.contoso.test").private_key_pem.bytes())
    with pytest.raises(ssl.SSLError):
        context_for(trust)


@pytest.mark.not_on_windows("Windows has a store of its own")
def test_a_system_bundle_that_changed_is_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """update-ca-certificates while `probe serve` runs: a root that was taken out is trusted no longer."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "nothing"))
    first, second = trustme.CA(), trustme.CA()
    for authority in (first, second):
        (tmp_path / "bundle.pem").write_bytes(authority.cert_pem.bytes())
        assert names(context_for(Trust())) == {der(authority)}
        assert context_for(Trust()) is context_for(Trust())


def test_a_root_that_windows_learns_while_we_run_is_trusted(windows: dict[str, list[tuple[bytes, str, Any]]]) -> None:
    first, second = trustme.CA(), trustme.CA()
    windows["ROOT"] = [(der(first), "x509_asn", True)]
    assert names(context_for(Trust())) == {der(first)}
    windows["ROOT"] = [*windows["ROOT"], (der(second), "x509_asn", True)]
    assert names(context_for(Trust())) == {der(first), der(second)}
    assert context_for(Trust()) is context_for(Trust())
