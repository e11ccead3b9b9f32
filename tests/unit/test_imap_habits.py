"""IMAP4 responses of servers with habits of their own: in pieces, twice, labelled otherwise, sets for hits."""

import pytest

from probe.observe.fetching import merged
from probe.observe.protocol.imap import Answer, Malformed, Untagged, capabilities, hits, listed, untagged


def fetch(line: bytes, text: bytes | None = None, rest: bytes = b")") -> Untagged:
    return untagged([line] if text is None else [(line + b"{%d}" % len(text), text), rest])


def test_what_comes_in_pieces_belongs_together_by_its_number() -> None:
    parts = [fetch(b"* 3 FETCH (BODY[] ", b"text"), fetch(b"* 4 FETCH (FLAGS (\\Seen))"), fetch(b"* 3 FETCH (UID 77)")]
    assert merged(parts) == {77: b"text"}


def test_what_comes_twice_is_one_message() -> None:
    one = fetch(b"* 3 FETCH (UID 77 BODY[] ", b"text")
    assert merged([one, one]) == {77: b"text"}


@pytest.mark.parametrize("label", [b"BODY[]", b"BODY[]<0>", b"BODY.PEEK[HEADER.FIELDS (SUBJECT)]", b"RFC822", b"RFC822.HEADER"])
def test_text_is_text_whatever_its_label(label: bytes) -> None:
    assert merged([fetch(b"* 1 FETCH (UID 5 " + label + b" ", b"text")]) == {5: b"text"}


def test_a_size_is_no_text() -> None:
    assert merged([fetch(b"* 1 FETCH (UID 5 RFC822.SIZE 120)")]) == {}


def answer(*lines: bytes, status: str = "OK") -> Answer:
    return Answer(status, "done", tuple(untagged([line]) for line in lines))


def test_hits_in_every_form() -> None:
    assert hits(answer(b"* SEARCH 2 5 (MODSEQ 917162500)")) == [2, 5]
    assert hits(answer(b"* SEARCH 2", b"* SEARCH 5")) == [2, 5]
    assert hits(answer(b'* ESEARCH (TAG "A1") UID ALL 2,10:12')) == [2, 10, 11, 12]
    assert hits(answer(b'* ESEARCH (TAG "A1") UID')) == hits(answer(b"* SEARCH")) == []
    assert hits(answer(b"* SEARCH 2", status="NO")) == []


def test_a_set_of_four_billion_hits_is_cut_to_the_newest() -> None:
    assert hits(answer(b"* ESEARCH UID ALL 1:4294967295"), 3) == [4294967293, 4294967294, 4294967295]
    with pytest.raises(Malformed):
        hits(answer(b"* ESEARCH UID ALL 1:*"))


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b'* LIST (\\HasNoChildren \\Junk) "/" "Junk E-mail"', "Junk E-mail"),
        (b'* LIST () "." INBOX.Spam', "INBOX.Spam"),
        (b'* LIST () NIL "a \\"quoted\\" name"', 'a "quoted" name'),
        (b'* LIST () "/" "Entw&APw-rfe"', "Entwürfe"),
        (b'* LIST (\\Noselect) "/" "[Gmail]"', None),
        (b"* LIST rubbish", None),
    ],
)
def test_names_of_folders(line: bytes, name: str | None) -> None:
    assert listed(untagged([line])) == name


def test_a_name_that_comes_as_a_literal() -> None:
    assert listed(untagged([(b'* LIST () "/" {5}', b"a b c"), b""])) == "a b c"


def test_two_lists_of_capabilities_count_together() -> None:
    items = [untagged([b"* CAPABILITY IMAP4rev1 AUTH=PLAIN"]), untagged([b"* CAPABILITY IMAP4rev1 uidplus"])]
    assert capabilities(items) == ["IMAP4REV1", "AUTH=PLAIN", "UIDPLUS"]
