"""The certificate's verdict, row by row: each chain is shown in real handshakes over submission, IMAP4 and POP3.

A row says what is sent, what is trusted, and exactly which findings there must be. The verdict on trust is OpenSSL's, with the
differences listed in ACCEPTED, each with its reason. Runs on CPython 3.11 to 3.13 (scripts/test-other-pythons) with equal results.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

import probe
from probe.facts import to_json
from tests.certificates.chains import CA, HOST, Made, Recipe, make, make_with_digest

LEAF = Recipe()
ROOT = make(replace(CA, name="Contoso Root"))
INTERMEDIATE = make(replace(CA, name="Contoso Issuing CA"), ROOT)
STRANGER = make(replace(CA, name="Fabrikam Root"))
STRANGERS = make(replace(CA, name="Fabrikam Issuing CA"), STRANGER)


@dataclass(frozen=True)
class Row:
    """`sent`: leaf first. `tls`: more settings of the profile's [tls]. `openssl`: the code OpenSSL must give."""

    sent: Callable[[Path], list[Made]]
    findings: set[str]
    openssl: int = 0
    tls: dict[str, Any] | None = None
    host: str = HOST
    roots: tuple[Made, ...] = (ROOT,)


def issued(recipe: Recipe, *chain: Made, by: Made = INTERMEDIATE) -> Callable[[Path], list[Made]]:
    return lambda _: [make(recipe, by), *chain]


def with_intermediate(recipe: Recipe) -> Callable[[Path], list[Made]]:
    return issued(recipe, INTERMEDIATE)


def self_signed(recipe: Recipe) -> Callable[[Path], list[Made]]:
    return lambda _: [make(recipe)]


def below(ca: Recipe, recipe: Recipe = LEAF) -> Callable[[Path], list[Made]]:
    """A leaf below an intermediate of its own."""

    def sent(_: Path) -> list[Made]:
        intermediate = make(replace(ca, name="Odd Issuing CA"), ROOT)
        return [make(recipe, intermediate), intermediate]

    return sent


def signed_with(digest: str) -> Callable[[Path], list[Made]]:
    return lambda folder: [make_with_digest(digest, INTERMEDIATE, folder), INTERMEDIATE]


def tiers(count: int) -> Callable[[Path], list[Made]]:
    """A leaf below so many intermediates, all sent."""

    def sent(_: Path) -> list[Made]:
        chain = [ROOT]
        for index in range(count):
            chain.append(make(replace(CA, name=f"Tier {index}"), chain[-1]))
        return [make(LEAF, chain[-1]), *reversed(chain[1:])]

    return sent


NEW_ROOT = make(replace(CA, name="Contoso Root 2"))
OLD_ROOT = make(replace(CA, name="Contoso Old Root", days=(-4000, -60)))


def cross_signed(days: float, by: Made = ROOT, *more: Made) -> Callable[[Path], list[Made]]:
    """Below a new root, whose cross-signed certificate of an older root goes along, as Let's Encrypt's did in 2021."""

    def sent(_: Path) -> list[Made]:
        issuing = make(replace(CA, name="Contoso Issuing CA 2"), NEW_ROOT)
        return [make(LEAF, issuing), issuing, make(replace(CA, name="Contoso Root 2", days=(-2000, days)), by, NEW_ROOT.key), *more]

    return sent


