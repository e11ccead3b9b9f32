"""A hostile server that sends as much as it may: how much of it is in memory at once, protocol by protocol."""

import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain, count, repeat
from typing import Any

import pytest

from probe.observe.fetching import wanted
from probe.observe.protocol import imap, smtp
from probe.observe.protocol import pop3_conversation as pop3
from probe.observe.protocol.imap_conversation import MOST_UNTAGGED, ImapTalk
from probe.observe.protocol.pop3_conversation import Pop3Talk
from probe.observe.protocol.smtp_conversation import SmtpTalk
from probe.observe.trouble import Stopped

MOST = 64 * 2**20
# As long as a line may be. Octets that are no UTF-8, beside a character of four octets, take sixteen times as much as text.
WIDE = "😀".encode() + b"\xff" * 65_000


class Journal:
    """Keeps nothing: what the true one keeps has limits of its own (test_journal.py)."""

    now = 0.0

    def brief(self, text: str, most: int) -> str:
        return text[:most]


class Flood:
    """A connection that has these lines to give, each made when it is read, and literals of any size."""

    own_literal = "[127.0.0.1]"

    def __init__(self, lines: Iterator[bytes], *, is_tls: bool = True) -> None:
        self.lines = lines
        self.is_tls = is_tls
        self.read: list[int] = []
        self.taken = 0

    async def read_line(self, waiting_for: str, *, recorded: bool = True) -> bytes:
        self.taken += 1
        # A copy: as from a socket, no two lines share their memory.
        return bytes(bytearray(next(self.lines)))

    async def read_exactly(self, octets: int, waiting_for: str) -> bytes:
        self.read.append(octets)
        return bytes(octets)

    async def write(self, data: bytes, shown: str | None = None) -> None:
        pass

    def unread(self) -> bytes:
        return b""

    def note(self, text: str) -> None:
        pass


def imap_talk(connection: Any) -> ImapTalk:
    return ImapTalk(connection, Journal(), tls_wanted=True)  # type: ignore[arg-type]


def pop3_talk(connection: Any) -> Pop3Talk:
    return Pop3Talk(connection, Journal())  # type: ignore[arg-type]


async def ends_within(most: int, work: Callable[[], Awaitable[object]]) -> str:
    """The finding that the work stops with; fails where more than `most` octets were in memory at once."""
    tracemalloc.start()
    try:
        with pytest.raises(Stopped) as stopped:
            await work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak / 2**20:.0f} MiB"
    return stopped.value.trouble.id


@pytest.mark.parametrize(
    "each",
    [
        [b"* 1 FETCH (BODY[] {2097152}", b")"],
        [b"* 1 FETCH (" + WIDE + b")"],
        [b"* OK " + WIDE],
        [b"* 5 EXISTS " + WIDE],
        [b'* LIST () "/" {4096}', b""],
    ],
    ids=["literals", "fetch", "ok", "exists", "list"],
)
async def test_imap_responses_to_one_flight(each: list[bytes]) -> None:
    flood = Flood(chain.from_iterable(repeat(each)))
    talk = imap_talk(flood)
    assert await ends_within(MOST, lambda: talk.flight(["SELECT x", "UID FETCH 1:* (BODY[])"])) == "protocol.too-long"
    assert flood.taken < MOST_UNTAGGED


async def test_imap_messages_that_are_judged_as_they_arrive() -> None:
    """300 messages of 256 KiB are all looked at, and never in memory together."""
    lines = chain.from_iterable((b"* %d FETCH (UID %d BODY[] {262144}" % (n, n), b")") for n in range(1, 301))
    flood = Flood(iter(()))
    talk = imap_talk(flood)
    flood.lines = chain(lines, [f"{talk._prefix}1 OK done".encode()])
    seen: list[int] = []

    def judge(octets: bytes) -> bool:
        seen.append(len(octets))
        return len(seen) == 7

    tracemalloc.start()
    answer = await talk.command("UID FETCH 1:* (UID BODY.PEEK[])", keep=wanted(judge))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == [262_144] * 300 and [item.number for item in answer.untagged] == [7]
    assert peak < 16 * 2**20


async def test_imap_responses_while_logging_on() -> None:
    talk = imap_talk(Flood(repeat(b"* OK " + WIDE)))
    assert await ends_within(MOST, lambda: talk._line("AUTHENTICATE", [])) == "protocol.too-long"


@pytest.mark.parametrize("flood", [b"* 1 EXPUNGE", b"* FLAGS (\\Seen)", b"* 1 FETCH (FLAGS ())", b"* 4294967295 RECENT"])
async def test_imap_a_flood_of_small_responses(flood: bytes) -> None:
    talk = imap_talk(Flood(repeat(flood)))
    assert await ends_within(MOST, lambda: talk.command("NOOP")) == "protocol.too-long"


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        (b"* SEARCH {5}", "protocol.malformed"),
        (b"* CAPABILITY {5}", "protocol.malformed"),
        (b"* 3 EXISTS {2097152}", "protocol.malformed"),
        (b"* FLAGS {2097152}", "protocol.malformed"),
        (b'* LIST () "/" {4097}', "protocol.too-long"),
        (b"* 1 FETCH (BODY[] {2097153}", "protocol.too-long"),
        (b"* 1 FETCH (BODY[] {999999999999}", "protocol.too-long"),
    ],
)
async def test_imap_literals_stand_in_messages_and_mailbox_names_only(line: bytes, finding: str) -> None:
    flood = Flood(iter([line]))
    assert await ends_within(MOST, lambda: imap_talk(flood).command("NOOP")) == finding
    assert flood.read == []


