"""Known secrets, and none of them anywhere: stdout, stderr, files, the state directory, the process list; -v and every format.

Failures come from the sandbox's faults and mechanisms here; tests/hostile looks for the same forms in each of its stories.
"""

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from probe.output import formats
from probe.sandbox import FAULTS, Sandbox
from tests.canary import leaks

ROOT = Path(__file__).parent.parent.parent
MECHANISMS = ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "NTLM", "XOAUTH2", "OAUTHBEARER"]
MECHANISMS += ["SCRAM-SHA-512"]


@pytest.mark.parametrize("case", [*sorted(FAULTS), *(f"{name} refused" for name in MECHANISMS), *MECHANISMS])
async def test_no_secret_leaves(case: str, tmp_path: Path) -> None:
    mechanism, _, refused = case.partition(" ")
    mechanism = mechanism if mechanism in MECHANISMS else ""
    async with Sandbox(fault=case if case in FAULTS else None, mechanisms=[mechanism] if mechanism else None) as sandbox:
        secret, kind = (sandbox.token, "token") if mechanism.endswith(("OAUTH2", "BEARER")) else (sandbox.password, "password")
        given = f"{secret[::-1]}-refused" if refused else secret
        profile = tmp_path / "canary.toml"
        text = re.sub(r"password = \{ file = .* \}", f'{kind} = {{ env = "CANARY" }}', sandbox.profile())
        text = text.replace("[account]", f'[account]\nmechanism = "{mechanism or "auto"}"')
        profile.write_text(text + '[limits]\ntimeout = "6s"\ndelivery_warning = "2s"\ndelivery_critical = "4s"\n')
        shown, command_lines = await run_with_secret(profile, tmp_path, given)
        files = written(tmp_path, profile)
        assert leaks([*shown, *files, *command_lines], given, sandbox.username) == []
        assert leaks([*shown, *files], sandbox.password, sandbox.username) == []


def written(folder: Path, profile: Path) -> list[str]:
    """Every file below the folder but the profile: reports in each format, and the state directory's."""
    assert set(formats()) <= {path.name for path in folder.iterdir()}
    return [path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file() and path != profile]


async def run_with_secret(profile: Path, folder: Path, secret: str) -> tuple[list[str], list[str]]:
    """stdout and stderr; and every command line that the process had while it ran."""
    reports = [option for name in formats() for option in ("--report", f"{name}={folder / name}")]
    command = [sys.executable, "-m", "probe", "run", str(profile), "-v", *reports]
    environ = {**os.environ, "CANARY": secret, "SUBMISSION_PROBE_STATE": str(folder / "state")}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=environ, cwd=ROOT, stdout=pipe, stderr=pipe)
    seen: set[str] = set()
    watcher = asyncio.create_task(_watch(process, seen))
    stdout, stderr = await process.communicate()
    watcher.cancel()
    assert process.returncode in (0, 1, 2), (stdout, stderr)
    # Windows shows a process list too, but no file of it: there the command line is only what stands above.
    assert seen or sys.platform == "win32", "the process list was never read"
    return [stdout.decode(), stderr.decode()], sorted(seen)


async def _watch(process: Any, seen: set[str]) -> None:
    while True:
        try:
            seen.add(Path(f"/proc/{process.pid}/cmdline").read_text(encoding="utf-8").replace("\0", " "))
        except OSError:
            return
        await asyncio.sleep(0.02)
