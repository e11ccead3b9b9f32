"""SMTP replies on octets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.observe.protocol import smtp


def reply_of(*lines: bytes) -> smtp.Reply:
    reader = smtp.ReplyReader()
    *first, last = lines
    assert all(not reader.add(line) for line in first)
    assert reader.add(last)
    return reader.reply()


def test_every_line_is_kept_verbatim() -> None:
    reply = reply_of(b"250-mail.contoso.com  Hello [10.0.0.1] ", b"250-SIZE\t37748736", b"250 ")
    assert reply.lines == ("250-mail.contoso.com  Hello [10.0.0.1] ", "250-SIZE\t37748736", "250 ")


def test_octets_that_are_not_utf8_are_shown_not_lost() -> None:
    assert reply_of(b"250 caf\xe9 \x1b[2J").lines == ("250 caf\\xe9 \x1b[2J",)


@pytest.mark.parametrize("line", [b"", b"25", b"2500 x", b"HTTP/1.1 400 Bad Request", b"abc", b"600 x", b"250_x", b"\xff\xfe\xfd"])
def test_what_is_no_reply_is_refused(line: bytes) -> None:
    with pytest.raises(smtp.Malformed):
        smtp.ReplyReader().add(line)


def test_mixed_codes_are_refused() -> None:
    reader = smtp.ReplyReader()
    reader.add(b"250-one")
    with pytest.raises(smtp.Malformed, match="250 and 550"):
        reader.add(b"550 two")


def test_a_reply_of_too_many_lines_is_refused_at_its_end() -> None:
    reader = smtp.ReplyReader()
    assert not any(reader.add(b"250-x") for _ in range(3_000))
    with pytest.raises(smtp.Malformed, match="more than 500 lines: 3001"):
        reader.add(b"250 x")


def test_endless_lines_are_cut_off() -> None:
    reader = smtp.ReplyReader()
    assert not any(reader.add(b"250-x") for _ in range(smtp.ENDLESS_LINES))
    with pytest.raises(smtp.TooLong, match="more than 5000 lines"):
        reader.add(b"250-x")


def test_keywords_are_case_insensitive_and_merged() -> None:
    reply = reply_of(b"250-host", b"250-auth login", b"250-AUTH=PLAIN LOGIN", b"250-Size 100", b"250 StartTLS")
    words = smtp.keywords(reply)
    assert words == {"AUTH": ["login", "PLAIN", "LOGIN"], "SIZE": ["100"], "STARTTLS": []}
    assert smtp.mechanisms(words) == ["LOGIN", "PLAIN", "LOGIN"]


def test_a_keyword_in_the_greeting_line_is_none() -> None:
    assert smtp.keywords(reply_of(b"250 STARTTLS")) == {}


@pytest.mark.parametrize(
    ("text", "queue_id", "node"),
    [
        ("2.0.0 Ok: queued as 4Fq2", "4Fq2", None),
        ("OK id=1abcDE-0001", "1abcDE-0001", None),
        ("2.6.0 <m@x> [InternalId=1, Hostname=EX01.contoso.com] Queued mail for delivery", "m@x", "EX01.contoso.com"),
        ("2.0.0 fine", None, None),
    ],
)
def test_ids_in_the_final_reply(text: str, queue_id: str | None, node: str | None) -> None:
    assert smtp.queue_id(text) == queue_id
    assert smtp.node(text) == node


def test_enhanced_status_code() -> None:
    assert reply_of(b"535 5.7.8 no").enhanced == "5.7.8"
    assert reply_of(b"535 no").enhanced is None


@given(st.binary(max_size=300))
def test_dot_stuffing_hides_no_final_dot(raw: bytes) -> None:
    message = raw.replace(b"\r", b"").replace(b"\n", b"\r\n")
    stuffed = smtp.dot_stuffed(message)
    assert stuffed.endswith(b"\r\n.\r\n") or stuffed == b".\r\n"
    assert stuffed.find(b"\r\n.\r\n") in (-1, len(stuffed) - 5)
    lines = stuffed[:-3].split(b"\r\n")
    undone = b"\r\n".join(line[1:] if line.startswith(b"..") else line for line in lines)
    assert undone.removesuffix(b"\r\n") == message.removesuffix(b"\r\n")


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_rubbish_never_raises_anything_else(lines: list[bytes]) -> None:
    reader = smtp.ReplyReader()
    try:
        for line in lines:
            if reader.add(line):
                break
        reply = reader.reply()
    except smtp.Malformed:
        return
    smtp.keywords(reply), smtp.name_given(reply), smtp.queue_id(reply.text), reply.enhanced


def test_a_hundred_thousand_words_cost_no_more_than_their_number() -> None:
    """Quadratic, this took minutes, and the event loop with it: before TLS, from anybody on the network."""
    words = " ".join(f"W{number}" for number in range(100_000))
    assert len(smtp.keywords(smtp.Reply(250, ("250-x", f"250 AUTH {words} W1")))["AUTH"]) == 100_000
