"""A first profile's logon, tried once: over SMTP alone, so that a wrong password counts as one failure."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from probe.cli._starter import Answers


def wanted() -> bool:
    """Ask. Enter alone tries nothing: each failed logon counts towards a locked account."""
    return typer.confirm("Log on once, over SMTP, to test the password?", default=False)


def once(target: Path, answers: "Answers", *, terminal: bool) -> int:
    """Log on and show what came of it; the exit status is that of a run. Raises ProfileError when the password cannot be had."""
    from probe.cli import _show
    from probe.report import exit_code
    from probe.tasks.run import run

    # A variable that is not set yet is asked for, where somebody can be: what is typed is kept nowhere.
    typed = terminal and answers.password_env is not None and answers.password_env not in os.environ
    settings = ["account.password={ prompt = true }"] if typed else []
    started = datetime.now(UTC)
    report = asyncio.run(run(str(target), light=True, readback="none", set=settings))
    seconds = (datetime.now(UTC) - started).total_seconds()
    _show.show([report], started, seconds, output="text", files=(), verbose=False, quiet=False)
    return exit_code([report])
