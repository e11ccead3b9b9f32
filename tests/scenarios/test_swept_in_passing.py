"""What earlier runs left is deleted by the next one, said as what it is, and nothing else is touched; real Postfix and Dovecot."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from probe.facts import Found
from probe.message import Draft, compose, new_marker
from probe.observe import in_passing
from probe.output import Context, prometheus
from probe.output import text as text_output
from probe.profile import Profile
from probe.report import Finding, Report
from probe.sandbox import Sandbox, imap
from probe.state import history
from probe.state.directory import HISTORY
from probe.state.outbox import Entry, stamp
from probe.state.place import Files
from probe.tasks import prepare
from probe.tasks.plan import make_plan
from probe.tasks.run import load_profile, run
from tests.scenarios.test_round_trip import NEIGHBOUR, Bench

HOUR = timedelta(hours=1)


class Desk:
    """Runs in a row of one profile, with one state, and a clock of its own: `later` seconds ahead."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.bench, self.place, self.later = bench, Files(bench.folder / "state"), 0.0
        monkeypatch.setenv("PROBE_TEST_PASSWORD", bench.password)
        monkeypatch.setattr(prepare, "time_of_day", self.now)
        monkeypatch.setattr(prepare, "compose", self._composed)
        self.path = str(bench.profile())
        self.options = options
        self.profile: Profile = load_profile(self.path, options)
        self.drafts: list[Draft] = []

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.later)

    def _composed(self, **parts: Any) -> Draft:
        self.drafts.append(compose(**parts))
        return self.drafts[-1]

    async def run(self, **how: Any) -> Report:
        report = await run(self.profile, place=self.place, raise_bugs=True, **how)
        assert history.add(self.bench.folder / "state" / HISTORY, [report]) is None
        return report

    def made(self, age: timedelta = HOUR, *, key: bytes | None = None, recipient: str = "") -> Draft:
        """A message of this installation that some run sent so long ago."""
        address = self.bench.address
        return compose(
            marker=new_marker(len(self.drafts).to_bytes(1, "big") * 15 + bytes([int(age.total_seconds()) % 251])),
            key=key or self.place.key()[0], sender=address, recipient=recipient or address, now=self.now() - age,
        )  # fmt: skip

    def traced(self, draft: Draft, **more: str) -> Entry:
        plan = make_plan(self.profile)
        entry = Entry(
            draft.marker, plan.profile, draft.sent, draft.recipient, plan.target.host, draft.sender, plan.probed,
            **{"run": "0123456789abcdef", **more},
        )  # fmt: skip
        self.place.put(entry)
        return entry

    def deliver(self, raw: bytes) -> None:
        self.bench.mail.deliver(self.bench.user, raw)

    def lying(self) -> list[bytes]:
        return list(self.bench.mail.messages(self.bench.user))


@pytest.fixture
def desk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(bench, monkeypatch)


@pytest.fixture
def bench(tmp_path: Path, mail: Any, request: pytest.FixtureRequest) -> Bench:
    return Bench(tmp_path, mail, user=f"s{abs(hash(request.node.name)) % 10**9}")


def leftovers(report: Report) -> list[dict[str, Any]]:
    return [dict(one) for leg in ("imap", "pop3") for one in report.seen(f"{leg}.find", Found).leftovers]


def said(report: Report, stage: str) -> list[tuple[str, str]]:
    return [(one.severity, one.id) for one in report.findings if one.stage == stage]


def of(report: Report, finding: str) -> Finding:
    return next(one for one in report.findings if one.id == finding)


READERS = [("imap", "imap.find"), ("pop3", "pop3.find"), ("both", "pop3.find")]


