"""Stopped in mid-run, between the final 250 and the deletion: the message is gone, the report is there, exit 130."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from probe.sandbox import Sandbox
from probe.state.place import Files

ROOT = Path(__file__).parent.parent.parent
# The signal comes from a thread: Windows' Ctrl-Break cannot be sent from outside without a console.
RUN = """
import signal, sys, threading
import probe.cli
from probe.observe.legs import submission
content = submission._content
async def interrupted(*arguments):
    reply = await content(*arguments)
    thread = threading.Thread(target=signal.raise_signal, args=(getattr(signal, sys.argv[1]),))
    thread.start()
    thread.join()
    return reply
submission._content = interrupted
sys.exit(probe.cli.entry(sys.argv[2:]))
"""


@pytest.mark.parametrize("name", [name for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)])
async def test_a_run_that_is_stopped_cleans_up_and_reports(name: str, tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        (tmp_path / "desk.toml").write_text(sandbox.profile(), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", RUN, name, "run", str(tmp_path / "desk.toml"), "-o", "json",
            stdout=asyncio.subprocess.PIPE, cwd=ROOT, env={**os.environ, "SUBMISSION_PROBE_STATE": str(tmp_path / "state")},
        )  # fmt: skip
        out, _ = await process.communicate()
        assert process.returncode == 130
        report = json.loads(out)["reports"][0]
        # Who was done with everything within the allowance may say so; nothing is the server's fault.
        assert report["verdict"] in ("ok", "unknown")
        stages = {stage["name"]: stage["status"] for stage in report["stages"]}
        assert stages["smtp.submit"] == "ok" and "ok" in (stages["imap.delete"], stages["pop3.delete"]), stages
        assert not sandbox.mailboxes[sandbox.username].folders["INBOX"].messages
        assert Files(tmp_path / "state").entries() == []
