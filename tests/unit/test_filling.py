"""A message of a chosen size: exactly that size, made and compared piece by piece, and what may become of its attachment."""

import email
import re
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from probe.facts import Verified
from probe.judge.delivery import unharmed
from probe.message import Draft, Filled, compose, new_marker, prove, read
from probe.observe.protocol import smtp
from probe.profile import ProfileError
from probe.profile.schema import json_schema
from probe.tasks.run import load_profile

KEY = b"k" * 32


def draft(size: int | None) -> Draft:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return compose(marker=new_marker(b"x" * 16), key=KEY, sender="a@x.test", recipient="b@x.test", now=now, size=size)


def compared(sent: Draft, raw: bytes, pieces: int = 4096) -> Filled:
    filled = Filled(sent.marker, sent.filling)
    for start in range(0, len(raw), pieces):
        filled.feed(raw[start : start + pieces])
    return filled


@pytest.mark.parametrize("size", [*range(4096, 4096 + 80), 65536, 1_000_000])
def test_it_has_exactly_the_size_that_was_asked_for(size: int) -> None:
    sent = draft(size)
    raw = b"".join(sent.pieces())
    assert sent.octets == len(raw) == size
    assert compared(sent, raw).state == "intact"
    assert all(piece.endswith(b"\r\n") for piece in sent.pieces())


def test_it_is_a_plain_multipart_and_proven_as_any_other() -> None:
    sent = draft(300_000)
    raw = b"".join(sent.pieces())
    text, attachment = email.message_from_bytes(raw).get_payload()
    assert text.get_content_type() == "text/plain" and len(attachment.get_payload(decode=True)) == sent.filling
    for start in (raw, raw[:262_144], raw[:10_000]):
        proof = prove(read(start), key=KEY, expected=sent)
        assert (proof.what, proof.proven_by, proof.text) == ("ours", "header", "intact")


def test_smaller_than_the_text_alone_is_the_text_alone() -> None:
    assert draft(100).raw == draft(None).raw and draft(100).filling == 0


@pytest.mark.parametrize("pieces", [1, 3, 77, 5000, 1_000_000])
@pytest.mark.parametrize("ends", [b"\r\n", b"\n"])
def test_pieces_and_line_ends_may_be_any(pieces: int, ends: bytes) -> None:
    sent = draft(9_000)
    raw = b"".join(sent.pieces()).replace(b"\r\n", ends)
    assert compared(sent, raw, pieces).state == "intact"


def rewrapped(raw: bytes) -> bytes:
    """As Exchange writes an attachment that it had stored decoded: another boundary, other lines."""
    head = raw.split(b"\r\n\r\n--", 1)[0]
    content = raw.rpartition(b"\r\n\r\n")[2].split(b"\r\n--")[0].replace(b"\r\n", b"")
    lines = b"\r\n".join(content[start : start + 60] for start in range(0, len(content), 60))
    name = b'Content-Type: application/octet-stream;\r\n\tname="submission-probe-filling.dat"\r\n'
    return head + b"\r\n\r\n--_000_\r\n" + name + b"Content-Transfer-Encoding: base64\r\n\r\n" + lines + b"\r\n\r\n--_000_--\r\n"


@pytest.mark.parametrize(
    ("harm", "state"),
    [
        (rewrapped, "intact"),
        (lambda raw: raw[:100_000] + b"\r\n", "cut"),
        (lambda raw: raw[:100_000] + b"AAAA" + raw[100_004:], "changed"),
        (lambda raw: raw.replace(b"\r\n--=", b"\r\nAAAA\r\n--="), "changed"),
        (lambda raw: raw[:900] + b"\r\n", "missing"),
        (
            lambda raw: raw[:900] + b"\r\n\r\nsubmission-probe-filling.dat was removed\r\n\r\nby a filter.\r\n",
            "missing",
        ),
        (lambda raw: b"submission-probe-filling.dat\r\n\r\nis here:\r\n" + raw, "intact"),
    ],
)
def test_what_becomes_of_the_attachment(harm: Callable[[bytes], bytes], state: str) -> None:
    sent = draft(200_000)
    raw = b"".join(sent.pieces())
    if state == "changed" and b"AAAA" not in harm(raw)[99_000:]:
        pytest.fail("the harm is none")
    filled = compared(sent, harm(raw))
    assert filled.state == state
    found = list(unharmed("imap.verify", Verified(filling=filled.state, filling_same=filled.same)))
    assert [(one.id, one.severity) for one in found] == ([] if state == "intact" else [("message.altered", "critical")])