@pytest.mark.parametrize(("readback", "stage"), READERS)
async def test_a_leftover_is_deleted_by_the_next_run_and_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, readback: str, stage: str
) -> None:
    desk = Desk(bench, monkeypatch, readback=readback)
    left = desk.made()
    young = desk.made(timedelta(seconds=2))
    theirs = desk.made(key=b"t" * 32)
    elsewhere = desk.made(timedelta(hours=2), recipient="somebody@example.test")
    forged = left.raw.replace(left.proof.encode(), b"0" * 64).replace(left.marker.encode(), b"submission-probe-" + b"f" * 26)
    quoted = b"From: friend@example.test\r\nSubject: Fwd\r\n\r\n> " + left.raw.replace(b"\r\n", b"\r\n> ")
    for raw in (NEIGHBOUR, left.raw, young.raw, theirs.raw, elsewhere.raw, forged, quoted):
        desk.deliver(raw)
    report = await desk.run()
    assert report.verdict == "ok", report.findings
    assert [(one["marker"], one["sent"], one["deleted"], one["ended"]) for one in leftovers(report)] == [
        (left.marker, left.sent, True, None)
    ]
    assert said(report, stage) == [("info", "mailbox.leftovers")]
    assert "1 leftover(s) of earlier runs" in of(report, "mailbox.leftovers").summary
    # Those of this installation that stay are counted.
    # POP3 looks at both ends only.
    assert report.seen(stage, Found).ours in ((3,) if readback == "imap" else (2, 3))
    own = re.compile(rb"^" + left.proof.encode(), re.MULTILINE)
    assert len(desk.lying()) == 6 and not any(map(own.search, desk.lying()))
    again = await desk.run()
    assert leftovers(again) == [] and len(desk.lying()) == 6


@pytest.mark.parametrize(("readback", "stage"), READERS)
async def test_what_its_run_had_missed_is_late(bench: Bench, monkeypatch: pytest.MonkeyPatch, readback: str, stage: str) -> None:
    desk = Desk(bench, monkeypatch, readback=readback)
    late = desk.made()
    desk.traced(late)
    came = format_datetime(datetime.fromisoformat(late.sent) + timedelta(seconds=700)).encode()
    desk.deliver(b"Received: from a.test by b.test; " + came + b"\r\n" + late.raw)
    report = await desk.run()
    assert report.verdict == "ok" and said(report, stage) == [("info", "delivery.late")]
    (one,) = leftovers(report)
    assert one["ended"] == "missing" and one["run"] == "0123456789abcdef" and one["seconds"] >= 700
    finding = of(report, "delivery.late")
    assert (
        " s after it was sent" in finding.summary and f"{late.marker} sent {late.sent} by run 0123456789abcdef" in finding.evidence
    )
    assert desk.place.entries() == [] and desk.lying() == []


@pytest.mark.parametrize(("readback", "stage"), READERS)
async def test_a_second_copy_that_comes_after_the_deletion_is_a_duplicate(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, readback: str, stage: str
) -> None:
    desk = Desk(bench, monkeypatch, readback=readback)
    first = await desk.run()
    assert first.verdict == "ok" and desk.lying() == []
    desk.deliver(desk.drafts[0].raw)
    assert leftovers(await desk.run()) == [] and len(desk.lying()) == 1  # too young yet
    desk.later = 60
    report = await desk.run()
    assert report.verdict == "ok" and said(report, stage) == [("info", "delivery.duplicate")]
    (one,) = leftovers(report)
    assert (one["ended"], one["run"], one["deleted"]) == ("read", first.id, True)
    assert desk.lying() == []


