"""Mail under way: sent now, collected later; what came is judged as a run judges it, what did not is said until it is given up."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from probe.facts import Swept
from probe.judge._ranges import limits
from probe.judge._verdict import judge, judge_ranges
from probe.message import MARKER_PATTERN, compose, new_marker
from probe.output import Context, nagios, prometheus
from probe.profile import Profile
from probe.report import Report
from probe.sandbox import Sandbox
from probe.sandbox.mailbox import StoredMessage
from probe.state.outbox import Entry, this_process
from probe.state.place import Files
from probe.tasks import prepare, sweep
from probe.tasks.collect import collect
from probe.tasks.plan import make_plan
from probe.tasks.run import load_profile, observe, run
from tests.scenarios.test_sweep import Desk


class Round:
    """A profile for a sandbox, its state, and a clock of its own that stands still, `later` seconds after it began."""

    def __init__(self, folder: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.sandbox, self.place = folder, sandbox, Files(folder / "state")
        self.later = 0.0
        monkeypatch.setenv("PROBE_SANDBOX_PASSWORD", sandbox.password)
        begun = datetime.now(UTC)
        monkeypatch.setattr(prepare, "time_of_day", lambda: begun + timedelta(seconds=self.later))
        self.profile = self.load()

    def load(self, name: str = "round", **options: object) -> Profile:
        path = self.folder / f"{name}.toml"
        path.write_text(self.sandbox.profile())
        return load_profile(str(path), options)

    async def send(self, profile: Profile | None = None) -> None:
        """Send and leave."""
        used = profile or self.profile
        plan = await prepare.prepare(make_plan(used, send_only=True), used, self.place)
        record = await observe(plan, prepare.Session(self.place))
        assert judge(record, used).verdict == "ok"

    async def collect(self, profile: Profile | None = None, *, delete: bool = True) -> Report:
        used = profile or self.profile
        plan = await prepare.prepare(make_plan(used, light=True, delete=delete), used, self.place)
        return await collect(plan, used, place=self.place)

    def lying(self, folder: str = "INBOX") -> list[StoredMessage]:
        return self.sandbox.mailboxes[self.sandbox.username].folders[folder].messages

    def change(self, edit: Callable[[bytes], bytes], folder: str = "INBOX") -> None:
        for message in self.lying(folder):
            message.raw = edit(message.raw)


@pytest.fixture
async def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Round]:
    async with Sandbox() as sandbox:
        yield Round(tmp_path, sandbox, monkeypatch)


@pytest.fixture
async def lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Round]:
    async with Sandbox(fault="never-delivers") as sandbox:
        yield Round(tmp_path, sandbox, monkeypatch)


def said(report: Report) -> set[tuple[str, str, str]]:
    return {(finding.severity, finding.id, finding.stage) for finding in report.findings if finding.severity != "info"}


async def test_what_has_not_come_is_critical_at_every_collection_until_it_is_given_up(lost: Round) -> None:
    """A four-hour schedule, then two days: never OK while it is outstanding, lost once, archived, and well again."""
    await lost.send()
    assert (await lost.collect()).verdict == "ok"  # a second old
    lost.later = 30
    assert said(await lost.collect()) == {("warning", "delivery.late", "imap.find")}
    for minutes in range(5, 241, 60):
        lost.later = minutes * 60
        report = await lost.collect()
        assert report.verdict == "critical" and said(report) == {("critical", "delivery.missing", "imap.find")}
        age = re.search(r"the oldest for ([0-9]+) s", report.findings[0].summary)
        assert age and minutes * 60 <= int(age[1]) < (minutes + 1) * 60
        assert len(lost.place.entries()) == 1
    lost.later = 2 * 86400 + 60
    report = await lost.collect()
    assert report.verdict == "critical" and "is given up" in report.findings[0].summary
    assert lost.place.entries() == [] and len(lost.place.lost()) == 1
    assert (await lost.collect()).verdict == "ok"


async def test_how_long_to_wait_is_an_option(lost: Round) -> None:
    await lost.send()
    lost.later = 3601
    hasty = lost.load(give_up_after="1h")
    assert "is given up" in (await lost.collect(hasty)).findings[0].summary
    assert lost.place.entries() == []


async def test_a_lost_message_that_comes_after_all_is_recovered(here: Round) -> None:
    await here.send()
    kept = here.lying().pop()
    here.later = 2 * 86400 + 60
    assert (await here.collect()).verdict == "critical"
    here.lying().append(kept)
    report = await here.collect()
    assert said(report) == {("warning", "delivery.late", "imap.find")} and "given up" in report.findings[0].summary
    assert here.lying() == [] and here.place.lost() == [] and (await here.collect()).verdict == "ok"


async def test_what_is_sent_without_a_place_for_its_trace_is_no_ok(here: Round) -> None:
    """Nothing will ever be collected: whoever looks at the verdict has to know."""
    (here.folder / "file").write_text("")
    here.place = Files(here.folder / "file" / "state")
    plan = await prepare.prepare(make_plan(here.profile, send_only=True), here.profile, here.place)
    record = await observe(plan, prepare.Session(here.place))
    report = judge(record, here.profile)
    assert report.verdict == "warning" and said(report) == {("warning", "delivery.not-remembered", "smtp.submit")}
    # A run that reads its message back itself loses nothing by it.
    assert (await run(here.profile, place=here.place)).verdict == "ok"


async def test_what_its_run_had_read_is_not_missed(here: Round) -> None:
    await here.send()
    (entry,) = here.place.entries()
    here.place.mark_seen(entry.marker, datetime.now(UTC))
    here.lying().clear()
    here.later = 4 * 3600
    assert (await here.collect()).verdict == "ok" and here.place.entries() == []


async def test_the_ranges_and_the_delivery_time_are_those_of_the_collected(here: Round) -> None:
    await here.send()
    here.change(lambda raw: b"Received: from a by late.example; " + _in(90) + b"\r\n" + raw)
    report = await here.collect()
    assert report.delivery_seconds is not None and 85 < report.delivery_seconds < 95
    assert ("critical", "delivery.late", "imap.find") in said(report)
    assert any("late.example" in finding.evidence for finding in report.findings)
    judged = judge_ranges(report, limits("10", "80"))
    assert any(finding.id == "threshold.exceeded" and finding.severity == "critical" for finding in judged.findings)
    assert " delivery=" in nagios.write([judged], Context("", 0.0))


async def test_the_ranges_alert_on_what_is_outstanding(lost: Round) -> None:
    profile = lost.load(set=["limits.delivery_warning=30"])
    await lost.send(profile)
    lost.later = 9
    report = judge_ranges(await lost.collect(profile), limits(None, "5"))
    assert report.verdict == "critical" and said(report) == {("critical", "threshold.exceeded", "imap.find")}


async def test_metrics_count_what_was_sent_collected_late_and_lost(lost: Round) -> None:
    await lost.send()
    lost.later = 500
    await lost.send()
    lost.later = 2 * 86400 + 250
    report = await lost.collect()
    text = prometheus.write([report], Context("", 0.0))
    value = {line.split("{")[0].removeprefix("submission_probe_collection_"): float(line.split()[-1])
             for line in text.splitlines() if line.startswith("submission_probe_collection_")}  # fmt: skip
    assert {key: value[key] for key in ("sent", "collected", "late", "lost")} == {"sent": 2, "collected": 0, "late": 0, "lost": 1}
    assert 2 * 86400 - 255 < value["oldest_outstanding_seconds"] < 2 * 86400 - 245
    line = nagios.write([report], Context("", 0.0))
    assert " sent=2" in line and " lost=1" in line and " oldest_outstanding=" in line


async def test_a_profile_has_one_verdict_in_the_metrics(lost: Round) -> None:
    """A collection and the run after it are two reports of one profile: the worse of their verdicts is 1, and no other."""
    await lost.send()
    well = await lost.collect()
    lost.later = 500
    text = prometheus.write([well, await lost.collect()], Context("", 0.0))
    shown = dict(re.findall(r'submission_probe_verdict\{.*?verdict="(\w+)"\} (\d)', text))
    assert well.verdict == "ok" and shown == {"ok": "0", "warning": "0", "critical": "1", "unknown": "0"}


# -- judged as a run judges ----------------------------------------------------------------------------------------


def _in(seconds: float) -> bytes:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds)).encode()


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        ("junk", ("warning", "delivery.other-folder", "imap.find")),
        ("twice", ("warning", "delivery.duplicate", "imap.find")),
        ("footer", ("warning", "message.altered", "imap.find")),
    ],
)
async def test_a_collection_judges_as_a_run_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, finding: tuple[str, str, str]
) -> None:
    async with Sandbox(fault=fault) as sandbox:
        here = Round(tmp_path, sandbox, monkeypatch)
        await here.send()
        report = await here.collect()
        assert finding in said(report), report.findings
        assert not here.lying() and not here.lying("Junk")


async def test_a_truncated_text_is_critical_over_both_readers(here: Round) -> None:
    await here.send()
    here.change(lambda raw: re.sub(rb"\r\n\r\nThis message.*?\r\n", b"\r\n\r\nThis mess\r\n", raw, flags=re.DOTALL))
    report = await here.collect()
    assert {("critical", "message.altered", "imap.find"), ("critical", "message.altered", "pop3.find")} <= said(report)
    (message,) = report.seen("imap.find", Swept).messages
    assert message["text"] == "changed" and message["folder"] == "INBOX" and message["hops"]


async def test_several_altered_messages_are_said_once(here: Round) -> None:
    for _ in range(3):
        await here.send()
    here.change(lambda raw: raw.replace(b"Subject: ", b"Subject: [SPAM] "))
    altered = [finding for finding in (await here.collect()).findings if finding.id == "message.altered"]
    assert [finding.stage for finding in altered] == ["imap.find", "pop3.find"] and "(3 messages)" in altered[0].summary


async def test_both_readers_are_read(here: Round) -> None:
    await here.send()
    report = await here.collect()
    assert report.verdict == "ok", report.findings
    assert [stage.name for stage in report.stages if stage.status == "ok" and stage.name.endswith((".find", ".delete"))] == [
        "imap.find", "imap.delete", "pop3.find", "pop3.delete",
    ]  # fmt: skip
    assert report.seen("pop3.find", Swept).messages and not here.lying()


async def test_a_maildrop_that_does_not_show_it_is_critical(here: Round, monkeypatch: pytest.MonkeyPatch) -> None:
    from probe.observe import maildrop_leftovers

    async def empty(session: object) -> int:
        return 0

    await here.send()
    monkeypatch.setattr(maildrop_leftovers, "count", empty)
    assert said(await here.collect()) == {("critical", "delivery.missing", "pop3.find")}


async def test_pop3_alone_collects(here: Round) -> None:
    only = here.load(readback="pop3")
    await here.send(only)
    report = await here.collect(only)
    assert report.verdict == "ok" and report.collected.sent == 1 and not here.lying() and not here.place.entries()
    assert report.delivery_seconds is not None


async def test_a_message_that_was_returned_says_why(lost: Round) -> None:
    await lost.send()
    (entry,) = lost.place.entries()
    report = (
        b"From: MAILER-DAEMON@sandbox.test\r\nTo: probe@sandbox.test\r\nSubject: Undelivered\r\nAuto-Submitted: auto-replied\r\n"
        b'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\nMIME-Version: 1.0\r\n\r\n'
        b"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.sandbox.test\r\n\r\n"
        b"Final-Recipient: rfc822; probe@sandbox.test\r\nAction: failed\r\nStatus: 5.7.1\r\n"
        b"Diagnostic-Code: smtp; 550 rejected\r\n\r\n"
        b"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nX-Submission-Probe: " + entry.marker.encode() + b"\r\n\r\n--b--\r\n"
    )
    lost.sandbox._world.mailbox(lost.sandbox.username).folders["INBOX"].add(report)
    collected = await lost.collect()
    assert said(collected) == {("critical", "delivery.bounced", "imap.find")} and "550 rejected" in collected.findings[0].summary
    assert [message.raw for message in lost.lying()] == [report]


# -- whose message it is -------------------------------------------------------------------------------------------


async def test_profiles_of_one_name_collect_their_own(here: Round) -> None:
    """Two files of one name, for two recipients in one mailbox's state: neither takes nor loses what the other sent."""
    other = here.load(set=["message.recipient=probe+other@sandbox.test"])
    await here.send()
    report = await here.collect(other)
    assert report.collected.sent == 0 and list(report.seen("imap.find", Swept).left) and len(here.lying()) == 1
    assert len(here.place.entries()) == 1
    assert (await here.collect()).collected.sent == 1 and not here.lying()


