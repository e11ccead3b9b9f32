"""The recorder: outcome, redaction, limits, and stages that never came."""

import asyncio

import pytest

from probe.facts import Connected, Found, LoggedOn
from probe.observe.journal import QUOTED, TRANSCRIPT_CHARACTERS, TRANSCRIPT_LINES, Journal
from probe.observe.logon import masked
from probe.observe.trouble import Stopped, stop
from probe.redact import MASK, Redactor


def journal(*secrets: str) -> Journal:
    return Journal(lambda: 0.0, Redactor(secrets))


async def test_a_failure_is_recorded_and_carried_on_without_its_secret() -> None:
    record = journal("hunter22")
    with pytest.raises(Stopped) as caught:
        async with record.stage("smtp.auth", "log on", LoggedOn()) as stage:
            stage.facts = LoggedOn(reply=["535 no hunter22"])
            raise stop("auth.refused", "refused: 535 no hunter22", "535 no hunter22")
    assert "hunter22" not in str(caught.value)
    (ended,) = record.stages(["smtp.auth"])
    assert ended.status == "failed" and ended.trouble is not None
    assert "hunter22" not in repr(ended) and MASK in repr(ended)


async def test_network_errors_become_troubles() -> None:
    record = journal()
    for name, error, finding in (
        ("smtp.connect", ConnectionRefusedError(111, "refused"), "connect.refused"),
        ("imap.connect", TimeoutError(), "connect.timeout"),
        ("pop3.connect", ConnectionResetError(104, "reset"), "connect.closed"),
    ):
        with pytest.raises(Stopped):
            async with record.stage(name, "connect", Connected()):
                raise error
        assert record.stages([name])[0].trouble.id == finding


async def test_a_bug_is_no_trouble() -> None:
    record = journal()
    with pytest.raises(ZeroDivisionError):
        async with record.stage("smtp.auth", "log on", LoggedOn()):
            raise ZeroDivisionError


async def test_cancellation_passes_through_and_marks_the_open_stage() -> None:
    record = journal()
    with pytest.raises(asyncio.CancelledError):
        async with record.stage("imap.find", "find", Found()):
            raise asyncio.CancelledError
    assert record.stages(["imap.find"])[0].status == "failed"


def test_stages_that_never_came_say_why() -> None:
    record = journal()
    record.skip("smtp.resolve", "no DNS")
    names = [stage.reason for stage in record.stages(["smtp.resolve", "smtp.connect"])]
    assert names == ["no DNS", "not reached"]


def test_a_long_transcript_and_a_long_line_are_cut_with_a_note() -> None:
    record = journal("topsecret")
    record.line("smtp", "<", "x" * 100_000 + "topsecret")
    assert len(record.lines[0].text) < 3000 and "more characters cut" in record.lines[0].text
    for _ in range(TRANSCRIPT_LINES * 2):
        record.line("smtp", "<", "y")
    assert len(record.lines) == TRANSCRIPT_LINES + 1 and "cut" in record.lines[-1].text


@pytest.mark.parametrize("at", range(170, 205))
async def test_no_part_of_a_secret_is_left_where_a_servers_text_is_quoted(at: int) -> None:
    """The line is cut somewhere within the password, in the sentence, in the evidence and in the transcript."""
    record = journal("Kx7#Qm2$Vp9!Zt4&Wn8*")
    said = "." * at + "Kx7#Qm2$Vp9!Zt4&Wn8*" + "." * 5000
    with pytest.raises(Stopped):
        async with record.stage("smtp.auth", "log on", LoggedOn()):
            record.note("smtp", "unasked for", said)
            record.line("smtp", "<", "." * (TRANSCRIPT_CHARACTERS - 200) + said)
            raise stop("protocol.malformed", f"AUTH: {record.brief(said, QUOTED)!r}", "." * (2000 - 200) + said)
    left = repr(record.stages(["smtp.auth"])) + repr(record.lines)
    assert "Kx7" not in left and "Wn8*" not in left and "#Qm2" not in left


@pytest.mark.parametrize(
    ("response", "part"),
    [
        ("probe 0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"),
        ('username="probe",realm="mail.contoso.com",response=0123456789abcdef0123456789abcdef', "0123456789abcdef0123456789abcdef"),
        ("c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfc,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="),
    ],
)
def test_a_proof_alone_is_masked_and_a_host_name_stays(response: str, part: str) -> None:
    record = journal()
    masked(response.encode(), record, "probe")
    record.line("smtp", "<", f"535 mail.contoso.com does not take {part}")
    assert record.lines[0].text == f"535 mail.contoso.com does not take {MASK}"


async def test_a_second_look_ends_its_stages_on_the_live_display_and_is_counted_once() -> None:
    """With trust_any_certificate a stage begins twice; the record is the first one's, and the display closes both."""
    from probe.cli._live import _watch

    class Bar:
        now = ""

        def add_task(self, _text: str, **fields: object) -> int:
            return 0

        def update(self, _task: int, *, now: str) -> None:
            self.now = now

    bar = Bar()
    looks = Journal(lambda: 0.0, Redactor([]), _watch(bar, "office"))
    for ip in ("192.0.2.1", "192.0.2.2"):
        async with looks.stage("smtp.connect", "connect", Connected()) as stage:
            stage.facts = Connected(remote=ip)
            assert bar.now.endswith("smtp.connect")
    assert bar.now == "1 done  "
    assert looks.seen("smtp.connect", Connected).remote == "192.0.2.1"