@pytest.mark.parametrize("line", [b"* 1 FETCH (BODY[] {2097152}", b'* LIST () "/" {5}', b"* STATUS {5}", b"* SEARCH {5}"])
async def test_imap_no_literal_is_read_before_tls(line: bytes) -> None:
    flood = Flood(iter([line]), is_tls=False)
    assert await ends_within(MOST, lambda: imap_talk(flood).command("CAPABILITY")) == "protocol.unsolicited"
    assert flood.read == []


@pytest.mark.parametrize("is_tls", [False, True])
async def test_imap_braces_in_a_text_are_text(is_tls: bool) -> None:
    """RFC 3501 section 9: resp-text is TEXT-CHARs."""
    flood = Flood(iter([b"* OK ready {5}"]), is_tls=is_tls)
    assert (await imap_talk(flood).greeting()).text == "ready {5}"
    talk = imap_talk(flood)
    flood.lines = iter([b"* NO {2097152}", f"{talk._prefix}1 OK {{5}}".encode()])
    assert (await talk.command("NOOP")).text == "{5}"
    assert flood.read == []


@pytest.mark.parametrize(
    "line",
    [
        b"* -1 FETCH (UID 1)",
        b"* 99999999999 EXISTS",
        b"* 1 FETCH (UID -1 BODY[] {-5}",
        b"* 1 FETCH (UID 1 BODY[] {5",
        b"* 1 FETCH (UID 1 BODY[] \x00",
        b"* 1 FETCH (UID 1 BODY[]",
        b"*",
        b"\x00\x00",
        b"* 1 FETCH (UID 1 BODY[] {18446744073709551616}",
    ],
)
async def test_imap_rubbish_fails_plainly(line: bytes) -> None:
    async def work() -> None:
        talk = imap_talk(Flood(iter([line, b"XXXX1 OK done"])))
        talk._prefix = "XXXX"
        await talk.command("UID FETCH 1 (UID BODY[])", keep=wanted(lambda octets: False))

    assert await ends_within(MOST, work) == "protocol.malformed"


async def test_imap_a_literal_that_is_shorter_than_announced_swallows_no_more_than_it_said() -> None:
    async def work() -> None:
        talk = imap_talk(Flood(iter([b"* 1 FETCH (UID 1 BODY[] {3}", b"defg", b"XXXX1 OK done"])))
        talk._prefix = "XXXX"
        await talk.command("UID FETCH 1 (UID BODY[])", keep=wanted(lambda octets: False))

    assert await ends_within(MOST, work) == "protocol.malformed"


def test_imap_appenduid_nonsense_is_text() -> None:
    for text in ("[APPENDUID -1 -1] x", "[APPENDUID] x", "[APPENDUID 99999999999999999999 {5}] x", "[UIDNEXT \x00] x"):
        assert imap.response_code(text) is not None
    assert imap.response_code("[APPENDUID") is None


async def test_pop3_messages_are_judged_as_they_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages of 4 MiB, in the lines that take most memory; of fewer than a session may have, for the test's time."""
    monkeypatch.setattr(pop3, "SESSION_OCTETS", 30 * 2**20)
    message = [b"+OK", *[b"X" * 40] * 99_000, b"."]
    talk = pop3_talk(Flood(chain.from_iterable(repeat(message))))
    seen: list[int] = []
    work = talk.judged([f"RETR {n}" for n in range(1, 51)], lambda answer: seen.append(len(answer.lines)), multiline=True)
    assert await ends_within(MOST, lambda: work) == "protocol.too-long"
    assert seen == [99_000] * 7


async def test_smtp_a_reply_of_the_longest_lines() -> None:
    talk = SmtpTalk(Flood(repeat(b"220-" + WIDE)), Journal(), "x.test")  # type: ignore[arg-type]
    assert await ends_within(MOST, talk.greeting) == "protocol.too-long"


def test_smtp_a_reply_of_500_lines_of_512_octets_is_read() -> None:
    reader = smtp.ReplyReader()
    for _ in range(smtp.MOST_LINES - 1):
        assert not reader.add(b"250-" + b"x" * 506)
    assert reader.add(b"250 x") and len(reader.reply().lines) == smtp.MOST_LINES


async def test_pop3_capabilities_of_the_longest_lines() -> None:
    numbers = count()
    lines = (b"+OK" if not next(numbers) else WIDE for _ in repeat(None))
    assert await ends_within(MOST, lambda: pop3_talk(Flood(lines)).command("CAPA", multiline=True)) == "protocol.too-long"
