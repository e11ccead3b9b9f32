"""POP3 responses on octets."""

import pytest

from probe.observe.protocol import pop3


def test_status_and_codes() -> None:
    assert pop3.response(b"+OK ready").ok
    refused = pop3.response(b"-ERR [IN-USE] locked")
    assert (refused.ok, refused.code, refused.line) == (False, "IN-USE", "-ERR [IN-USE] locked")
    assert pop3.response(b"-err [sys/temp] x").code == "SYS/TEMP"
    # Behind the first octets anything but a letter may come: clients look no further.
    assert pop3.response(b"+OK\t3\t120").text == "3\t120"
    assert pop3.response(b"+OK: ready").ok


@pytest.mark.parametrize("line", [b"", b"OK", b"* OK", b"220 x", b"+OKAY"])
def test_what_is_no_response_is_refused(line: bytes) -> None:
    with pytest.raises(pop3.Malformed):
        pop3.response(line)


def test_dot_stuffing_is_undone() -> None:
    assert pop3.unstuffed(b".") is None
    assert pop3.unstuffed(b"..") == b"."
    assert pop3.unstuffed(b"..x") == b".x"
    assert pop3.unstuffed(b"x.") == b"x."


def test_count() -> None:
    assert pop3.count("3 1200") == 3
    for wrong in ("", "x 1", "-1 2", "99999999999 1"):
        with pytest.raises(pop3.Malformed):
            pop3.count(wrong)


def test_capabilities() -> None:
    assert pop3.capabilities((b"TOP", b"sasl PLAIN LOGIN", b"")) == {"TOP": [], "SASL": ["PLAIN", "LOGIN"]}


def test_apop_timestamp() -> None:
    assert pop3.timestamp("ready <1.2@host>") == "<1.2@host>"
    assert pop3.timestamp("ready <>") is None
