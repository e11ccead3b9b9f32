"""Runs against the sandbox, compared: what follows from a failure is known by the reasons that a run itself gives."""

import json
from pathlib import Path

from probe import run
from probe.report.as_json import to_json
from probe.runs.compare import compare
from probe.sandbox import Sandbox


async def _saved(path: Path, fault: str | None) -> dict[str, object]:
    async with Sandbox(fault=fault, personality="exchange-2016") as sandbox:
        path.write_text(sandbox.profile(), encoding="utf-8")
        report = await run(str(path))
        made: dict[str, object] = json.loads(json.dumps(to_json([report], started=report.started, seconds=0.0)))
        return made


async def test_where_nothing_was_sent_no_reader_has_changed(tmp_path: Path) -> None:
    told = compare(await _saved(tmp_path / "a.toml", None), await _saved(tmp_path / "a.toml", "send-as-denied"))
    statuses = {change.key: change.because for change in told.changes if change.key.endswith(".status")}
    assert {key for key in statuses if key != "smtp.submit.status"} >= {"imap.find.status", "pop3.login.status", "pop3.find.status"}
    assert {because for key, because in statuses.items() if key != "smtp.submit.status"} == {"smtp.submit"}, statuses
