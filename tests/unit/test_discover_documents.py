"""Documents in, servers out; answers in, findings out; and what the web part does below a whole discovery."""

from typing import Any

import pytest

from probe.facts import from_json
from probe.judge.discover import FINDINGS, is_internal, judge
from probe.observe.discover import autoconfig, autodiscover
from probe.observe.discover.document import is_web_page, parsed
from probe.observe.discover.published import Answer, PublishedServer
from probe.observe.discover.verify import published_by
from probe.observe.discover.web import Way, Web, place, redirect_target
from probe.observe.trouble import Stopped
from probe.profile import load_mapping
from probe.record import Record, StageRecord, Target, record_from_json, record_to_json
from probe.tasks.discover import question
from tests.servers import discovery

ADDRESS = "anna@contoso.test"


# -- documents --------------------------------------------------------------------------------------------------


def test_autoconfig_placeholders_order_and_kinds() -> None:
    body = b"""<?xml version="1.0"?><clientConfig version="1.1"><emailProvider id="contoso.test">
      <incomingServer type="imap"><hostname>imap.%EMAILDOMAIN%</hostname><port>993</port><socketType>SSL</socketType>
        <username>%EMAILLOCALPART%</username></incomingServer>
      <incomingServer type="exchange"><hostname>owa.contoso.test</hostname><port>443</port></incomingServer>
      <incomingServer type="pop3"><hostname>POP.contoso.test.</hostname><port>110</port>
        <socketType>STARTTLS</socketType></incomingServer>
      <outgoingServer type="smtp"><hostname>mail.contoso.test</hostname><port>587</port>
        <socketType>rot13</socketType></outgoingServer>
      <outgoingServer type="smtp"><hostname>mail.contoso.test</hostname><port>25</port>
        <socketType>plain</socketType></outgoingServer>
      </emailProvider></clientConfig>"""
    assert autoconfig.read(parsed(body, "clientConfig", "x"), ADDRESS) == (
        PublishedServer("imap", "imap.contoso.test", 993, "tls", username="anna"),
        PublishedServer("pop3", "pop.contoso.test", 110, "starttls"),
        PublishedServer("smtp", "mail.contoso.test", 25, "plaintext"),
    )


@pytest.mark.parametrize(
    ("inner", "security", "port"),
    [
        ("<Port>587</Port><Encryption>TLS</Encryption>", "starttls", 587),
        ("<Port>465</Port><Encryption>SSL</Encryption><SSL>off</SSL>", "tls", 465),
        ("<Port>25</Port><Encryption>None</Encryption><SSL>on</SSL>", "plaintext", 25),
        ("<Port>587</Port><SSL>on</SSL>", "starttls", 587),
        ("<Port>465</Port>", "tls", 465),
        ("<Port>587</Port><SSL>off</SSL>", "plaintext", 587),
        ("<Port>587</Port><Encryption>Auto</Encryption><SSL>off</SSL>", "starttls", 587),
        ("<Encryption>TLS</Encryption>", "starttls", 587),
    ],
)
def test_pox_encryption_goes_before_ssl_and_the_port_decides_the_rest(inner: str, security: str, port: int) -> None:
    protocol = f"<Protocol><Type>SMTP</Type><Server>m.x</Server>{inner}</Protocol>"
    body = f"<Autodiscover><Response><Account>{protocol}</Account></Response></Autodiscover>"
    (told,) = autodiscover._read_pox(parsed(body.encode(), "Autodiscover", "x"))
    assert (told.security, told.port) == (security, port)


def test_soap_scopes_and_methods() -> None:
    body = discovery.soap(
        ExternalSmtpConnections=("mail.x.test", 587, "TLS"),
        InternalPop3Connections=("mbx.x.local", 995, "SSL"),
        ExternalImap4Connections=("mail.x.test", 143, ""),
        UserDisplayName=("nobody.x.test", 1, "None"),
    )
    assert set(autodiscover._read_soap(parsed(body, "Envelope", "x"))) == {
        PublishedServer("smtp", "mail.x.test", 587, "starttls", "external"),
        PublishedServer("pop3", "mbx.x.local", 995, "tls", "internal"),
        PublishedServer("imap", "mail.x.test", 143, "starttls", "external"),
    }


