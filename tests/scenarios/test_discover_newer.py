"""The newer ways: PACC with its digest in DNS, Autodiscover V2, TLSA records of what SRV names; and the table of it all."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from probe.cli._believed import BELIEVED_BY, table
from probe.facts import Published
from probe.observe.discover.pacc import digests_of, read
from probe.report import Report
from probe.sandbox import Sandbox
from tests.servers.discovery import ADDRESS, LOGIN, Handler, page, redirect, world

DOCUMENT = json.dumps(
    {
        "protocols": {
            "imap": {"host": "mail.contoso.test"},
            "smtp": {"host": "mail.contoso.test"},
            "jmap": {"url": "https://x.test/"},
        }
    }
).encode()
PACC = ("ua-auto-config.contoso.test", "/.well-known/user-agent-configuration.json")
V2 = ("autodiscover.contoso.test", "/autodiscover/autodiscover.json")


@pytest.fixture(scope="module")
def certificate(authority: Any) -> Any:
    return authority.leaf("contoso.test", "*.contoso.test", file_stem="newer")


def txt(octets: bytes, pieces: int = 1) -> str:
    """The record's text as zone files have it, in so many strings."""
    text = f"v=UAAC1; a=sha256; d={base64.b64encode(hashlib.sha256(octets).digest()).decode()}"
    cut = len(text) // pieces + 1
    return " ".join(f'"{text[index : index + cut]}"' for index in range(0, len(text), cut))


def answer(report: Report, source: str) -> dict[str, Any]:
    found = [one for stage in report.stages for one in stage.record.seen(Published).answers if one["source"] == source]
    return dict(next((one for one in found if one["outcome"] != "absent"), found[0]))


async def pacc(authority: Any, certificate: Any, handler: Handler, *records: str) -> dict[str, Any]:
    zone = {("_ua-auto-config.contoso.test.", "TXT"): list(records)} if records else {}
    async with world(authority, certificate, {PACC: handler}, zone) as domain:
        report = await domain.ask(login=LOGIN)
    assert not any("authorization" in request.headers for request in domain.site.requests if request.host == PACC[0])
    return answer(report, "pacc")


@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_document_that_dns_vouches_for(authority: Any, certificate: Any, pieces: int) -> None:
    seen = await pacc(authority, certificate, page(DOCUMENT), '"v=spf1 -all"', txt(b"another"), txt(DOCUMENT, pieces))
    assert seen["outcome"] == "found"
    assert [(one["protocol"], one["host"], one["port"], one["security"]) for one in seen["told"]] == [
        ("imap", "mail.contoso.test", 993, "tls"), ("smtp", "mail.contoso.test", 465, "tls"),
    ]  # fmt: skip


async def test_the_digest_is_of_the_octets_and_of_nothing_read_from_them(authority: Any, certificate: Any) -> None:
    seen = await pacc(authority, certificate, page(DOCUMENT + b" "), txt(DOCUMENT))
    assert seen["outcome"] == "refused" and seen["told"] == [] and "vouches for another" in seen["text"]


async def test_a_document_that_nobody_vouches_for_is_refused(authority: Any, certificate: Any) -> None:
    seen = await pacc(authority, certificate, page(DOCUMENT))
    assert seen["outcome"] == "refused" and "no TXT record _ua-auto-config.contoso.test" in seen["text"] and seen["told"] == []


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"protocols": []}', b"[" * 100_000, b'"x"', b'{"protocols": null}'])
async def test_json_of_another_shape_is_refused(authority: Any, certificate: Any, body: bytes) -> None:
    assert (await pacc(authority, certificate, page(body), txt(body)))["outcome"] == "refused"


async def test_what_names_no_server_or_a_strange_host_is_empty(authority: Any, certificate: Any) -> None:
    body = b'{"protocols": {"imap": {"host": "a b"}, "smtp": {"host": 5}, "pop3": "x"}}'
    assert (await pacc(authority, certificate, page(body), txt(body)))["outcome"] == "empty"


