"""How the message travelled: what each server's Received field says of protocol and TLS, and what is made of it."""

import pytest

from probe.facts import Verified
from probe.facts.parts import HopSeen
from probe.judge import way
from probe.judge._changer import changer, rewriter
from probe.judge.delivery import unharmed
from probe.message.carried import carried
from probe.profile import Profile
from probe.tasks.run import load_profile

POSTFIX = (
    "from client.contoso.test (unknown [192.0.2.7]) (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange"
    " X25519 server-signature RSA-PSS (2048 bits)) (No client certificate requested) (Authenticated sender: a@contoso.test)"
    " by mail.contoso.test (Postfix) with ESMTPSA id 4X for <a@contoso.test>"
)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (POSTFIX, ("192.0.2.7", "ESMTPSA", "TLSv1.3", "TLS_AES_256_GCM_SHA384", "tls")),
        ("from a.test (a.test [192.0.2.7]) by b.test (Postfix) with ESMTP id 4X", ("192.0.2.7", "ESMTP", "", "", "none")),
        ("from a.test (a.test [IPv6:2001:db8::7]) by b.test with SMTP id 4X", ("2001:db8::7", "SMTP", "", "", "none")),
        ("from localhost (localhost [127.0.0.1]) by b.test (Postfix) with ESMTP id 4X", ("127.0.0.1", "ESMTP", "", "", "local")),
        ("by b.test (Postfix, from userid 0) id 4X", ("", "", "", "", "local")),
        ("from b.test by b.test with LMTP id 4X (envelope-from <a@b.test>)", ("", "LMTP", "", "", "local")),
        ("from a.test ([192.0.2.7]) by b.test with LMTPS id 4X", ("192.0.2.7", "LMTPS", "", "", "tls")),
        (
            "from [192.0.2.7] (helo=a.test) by b.test with esmtps (TLS1.3) tls TLS_AES_256_GCM_SHA384 (Exim 4.96) id 1x",
            ("192.0.2.7", "ESMTPS", "TLSv1.3", "TLS_AES_256_GCM_SHA384", "tls"),
        ),
        (
            "from a.test ([192.0.2.7]) by b.test with esmtps (TLSv1.2:ECDHE-RSA-AES256-GCM-SHA384:256) (Exim 4.89) id 1x",
            ("192.0.2.7", "ESMTPS", "TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384", "tls"),
        ),
        (
            "from EX1.contoso.test (10.0.0.1) by EX2.contoso.test (10.0.0.2) with Microsoft SMTP Server"
            " (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.2.1748.10",
            ("10.0.0.1", "SMTP", "TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "tls"),
        ),
        (
            "from EX1.contoso.test (10.0.0.1) by EX2.contoso.test (10.0.0.2) with Microsoft SMTP Server id 15.2.1748.10",
            ("10.0.0.1", "SMTP", "", "", "none"),
        ),
        ("from EX1.contoso.test ([10.0.0.1]) by EX1.contoso.test (::1) with mapi id 15", ("10.0.0.1", "MAPI", "", "", "local")),
        (
            "from mail.test (mail.test. [192.0.2.7]) by mx.google.com with ESMTPS id x"
            " (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256)",
            ("192.0.2.7", "ESMTPS", "TLSv1.3", "TLS_AES_256_GCM_SHA384", "tls"),
        ),
        (
            "from a.test (a.test [192.0.2.7]) by b.test (8.17.1/8.17.1) with ESMTPS id x"
            " (version=TLSv1.2 cipher=ECDHE-RSA-AES256-GCM-SHA384 bits=256 verify=NO)",
            ("192.0.2.7", "ESMTPS", "TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384", "tls"),
        ),
        ("from ü.test ([192.0.2.7]) by b.test with UTF8SMTPS id x", ("192.0.2.7", "UTF8SMTPS", "", "", "tls")),
        ("", ("", "", "", "", "local")),
    ],
)  # fmt: skip
def test_each_servers_form(words: str, said: tuple[str, ...]) -> None:
    seen = carried(words)
    assert (seen.address, seen.protocol, seen.tls, seen.cipher, seen.transport) == said


@pytest.mark.parametrize(
    "words", ["(" * 4000, "from " + "a" * 4000, "by " * 1300, "with " * 800, "using TLSv1.3 with cipher " * 150]
)
def test_rubbish_is_read_in_little_time(words: str) -> None:
    assert carried(words[:4000]).tls in ("", "TLSv1.3")


