"""`probe sandbox`: keep the embedded server up and print a profile for it."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from probe.cli import _options as option
from probe.cli import _out
from probe.cli._console import columns


def register(app: typer.Typer) -> None:
    app.command("sandbox")(sandbox)


def sandbox(
    personality: option.Personality = None,
    fault: option.Fault = None,
    list_faults: option.ListFaults = False,
    profile: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the profile there instead of to stdout.")] = None,
) -> int:
    """Run the embedded mail server on loopback until interrupted, and print a ready profile for it."""
    if list_faults:
        say_faults()
        return 0
    asyncio.run(_serve(checked(personality, fault), fault, profile))
    return 0


def say_faults() -> None:
    """Each fault: what the server does, and below it what the report teaches. In a terminal folded to its width."""
    from textwrap import wrap

    from probe.sandbox import FAULTS, TEACHES

    width = (columns(sys.stdout) or 10_001) - 1
    for name, sentence in FAULTS.items():
        _out.say(name)
        for sign, text in (("does", sentence), ("shows", TEACHES[name])):
            for line in wrap(text, width, initial_indent=f"  {sign:<5}  ", subsequent_indent=" " * 9, break_on_hyphens=False):
                _out.say(line)


def checked(personality: str | None, fault: str | None) -> str:
    """The personality that was asked for, else the fault's own. Raises a usage error for one there is not."""
    from probe.sandbox import FAULTS, PERSONALITIES, personality_of

    if personality is not None and personality not in PERSONALITIES:
        raise typer.BadParameter(f"no personality {personality!r}; there are {', '.join(PERSONALITIES)}")
    if fault is not None and fault not in FAULTS:
        raise typer.BadParameter(f"no fault {fault!r}; there are {', '.join(FAULTS)}; --list-faults says what each is")
    return personality or personality_of(fault)


async def _serve(personality: str, fault: str | None, profile: Path | None) -> None:
    from probe.cli._signals import interrupt_on_signals
    from probe.sandbox import Sandbox
    from probe.state.files import write_atomically

    interrupt = interrupt_on_signals()
    async with Sandbox(personality=personality, fault=fault) as server:
        if profile:
            write_atomically(profile, server.profile(), 0o600)
            _out.say(f"In another shell: probe run {profile}")
        else:
            _out.data(f"# In another shell, with this text in a file: probe run FILE\n{server.profile()}\n")
        await interrupt.wait()