async def test_a_redirect_to_plain_http_is_not_followed(authority: Any, certificate: Any) -> None:
    seen = await pacc(authority, certificate, redirect("http://contoso.test/x"), txt(DOCUMENT))
    assert seen["outcome"] == "refused" and "plain HTTP" in seen["text"]


def test_records_of_another_form_are_none() -> None:
    assert (
        list(digests_of([b"v=UAAC2; a=sha256; d=QQ==", b"v=UAAC1; a=md5; d=QQ==", b"v=UAAC1; a=sha256; d=%%", b"\xff\xfe", b""]))
        == []
    )
    assert list(digests_of([b"V=uaac1;A=SHA256;D=QQ=="])) == [b"A"]
    assert [one.protocol for one in read({"protocols": {"submit": {"host": "x.test"}}})] == ["smtp"]


@pytest.mark.parametrize(
    ("handler", "outcome", "words"),
    [
        (
            page(b'{"Protocol":"AutodiscoverV1","Url":"https://outlook.office365.com/x.xml"}'),
            "found",
            "outlook.office365",
        ),
        (page(b'{"ErrorCode":"UserNotFound","ErrorMessage":"x"}', status=404), "absent", "404"),
        (page(b"<html>"), "absent", "without a document"),
        (page(b'{"Url": 5}'), "absent", "without a document"),
        (page(b'{"Url": "http://contoso.test/"}'), "refused", "plain HTTP"),
        (page(b"[" * 100_000), "absent", "without a document"),
    ],
)
async def test_autodiscover_v2(authority: Any, certificate: Any, handler: Handler, outcome: str, words: str) -> None:
    async with world(authority, certificate, {V2: handler}) as domain:
        report = await domain.ask(login=LOGIN)
    seen = answer(report, "autodiscover-v2")
    assert seen["outcome"] == outcome and words in seen["text"]
    asked = [request for request in domain.site.requests if request.path.startswith(V2[1])]
    assert all(request.path.endswith("?Email=anna%40contoso.test&Protocol=AutodiscoverV1") for request in asked)
    assert not any("authorization" in request.headers for request in asked)


async def test_the_table_says_who_publishes_what_and_whether_it_is_true(authority: Any, certificate: Any, tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        host, at = sandbox.fqdn, sandbox.addresses
        zone = {
            (f"{host}.", "A"): ["127.0.0.1"],
            ("_submission._tcp.contoso.test.", "SRV"): [f"0 1 {at['submission'].port} {host}."],
            ("_imaps._tcp.contoso.test.", "SRV"): [f"0 1 {at['imap'].port} {host}."],
            (f"_{at['submission'].port}._tcp.{host}.", "TLSA"): [f"3 1 1 {'ab' * 32}"],
        }
        both = tmp_path / "both.pem"
        both.write_bytes(authority.ca_file.read_bytes() + sandbox.ca_file.read_bytes())
        async with world(authority, certificate, {}, zone, both) as domain:
            report = await domain.ask(verify=True)
    rows = list(table(report))
    assert rows[1].split() == ["published", "by", "true?", "DANE", "used", "by"]
    imap, smtp = rows[2], rows[3]
    assert imap.startswith(f"  imap {host}:{at['imap'].port} tls") and "no: starttls" in imap and "Evolution, aerc" in imap
    assert smtp.startswith(f"  smtp {host}:{at['submission'].port} starttls") and " yes " in smtp and "no, not signed" in smtp
    # Records that nobody signed are no reason to refuse a server.
    assert "discover.dane-no-match" not in {finding.id for finding in report.findings}


async def test_nothing_published_is_no_table(authority: Any, certificate: Any) -> None:
    async with world(authority, certificate, {}) as domain:
        report = await domain.ask()
    assert list(table(report)) == [] and report.profile == ADDRESS
    assert set(BELIEVED_BY) == {one["source"] for stage in report.stages for one in stage.record.seen(Published).answers}
