"""docs/how-to/exit-status.md: its tables are true, and its recipes run as they stand there."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from probe.report import EXIT_CODES, EXIT_INTERRUPTED
from probe.sandbox import Sandbox
from tests.unit.test_exchange_docs import _NOT_IN_5_1

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "how-to" / "exit-status.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^## (\S[^\n]*)\n+```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
OTHER = "AB" * 20


def test_the_statuses_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (\w+)", PAGE, re.MULTILINE))
    assert rows == {**{str(code): name for name, code in EXIT_CODES.items()}, str(EXIT_INTERRUPTED): "interrupted"}


def test_every_command_has_its_row() -> None:
    commands = {path.stem for path in (ROOT / "probe" / "cli").glob("[!_]*.py")}
    assert set(re.findall(r"`probe ([a-z]+)", PAGE)) == commands


class Place:
    """A folder with contoso.toml for a sandbox, a run kept before, and the scripts that recipes call."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder, self.sandbox = folder, sandbox
        programs = folder / "bin"
        programs.mkdir()
        (programs / "probe").symlink_to(Path(sys.executable).parent / "probe")
        (folder / "contoso.toml").write_text(sandbox.profile(), encoding="utf-8")
        for name in ("roll-back", "replace-certificate"):
            script = folder / name
            script.write_text(f"#!/bin/sh\ntouch {name}.done\n", encoding="utf-8")
            script.chmod(0o755)
        self.environ = {
            **os.environ,
            "PATH": f"{programs}:/usr/bin:/bin",
            "SUBMISSION_PROBE_STATE": str(folder / "state"),
            "ANSIBLE_LOCAL_TEMP": str(folder),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }

    async def run(self, *command: str, **environ: str) -> tuple[int, str]:
        pipe, env = asyncio.subprocess.PIPE, {**self.environ, **environ}
        process = await asyncio.create_subprocess_exec(
            *command, env=env, cwd=self.folder, stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )
        said = (await process.communicate())[0].decode()
        assert process.returncode is not None
        return process.returncode, said

    async def keep(self) -> str:
        """A run before the change; the thumbprint that is served."""
        code, said = await self.run("probe", "run", "contoso.toml", "--report", "json=before.json")
        assert code == 0, said
        run: Any = json.loads((self.folder / "before.json").read_text(encoding="ascii"))
        seen = {stage["name"]: stage["facts"] for stage in run["reports"][0]["stages"]}
        return str(seen["smtp.certificate"]["thumbprint"])


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with Sandbox() as sandbox:
        yield Place(tmp_path, sandbox)


async def test_the_shell_script_tells_the_four_cases(place: Place) -> None:
    served = await place.keep()
    script = RECIPES["sh"]
    for shell in ("sh", "bash"):
        code, said = await place.run(shell, "-eu", "-c", script, THUMBPRINT=served)
        assert code == 0 and said.endswith("changed as announced\n"), said
        code, said = await place.run(shell, "-eu", "-c", script, THUMBPRINT=OTHER)
        assert code == 1 and said.endswith("the change did not happen\n"), said
        code, said = await place.run(shell, "-eu", "-c", script, THUMBPRINT="no thumbprint")
        assert code == 3 and said.endswith("nothing was proven\n"), said
    assert not (place.folder / "roll-back.done").exists()
    async with Sandbox(fault="mailbox-full") as broken:
        (place.folder / "contoso.toml").write_text(broken.profile(), encoding="utf-8")
        code, said = await place.run("sh", "-eu", "-c", script, THUMBPRINT=served)
    assert code == 2 and (place.folder / "roll-back.done").exists(), said


async def test_the_playbook_runs(place: Place) -> None:
    served = await place.keep()
    assert isinstance(yaml.safe_load(RECIPES["Ansible"]), list)
    (place.folder / "play.yml").write_text(RECIPES["Ansible"], encoding="utf-8")
    for thumbprint, shown in ((served, False), (OTHER, True)):
        code, said = await place.run("/usr/bin/ansible-playbook", "play.yml", "-e", f"thumbprint={thumbprint}")
        assert code == 0 and ("1 expected change" in said or "expected changes did not happen" in said) == shown, said
    code, said = await place.run("/usr/bin/ansible-playbook", "play.yml", "-e", "thumbprint=12")
    assert code == 2 and "wants a thumbprint" in said, said


async def test_the_gitlab_job_fits_its_schema_and_its_lines_run(place: Place) -> None:
    (job,) = yaml.safe_load(RECIPES["GitLab CI"]).values()
    file = place.folder / "gitlab-ci.yml"
    file.write_text(RECIPES["GitLab CI"], encoding="utf-8")
    checker = Path(sys.executable).parent / "check-jsonschema"
    done = subprocess.run([checker, "--builtin-schema", "vendor.gitlab-ci", file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    script = "\n".join(job["script"])
    served = await place.keep()
    code, said = await place.run("bash", "-e", "-o", "pipefail", "-c", script, THUMBPRINT=served)
    assert code == 0 and (place.folder / "replace-certificate.done").exists(), said
    assert all((place.folder / name).stat().st_size for name in job["artifacts"]["paths"])
    code, said = await place.run("bash", "-e", "-o", "pipefail", "-c", script, THUMBPRINT=OTHER)
    assert code in job["allow_failure"]["exit_codes"], said


def test_the_powershell_script_holds_nothing_that_5_1_does_not_know() -> None:
    """No PowerShell runs here: its command line is one that probe takes, and the status is read before anything else runs."""
    script = RECIPES["PowerShell"]
    assert script.isascii() and not [name for name, pattern in _NOT_IN_5_1.items() if re.search(pattern, script)]
    first, second, *_ = script.splitlines()
    assert first.startswith("probe run ") and second == "$status = $LASTEXITCODE" and script.count("$LASTEXITCODE") == 1
    assert set(re.findall(r"^    (\w+) \{", script, re.MULTILINE)) == {"0", "1", "2", "default"}
    assert script.count("{") == script.count("}") and script.count("(") == script.count(")")
    taken = RECIPES["sh"].splitlines()[1].split(" || ")[0].replace("$THUMBPRINT", "$thumbprint")
    assert first.startswith(taken)