def test_a_document_nested_very_deeply_is_read_or_refused_but_does_not_crash() -> None:
    body = b"<clientConfig>" + b"<a>" * 70_000 + b"</a>" * 70_000 + b"</clientConfig>"
    try:
        assert autoconfig.read(parsed(body, "clientConfig", "x"), ADDRESS) == ()
    except Stopped as error:
        assert error.trouble.id == "discover.document-refused"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_entities_are_refused_in_any_encoding(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY b "c">]><clientConfig>&b;</clientConfig>'
    with pytest.raises(Stopped) as caught:
        parsed(text.encode(encoding), "clientConfig", "https://x.test/")
    assert "declares a DTD or entities" in caught.value.trouble.text and caught.value.trouble.text.startswith("https://x.test/: ")


def test_a_web_page_is_known_by_its_beginning() -> None:
    assert is_web_page(b"\xef\xbb\xbf\n <!DOCTYPE HTML PUBLIC ...") and is_web_page(b"<html lang=en>")
    assert not is_web_page(b'<?xml version="1.0"?><clientConfig/>')


_NOWHERE = [
    None,
    "http://x.test/",
    "ftp://x.test/",
    "https://u:p@x.test/",
    "https://x.test:99999/",
    "https://[/",
    "https://x.test/\r\nSet-Cookie: a",
    "https://-x.test/",
    "https://\u00e4.test/",
    "https://" + "a" * 3000,
]


@pytest.mark.parametrize("location", _NOWHERE)
def test_redirects_lead_to_https_or_nowhere(location: str | None) -> None:
    if location is None:
        assert redirect_target("https://a.test/b", location) == "https://a.test/b"
        return
    with pytest.raises(Stopped) as caught:
        redirect_target("https://a.test/b", location)
    assert caught.value.trouble.id == "discover.document-refused" and caught.value.trouble.text.isprintable()


def test_where_credentials_belong() -> None:
    assert place("https://A.test:443/x") == place("https://a.test/") == "a.test" and place("https://a.test:8443/") == "a.test:8443"


