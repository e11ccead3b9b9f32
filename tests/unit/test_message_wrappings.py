"""What is ours in any wrapping, what never is, and that no mail from anybody breaks the reading."""

import base64
import quopri
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from probe.message import Sent, carries_marker, compose, new_marker, prove, read, recognise

KEY = b"k" * 32
MARKER = new_marker(bytes(range(16)))
DRAFT = compose(marker=MARKER, key=KEY, sender="a@x.test", recipient="b@x.test", now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
HEAD, _, TEXT = DRAFT.raw.partition(b"\r\n\r\n")
PLAIN = b"Content-Type: text/plain; charset=us-ascii"


def without(head: bytes, *names: bytes) -> bytes:
    lines: list[bytes] = []
    for line in head.split(b"\r\n"):
        if line[:1] in b" \t" and lines:
            lines[-1] += b"\r\n" + line
        else:
            lines.append(line)
    return b"\r\n".join(line for line in lines if not line.lower().startswith(tuple(name.lower() for name in names)))


def retyped(fields: bytes, text: bytes, head: bytes = HEAD) -> bytes:
    return without(head, b"Content-") + b"\r\n" + fields + b"\r\n\r\n" + text


STRIPPED = without(HEAD, b"X-")
HTML = b"<html><head><style>p{}</style></head><body><p>" + TEXT.replace(b"\r\n", b"<br>") + b"</p></body></html>"
OURS: dict[str, tuple[bytes, str]] = {
    "as it was": (DRAFT.raw, "intact"),
    "fields removed": (STRIPPED + b"\r\n\r\n" + TEXT, "intact"),
    "base64": (retyped(PLAIN + b"\r\nContent-Transfer-Encoding: base64", base64.encodebytes(TEXT)), "intact"),
    "quoted-printable": (retyped(PLAIN + b"\r\nContent-Transfer-Encoding: quoted-printable", quopri.encodestring(TEXT)), "intact"),
    "UTF-16": (
        retyped(
            b"Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64",
            base64.encodebytes(TEXT.decode().encode("utf-16")),
        ),
        "intact",
    ),
    "wrapped": (HEAD + b"\r\n\r\n" + TEXT.replace(b"can be\r\nsubmitted", b"can\r\nbe submitted"), "rewrapped"),
    "flowed": (retyped(PLAIN + b"; format=flowed", TEXT.replace(b" to check", b" \r\nto check")), "rewrapped"),
    "footer": (DRAFT.raw + b"\r\n-- \r\nConfidential.\r\n", "added-to"),
    "banner": (HEAD + b"\r\n\r\nCAUTION: from outside.\r\n\r\n" + TEXT, "added-to"),
    "banner as a part": (
        retyped(
            b'Content-Type: multipart/mixed; boundary="B"',
            b"--B\r\n" + PLAIN + b"\r\n\r\nCAUTION\r\n--B\r\n" + PLAIN + b"\r\n\r\n" + TEXT + b"--B--\r\n",
        ),
        "added-to",
    ),
    "HTML added": (
        retyped(
            b'Content-Type: multipart/alternative; boundary="B"',
            b"--B\r\n" + PLAIN + b"\r\n\r\n" + TEXT + b"\r\n--B\r\nContent-Type: text/html\r\n\r\n" + HTML + b"\r\n--B--\r\n",
        ),
        "intact",
    ),
    "HTML only, fields removed": (retyped(b"Content-Type: text/html", HTML, STRIPPED), "html-only"),
    "cut": (DRAFT.raw[:-100], "changed"),
    "100 KB of a filter's fields": (
        b"X-Filter: " + b"A" * 70 + b"\r\n" + (b"X-Filter: " + b"A" * 70 + b"\r\n") * 1300 + DRAFT.raw,
        "intact",
    ),
    "no header line in front": (b"this is no header at all\r\n" + DRAFT.raw, "intact"),
    "Date replaced": (DRAFT.raw.replace(b"Date: Fri, 02 Jan 2026", b"Date: Thu, 01 Jan 1970"), "intact"),
    "Subject replaced, fields removed": (STRIPPED.replace(b"Subject: ", b"Subject: [Ticket 1] x ") + b"\r\n\r\n" + TEXT, "intact"),
    "sender rewritten": (HEAD.replace(b"From: a@x.test", b"From: srs0=x=a@y.test") + b"\r\n\r\n" + TEXT, "intact"),
}
BOUNCE_TEXT = (
    b"I'm sorry to have to inform you that your message could not be delivered.\r\n\r\n<b@x.test>: 552 5.2.2 mailbox full\r\n\r\n"
)
NEVER: dict[str, tuple[bytes, str]] = {
    "DSN": (
        b"From: MAILER-DAEMON@mx.test\r\nTo: a@x.test\r\nSubject: Undelivered\r\n"
        b'Content-Type: multipart/report; report-type=delivery-status; boundary="D"\r\n\r\n--D\r\n'
        + PLAIN
        + b"\r\n\r\nSorry.\r\n--D\r\n"
        b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.test\r\n\r\nFinal-Recipient: rfc822; b@x.test\r\n"
        b"Action: failed\r\nStatus: 5.2.2\r\nDiagnostic-Code: smtp; 552 5.2.2 full\r\n--D\r\nContent-Type: message/rfc822\r\n\r\n"
        + DRAFT.raw
        + b"\r\n--D--\r\n",
        "bounce",
    ),
    "plain bounce with our text": (
        b"From: MAILER-DAEMON@mx.test\r\nTo: a@x.test\r\nSubject: failure notice\r\n\r\n" + BOUNCE_TEXT + HEAD + b"\r\n\r\n" + TEXT,
        "bounce",
    ),
    "null return path": (
        b"Return-Path: <>\r\nFrom: a@x.test\r\nTo: b@x.test\r\nSubject: Submission probe " + MARKER.encode() + b"\r\n\r\n" + TEXT,
        "bounce",
    ),
    "FW: from a person": (
        b"From: bob@y.test\r\nTo: b@x.test\r\nSubject: FW: Submission probe "
        + MARKER.encode()
        + b"\r\n\r\nWhat is this?\r\n\r\n"
        + TEXT,
        "mention",
    ),
    "the owner's own forward": (
        b"From: a@x.test\r\nTo: b@x.test\r\nSubject: Fwd: Submission probe " + MARKER.encode() + b"\r\n\r\n" + TEXT,
        "mention",
    ),
    "forwarded as an attachment": (
        b'From: bob@y.test\r\nTo: b@x.test\r\nSubject: look\r\nContent-Type: multipart/mixed; boundary="B"\r\n\r\n--B\r\n'
        + PLAIN
        + b"\r\n\r\nLook!\r\n--B\r\nContent-Type: message/rfc822\r\n\r\n"
        + DRAFT.raw
        + b"\r\n--B--\r\n",
        "mention",
    ),
    "automatic answer": (
        b"From: a@x.test\r\nTo: b@x.test\r\nAuto-Submitted: auto-replied\r\nSubject: Away\r\n\r\n" + TEXT,
        "answer",
    ),
    "two fields copied": (
        b"From: boss@y.test\r\nTo: b@x.test\r\nSubject: contract\r\nX-Submission-Probe: "
        + MARKER.encode()
        + b"\r\nX-Submission-Probe-Proof: "
        + DRAFT.proof.encode()
        + b"\r\n\r\nPlease sign.\r\n",
        "mention",
    ),
    "a wrong proof": (DRAFT.raw.replace(DRAFT.proof.encode(), b"a" * 64), "forged"),
}


@pytest.mark.parametrize("name", OURS)
def test_ours_in_any_wrapping(name: str) -> None:
    raw, text = OURS[name]
    proof = prove(read(raw), key=KEY, expected=DRAFT)
    assert (proof.what, proof.text) == ("ours", text)
    assert carries_marker(raw, MARKER)


@pytest.mark.parametrize("name", [name for name in OURS if name not in ("cut", "sender rewritten")])
def test_a_later_run_recognises_it_too(name: str) -> None:
    found = recognise(read(OURS[name][0]), key=KEY, known={})
    assert found is not None and found[0] == Sent(MARKER, "a@x.test", "b@x.test", "2026-01-02T03:04:05Z", "")
    assert recognise(read(OURS[name][0]), key=b"z" * 32, known={}) is None


def test_the_outbox_knows_the_sender_that_a_server_rewrote() -> None:
    letter = read(OURS["sender rewritten"][0])
    assert recognise(letter, key=KEY, known={}) is None
    assert recognise(letter, key=KEY, known={MARKER: Sent(MARKER, "a@x.test", "b@x.test", DRAFT.sent, "")}) is not None


SPAM = b"From: a@x.test\r\nTo: b@x.test\r\nSubject: *****SPAM***** Submission probe " + MARKER.encode() + b"\r\n"
# A milter (spamass-milter) leaves every field that it does not change.
ALL_FIELDS = without(HEAD, b"Content-") + b"\r\n"
PREVIEW = b"Content preview:  " + b" ".join(TEXT.split()) + b"\r\n\r\n"


def enclosed(outer: bytes, preview: bytes, raw: bytes = DRAFT.raw) -> bytes:
    """As SpamAssassin does it with `report_safe 1`."""
    said = PLAIN + b"\r\n\r\nSpam detection software says so.\r\n\r\n" + preview
    return (
        outer + b'X-Spam-Flag: YES\r\nContent-Type: multipart/mixed; boundary="S"\r\n\r\n--S\r\n'
        + said + b"--S\r\nContent-Type: message/rfc822; x-spam-type=original\r\n\r\n" + raw + b"\r\n--S--\r\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    "preview", [b"", PREVIEW[:120] + b"\r\n\r\n", PREVIEW], ids=["no preview", "short preview", "whole preview"]
)
@pytest.mark.parametrize("outer", [SPAM, ALL_FIELDS], ids=["fields removed", "all fields"])
def test_a_filter_s_wrapping_is_ours_and_said(outer: bytes, preview: bytes) -> None:
    proof = prove(read(enclosed(outer, preview)), key=KEY, expected=DRAFT)
    assert (proof.what, proof.enclosed, proof.text) == ("ours", True, "intact")


@pytest.mark.parametrize("outer", [SPAM, ALL_FIELDS], ids=["fields removed", "all fields"])
def test_what_is_lost_within_a_filter_s_wrapping_is_lost_whatever_it_quotes(outer: bytes) -> None:
    proof = prove(read(enclosed(outer, PREVIEW, DRAFT.raw[:-100])), key=KEY, expected=DRAFT)
    assert (proof.what, proof.enclosed, proof.text) == ("ours", True, "changed")


@pytest.mark.parametrize("name", NEVER)
def test_never_ours_whatever_it_quotes(name: str) -> None:
    raw, what = NEVER[name]
    assert prove(read(raw), key=KEY, expected=DRAFT).what == what
    assert recognise(read(raw), key=KEY, known={MARKER: DRAFT}) is None


def test_a_bounce_gives_its_reason() -> None:
    report = prove(read(NEVER["DSN"][0]), key=KEY, expected=DRAFT).bounce
    assert report is not None and report.is_final
    assert (report.status, report.diagnostic, report.recipient, report.reporting) == (
        "5.2.2",
        "552 5.2.2 full",
        "b@x.test",
        "mx.test",
    )
    plain = prove(read(NEVER["plain bounce with our text"][0]), key=KEY, expected=DRAFT).bounce
    assert plain is not None and plain.is_final and "552 5.2.2 mailbox full" in plain.diagnostic
    delayed = NEVER["DSN"][0].replace(b"Action: failed", b"Action: delayed")
    later = prove(read(delayed), key=KEY, expected=DRAFT).bounce
    assert later is not None and not later.is_final


def nested(depth: int) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" * depth + DRAFT.raw


def wide(parts: int) -> bytes:
    return HEAD + b'\r\nContent-Type: multipart/mixed; boundary="B"\r\n\r\n' + b"--B\r\n\r\nx\r\n" * parts + b"--B--\r\n"


def nested_multiparts(depth: int) -> bytes:
    return (
        b"".join(b'Content-Type: multipart/mixed; boundary="B%d"\r\n\r\n--B%d\r\n' % (level, level) for level in range(depth))
        + DRAFT.raw
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: nested(1960),
        lambda: nested_multiparts(3000),
        lambda: wide(20_000),
        lambda: b"X: y\r\n" * 100_000 + DRAFT.raw,
        lambda: b"X: " + b"a" * 1_000_000 + b"\r\n" + DRAFT.raw,
        lambda: b"Subject: " + b"=?utf-8?b?" * 50_000 + b"\r\n\r\n",
        lambda: b"From: " + b"(" * 100_000 + b"\r\n\r\n",
        lambda: b"To: " + b"<a@b>," * 50_000 + b"\r\n\r\n",
        lambda: b"Content-Type: text/html\r\n\r\n" + b"<a " * 60_000,
        lambda: b"Content-Type: text/html\r\n\r\n" + b"<![" * 60_000,
        lambda: b"Content-Type: multipart/mixed; boundary=" + b"a" * 100_000 + b"\r\n\r\n",
        lambda: b"Content-Type: text/plain; charset=\xff\xfe" + b"; x*0*=%ff" * 5_000 + b"\r\n\r\n" + TEXT,
        lambda: b"Content-Type: text/plain; charset=undefined\r\n\r\n" + TEXT,
        lambda: b"Content-Transfer-Encoding: base64\r\n\r\n=A===B",
    ],
)
def test_no_mail_from_anybody_breaks_the_reading(make: Callable[[], bytes]) -> None:
    letter = read(make())
    assert len(letter.parts) <= 40
    assert recognise(letter, key=b"z" * 32, known={}) is None
    carries_marker(make(), "submission-probe-" + "b" * 26)


def test_no_line_of_the_text_is_long_enough_to_be_broken() -> None:
    assert max(map(len, TEXT.split(b"\r\n"))) <= 70
    assert not any(line.endswith(b" ") for line in TEXT.split(b"\r\n"))
