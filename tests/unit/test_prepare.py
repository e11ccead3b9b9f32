"""Every task prepares its work in one way: secrets reported together, back-off respected, what was sent is known."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import probe
from probe.profile import Profile, ProfileError, load_mapping
from probe.state.directory import installation_key
from probe.state.place import Files
from probe.state.refusals import fingerprint
from probe.tasks.audit import audit
from probe.tasks.collect import collect
from probe.tasks.each_address import observe_each
from probe.tasks.plan import make_plan, plugins
from probe.tasks.prepare import Session, begin_apart, prepare
from probe.tasks.repeat import repeat
from probe.tasks.sweep import sweep


def profile(**readback: Any) -> Profile:
    # Nobody listens there: a task that reached for the network would say so instead.
    return load_mapping(
        {
            "submission": {"host": "localhost", "port": 1, "connect": ["127.0.0.1"]},
            "account": {"username": "p@x.test", "password": {"env": "MISSING_ONE"}},
            "readback": {"imap": {"port": 1, "account": {"password": {"env": "MISSING_TWO"}}, **readback}},
        },
        plugins=plugins(),
    )


async def _collect(one: Profile) -> object:
    place = Files(Path("unused"))
    return await collect(await prepare(make_plan(one, light=True), one, place), one, place=place)


TASKS: dict[str, Callable[[Profile], Awaitable[object]]] = {
    "run": lambda one: probe.run(one),
    "audit": lambda one: audit(one),
    "sweep": lambda one: sweep(one, older_than=timedelta(0), dry_run=True),
    "collect": _collect,
}


@pytest.mark.parametrize("task", TASKS)
async def test_each_task_reports_all_missing_secrets_together(task: str) -> None:
    with pytest.raises(ProfileError) as caught:
        await TASKS[task](profile())
    assert "MISSING_ONE" in str(caught.value) and "MISSING_TWO" in str(caught.value)


@pytest.mark.parametrize("try_again", [False, True])
async def test_a_refused_secret_is_left_alone_unless_it_is_asked_for(
    try_again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISSING_ONE", "refused-Horse7")
    monkeypatch.setenv("MISSING_TWO", "another-Horse7")
    place, one = Files(tmp_path), profile()
    key, _ = installation_key(tmp_path)
    place.note_refused("smtp://localhost:1 127.0.0.1", "p@x.test", fingerprint(key, "refused-Horse7"))
    plan = await prepare(make_plan(one), one, place, try_again=try_again)
    assert bool(plan.submission.suspended) != try_again and not plan.readers[0].side.suspended


async def test_work_apart_from_a_run_knows_the_key_and_what_was_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSING_ONE", "a-Horse7battery")
    monkeypatch.setenv("MISSING_TWO", "b-Horse7battery")
    one, session = profile(), Session(Files(tmp_path))
    _, job = begin_apart(await prepare(make_plan(one, light=True), one, session.place), session)
    assert job.prove_key == installation_key(tmp_path)[0] and job.known == {}


async def test_a_report_says_what_it_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSING_ONE", "a-Horse7battery")
    monkeypatch.setenv("MISSING_TWO", "b-Horse7battery")
    one = profile()
    session = Session(interrupt=asyncio.Event())
    plan = await prepare(make_plan(one), one, session.place)

    async def once() -> list[Any]:
        return await observe_each(plan, one, session)

    assert [report.kind for report in await repeat(once, 1, 0.0)] == ["run"]
    assert [report.kind for report in await repeat(once, 2, 0.0)] == ["repetition", "repetition"]


async def test_a_person_is_asked_in_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt at the prompt ends a thread beside the loop where it stands: the terminal would go on without its echo."""
    asked: list[threading.Thread] = []

    def answer(_username: str) -> tuple[str, str]:
        asked.append(threading.current_thread())
        return "", "a-Horse7battery"

    monkeypatch.setattr("probe.profile.secret._asked", answer)
    one = load_mapping(
        {"submission": {"host": "localhost"}, "account": {"username": "p@x.test", "password": {"prompt": True}}}, plugins=plugins()
    )
    plan = await prepare(make_plan(one), one, Session().place)
    assert asked == [threading.main_thread()] and plan.submission.credentials is not None
