"""What a start costs, as a number of modules and not of seconds: each command line in a process of its own.

A module more than the budget is a question, not a crime: is it needed by every run? Then raise the number in the same commit. Else
import it where it is used.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from probe.sandbox import Sandbox

# Windows has an event loop, a trust store and locks of its own.
MORE = 30 if sys.platform == "win32" else 0
# Of no use to a run that goes well and is shown as text or JSON.
HEAVY = {
    "pydantic", "rich", "jinja2", "dns", "click", "requests", "httpx2", "xml.etree.ElementTree", "importlib.metadata",
    "aiosmtpd", "spnego", "scramp", "zoneinfo", "multiprocessing", "http.client", "urllib.request", "keyring",
}  # fmt: skip
# Of no use to a command that opens no connection.
NO_NETWORK = {"cryptography", "aiosmtplib", "imapclient", "sqlite3", "filelock"}
LISTED = """
import sys
before = set(sys.modules)
from probe.__main__ import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print("\\n" + " ".join(set(sys.modules) - before))
"""


def loaded(*arguments: str, **environ: str) -> set[str]:
    """The modules that a command line has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", LISTED, *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **environ},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def within(modules: set[str], most: int, heavy: set[str]) -> None:
    assert not (found := heavy & modules), f"{found}; an old environment has too new a typer: pip install 'typer<0.29'"
    assert len(modules) <= most + MORE, f"{len(modules)} modules where {most + MORE} are allowed: {sorted(modules)}"


# The standard library differs: CPython 3.13 counts three modules more for `explain` than 3.11 does, 3.12 as many for a run.
@pytest.mark.parametrize(
    ("arguments", "most"), [(("--version",), 30), (("explain", "submit.refused"), 380), (("show", "generic"), 345)], ids=str
)
def test_a_command_that_opens_no_connection_imports_little(arguments: tuple[str, ...], most: int) -> None:
    within(loaded(*arguments), most, HEAVY | NO_NETWORK)


async def test_a_run_imports_what_it_needs(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        ports = {name: sandbox.addresses[name].port for name in ("submission", "imaps", "pop3s")}
        file = tmp_path / "p.toml"
        file.write_text(
            f"submission = {{ host = '127.0.0.1', port = {ports['submission']} }}\n"
            f"account = {{ username = '{sandbox.username}', password = {{ env = 'PW' }} }}\n"
            f"tls = {{ ca_file = '{sandbox.ca_file}', expires_warning = '0s', expires_critical = '0s' }}\n"
            f"readback = {{ imap = {{ port = {ports['imaps']} }}, pop3 = {{ port = {ports['pop3s']} }} }}\n",
            encoding="utf-8",
        )
        environ = {"PW": sandbox.password, "SUBMISSION_PROBE_STATE": str(tmp_path / "state")}
        found = await asyncio.to_thread(loaded, "run", str(file), **environ)
    within(found, 550, HEAVY - {"importlib.metadata"})


@pytest.mark.parametrize("module", ["probe.state.history", "probe.report.changes", "probe.output._drift"])
def test_the_history_loads_nothing_heavy(module: str) -> None:
    """What storing a run, and asking what changed since, loads: every run pays for it."""
    # What is there before (coverage, where it measures this process) counts for nothing.
    code = f"import sys; before = set(sys.modules); import {module}; print(' '.join(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert not (HEAVY | NO_NETWORK - {"sqlite3"} | {"asyncio", "ssl", "psycopg", "icalendar"}) & set(done.stdout.split())
