"""How many lines one reply may have, in each protocol: a count, so that no machine is too slow for it."""

from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import pytest

from probe.observe.protocol import imap_conversation as imap
from probe.observe.protocol import pop3_conversation as pop3
from probe.observe.protocol import smtp
from probe.observe.protocol.imap_conversation import ImapTalk
from probe.observe.protocol.pop3_conversation import Pop3Talk
from probe.observe.protocol.smtp_conversation import SmtpTalk
from probe.observe.trouble import Stopped


class Lines:
    """A connection that has these lines to give, and counts how many were taken."""

    is_tls = True
    own_literal = "[127.0.0.1]"

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self.taken = 0

    async def read_line(self, waiting_for: str, *, recorded: bool = True) -> bytes:
        self.taken += 1
        return next(self._lines)

    async def write(self, data: bytes, shown: str | None = None) -> None:
        pass

    def unread(self) -> bytes:
        return b""

    def note(self, text: str) -> None:
        pass


class Clock:
    now = 0.0


def lines(first: bytes, each: bytes, times: int | None = None, last: bytes = b"") -> Any:
    return Lines(chain([first], repeat(each) if times is None else repeat(each, times), [last]))


async def test_smtp_gives_up_an_endless_reply_by_its_lines() -> None:
    connection = lines(b"220-x", b"220-x")
    talk = SmtpTalk(connection, Clock(), "x.test")  # type: ignore[arg-type]
    with pytest.raises(Stopped) as stopped:
        await talk.greeting()
    assert stopped.value.trouble.id == "protocol.too-long"
    assert connection.taken == smtp.ENDLESS_LINES + 1


async def test_imap_gives_up_untagged_responses_by_their_number() -> None:
    connection = lines(b"* OK more", b"* OK more")
    with pytest.raises(Stopped) as stopped:
        await ImapTalk(connection, Clock(), tls_wanted=True).command("CAPABILITY")  # type: ignore[arg-type]
    assert stopped.value.trouble.id == "protocol.too-long"
    assert connection.taken == imap.MOST_UNTAGGED + 1


async def test_imap_takes_a_response_for_each_of_20000_messages() -> None:
    talk = ImapTalk(lines(b"* 1 EXISTS", b"* 7 FETCH (UID 7)", 19_999, b""), Clock(), tls_wanted=True)  # type: ignore[arg-type]
    talk.connection._lines = chain(repeat(b"* 7 FETCH (UID 7)", 20_000), iter([f"{talk._prefix}1 OK done".encode()]))
    answer = await talk.command("UID FETCH 1:* (UID)")
    assert answer.status == "OK" and len(answer.untagged) == 20_000


@pytest.mark.parametrize(("command", "most"), [("CAPA", pop3.MOST_LINES), ("RETR 1", pop3.MOST_MESSAGE_LINES)])
async def test_pop3_gives_up_a_response_by_its_lines(command: str, most: int) -> None:
    connection = lines(b"+OK", b"X")
    with pytest.raises(Stopped) as stopped:
        await Pop3Talk(connection, Clock()).command(command, multiline=True)  # type: ignore[arg-type]
    assert stopped.value.trouble.id == "protocol.too-long"
    assert connection.taken == most + 2


async def test_pop3_takes_a_message_of_many_lines() -> None:
    connection = lines(b"+OK", b"X", pop3.MOST_MESSAGE_LINES, b".")
    answer = await Pop3Talk(connection, Clock()).command("RETR 1", multiline=True)  # type: ignore[arg-type]
    assert len(answer.lines) == pop3.MOST_MESSAGE_LINES