async def test_a_profile_that_was_renamed_collects_what_it_sent(here: Round) -> None:
    await here.send()
    report = await here.collect(here.load("another-name"))
    assert report.collected.sent == 1 and not here.lying() and not here.place.entries()


async def test_a_run_that_is_under_way_keeps_its_message(here: Round) -> None:
    """Neither a collection nor a sweep with no age at all touches what another run still looks for."""
    await here.send()
    (entry,) = here.place.entries()
    here.place.put(replace(entry, until="2999-01-01T00:00:00Z"))
    report = await here.collect()
    assert report.verdict == "ok" and report.collected.sent == 0 and len(here.lying()) == 1
    swept = await sweep.sweep(here.profile, older_than=timedelta(0), dry_run=False, place=here.place)
    assert swept.leftovers.left == [entry.marker] and not swept.missing and len(here.lying()) == 1
    here.place.end(entry.marker)
    assert (await here.collect()).collected.sent == 1 and not here.lying()


async def test_a_run_of_an_ended_process_is_not_under_way(here: Round) -> None:
    """A killed run's message need not wait; one of another machine, or of this process, does."""
    own = this_process()
    where = own.rpartition(" ")[0]
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await ended.wait()
    await here.send()
    (entry,) = here.place.entries()
    for process, under_way in ((f"{where} {ended.pid}", False), (f"elsewhere {ended.pid}", True), (own, True), ("", True)):
        here.place.put(replace(entry, until="2999-01-01T00:00:00Z", process=process))
        assert here.place.is_under_way(entry.marker, datetime.now(UTC)) is under_way, process


