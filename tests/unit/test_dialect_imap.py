"""IMAP4 responses on octets."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.observe.protocol import imap


def test_fetch_with_literal() -> None:
    item = imap.untagged([(b"* 3 FETCH (UID 17 BODY[] {5}", b"ab\r\nc"), b" FLAGS (\\Seen))"])
    assert (item.kind, item.number) == ("FETCH", 3)
    assert imap.fetched(item) == {"UID": 17, "BODY[]": b"ab\r\nc", "FLAGS": (b"\\Seen",)}


def test_partial_fetch_and_quoted_string() -> None:
    item = imap.untagged([b'* 3 FETCH (UID 17 BODY[]<0> "a \\"b\\"")'])
    assert imap.fetched(item) == {"UID": 17, "BODY[]<0>": b'a "b"'}


def test_nested_brackets_are_refused_before_the_parser_recurses() -> None:
    item = imap.untagged([b"* 1 FETCH " + b"(" * 100_000])
    with pytest.raises(imap.Malformed, match="nested"):
        imap.fetched(item)


def test_a_huge_literal_is_refused_before_it_is_read() -> None:
    with pytest.raises(imap.Malformed, match="4294967296"):
        imap.literal_octets(b"* 1 FETCH (BODY[] {4294967296}")
    assert imap.literal_octets(b"* 1 FETCH (BODY[] {12}") == 12
    assert imap.literal_octets(b"* OK fine") is None


@given(st.binary(max_size=80))
def test_rubbish_becomes_one_kind_of_error(octets: bytes) -> None:
    with contextlib.suppress(imap.Malformed):
        imap.fetched(imap.untagged([b"* 1 FETCH (" + octets.replace(b"\n", b"")]))


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4), st.binary(max_size=20))
def test_rubbish_with_literals_becomes_one_kind_of_error(heads: list[bytes], tail: bytes) -> None:
    with contextlib.suppress(imap.Malformed):
        imap.fetched(imap.Untagged("FETCH", 1, "", (*((head, b"x") for head in heads), tail)))


def test_completion_and_response_codes() -> None:
    assert imap.tagged(b"A1 NO [UNAVAILABLE] later") == ("A1", "NO", "[UNAVAILABLE] later")
    assert imap.tagged(b"A1 MAYBE x") is None
    assert imap.response_code("[UIDNEXT 5] Predicted") == ("UIDNEXT", "5")
    answer = imap.Answer("OK", "[READ-WRITE] done", (imap.untagged([b"* OK [UIDNEXT 7] next"]),))
    assert answer.coded("UIDNEXT") == "7"
    assert answer.coded("UIDVALIDITY") is None


def test_capabilities_from_wherever_they_come() -> None:
    assert imap.capabilities([imap.untagged([b"* CAPABILITY IMAP4rev1 starttls"])]) == ["IMAP4REV1", "STARTTLS"]
    assert imap.capabilities([imap.untagged([b"* OK [CAPABILITY IMAP4rev1] hi"])]) == ["IMAP4REV1"]
    assert imap.capabilities([], "[CAPABILITY X UIDPLUS] done") == ["X", "UIDPLUS"]
    assert imap.capabilities([]) is None


@pytest.mark.parametrize("text", ["a\r\nb", "a\nb", "a\0b", "café", "a\x7fb"])
def test_what_cannot_be_quoted_is_refused(text: str) -> None:
    with pytest.raises(imap.Malformed):
        imap.quoted(text)


def test_mailbox_names_are_modified_utf7() -> None:
    assert imap.mailbox("Junk Email") == '"Junk Email"'
    assert imap.mailbox("Entwürfe") == '"Entw&APw-rfe"'
    assert imap.mailbox('a"b\\c') == '"a\\"b\\\\c"'


def _answer(*lines: bytes) -> imap.Answer:
    return imap.Answer("OK", "", tuple(imap.untagged([line]) for line in lines))


@pytest.mark.parametrize(
    ("lines", "quota"),
    [
        ([b'* QUOTA "" (STORAGE 10 512)'], {"STORAGE": {"used": 10, "limit": 512}}),
        ([b"* QUOTA User\\ quota (STORAGE 1 2)"], {}),
        ([b'* QUOTA "User quota" (STORAGE 9 10 MESSAGE 20 1000)'],
         {"STORAGE": {"used": 9, "limit": 10}, "MESSAGE": {"used": 20, "limit": 1000}}),
        # Several roots: the fullest of each resource.
        ([b"* QUOTA a (STORAGE 1 10)", b"* QUOTA b (STORAGE 50 100)", b"* QUOTA c (STORAGE 20 100)"],
         {"STORAGE": {"used": 50, "limit": 100}}),
        ([b"* QUOTA a ()"], {}),
        ([b"* QUOTA a (STORAGE 1 0)"], {}),
        ([b"* QUOTA a (STORAGE x y MESSAGE 1 2)"], {"MESSAGE": {"used": 1, "limit": 2}}),
        ([b"* QUOTA a (STORAGE 1"], {}),
        ([b"* QUOTA"], {}),
    ],
)  # fmt: skip
def test_quota(lines: list[bytes], quota: dict[str, dict[str, int]]) -> None:
    assert imap.room(_answer(b"* 7 EXISTS"), _answer(*lines)) == imap.Room(7, quota)
