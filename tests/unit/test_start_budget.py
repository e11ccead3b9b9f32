"""What storing a run, and asking what changed since, loads: every run pays for it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HEAVY = {"asyncio", "ssl", "cryptography", "pydantic", "jinja2", "psycopg", "imapclient", "aiosmtplib", "dns", "rich", "icalendar"}


@pytest.mark.parametrize("module", ["probe.state.history", "probe.report.changes", "probe.output._drift"])
def test_the_history_loads_nothing_heavy(module: str) -> None:
    code = f"import {module}, sys; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    assert not HEAVY & set(loaded)