async def test_runs_that_miss_their_messages_sweep_those_of_the_runs_before(
    mail_servers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(Bench(tmp_path, mail_servers(discard=True)), monkeypatch, readback="imap", timeout="4s")
    first = await desk.run()
    assert first.failed_stage == "imap.find" and len(desk.place.entries()) == 1
    desk.deliver(NEIGHBOUR)
    desk.deliver(desk.drafts[0].raw)
    desk.later = 60
    report = await desk.run()
    assert report.failed_stage == "imap.find" and ("critical", "delivery.missing") in said(report, "imap.find")
    assert ("info", "delivery.late") in said(report, "imap.find")
    assert [(one["run"], one["ended"], one["deleted"]) for one in leftovers(report)] == [(first.id, "missing", True)]
    assert len(desk.lying()) == 1 and [entry.marker for entry in desk.place.entries()] == [desk.drafts[1].marker]


@pytest.mark.parametrize("readback", ["imap", "pop3"])
async def test_what_a_collection_or_a_run_under_way_waits_for_is_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, readback: str
) -> None:
    desk = Desk(bench, monkeypatch, readback=readback)
    made = [desk.made(HOUR * number) for number in (1, 2, 3, 4)]
    sent, flying, other, older = made
    desk.traced(sent, left="for a collection")
    desk.traced(flying, until=stamp(desk.now() + HOUR))
    desk.place.put(Entry(other.marker, "another", other.sent, other.recipient, "h", other.sender, "h:25 u r", run="1"))
    desk.traced(older, run="")
    for draft in made:
        desk.deliver(draft.raw)
    report = await desk.run()
    assert report.verdict == "ok" and leftovers(report) == [] and report.seen(f"{readback}.find", Found).ours == 4
    assert len(desk.lying()) == 4 and len(desk.place.entries()) == 4


async def test_a_run_deletes_a_few_at_a_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(bench, monkeypatch, readback="imap")
    for number in range(1, in_passing.MOST_MESSAGES + 4):
        desk.deliver(desk.made(HOUR * number).raw)
    assert len(leftovers(await desk.run())) == in_passing.MOST_MESSAGES and len(desk.lying()) == 3
    assert len(leftovers(await desk.run())) == 3 and desk.lying() == []


async def test_no_delete_leaves_earlier_messages_too(desk: Desk) -> None:
    desk.deliver(desk.made().raw)
    report = await desk.run(delete=False)
    assert leftovers(report) == [] and report.seen("imap.find", Found).ours is None and len(desk.lying()) == 2


async def test_the_line_and_the_metrics_say_how_many_are_ours(desk: Desk) -> None:
    for raw in (NEIGHBOUR, desk.made().raw, desk.made(HOUR * 2).raw):
        desk.deliver(raw)
    desk.profile = load_profile(desk.path, {"readback": "imap"})
    report = await desk.run()
    assert "; 2 earlier message(s) of ours lay there" in text_output.write([report], Context("", 0.0))
    metrics = prometheus.write([report], Context("", 0.0))
    for name, value in (("mailbox_messages", "[34]"), ("mailbox_messages_ours", 2), ("leftovers_deleted", 2)):
        assert re.search(rf"^submission_probe_{name}{{[^}}]*}} {value}(\.0)?$", metrics, re.MULTILINE), name


def test_the_command_line_says_it(bench: Bench) -> None:
    """Without a history: what is known is that it lay there."""
    profile = bench.profile(limits={"timeout": "20s"})
    assert bench.run(profile, "--history", "none").code == 0
    key = Files(bench.folder / "state").key()[0]
    old = datetime.now(UTC) - HOUR
    left = compose(marker=new_marker(b"c" * 16), key=key, sender=bench.address, recipient=bench.address, now=old)
    bench.mail.deliver(bench.user, left.raw)
    ran = bench.run(profile, "--history", "none")
    assert ran.code == 0 and ran.findings == {"mailbox.leftovers"} and bench.mail.messages(bench.user) == []
    assert ran.stage("pop3.find")["facts"]["leftovers"][0]["run"] is None
    json.dumps(ran.report)


# -- it costs nothing, and spoils nothing ---------------------------------------------------------------------------------