_AIA = "1.3.6.1.5.5.7.1.1"
EXPIRED, NEW, SOON = (-30, -1), (1, 90), (-80, 3)
TABLE = {
    "healthy": Row(with_intermediate(LEAF), set()),
    "healthy-rsa": Row(with_intermediate(replace(LEAF, key="rsa2048")), set()),
    "root-sent-too": Row(issued(LEAF, INTERMEDIATE, ROOT), set()),
    "wildcard": Row(with_intermediate(replace(LEAF, names=("*.contoso.test",))), set()),
    "ip-address": Row(with_intermediate(replace(LEAF, names=("127.0.0.1",))), set(), host="127.0.0.1"),
    "idn": Row(with_intermediate(replace(LEAF, names=("xn--mller-kva.contoso.test",))), set(), host="xn--mller-kva.contoso.test"),
    "expired": Row(with_intermediate(replace(LEAF, days=EXPIRED)), {"certificate.expired"}, 10),
    "not-yet-valid": Row(with_intermediate(replace(LEAF, days=NEW)), {"certificate.not-yet-valid"}, 9),
    "expires-soon": Row(with_intermediate(replace(LEAF, days=SOON)), {"certificate.expires-soon"}),
    "45-days-16-left": Row(with_intermediate(replace(LEAF, days=(-29, 16))), set()),
    "45-days-8-left": Row(with_intermediate(replace(LEAF, days=(-37, 8))), {"certificate.expires-soon"}),
    "6-days-half": Row(with_intermediate(replace(LEAF, days=(-3.1, 3.5))), set()),
    "6-days-1-left": Row(with_intermediate(replace(LEAF, days=(-5.6, 1))), {"certificate.expires-soon"}),
    "a-year-20-left": Row(with_intermediate(replace(LEAF, days=(-345, 20))), {"certificate.expires-soon"}),
    "a-year-20-left-and-5-percent-wanted": Row(
        with_intermediate(replace(LEAF, days=(-345, 20))), set(), tls={"expires_warning": "5%", "expires_critical": "1%"}
    ),
    "other-name": Row(with_intermediate(replace(LEAF, names=("www.contoso.test",))), {"certificate.name-mismatch"}, 62),
    "wildcard-too-high": Row(with_intermediate(replace(LEAF, names=("*.test",))), {"certificate.name-mismatch"}, 62),
    "wildcard-two-labels": Row(with_intermediate(replace(LEAF, names=("*.test.test",))), {"certificate.name-mismatch"}, 62),
    "cn-only": Row(
        with_intermediate(replace(LEAF, names=None)),
        {"certificate.no-subject-alternative-name", "certificate.name-mismatch"}, 62,
    ),
    "ip-as-dns-name": Row(
        with_intermediate(replace(LEAF, names=("mail.contoso.test",))), {"certificate.name-mismatch"}, 64, host="127.0.0.1"
    ),
    "self-signed": Row(self_signed(LEAF), {"certificate.self-signed"}, 18),
    "self-signed-expired-other-name": Row(
        self_signed(replace(LEAF, days=EXPIRED, names=("ex01",))),
        {"certificate.self-signed", "certificate.expired", "certificate.name-mismatch"}, 18,
    ),
    "unknown-issuer": Row(issued(LEAF, STRANGERS, by=STRANGERS), {"certificate.unknown-issuer"}, 20),
    "unknown-root-sent": Row(issued(LEAF, STRANGERS, STRANGER, by=STRANGERS), {"certificate.unknown-issuer"}, 19),
    "a-root-of-that-name-with-another-key": Row(
        issued(LEAF, STRANGERS, by=STRANGERS), {"certificate.unknown-issuer"}, 20,
        roots=(ROOT, make(replace(CA, name="Fabrikam Root"))),
    ),
    "missing-intermediate": Row(issued(replace(LEAF, url=True)), {"certificate.missing-intermediate"}, 20),
    "alone-and-nothing-said": Row(issued(LEAF), {"certificate.missing-intermediate", "certificate.unknown-issuer"}, 20),
    "missing-intermediate-expired-other-name": Row(
        issued(replace(LEAF, url=True, days=EXPIRED, names=("www.contoso.test",))),
        {"certificate.missing-intermediate", "certificate.expired", "certificate.name-mismatch"}, 20,
    ),
    "wrong-order": Row(issued(LEAF, ROOT, INTERMEDIATE), {"certificate.chain-order"}),
    "junk": Row(issued(LEAF, INTERMEDIATE, STRANGER), {"certificate.junk-in-chain"}),
    "junk-between": Row(issued(LEAF, STRANGER, INTERMEDIATE), {"certificate.junk-in-chain"}),
    "twelve-tiers": Row(tiers(12), set()),
    "sent-twice": Row(issued(LEAF, INTERMEDIATE, INTERMEDIATE), set()),
    "cross-signed-expired": Row(cross_signed(-3), {"certificate.junk-in-chain"}, roots=(ROOT, NEW_ROOT)),
    "cross-signed-expires-soon": Row(cross_signed(3), set(), roots=(NEW_ROOT,)),
    "cross-signed-expired-and-needed": Row(cross_signed(-3), {"certificate.intermediate-expired"}, 10),
    "cross-signed-by-an-expired-root-that-is-sent": Row(
        cross_signed(400, OLD_ROOT, OLD_ROOT), {"certificate.junk-in-chain"}, roots=(NEW_ROOT,)
    ),
    "alone-with-the-intermediate-in-ca-file": Row(
        issued(replace(LEAF, url=True)), {"certificate.missing-intermediate"}, 20, roots=(ROOT, INTERMEDIATE)
    ),
    "intermediate-expired": Row(below(replace(CA, days=(-400, -1))), {"certificate.intermediate-expired"}, 10),
    "both-expired": Row(
        below(replace(CA, days=(-400, -1)), replace(LEAF, days=EXPIRED)),
        {"certificate.intermediate-expired", "certificate.expired"}, 10,
    ),
    "intermediate-not-yet-valid": Row(below(replace(CA, days=(1, 90))), {"certificate.not-yet-valid"}, 9),
    "intermediate-is-no-ca": Row(below(replace(CA, ca=False)), {"certificate.wrong-usage"}, 79),
    "intermediate-may-not-sign": Row(below(replace(CA, usage=("digital_signature",))), {"certificate.wrong-usage"}, 79),
    "for-clients": Row(
        with_intermediate(replace(LEAF, extended=(ExtendedKeyUsageOID.CLIENT_AUTH,))), {"certificate.wrong-usage"}, 26
    ),
    "any-purpose": Row(with_intermediate(replace(LEAF, extended=None)), set()),
    "key-not-for-tls": Row(with_intermediate(replace(LEAF, usage=("crl_sign",))), {"certificate.wrong-usage"}, 26),
    "leaf-is-a-ca": Row(with_intermediate(replace(LEAF, ca=True)), {"certificate.wrong-usage"}),
    "rsa-key-that-may-not-sign": Row(
        with_intermediate(replace(LEAF, key="rsa2048", usage=("key_encipherment",))), {"certificate.wrong-usage"}
    ),
    "malformed-authority-information": Row(with_intermediate(replace(LEAF, rubbish=_AIA)), {"certificate.malformed"}),
    "rsa-1024": Row(with_intermediate(replace(LEAF, key="rsa1024")), {"certificate.weak-key"}),
    "rsa-1024-expired": Row(
        with_intermediate(replace(LEAF, key="rsa1024", days=EXPIRED)), {"certificate.weak-key", "certificate.expired"}, 10
    ),
    "sha-1": Row(signed_with("sha1"), {"certificate.weak-signature"}, 68),
    "another-thumbprint": Row(with_intermediate(LEAF), {"certificate.thumbprint-differs"}, tls={"thumbprint": "\u200eAB " * 20}),
    "another-identifier": Row(
        with_intermediate(LEAF), {"certificate.identifier-differs"},
        tls={"certificate_name": f"<I>CN=Other CA<S>CN={HOST}"},
    ),
    "the-identifier-otherwise-written": Row(
        with_intermediate(replace(LEAF, organisation="Contoso, Inc.")), set(),
        tls={"certificate_name": f'<I>cn=CONTOSO Issuing CA<S>O="Contoso, Inc.", CN={HOST}'},
    ),
    "everything-else-differs": Row(
        with_intermediate(replace(LEAF, names=("www.contoso.test",), days=SOON)),
        {"certificate.name-mismatch", "certificate.expires-soon", "certificate.thumbprint-differs"}, 62,
        tls={"thumbprint": "00" * 20},
    ),
}  # fmt: skip

