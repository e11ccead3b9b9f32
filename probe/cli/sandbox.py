"""`probe sandbox`: keep the embedded server up and print a profile for it."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from probe.cli import _out


def register(app: typer.Typer) -> None:
    app.command("sandbox")(sandbox)


def sandbox(
    personality: Annotated[str, typer.Option(help="postfix or exchange-2016.")] = "postfix",
    fault: Annotated[str | None, typer.Option(metavar="NAME", help="Let the server misbehave; --list-faults names them.")] = None,
    list_faults: Annotated[bool, typer.Option("--list-faults", help="List the faults and exit.")] = False,
    profile: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the profile there instead of to stdout.")] = None,
) -> int:
    """Run the embedded mail server on loopback until interrupted, and print a ready profile for it."""
    from probe.sandbox import FAULTS

    if list_faults:
        for name, sentence in FAULTS.items():
            _out.say(f"{name:<18} {sentence}")
        return 0
    checked(personality, fault)
    asyncio.run(_serve(personality, fault, profile))
    return 0


def checked(personality: str, fault: str | None) -> None:
    """Raise a usage error for a personality or fault there is not."""
    from probe.sandbox import FAULTS, PERSONALITIES

    if personality not in PERSONALITIES:
        raise typer.BadParameter(f"no personality {personality!r}; there are {', '.join(PERSONALITIES)}")
    if fault is not None and fault not in FAULTS:
        raise typer.BadParameter(f"no fault {fault!r}; there are {', '.join(FAULTS)}")


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