async def test_a_run_that_ends_without_its_message_leaves_it_to_the_next_collection(lost: Round) -> None:
    used = lost.load(timeout="2s")
    plan = await prepare.prepare(make_plan(used), used, lost.place)
    assert judge(await observe(plan, prepare.Session(lost.place)), used).verdict == "critical"
    (entry,) = lost.place.entries()
    assert not lost.place.is_under_way(entry.marker, datetime.now(UTC))


async def test_a_message_without_a_trace_is_left_while_its_run_may_last(here: Round) -> None:
    """The outbox was read before the other run began, or could not be written."""
    await here.send()
    (entry,) = here.place.entries()
    here.place.remove(entry.marker)
    report = await here.collect()
    assert list(report.seen("imap.find", Swept).too_young) == [entry.marker] and len(here.lying()) == 1
    here.later = 120
    await here.collect()
    assert not here.lying()


# -- however it is wrapped, and whatever lies beside it --------------------------------------------------------------


def _bare(raw: bytes, *, subject: bool) -> bytes:
    """As a gateway leaves it: no X- fields; and with `subject`, a Subject and a Message-ID of its own too."""
    head, _, body = raw.partition(b"\r\n\r\n")
    head = re.sub(rb"(?m)^X-[^\r]*\r\n(?:[ \t][^\r]*\r\n)*", b"", head + b"\r\n")
    if subject:
        head = re.sub(rb"(?m)^(Subject|Message-ID):[^\r]*\r\n(?:[ \t][^\r]*\r\n)*", b"", head)
        head += b"Subject: quarantine released\r\nMessage-ID: <1@gateway.test>\r\n"
    return head + b"\r\n" + body