# Where `trusted` is not "OpenSSL's code is 0", and why.
ACCEPTED = {
    62: "OpenSSL looks at the name before dates and signatures; `trusted` is about the chain, `name_matches` about the name",
    64: "the same, for an IP address",
}


# cryptography signs nothing with SHA-1 any more: that row's certificate is made by Debian's openssl.
_ROWS = [
    pytest.param(name, marks=pytest.mark.not_on_windows("no openssl program")) if name == "sha-1" else name
    for name in sorted(TABLE)
]


@pytest.mark.parametrize("name", _ROWS)
async def test_row(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = TABLE[name]
    monkeypatch.setenv("PW", "never-sent-Horse7battery")
    sent = row.sent(tmp_path)
    async with showing(sent, tmp_path) as (ports, received):
        report = await probe.run(profile(row, ports, tmp_path), light=True, raise_bugs=True)
    for leg in ("smtp", "imap", "pop3"):
        stage = next(stage for stage in report.stages if stage.name == f"{leg}.certificate")
        facts = to_json(stage.record.facts)
        found = [finding.id for finding in report.findings if finding.stage == stage.name]
        assert set(found) == row.findings and len(found) == len(set(found)), (leg, found, facts["openssl_text"])
        assert facts["openssl_code"] == row.openssl, (leg, facts["openssl_text"])
        assert facts["thumbprint"] == sent[0].certificate.fingerprint(hashes.SHA1()).hex().upper()
        # What our verdict on trust says is what OpenSSL says, but for the differences listed.
        code = facts["openssl_code"]
        dates = not {"certificate.expired", "certificate.not-yet-valid", "certificate.intermediate-expired"} & row.findings
        assert facts["trusted"] == (code == 0 or (code in ACCEPTED and dates)), (leg, code)
    # Where the leaf was not to be trusted, no password left.
    assert b"never-sent" not in received and all(finding.remedy for finding in report.findings)


def test_each_finding_stands_in_the_table() -> None:
    from probe.judge.certificate import FINDINGS

    elsewhere = {
        "certificate.not-trusted",  # whatever else OpenSSL may refuse: no row, or it would have a finding of its own
    }
    assert set(FINDINGS) - set().union(*(row.findings for row in TABLE.values())) == elsewhere
    assert len(TABLE) >= 25


@pytest.mark.parametrize(("since", "severity"), [(-40, "warning"), (-10, "info")])
async def test_another_certificate_on_another_port(
    since: float, severity: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older one of the same subject was likely left behind by a renewal; two of one age are likely so on purpose."""
    monkeypatch.setenv("PW", "never-sent-Horse7battery")
    row = TABLE["healthy"]
    older = with_intermediate(replace(LEAF, days=(since, 90)))
    (tmp_path / "old").mkdir()
    async with (
        showing(row.sent(tmp_path), tmp_path) as (ports, _),
        showing(older(tmp_path), tmp_path / "old") as (old, _),
    ):
        report = await probe.run(profile(row, {**ports, "pop3": old["pop3"]}, tmp_path), light=True, raise_bugs=True)
    found = {(item.id, item.stage, item.severity) for item in report.findings if item.id.startswith("certificate.")}
    assert re.search(
        r"\(\d certificates? sent\)", next(one.evidence for one in report.findings if one.id.endswith("between-ports"))
    )
    left_behind = {("certificate.not-reloaded", "pop3.certificate", "warning")} if since == -40 else set()
    assert found == {("certificate.differs-between-ports", "pop3.certificate", severity)} | left_behind


def profile(row: Row, ports: dict[str, int], folder: Path) -> dict[str, Any]:
    (folder / "root.pem").write_bytes(b"".join(root.pem for root in row.roots))
    readers = {name: {"port": ports[name], "security": "tls", "connect": ["127.0.0.1"]} for name in ("imap", "pop3")}
    return {
        "submission": {"host": row.host, "port": ports["smtp"], "connect": ["127.0.0.1"]},
        "account": {"username": "probe@contoso.test", "password": {"env": "PW"}},
        "tls": {"ca_file": str(folder / "root.pem"), **(row.tls or {})},
        "readback": readers,
        "limits": {"timeout": 10},
    }


@asynccontextmanager
async def showing(sent: list[Made], folder: Path) -> AsyncIterator[tuple[dict[str, int], bytearray]]:
    """Three servers that speak as far as the certificate and then hang up; what came after TLS is in the second value."""
    private = sent[0].key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "chain.pem").write_bytes(private + b"".join(made.pem for made in sent))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(folder / "chain.pem")
    received = bytearray()

    async def smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.contoso.test ESMTP\r\n")
        await reader.readline()
        writer.write(b"250-mail.contoso.test\r\n250 STARTTLS\r\n")
        await reader.readline()
        writer.write(b"220 go ahead\r\n")
        await writer.drain()
        await writer.start_tls(context)
        await hang_up(reader, writer)

    async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        received.extend(await reader.read(1000))

    def greeting(text: bytes) -> Callable[..., Any]:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(text)
            await hang_up(reader, writer)

        return quietly(greet)

    def quietly(serve: Callable[..., Any]) -> Callable[..., Any]:
        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await serve(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                pass  # the client refused the certificate and left
            finally:
                writer.close()

        return served

    servers = {
        "smtp": await asyncio.start_server(quietly(smtp), "127.0.0.1", 0),
        "imap": await asyncio.start_server(greeting(b"* OK ready\r\n"), "127.0.0.1", 0, ssl=context),
        "pop3": await asyncio.start_server(greeting(b"+OK ready\r\n"), "127.0.0.1", 0, ssl=context),
    }
    try:
        yield {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}, received
    finally:
        for server in servers.values():
            server.close()