def hop(by: str, transport: str = "tls", protocol: str = "ESMTPS") -> HopSeen:
    return HopSeen(by=by, at=None, seconds=None, protocol=protocol, transport=transport, source="there.test", address="192.0.2.7")


def profile(**expect: object) -> Profile:
    data = {
        "submission": {"host": "mail.contoso.test"},
        "message": {"sender": "a@contoso.test", "recipient": "a@contoso.test"},
        "expect": expect,
    }
    return load_profile(data, {})


def said(hops: list[HopSeen], **expect: object) -> list[tuple[str, str]]:
    return [(one.id, one.severity) for one in way.of_hops("imap.verify", hops, profile(**expect))]


def test_a_hop_without_tls_is_an_alarm_where_the_profile_wants_one() -> None:
    hops = [hop("mail.contoso.test"), hop("store.contoso.test", "none", "ESMTP"), hop("store.contoso.test", "local", "LMTP")]
    assert said(hops) == [("hop.without-tls", "info")]
    assert said(hops, tls_on_every_hop=True) == [("hop.without-tls", "critical")]
    assert said([hops[0], hops[2]], tls_on_every_hop=True) == []


def test_more_hops_than_expected() -> None:
    hops = [hop(f"mx{number}.contoso.test") for number in range(7)]
    assert said(hops) == [] and said(hops, hops_at_most=7) == []
    assert said(hops, hops_at_most=6) == [("hop.too-many", "warning")]


def test_a_detour_of_internal_mail() -> None:
    inside, outside = [hop("mail.contoso.test"), hop("store.contoso.test")], hop("in.filter.example")
    assert said([inside[0], outside, inside[1]]) == [("hop.detour", "info")]
    assert said([*inside, outside]) == [] and said([outside, *inside]) == [] and said([inside[0], hop("store"), inside[1]]) == []


def test_who_changed_it() -> None:
    assert changer([]) == ""
    assert changer([hop("mail.contoso.test")]) == "likely mail.contoso.test: no other server had the message"
    several = [hop("mail.contoso.test"), hop("relay.contoso.test"), hop("store.contoso.test", "local", "LMTP")]
    assert changer(several).startswith("by one of mail.contoso.test, relay.contoso.test, store.contoso.test")
    several.insert(2, hop("relay.contoso.test", "local", "ESMTP"))
    assert changer(several) == "likely relay.contoso.test: it takes the message back from a filter on its own machine"


def test_who_rewrote_the_sender() -> None:
    hops = [hop("mail.contoso.test"), hop("mx.forwarder.example")]
    srs = "Return-Path: srs0=hhh=tt=contoso.test=a@forwarder.example"
    assert rewriter(srs, hops) == "likely mx.forwarder.example: SRS, the address is of its domain"
    found = list(unharmed("imap.verify", Verified(sender_rewritten=srs, hops=hops)))
    assert found[0].id == "message.sender-rewritten" and "mx.forwarder.example" in (found[0].evidence or "")


@pytest.mark.parametrize(
    ("written", "severity", "who"),
    [
        ("https://eur01.safelinks.protection.outlook.com/?url=x", "info", "Safe Links of Microsoft Defender for Office 365"),
        ("https://urldefense.com/v3/__x", "info", "URL Defense of Proofpoint"),
        ("https://safelinks.protection.outlook.com.evil.test/", "info", "mail.contoso.test: no other server had the message"),
        ("https://urldefense.com@evil.test/", "info", "mail.contoso.test: no other server had the message"),
        ("https://urldefense.com\\evil.test/", "info", "mail.contoso.test: no other server had the message"),
        (
            "https://x/<https://eur01.safelinks.protection.outlook.com:443/>",
            "info",
            "Safe Links of Microsoft Defender for Office 365",
        ),
        ("rubbish", "info", "mail.contoso.test: no other server had the message"),
        ("", "warning", "mail.contoso.test: no other server had the message"),
    ],
)
def test_who_rewrote_the_link(written: str, severity: str, who: str) -> None:
    (found,) = unharmed("imap.verify", Verified(link_rewritten=written, hops=[hop("mail.contoso.test")]))
    assert (found.id, found.severity) == ("message.altered", severity) and (found.evidence or "").endswith(f"likely {who}")
    assert list(unharmed("imap.verify", Verified(link_rewritten=None))) == []
