"""A message by two real Postfixes into Dovecot: which hop had TLS, and who rewrote the sender."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.test_round_trip import Bench, Ran


def through_two(folder: Path, mail_servers: Callable[..., Any], **edge: str) -> Ran:
    """Submitted at edge.example.test, which sends it on to mail.example.test, where it is read."""
    store = mail_servers(extra_postfix={"smtpd_recipient_restrictions": "permit"})
    onwards = {
        "myhostname": "edge.example.test",
        "smtpd_tls_received_header": "yes",
        "virtual_transport": f"smtp:[127.0.0.1]:{store.ports['smtp25']}",
        **edge,
    }
    first = mail_servers(extra_postfix=onwards)
    bench = Bench(folder, store, user="traveller")
    first.add_user("traveller", bench.password)
    expect = {"tls_on_every_hop": True, "hops_at_most": 2}
    return bench.run(bench.profile(submission={"port": first.ports["submission"]}, expect=expect), "--timeout", "45s")


@pytest.mark.parametrize("level", ["encrypt", "none"])
def test_each_hop_says_how_it_came(mail_servers: Callable[..., Any], tmp_path: Path, level: str) -> None:
    ran = through_two(tmp_path, mail_servers, smtp_tls_security_level=level)
    hops = ran.stage("imap.verify")["facts"]["hops"]
    assert [(hop["by"], hop["protocol"]) for hop in hops[:2]] == [
        ("edge.example.test", "ESMTPSA"),
        ("mail.example.test", "ESMTPS" if level == "encrypt" else "ESMTP"),
    ], ran.printed[:2000]
    assert hops[0]["tls"].startswith("TLSv1.") and hops[0]["cipher"]
    # Both are on one machine here: without TLS that is no network.
    assert [hop["transport"] for hop in hops] == ["tls", "tls" if level == "encrypt" else "local", "local"]
    assert "hop.without-tls" not in ran.findings and "hop.too-many" in ran.findings


def test_a_rewritten_sender_is_ascribed_to_its_hop(mail_servers: Callable[..., Any], tmp_path: Path) -> None:
    srs = "static:srs0=hhhh=tt=example.test=traveller@edge.example.test"
    ran = through_two(tmp_path, mail_servers, sender_canonical_maps=srs, sender_canonical_classes="envelope_sender")
    found = next(one for one in ran.report["findings"] if one["id"] == "message.sender-rewritten")
    assert "likely edge.example.test: SRS, the address is of its domain" in found["evidence"], found
