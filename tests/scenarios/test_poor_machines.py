"""A machine that has next to nothing: no home directory, nothing to write to, a full disk, 16 descriptors.

One plain line says what is missing, the verdict is on stdout all the same, and no stack trace anywhere. Each command is run as a
user without an entry in passwd, in a mount namespace of its own where file systems are concerned.
"""

import asyncio
import json
import os
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from probe.facts import Facts
from probe.judge._verdict import judge
from probe.record import Record, StageRecord, Target, Trouble
from probe.sandbox import Sandbox
from probe.tasks.run import load_profile

ROOT = Path(__file__).parent.parent.parent
NOBODY = 54_321
# So that the tests' own folders and interpreter can be read, whoever owns them; nothing can be written by it.
READER = "-all,+dac_read_search"
CAPS = f"--inh-caps={READER} --ambient-caps={READER} --bounding-set={READER}"
USER = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups {CAPS}"
READ_ONLY = 'for at in $(findmnt -rno TARGET); do mount -o remount,bind,ro "$at" 2>/dev/null; done; '
FULL = (
    f"mount -t tmpfs -o size=16k,mode=1777 none /var/tmp; mkdir -m 700 /var/tmp/state; chown {NOBODY} /var/tmp/state; "
    "head -c 16384 /dev/zero > /var/tmp/fill 2>/dev/null; "
)


@dataclass(frozen=True)
class Machine:
    """What the shell does before the command, what stands in its environment, and what is said of its state."""

    before: str
    environ: str
    said: str
    apart: bool = False


MACHINES = {
    "no home": Machine("", "", "no home directory is known for this user"),
    "read-only": Machine(READ_ONLY, "HOME=/var/tmp", "Read-only file system", apart=True),
    "not ours": Machine("", "SUBMISSION_PROBE_STATE=/var/empty-of-nobody/state", "Permission denied"),
    "full": Machine(FULL, "SUBMISSION_PROBE_STATE=/var/tmp/state TMPDIR=/var/tmp", "No space left on device", apart=True),
    "few descriptors": Machine("ulimit -n 16; ", "SUBMISSION_PROBE_STATE={state}", ""),
}
machines = pytest.mark.parametrize("machine", [pytest.param(machine, id=name) for name, machine in MACHINES.items()])


def _why_not() -> str | None:
    if sys.platform == "win32":
        return "not_on_windows: users, mounts and limits of Linux"
    if os.geteuid() != 0:
        return "only root can start real servers"
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True)
    return "this kernel lets nobody make namespaces" if tried.returncode else None


pytestmark = pytest.mark.skipif(_why_not() is not None, reason=_why_not() or "")


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


