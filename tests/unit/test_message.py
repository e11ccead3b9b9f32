"""The marked message, and what becomes of it on the way."""

import base64
import tracemalloc
from datetime import UTC, datetime
from email import message_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.message import MARKER_PATTERN, carries_marker, compose, new_marker, prove, read

KEY = b"k" * 32
MARKER = new_marker(bytes(range(16)))
DRAFT = compose(marker=MARKER, key=KEY, sender="a@x.test", recipient="b@x.test", now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def proof_of(raw: bytes, key: bytes = KEY):
    return prove(read(raw), key=key, expected=DRAFT)


def test_the_message_is_what_mail_programs_and_responders_expect() -> None:
    message = message_from_bytes(DRAFT.raw)
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Auto-Response-Suppress"] == "All"
    assert message["Message-ID"] == f"<{MARKER}@x.test>"
    assert message["Date"] == "Fri, 02 Jan 2026 03:04:05 +0000"
    assert DRAFT.raw.isascii()
    assert all(len(line) <= 998 for line in DRAFT.raw.split(b"\r\n"))
    assert b"\n" not in DRAFT.raw.replace(b"\r\n", b"")
    assert MARKER_PATTERN.fullmatch(MARKER)


def test_unharmed() -> None:
    proof = proof_of(b"Received: from a by mx.test; Fri, 02 Jan 2026 03:04:06 +0000\r\n" + DRAFT.raw)
    assert (proof.ours, proof.proven_by, proof.text) == (True, "header", "intact")
    assert not proof.subject_changed and not proof.message_id_changed
    assert proof.hops[0].by == "mx.test"


def test_another_installation_is_not_ours() -> None:
    assert not proof_of(DRAFT.raw, key=b"z" * 32).ours


def test_a_twin_with_our_marker_alone_is_not_ours() -> None:
    twin = f"Subject: x\r\nX-Submission-Probe: {MARKER}\r\nX-Submission-Probe-Proof: {'0' * 64}\r\n\r\n{MARKER}\r\n".encode()
    assert carries_marker(twin, MARKER)
    assert not proof_of(twin).ours


def test_headers_stripped_the_text_still_proves_it() -> None:
    head, _, body = DRAFT.raw.partition(b"\r\n\r\n")
    kept = [line for line in head.split(b"\r\n") if not line.startswith((b"X-Submission", b" "))]
    proof = proof_of(b"\r\n".join(kept) + b"\r\n\r\n" + body)
    assert (proof.ours, proof.proven_by) == (True, "text")


def test_footer_truncation_and_rewriting_are_told_apart() -> None:
    assert proof_of(DRAFT.raw + b"-- \r\nThis mail is confidential.\r\n").text == "added-to"
    assert proof_of(DRAFT.raw[:-120]).text == "changed"
    encoded = DRAFT.raw.replace(b"Content-Transfer-Encoding: 7bit", b"Content-Transfer-Encoding: base64")
    head, _, body = encoded.partition(b"\r\n\r\n")
    assert proof_of(head + b"\r\n\r\n" + base64.encodebytes(body)).text == "intact"


def test_tagged_subject_and_replaced_message_id_are_seen() -> None:
    raw = DRAFT.raw.replace(b"Subject: ", b"Subject: [EXTERNAL] ").replace(b"Message-ID: <", b"Message-ID: <new.")
    proof = proof_of(raw)
    assert proof.ours and proof.subject_changed and proof.message_id_changed


def test_a_negative_hop_is_kept_as_it_is() -> None:
    trace = (
        b"Received: by second.test; Fri, 02 Jan 2026 03:04:00 +0000\r\n"
        b"Received: by first.test; Fri, 02 Jan 2026 03:04:10 +0000\r\n"
        b"Received: rubbish\r\n"
    )
    hops = proof_of(trace + DRAFT.raw).hops
    assert [(hop.by, hop.seconds) for hop in hops] == [("", None), ("first.test", None), ("second.test", -10.0)]


@given(st.binary(max_size=400))
def test_rubbish_is_simply_not_ours(raw: bytes) -> None:
    assert not proof_of(raw).ours
    carries_marker(raw, MARKER)


def test_an_international_address_makes_an_international_header_and_no_other_change() -> None:
    draft = compose(marker=MARKER, key=KEY, sender="jürgen@x.test", recipient="b@x.test", now=datetime(2026, 1, 2, tzinfo=UTC))
    assert "From: jürgen@x.test".encode() in draft.raw
    assert prove(read(draft.raw), key=KEY, expected=draft).text == "intact"


def test_a_rewritten_sender_is_seen_in_from_or_return_path() -> None:
    assert proof_of(DRAFT.raw).sender_rewritten is None
    path = b"Return-Path: <SRS0=abcd=ef=contoso.com=probe@relay.test>\r\n" + DRAFT.raw
    assert proof_of(path).sender_rewritten == "Return-Path: srs0=abcd=ef=contoso.com=probe@relay.test"
    assert proof_of(b"Return-Path: <" + DRAFT.sender.upper().encode() + b">\r\n" + DRAFT.raw).sender_rewritten is None
    # A bounce's empty path names nobody.
    assert proof_of(b"Return-Path: <>\r\n" + DRAFT.raw).sender_rewritten is None


LINK = "https://www.contoso.com/a?b=c"
LINKED = compose(marker=MARKER, key=KEY, sender="a@x.test", recipient="b@x.test", now=datetime(2026, 1, 2, tzinfo=UTC), link=LINK)


def became_of(written: bytes, raw: bytes = LINKED.raw):
    """What is said where this stands in place of the line of the link."""
    proof = prove(read(raw.replace(f"Link: {LINK}\r\n".encode(), written)), key=KEY, expected=LINKED)
    return proof.ours, proof.text, proof.link_rewritten


WRITTEN = {
    "safe links": "https://nam02.safelinks.protection.outlook.com/?url=https%3A%2F%2Fwww.contoso.com%2Fa&data=05%7C02",
    "proofpoint": "https://urldefense.com/v3/__https://www.contoso.com/a?b=c__;!!x$",
    "in brackets behind it": "https://www.contoso.com/a?b=c<https://eur01.safelinks.protection.outlook.com/?url=x>",
    "words": "[link removed by policy]",
    "long": "https://urldefense.com/" + "x" * 5000,
    # Words of our own text, each of which stands elsewhere too.
    "a letter": "a",
    "a word of ours": "message",
}


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_what_was_written_over_the_link_is_no_other_change_of_the_text(name: str) -> None:
    line = f"Link: {WRITTEN[name]}\r\n".encode()
    other = LINKED.raw.replace(b"Sent: 2026", b"Sent: 1026")
    for found, text in (
        (became_of(line), "intact"),
        (became_of(line + b"A footer.\r\n"), "added-to"),
        (became_of(line, other), "changed"),
    ):
        assert found[:2] == (True, text) and found[2] == WRITTEN[name], text


@pytest.mark.parametrize("line", [b"", b"Link:\r\n", b"Link: \r\n\r\n"])
@pytest.mark.parametrize(
    "footer", [b"", b"This mail is confidential.\r\n", b"-- \r\nExample Ltd\r\n", b"\r\nSee https://x.test/\r\n"]
)
def test_a_link_that_is_gone(line: bytes, footer: bytes) -> None:
    assert became_of(line + footer) == (True, "added-to" if footer else "intact", "")


def test_a_link_as_it_was_broken_onto_the_next_line_in_html_and_of_somebody_else() -> None:
    assert became_of(f"Link: {LINK}\r\n".encode()) == (True, "intact", None)
    assert became_of(f"Link:\r\n{LINK}\r\n".encode()) == (True, "intact", None)
    head, _, body = LINKED.raw.partition(b"\r\n\r\n")
    banner = head + b"\r\n\r\nExternal mail. Link: https://intra.test/help\r\n" + body
    assert became_of(f"Link: {LINK}\r\n".encode(), banner) == (True, "added-to", None)
    html = LINKED.raw.replace(b"text/plain", b"text/html")
    assert became_of(b"Link: <a href=x>https://urldefense.com/v3/y</a> sent by us", html)[2] == "https://urldefense.com/v3/y"


def test_fields_removed_and_message_id_replaced_and_the_link_rewritten_are_still_ours() -> None:
    kept = b"\r\n".join(line for line in LINKED.raw.split(b"\r\n") if not line.startswith((b"X-Submission-Probe", b"Message-ID")))
    for written in (f"Link: {LINK}\r\n", "Link: https://urldefense.com/v3/y\r\n", ""):
        assert became_of(written.encode(), b"Message-ID: <other@gateway.test>\r\n" + kept)[:2] == (True, "intact")


def test_one_letter_for_a_link_costs_no_memory() -> None:
    raw = LINKED.raw.replace(LINK.encode(), b"a") + b"a" * 250_000
    tracemalloc.start()
    try:
        assert prove(read(raw), key=KEY, expected=LINKED).link_rewritten == "a"
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_without_a_link_sent_none_is_looked_for() -> None:
    assert b"Link:" not in DRAFT.raw
    assert proof_of(DRAFT.raw + b"Link: https://other.test/\r\n").link_rewritten is None
