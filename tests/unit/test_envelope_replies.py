"""Replies to MAIL, RCPT and DATA: the first digit decides, and a refusal is named by its words."""

import pytest

from probe.observe.legs.submission import _refuse_envelope, _refused
from probe.observe.protocol.smtp import Reply
from probe.observe.protocol.smtp_conversation import Answered
from probe.observe.trouble import Stopped


def reply(line: str) -> Reply:
    return Reply(int(line[:3]), (line,))


async def refuse(*lines: str) -> None:
    commands = ("MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test>", "DATA")
    answered = [Answered(command, reply(line), 0.0) for command, line in zip(commands, lines, strict=True)]
    await _refuse_envelope(None, answered)  # type: ignore[arg-type]


async def test_any_2xx_is_acceptance() -> None:
    await refuse("250 ok", "251 user not local; will forward", "354 go")
    await refuse("250 ok", "252 cannot verify, will try", "354 go")


async def test_a_go_ahead_in_the_wrong_place_is_none() -> None:
    with pytest.raises(Stopped, match="makes no sense"):
        await refuse("354 go", "250 ok", "354 go")


@pytest.mark.parametrize(
    ("command", "line", "finding"),
    [
        ("MAIL FROM:<a@x.test>", "550 5.7.60 no permission to send as this sender", "submit.sender-refused"),
        ("MAIL FROM:<a@x.test>", "552 5.3.4 Message size exceeds fixed limit", "submit.refused"),
        ("RCPT TO:<b@x.test>", "553 5.7.1 Sender address rejected: not owned by user a", "submit.sender-refused"),
        ("RCPT TO:<b@x.test>", "550 5.1.1 no such user", "submit.recipient-refused"),
        ("the message", "554 5.7.1 Spam message rejected", "submit.refused"),
    ],
)
def test_the_words_name_what_was_refused(command: str, line: str, finding: str) -> None:
    assert _refused(command, reply(line)).trouble.id == finding