class Desk:
    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.sandbox, self.profile, self.state = sandbox, folder / "desk.toml", folder / "state"
        self.state.mkdir(mode=0o700)
        os.chown(self.state, NOBODY, NOBODY)
        lines = ['password = { env = "PW" }' if line.startswith("password") else line for line in sandbox.profile().splitlines()]
        self.profile.write_text("\n".join(lines) + "\n")

    def command(self, machine: Machine, arguments: Sequence[str]) -> list[str]:
        secret, more = shlex.quote(self.sandbox.password), machine.environ.format(state=self.state)
        environ = f"env -i PATH={shlex.quote(os.environ['PATH'])} PW={secret} {more}"
        script = f"cd /; {machine.before}exec {USER} {environ} {sys.executable} -B -m probe {shlex.join(arguments)}"
        return [*(["unshare", "--mount", "--propagation", "private"] if machine.apart else []), "bash", "-c", script]

    async def run(self, machine: Machine, *arguments: str) -> Done:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self.command(machine, arguments), stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
        out, err = await process.communicate()
        assert b"Traceback" not in err and b"Exception ignored" not in err, err.decode()
        return Done(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with Sandbox() as sandbox:
        yield Desk(tmp_path, sandbox)


def one_line(text: str, said: str) -> bool:
    return (text.count("\n") == 1 and text.startswith("probe: nothing can be kept (") and said in text) if said else not text


@machines
async def test_a_run_has_its_verdict_and_one_line_says_what_is_lost(machine: Machine, desk: Desk) -> None:
    done = await desk.run(machine, "run", str(desk.profile), "-o", "nagios")
    assert done.code == 0 and done.out.startswith("SUBMISSION OK - ") and one_line(done.err, machine.said), done
    assert not desk.sandbox.mailboxes[desk.sandbox.username].folders["INBOX"].messages


@machines
async def test_the_other_commands_that_use_the_state(machine: Machine, desk: Desk) -> None:
    swept = await desk.run(machine, "sweep", str(desk.profile), "--older-than", "0", "-o", "json")
    assert swept.code == 0 and json.loads(swept.out)["deleted"] == [] and one_line(swept.err, machine.said), swept
    collected = await desk.run(machine, "run", "--collect", str(desk.profile), "-o", "json")
    assert collected.code == 0 and json.loads(collected.out)["verdict"] == "ok" and one_line(collected.err, machine.said), collected
    audited = await desk.run(machine, "audit", str(desk.profile), "--check", "audit.old-tls")
    assert audited.code == 0 and audited.out.startswith("OK  desk: 1 of 1 checks passed\npass") and not audited.err, audited


@machines
async def test_what_cannot_be_done_without_is_refused_in_one_line(machine: Machine, desk: Desk) -> None:
    history = await desk.run(machine, "history")
    assert history.code == 3 and not history.out and history.err.count("\n") == 1, history
    compared = await desk.run(machine, "compare", "/no/such.json", "/no/such.json")
    assert compared.code == 3 and not compared.out and compared.err.count("\n") == 1, compared
    begun = await desk.run(
        machine, "init", "a@mail.test", "--host", "mail.test", "--password-env", "PW", "--no-discover", "--no-look", "--yes",
        "--output", "/proc/no.toml",
    )  # fmt: skip
    assert begun.code == 3 and "cannot write /proc/no.toml" in begun.err and begun.err.count("\n") == 1, begun


@machines
async def test_the_demo_runs_or_says_in_one_line_what_it_needs(machine: Machine, desk: Desk) -> None:
    done = await desk.run(machine, "demo", "-o", "nagios")
    # A full TMPDIR is passed over for /tmp.
    if machine in (MACHINES["no home"], MACHINES["not ours"], MACHINES["full"]):
        assert done.code == 0 and done.out.startswith("SUBMISSION OK - ") and not done.err, done
        return
    remedy = "ulimit -n" if machine is MACHINES["few descriptors"] else "set TMPDIR"
    assert done.code == 3 and "the sandbox cannot start: " in done.err and remedy in done.err and done.err.count("\n") == 1, done
    assert done.out.startswith("SUBMISSION UNKNOWN - the sandbox cannot start: ") and done.out.count("\n") == 1


@machines
async def test_the_exporter_serves_all_the_same(machine: Machine, desk: Desk) -> None:
    command = desk.command(machine, ["serve", str(desk.profile), "--listen", "127.0.0.1:0", "--interval", "none"])
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    assert process.stderr is not None
    said = [(await process.stderr.readline()).decode() for _ in range(2 if machine.said else 1)]
    try:
        assert "Traceback" not in "".join(said) and (not machine.said or one_line(said[0], machine.said)), said
        port = int(said[-1].split("/ ")[0].rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /probe?target=desk HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        answer = (await reader.read()).decode()
        writer.close()
        assert "\nprobe_success 1" in answer, answer
    finally:
        process.terminate()
        _, rest = await process.communicate()
    assert rest == b"" and process.returncode == 0


async def test_without_a_home_directory_a_first_profile_needs_a_name(desk: Desk) -> None:
    options = ("--host", "mail.test", "--password-env", "PW", "--no-discover", "--no-look", "--yes")
    done = await desk.run(MACHINES["no home"], "init", "a@mail.test", *options)
    assert done.code == 3 and "no home directory is known" in done.err and "--output" in done.err and done.err.count("\n") == 1
    named = await desk.run(MACHINES["no home"], "run", "~/desk.toml")
    assert named.code == 3 and "no home directory is known" in named.err and named.err.count("\n") == 1


async def test_no_user_of_that_name_is_a_mistake_of_the_profile(desk: Desk) -> None:
    desk.profile.write_text(desk.profile.read_text().replace(str(desk.sandbox.ca_file), "~nosuchuser/root.pem"))
    done = await desk.run(MACHINES["no home"], "run", str(desk.profile))
    assert done.code == 3 and "tls.ca_file: no home directory is known for ~nosuchuser" in done.err, done


def test_a_machine_without_descriptors_says_nothing_of_the_server() -> None:
    account = {"username": "a@mail.test", "password": {"env": "PW"}}
    made = load_profile({"submission": {"host": "mail.test"}, "account": account}, {})
    trouble = Trouble("probe.no-descriptors", "connect: this process has no file descriptors left")
    stage = StageRecord("smtp.connect", "failed", trouble=trouble, reason=trouble.text, facts=Facts())
    record = Record("id", "x", Target("mail.test", 587, "starttls"), "2026-11-24T08:00:00.000000Z", 1.0, (stage,))
    assert judge(record, made).verdict == "unknown"
