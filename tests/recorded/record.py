"""Renew the recorded runs: `.venv/bin/python -m tests.recorded.record [NAME]...` (or `make recorded`).

Each is what `-o json` writes of a run against the sandbox, or against a story of tests/hostile played in front of it: one that
ends well, one for each stage that can fail, several nodes, and servers whose every word is an attack on some output.
"""

import asyncio
import json
import logging
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

import probe
from probe.cli.demo import _profile
from probe.report import Report
from probe.report.as_json import to_json
from probe.sandbox import Sandbox
from tests.hostile import story
from tests.hostile.test_hostile import perform

HERE = Path(__file__).parent
STORIES = HERE.parent / "hostile"
Recording = Callable[[], Awaitable[list[Report]]]


def sandbox(fault: str | None = None, personality: str = "postfix", **submission: object) -> Recording:
    async def record() -> list[Report]:
        async with Sandbox(fault=fault, personality=personality) as running:
            profile = _profile(running)
            profile["submission"] |= submission
            return [await probe.run(profile)]

    return record


def play(name: str, protocol: str = "smtp") -> Recording:
    async def record() -> list[Report]:
        path = HERE / "stories" / f"{name}.dialogue"
        path = path if path.exists() else STORIES / f"{name}.dialogue"
        found = next(item for item in story.read(path) if item.protocol == protocol)
        with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
            report = (await perform(found, patch, Path(folder))).report
        assert (report.exit_code, report.failed_stage) == (found.exit_code, found.failed_stage), report
        return [replace(report, profile=name)]

    return record


async def nodes() -> list[Report]:
    """Three nodes behind one name: one well, one that refuses the logon, one where nothing listens."""
    reports: list[Report] = []
    for number, (fault, submission) in enumerate([(None, {}), ("wrong-password", {}), (None, {"port": 1})], 1):
        (report,) = await sandbox(fault, "exchange-2016", **submission)()
        reports.append(replace(report, profile="contoso", target=replace(report.target, node=f"EX0{number}.contoso.test")))
    return reports


async def many() -> list[Report]:
    """A dozen targets: more than fits into 4 KB."""
    (report,) = await sandbox()()
    return [replace(report, profile=f"site-{number:02}.contoso.test") for number in range(12)]


async def interrupted() -> list[Report]:
    async with Sandbox(fault="never-delivers") as running:
        interrupt = asyncio.Event()
        # The message is not coming: the run waits in imap.find, and is told to stop there.
        asyncio.get_running_loop().call_later(0.5, interrupt.set)
        return [await probe.run(_profile(running), interrupt=interrupt)]


async def broken() -> list[Report]:
    """What a bug of ours leaves; made, since there is none to record."""
    (report,) = await sandbox()()
    return [replace(report, verdict="unknown", error="RuntimeError: <b>made up</b> | for a test")]


RECORDINGS: dict[str, Recording] = {
    "ok": sandbox(),
    "ok-exchange": sandbox(personality="exchange-2016"),
    "junk": sandbox("junk", "exchange-2016"),
    "late-hops": play("message-clock"),
    "footer": sandbox("footer"),
    "failed-smtp-resolve": sandbox(host="no-such-host.invalid"),
    "failed-smtp-connect": sandbox(port=1),
    "failed-smtp-greeting": play("greeting-554"),
    "failed-smtp-ehlo": play("ehlo-550"),
    "failed-smtp-starttls": sandbox("no-starttls"),
    "failed-smtp-certificate": sandbox("wrong-name"),
    "failed-smtp-ehlo-tls": play("close-at-capabilities-after-tls"),
    "failed-smtp-auth": sandbox("wrong-password"),
    "failed-smtp-submit": sandbox("mailbox-full"),
    "failed-imap-connect": play("goodbye-at-greeting", "imap"),
    "failed-imap-tls": play("close-at-handshake", "imap"),
    "failed-imap-certificate": play("certificate-expired", "imap"),
    "failed-imap-login": play("password-refused", "imap"),
    "failed-imap-find": play("close-at-fetch", "imap"),
    "never-delivered": play("never-delivered"),
    "failed-imap-verify": play("message-truncate"),
    "warned-imap-delete": play("close-at-delete", "imap"),
    "failed-pop3-connect": play("goodbye-at-greeting", "pop3"),
    "failed-pop3-tls": play("close-at-handshake", "pop3"),
    "failed-pop3-certificate": play("certificate-self-signed", "pop3"),
    "failed-pop3-login": sandbox("in-use"),
    "failed-pop3-find": play("close-at-fetch", "pop3"),
    "failed-pop3-verify": play("retr-another", "pop3"),
    "warned-pop3-delete": play("dele-refused", "pop3"),
    "nodes": nodes,
    "many": many,
    "interrupted": interrupted,
    "broken": broken,
    "hostile-greeting": play("hostile-greeting"),
    "hostile-ehlo": play("hostile-ehlo"),
    "hostile-reply": play("hostile-reply"),
    "hostile-imap": play("nasty-greeting", "imap"),
}


async def record(name: str) -> None:
    reports = await RECORDINGS[name]()
    run = to_json(reports, started=reports[0].started, seconds=max(report.seconds for report in reports))
    if name == "many":
        # What twelve times the same text would add to the repository is of no use to a test.
        for report in run["reports"]:
            report["transcript"] = []
            for stage in report["stages"]:
                stage["facts"].pop("chain_der", None)
    (HERE / f"{name}.json").write_text(json.dumps(run, indent=1 if name != "many" else None) + "\n", encoding="ascii")
    print(f"{name}: {run['verdict']}, {[report['failed_stage'] for report in run['reports'][:3]]}")


async def main(names: list[str]) -> None:
    for name in names or RECORDINGS:
        await record(name)


if __name__ == "__main__":
    # The sandbox's own complaints of clients that hang up.
    logging.disable(logging.ERROR)
    with tempfile.TemporaryDirectory() as state, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUBMISSION_PROBE_STATE", state)
        asyncio.run(main(sys.argv[1:]))