async def test_the_named_resolver_also_finds_the_web_server(authority: Any) -> None:
    certificate = authority.leaf("www.contoso.test", file_stem="web")
    zone = {("www.contoso.test.", "A"): ["127.0.0.1"]}
    pages = {}
    async with discovery.names(zone) as resolver, discovery.https(certificate, pages) as site:
        host = f"www.contoso.test:{site.address.rpartition(':')[2]}"
        pages[host, "/here"] = discovery.page(b"found")
        web = Web(Way(str(authority.ca_file), resolver))
        assert (await web.fetch("GET", f"https://{host}/here")).body == b"found"
        with pytest.raises(Stopped) as caught:
            await web.fetch("GET", "https://nowhere.contoso.test/")
    assert caught.value.trouble.id == "dns.no-record" and "nowhere.contoso.test" in caught.value.trouble.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"address": "anna"}, "a mail address"),
        ({"address": "anna@con toso"}, "a mail address"),
        ({"resolver": "x:y"}, "HOST:PORT"),
        ({"connect": "127.0.0.1:0"}, "a port from 1"),
        ({"ca_file": "/no/such/file"}, "No such file"),
        ({"ca_file": __file__}, "holds no certificate"),
    ],
)
def test_a_question_is_checked_before_anything_is_asked(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        question(options.pop("address", ADDRESS), Way(**options))


# -- judgement --------------------------------------------------------------------------------------------------


def record(*answers: Answer, servers: list[dict[str, Any]] | None = None) -> Record:
    """What a discovery would have recorded, through JSON and back: a check sees nothing else."""
    from dataclasses import asdict

    stages = [
        StageRecord(name, "ok", facts=from_json(name, {"answers": []})) for name in ("discover.autoconfig", "discover.autodiscover")
    ]
    first = StageRecord("discover.srv", "ok", facts=from_json("discover.srv", {"answers": [asdict(answer) for answer in answers]}))
    verified = StageRecord("discover.verify", "ok", facts=from_json("discover.verify", {"servers": servers or [], "left_out": 0}))
    made = Record("1", ADDRESS, Target("contoso.test", 587, "starttls"), "2026-11-24T00:00:00Z", 1.0, (first, *stages, verified))
    return record_from_json(record_to_json(made))


def judged(made: Record, domain: str = "contoso.test") -> dict[str, str]:
    profile = load_mapping({"submission": {"host": domain}, "message": {"sender": ADDRESS, "recipient": ADDRESS}}, plugins={})
    return {finding.id: finding.severity for finding in judge(made, profile)}


def told(*servers: PublishedServer, source: str = "autoconfig", where: str = "one") -> Answer:
    return Answer(source, where, "found", told=servers)


SMTP = PublishedServer("smtp", "mail.contoso.test", 587, "starttls")


def server(trouble: str | None = None, scope: str = "any", **changes: Any) -> dict[str, Any]:
    certificate = {"trusted": True, "openssl_text": "ok", "name_matches": True, "subject_names": ["m"], "not_after": "2027"}
    return {
        "protocol": "smtp", "host": "m.x", "port": 587, "security": "starttls", "scope": scope, "sources": ["srv"], "really": None,
        "trouble": {"id": trouble, "text": "said"} if trouble else None, "certificate": None if trouble else certificate, **changes,
    }  # fmt: skip


def test_a_run_that_discovered_nothing_is_none_of_its_business() -> None:
    empty = Record("1", "p", Target("x", 587, "starttls"), "2026-11-24T00:00:00Z", 1.0, ())
    assert judged(empty) == {}


def test_a_list_that_shares_one_server_is_no_disagreement() -> None:
    other = PublishedServer("smtp", "mail.contoso.test", 465, "tls")
    assert judged(record(told(SMTP, other), told(SMTP, source="srv"))) == {}
    assert judged(record(told(other), told(SMTP, source="srv"))) == {"discover.sources-disagree": "warning"}
    # What is told for inside may well be another server.
    inside = PublishedServer("smtp", "other.contoso.test", 587, "starttls", "internal")
    assert judged(record(told(SMTP), told(inside, source="autodiscover-soap"))) == {}


@pytest.mark.parametrize(
    ("trouble", "finding"),
    [
        ("connect.refused", "discover.port-closed"),
        ("connect.timeout", "discover.port-closed"),
        ("dns.no-record", "discover.name-not-resolved"),
        ("starttls.not-offered", "discover.encryption-wrong"),
        ("greeting.refused", "discover.server-fails"),
        ("protocol.malformed", "discover.server-fails"),
    ],
)
def test_what_trying_showed(trouble: str, finding: str) -> None:
    assert judged(record(told(SMTP), servers=[server(trouble)])) == {finding: "critical"}
    assert judged(record(told(SMTP), servers=[server(trouble, "internal")])) == {finding: "info"}


def test_a_certificate_may_be_wrong_in_two_ways_at_once() -> None:
    bad = {"trusted": False, "openssl_text": "expired", "name_matches": False, "subject_names": [], "not_after": "2020"}
    tried = server("certificate.not-accepted", certificate=bad)
    expected = {"discover.name-not-in-certificate": "critical", "discover.certificate-not-accepted": "critical"}
    assert judged(record(told(SMTP), servers=[tried])) == expected


@pytest.mark.parametrize("code", [62, 64])
def test_a_name_that_only_openssl_does_not_find_is_a_finding(code: int) -> None:
    ours = {"trusted": True, "openssl_code": code, "openssl_text": "mismatch", "name_matches": True, "subject_names": ["m."]}
    tried = server("certificate.not-accepted", certificate={**ours, "not_after": "2027"})
    assert judged(record(told(SMTP), servers=[tried])) == {"discover.certificate-not-accepted": "critical"}


@pytest.mark.parametrize(
    ("host", "internal"),
    [
        ("mbx01.contoso.local", True), ("mail.lan", True), ("mbx01", True), ("192.168.1.4", True), ("fd00::1", True),
        ("host.home.arpa", True), ("mail.contoso.com", False), ("9.9.9.9", False), ("local.contoso.com", False),
    ],
)  # fmt: skip
def test_internal_names(host: str, internal: bool) -> None:
    assert is_internal(host, "contoso.com") is internal


def test_a_domain_that_is_internal_itself_leaks_nothing() -> None:
    assert not is_internal("mail.contoso.local", "contoso.local") and is_internal("mail.contoso.lan", "contoso.local")


def test_one_server_told_by_many_is_tried_once_and_what_is_told_for_outside_counts() -> None:
    inside, outside = (PublishedServer("smtp", "m.x", 587, "starttls", scope) for scope in ("internal", "external"))
    servers = published_by(
        [told(inside, source="autodiscover-soap"), told(outside, source="autodiscover-soap"), told(SMTP, source="srv")]
    )
    assert {(one.host, one.scope): sources for one, sources in servers.items()} == {
        ("m.x", "external"): ["autodiscover-soap"], ("mail.contoso.test", "any"): ["srv"],
    }  # fmt: skip


def test_every_finding_has_a_cause_and_something_to_do() -> None:
    assert all(kind.summary and kind.cause and kind.remedy for kind in FINDINGS.values())