def _foreign(number: int, recipient: str) -> bytes:
    """A message of another installation."""
    marker = new_marker(number.to_bytes(16, "big"))
    return compose(marker=marker, key=b"k" * 32, sender=recipient, recipient=recipient, now=datetime.now(UTC)).raw


@pytest.mark.parametrize("subject", [False, True])
async def test_the_proof_in_the_body_is_enough_among_a_thousand_others(here: Round, subject: bool) -> None:
    await here.send()
    here.change(lambda raw: _bare(raw, subject=subject))
    inbox = here.sandbox.mailboxes[here.sandbox.username].folders["INBOX"]
    for number in range(1000):
        inbox.add(_foreign(number, here.sandbox.username))
    report = await here.collect(here.load(readback="imap"))
    assert report.collected.sent == 1 and not report.collected.waiting, report.findings
    (message,) = report.collected.messages
    assert message["proven_by"] == "text" and len(here.lying()) == 1000
    assert report.verdict == ("warning" if subject else "ok"), report.findings  # as a run judges another Subject


@pytest.mark.parametrize("reader", ["imap", "pop3"])
async def test_a_leftover_is_swept_from_behind_a_thousand_others(here: Round, reader: str) -> None:
    """Not known to the outbox, without its header fields, and older than all of them."""
    await here.send()
    here.place.remove(here.place.entries()[0].marker)
    here.change(lambda raw: _bare(raw, subject=False))
    inbox = here.sandbox.mailboxes[here.sandbox.username].folders["INBOX"]
    for number in range(1000):
        inbox.add(_foreign(number, here.sandbox.username))
    swept = await sweep.sweep(here.load(readback=reader), older_than=timedelta(0), dry_run=False, place=here.place)
    assert len(swept.leftovers.deleted) == 1 and swept.leftovers.foreign == 1000 and len(here.lying()) == 1000
    assert not any(MARKER_PATTERN.search(message.raw.decode())[0] in swept.leftovers.deleted for message in here.lying())  # type: ignore[index]