def test_neither_making_nor_comparing_holds_it_whole() -> None:
    sent = draft(30 * 2**20)
    filled = Filled(sent.marker, sent.filling)
    tracemalloc.start()
    for piece in sent.pieces():
        filled.feed(smtp.stuffed(piece))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert filled.same == sent.filling and most < 2 * 2**20


def test_a_hostile_message_is_read_in_bounded_memory() -> None:
    """A line that does not end, a header that does not end, names without end."""
    tracemalloc.start()
    for piece in (b"A" * 65_536, b'name="submission-probe-filling.dat"', b"submission-probe-filling.dat\r\n\r\n" * 2_000):
        filled = Filled("submission-probe-" + "a" * 26, 10**9)
        filled.feed(b'x; name="submission-probe-filling.dat"\r\nX: ')
        for _ in range(200):
            filled.feed(piece)
        assert filled.state == "missing"
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2 * 2**20


@pytest.mark.parametrize(
    ("given", "octets"), [("25M", 25 * 2**20), ("25MB", 25 * 2**20), ("500k", 512_000), (65536, 65536), ("5000", 5000)]
)
def test_how_a_size_is_written(given: object, octets: int) -> None:
    data = {"submission": {"host": "x.test"}, "message": {"sender": "a@x.test", "recipient": "a@x.test", "size": given}}
    assert load_profile(data, {}).message.size == octets


@pytest.mark.parametrize("given", ["25 apples", "1K", "2G", "-5M", "", 0, True, 1.5, "9" * 40])
def test_what_is_no_size(given: object) -> None:
    data = {"submission": {"host": "x.test"}, "message": {"sender": "a@x.test", "recipient": "a@x.test", "size": given}}
    with pytest.raises(ProfileError, match="expected a size such as"):
        load_profile(data, {})


LINKS = ["https://www.contoso.com/", "HTTP://x", "http://[::1]:8080/a?b=c#d", "https://a_b.x/@user?m=b@c&d=%C3%A4"]
LINKS += ["https://x/" + "y" * 190]
NO_LINKS = [
    "",
    "www.contoso.com",
    "ftp://x/",
    "https://a@x/",
    "https://x/ y",
    "https://x\\y/",
    "https://x/<b>",
    "https://..",
    "https://\u212a/",
]
NO_LINKS += ["https://x/\r\nBcc: a@b", "https://x/\n", "https://x/" + "y" * 191, "https://www.münchen.test/", "http\u017f://x/"]


@pytest.mark.parametrize("given", [*LINKS, *NO_LINKS], ids=ascii)
def test_what_is_a_link_to_the_loader_and_to_an_editor(given: str) -> None:
    data = {"submission": {"host": "x.test"}, "message": {"sender": "a@x.test", "recipient": "a@x.test", "link": given}}
    if given in LINKS:
        assert load_profile(data, {}).message.link == given
    else:
        with pytest.raises(ProfileError, match=r"message\.link"):
            load_profile(data, {})
    rule: Any = json_schema({})["$defs"]["Message"]["properties"]["link"]
    fits = len(given) <= rule["maxLength"] and bool(re.search(rule["pattern"], given)) and not given.endswith("\n")
    assert fits is (given in LINKS)


@pytest.mark.parametrize(
    ("given", "most"),
    [(["35882577"], 35882577), (["0"], None), ([], None), (["x"], None), (["-1"], None), (["9" * 30], None), (["١"], None)],
)
def test_what_size_says(given: list[str], most: int | None) -> None:
    assert smtp.most_octets({"SIZE": given}) == most


def test_what_limits_says() -> None:
    words = {"LIMITS": ["RCPTMAX=20", "MAILMAX=5", "rcptdomainmax=1", "FOO=x", "BAR", "=5", "BIG=" + "9" * 50]}
    assert smtp.limits(words) == {"RCPTMAX": 20, "MAILMAX": 5, "RCPTDOMAINMAX": 1}
    assert smtp.limits({}) == {}