class Sandboxed:
    """The same on a sandbox, whose answers can be spoilt."""

    def __init__(self, folder: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sandbox, self.place = sandbox, Files(folder / "state")
        monkeypatch.setenv("PROBE_SANDBOX_PASSWORD", sandbox.password)
        self.path = folder / "sandbox.toml"
        self.path.write_text(sandbox.profile())
        self.inbox = sandbox._world.mailbox(sandbox.username).folders["INBOX"]
        self.inbox.add(NEIGHBOUR)

    def leave(self, age: timedelta = HOUR) -> None:
        user = self.sandbox.username
        now = datetime.now(UTC) - age
        key = self.place.key()[0]
        self.inbox.add(compose(marker=new_marker(b"l" * 16), key=key, sender=user, recipient=user, now=now).raw)

    async def run(self, readback: str) -> Report:
        return await run(load_profile(str(self.path), {"readback": readback}), place=self.place, raise_bugs=True)


def round_trips(report: Report, connection: str) -> int:
    """How often something was sent after the other side had last spoken."""
    ways = [line.direction for line in report.transcript if line.connection == connection and line.direction != "*"]
    return sum(way == ">" and before != ">" for before, way in zip(["", *ways], ways, strict=False))


async def test_where_nothing_is_left_it_costs_no_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox() as sandbox:
        here = Sandboxed(tmp_path, sandbox, monkeypatch)
        searched = await here.run("imap")
        commands = [
            line.text.partition(" ")[2] for line in searched.transcript if (line.connection, line.direction) == ("imap", ">")
        ]
        assert any(command.startswith("UID SEARCH UID 1:1 OR HEADER") for command in commands)
        monkeypatch.setattr(in_passing, "search", lambda *_: None)
        assert round_trips(searched, "imap") == round_trips(await here.run("imap"), "imap")


@pytest.mark.parametrize("answer", ["{tag} BAD no such key", "{tag} OK nothing", "* BYE enough", "* SEARCH x\r\n{tag} OK"])
async def test_whatever_the_search_answers_the_verdict_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    async def spoilt(server: imap.Imap, tag: str, _words: object, _uid: bool) -> None:
        await server._say(answer.format(tag=tag))
        server.open = "BYE" not in answer

    async with Sandbox() as sandbox:
        here = Sandboxed(tmp_path, sandbox, monkeypatch)
        here.leave()
        monkeypatch.setitem(imap._COMMANDS, "SEARCH", spoilt)
        report = await here.run("imap")
        assert report.verdict == "ok" and not leftovers(report) and len(here.inbox.messages) == 2
        assert here.place.entries() == []


async def test_a_search_that_is_never_answered_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(server: imap.Imap, tag: str, _words: object, _uid: bool) -> None:
        await asyncio.Event().wait()

    async with Sandbox() as sandbox:
        here = Sandboxed(tmp_path, sandbox, monkeypatch)
        monkeypatch.setattr(in_passing, "SECONDS", 0.05)
        monkeypatch.setitem(imap._COMMANDS, "SEARCH", silent)
        report = await here.run("imap")
        assert report.verdict == "ok" and next(one for one in report.stages if one.name == "imap.delete").status == "ok"


async def test_a_maildrop_whose_old_message_cannot_be_read_still_gives_up_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from probe.sandbox import pop3

    retrieve = pop3._COMMANDS["RETR"]

    async def spoilt(server: pop3.Pop3, argument: str) -> None:
        if argument == "2":
            server.open = False
        else:
            await retrieve(server, argument)

    async with Sandbox() as sandbox:
        here = Sandboxed(tmp_path, sandbox, monkeypatch)
        here.leave()
        monkeypatch.setitem(pop3._COMMANDS, "RETR", spoilt)
        report = await here.run("pop3")
        assert report.verdict == "ok", report.findings
        assert len(here.inbox.messages) == 2 and here.place.entries() == []


# -- a run that ends between the deletion and its trace ----------------------------------------------------------------------


@pytest.mark.parametrize("readback", ["imap", "pop3"])
async def test_the_trace_says_that_the_message_was_read_before_it_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readback: str
) -> None:
    seen: list[tuple[str, int]] = []
    async with Sandbox() as sandbox:
        here = Sandboxed(tmp_path, sandbox, monkeypatch)
        remove = Files.remove

        def removed(place: Files, marker: str) -> None:
            (entry,) = place.entries()
            seen.append((entry.seen, len(here.inbox.messages)))
            remove(place, marker)

        monkeypatch.setattr(Files, "remove", removed)
        report = await here.run(readback)
    assert report.verdict == "ok" and len(seen) == 1 and seen[0][0] and seen[0][1] == 1
