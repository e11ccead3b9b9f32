"""Mail that is made to break the reading, and mail that comes close to being ours without being it."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from probe.message import Draft, compose, new_marker, prove, read, recognise

KEY = b"k" * 32
MARKER = new_marker(bytes(range(16)))


def draft(sender: str = "p@x.test", recipient: str = "p@x.test") -> Draft:
    return compose(marker=MARKER, key=KEY, sender=sender, recipient=recipient, now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


# The default of a profile: the account writes to itself, so that From and To are those of any note to oneself.
OURS = draft()
HEAD, _, TEXT = OURS.raw.partition(b"\r\n\r\n")
MARKED = b"X-Submission-Probe: " + MARKER.encode() + b"\r\n"
SELF = b"From: p@x.test\r\nTo: p@x.test\r\n"
FIELDS_REMOVED = re.sub(rb"(?m)^X-[^\r]*\r\n(?:[ \t][^\r]*\r\n)*", b"", HEAD + b"\r\n").rstrip()
RUBBISH: dict[str, bytes] = {
    "an encoded word that is no base64": b"Subject: =?utf-8?b?a?=\r\n\r\n",
    "comments in comments": b"From: " + b"(" * 3900 + b"\r\n\r\n",
    "opened brackets": b"From: " + b"<" * 3900 + b"\r\n\r\n",
    "a boundary in a charset that decodes nothing": b"Content-Type: multipart/mixed; boundary*=undefined''abc\r\n\r\n",
    "a boundary in a charset with NUL": b"Content-Type: multipart/mixed; boundary*=a\0b''abc\r\n\r\n",
    "a parameter of 5000 digits": b"Content-Type: multipart/mixed; x*" + b"9" * 3900 + b"=a\r\n\r\nx",
    "a parameter of 10000 digits": b"Content-Type: multipart/mixed; x*" + b"9" * 10_000 + b"=a\r\n\r\nx",
    "octets that are no text": b"In-Reply-To: \xff\xfe\r\nSubject: \xff =?x?b?\xff?=\r\n\r\n",
    "a report with rubbish": b"Content-Type: message/delivery-status\r\n\r\nFinal-Recipient: \xff\r\nAction: =?utf-8?b?a?=\r\n\r\n",
    "dates that are none": b"Received: by x; Fri, 31 Dec 9999 23:59:59 -2359\r\nReceived: by x; " + b"9" * 3000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", RUBBISH)
def test_rubbish_in_fields_never_raises(name: str) -> None:
    letter = read(MARKED + RUBBISH[name])
    assert prove(letter, key=KEY, expected=OURS).what in ("mention", "bounce")
    assert recognise(letter, key=KEY, known={MARKER: OURS}) is None


@pytest.mark.parametrize("parameters", [b'; x="' + b";" * 190_000, b";" * 190_000, b";a=b" * 40_000])
def test_a_content_type_that_takes_minutes_to_parse_is_not_parsed(parameters: bytes) -> None:
    letter = read(MARKED + b"Content-Type: multipart/mixed" + parameters + b"\r\n\r\nx")
    assert letter.cut and letter.header.get("Content-Type") is None


@pytest.mark.parametrize("charset", ["punycode", "PunyCode", "idna", "unicode_escape", "undefined"])
def test_a_charset_whose_decoder_is_slow_or_not_for_mail_is_not_used(charset: str) -> None:
    text = r"a-\x41b"
    letter = read(f"Content-Type: text/plain; charset={charset}\r\n\r\n{text}".encode())
    assert letter.parts[0].text() == text


SUBJECT = b"Subject: " + re.search(rb"(?m)^Subject: ([^\r]*)", HEAD)[1]  # type: ignore[index]


def around(head: bytes, text: bytes = b"What is this?\r\n" + TEXT) -> bytes:
    return SELF + head + b"\r\n\r\n" + text


def attached(head: bytes) -> bytes:
    return (
        head + b"\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n\r\nLook!"
        + b"\r\n--B\r\nContent-Type: message/rfc822\r\n\r\n" + OURS.raw + b"\r\n--B--\r\n"
    )  # fmt: skip


NEVER: dict[str, bytes] = {
    "a note to oneself with our text": around(b"Subject: look at this"),
    "an automatic answer without a sign": around(b"Subject: Automatic reply: Submission probe\r\nAuto-Submitted: auto-generated"),
    "a challenge": around(b"Subject: Please confirm your message"),
    "two fields copied onto a note to oneself": around(
        MARKED + b"X-Submission-Probe-Proof: " + OURS.proof.encode() + b"\r\nSubject: contract", b"Please sign.\r\n"
    ),
    "attached to a note to oneself": attached(SELF + b"Subject: look at this\r\nX-Spam-Status: No, score=0\r\nX-Spam-Score: 0"),
    "two fields copied onto a note to oneself that ours is attached to": attached(
        MARKED + b"X-Submission-Probe-Proof: " + OURS.proof.encode() + b"\r\n" + SELF + b"Subject: look at this\r\nX-Spam-Flag: YES"
    ),
    "a quarantine's notice": attached(b"From: quarantine@gw.test\r\nTo: p@x.test\r\nSubject: Quarantined\r\nX-Quarantine-Id: 1"),
    "a null return path with a blank": b"Return-Path: < >\r\n" + OURS.raw,
    "another word for an automatic answer": OURS.raw.replace(b"auto-generated", b"auto-forwarded"),
}


# Mailers that set neither In-Reply-To nor References, and name the answer or the forward in a language of their own.
ANSWERS = [
    "RES: ",
    "ENC: ",
    "FYI: ",
    "WEITERGELEITET: ",
    "[EXTERNAL] FWD: ",
    "(Fwd) ",
    "Odpověď: ",
    "回复：",
    "Re[2]: ",
    "[Ext] SV: RES: ",
]


@pytest.mark.parametrize("words", [b"What is this?\r\n", b""])
@pytest.mark.parametrize("prefix", ANSWERS)
def test_an_answer_without_its_fields_is_not_ours(prefix: str, words: bytes) -> None:
    raw = around(SUBJECT.replace(b": ", b": " + prefix.encode(), 1) + b"\r\nMessage-ID: <1@mailer>", words + TEXT)
    assert prove(read(raw), key=KEY, expected=OURS).what == "mention"
    assert recognise(read(raw), key=KEY, known={MARKER: OURS}) is None


def test_words_in_front_of_the_text_make_it_another_mail_where_the_message_id_is_another() -> None:
    raw = around(SUBJECT + b"\r\nMessage-ID: <1@mailer>")
    assert prove(read(raw), key=KEY, expected=OURS).what == "mention"


@pytest.mark.parametrize("name", NEVER)
def test_what_comes_close_is_not_ours(name: str) -> None:
    assert prove(read(NEVER[name]), key=KEY, expected=OURS).what in ("mention", "answer", "bounce")
    assert recognise(read(NEVER[name]), key=KEY, known={MARKER: OURS}) is None


def postmaster() -> tuple[Draft, bytes]:
    own = draft("postmaster@x.test", "postmaster@x.test")
    return own, own.raw


def international() -> tuple[Draft, bytes]:
    own = draft("jürgen@bücher.test", "jürgen@bücher.test")
    return own, own.raw


STILL_OURS: dict[str, Callable[[], tuple[Draft, bytes]]] = {
    "a probe that sends as postmaster": postmaster,
    "addresses that are international on both sides": international,
    "References added by a gateway": lambda: (OURS, b"References: <x@y.test>\r\n" + OURS.raw),
    "a disclaimer in front, our Message-ID left": lambda: (
        OURS, around(SUBJECT + b"\r\nMessage-ID: <" + MARKER.encode() + b"@x.test>"),
    ),
    "a disclaimer behind, all fields but two replaced": lambda: (
        OURS, around(SUBJECT + b"\r\nMessage-ID: <1@gw>", TEXT + b"\r\n--\r\nConfidential.\r\n"),
    ),
    "a filter's word and a colon in front": lambda: (
        OURS, around(SUBJECT.replace(b": ", b": Possible SPAM: [EXTERNAL] ", 1) + b"\r\nMessage-ID: <1@gw>", TEXT),
    ),
    "Subject and Message-ID replaced, the text whole": lambda: (OURS, around(b"Subject: [Ticket 1]\r\nMessage-ID: <1@gw>", TEXT)),
    "enclosed, the filter's verdict in the field of another filter": lambda: (
        OURS, attached(SELF + b"Subject: {Spam?} x\r\nX-Barracuda-Spam-Flag: YES"),
    ),
    "enclosed, with our Message-ID kept outside": lambda: (
        OURS, attached(SELF + b"Subject: x\r\nMessage-ID: <" + MARKER.encode() + b"@x.test>"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STILL_OURS)
def test_what_a_gateway_did_leaves_it_ours(name: str) -> None:
    own, raw = STILL_OURS[name]()
    assert prove(read(raw), key=KEY, expected=own).what == "ours"


def test_a_wrong_proof_in_the_text_is_forged_too() -> None:
    raw = FIELDS_REMOVED + b"\r\n\r\n" + TEXT.replace(OURS.proof.encode(), b"a" * 64)
    assert prove(read(raw), key=KEY, expected=OURS).what == "forged"
    quoted = around(b"Subject: look at this", TEXT.replace(OURS.proof.encode(), b"a" * 64))
    assert prove(read(quoted), key=KEY, expected=OURS).what == "mention"