async def test_an_entry_of_an_older_version_is_collected(here: Round) -> None:
    await here.send()
    (entry,) = here.place.entries()
    here.place.put(Entry(entry.marker, entry.profile, entry.sent, entry.recipient, entry.host, entry.sender))
    here.later = 120
    assert (await here.collect()).collected.sent == 1 and not here.lying() and not here.place.entries()


# -- from cron -------------------------------------------------------------------------------------------------------


async def test_cron_hears_of_the_second_failure_in_a_row(tmp_path: Path, here: Round) -> None:
    """A closed port, then a server, then a closed port again: silent, and exit 0, until the second failure in a row."""
    desk = Desk(tmp_path, here.sandbox)

    async def tick(*options: str) -> tuple[int, str]:
        return await desk.run(
            "run", str(desk.profile), "-q", "--notify-after", "2", "--history", "none", "--readback", "none", *options
        )

    closed = ("--connect", "127.0.0.1:1")
    assert await tick(*closed) == (0, "")
    assert await tick() == (0, "")
    assert await tick(*closed) == (0, "")
    code, printed = await tick(*closed)
    assert code == 2 and "CRITICAL" in printed and "2 failures in a row" in printed


# -- what a collection must not do ------------------------------------------------------------------------------------


async def test_a_refused_password_is_not_tried_by_the_next_collection(here: Round) -> None:
    """Promise 4 holds for a collection as for a run: cron would lock the account, one logon every five minutes."""
    await here.send()
    here.sandbox._world.fault = "wrong-password"
    assert ("critical", "auth.refused", "imap.login") in said(await here.collect())
    before = len(here.sandbox.logons)
    report = await here.collect()
    assert "auth.suspended" in {finding.id for finding in report.findings} and len(here.sandbox.logons) == before


async def test_nor_by_the_next_sweep(here: Round) -> None:
    here.sandbox._world.fault = "wrong-password"
    for _ in range(2):
        swept = await sweep.sweep(here.profile, older_than=timedelta(0), dry_run=False, place=here.place)
    assert len(here.sandbox.logons) == 1 and "auth.suspended" in {finding.id for finding in swept.report.findings}


async def test_a_collection_that_straddles_a_pause_is_void(lost: Round, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGSTOP, as a sleeping laptop: what it did not see then says nothing of the server."""
    from probe.tasks import pulse

    await lost.send()
    lost.later = 300
    clock = pulse.clock
    shifted = 0.0
    monkeypatch.setattr(pulse, "clock", lambda: clock() + shifted)
    check = lost.sandbox._world.check

    def stands_still(*given: str, **more: bool) -> bool:
        nonlocal shifted
        shifted = 60.0
        return check(*given, **more)

    monkeypatch.setattr(lost.sandbox._world, "check", stands_still)
    report = await lost.collect()
    assert report.verdict == "unknown" and any(finding.id == "run.paused" for finding in report.findings)


async def test_what_came_back_is_read_of_collected_messages_too(here: Round) -> None:
    """By both readers, and judged by what the profile expects; the second message only says that it is another."""
    for _ in range(2):
        await here.send()
    fields = (
        b"DKIM-Signature: v=1; a=rsa-sha1; b=AA==; bh=AA==; d=old.test; h=from; s=s1\r\nX-Spam-Status: Yes, score=9 required=5\r\n"
    )
    here.change(lambda raw: fields + raw)
    expecting = here.load("round", set=("expect.dkim=sandbox.test", "expect.spam_score_below=5"))
    report = await here.collect(expecting)
    for leg in ("imap", "pop3"):
        messages = report.seen(f"{leg}.find", Swept).messages
        assert [one["evidence"] for one in messages] == ["whole", "whole"]
        assert [(one["domain"], one["result"], one["aligned"]) for one in messages[0]["signatures"]] == [("old.test", "fail", "no")]
        assert messages[0]["spam"][0]["score"] == 9
    said = {(finding.severity, finding.id, finding.summary) for finding in report.findings if finding.stage == "imap.find"}
    missing = "the message came back without a DKIM signature of sandbox.test (signed by old.test) (2 messages)"
    assert ("critical", "dkim.missing", missing) in said
    assert {("warning", "spam.verdict"), ("info", "dkim.failed")} <= {(severity, name) for severity, name, _ in said}
    assert here.lying() == []
