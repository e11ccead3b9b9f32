"""`probe demo`: the sandbox, a run against it, the report. Needs no account and no network."""

import asyncio
from typing import TYPE_CHECKING, Any

import typer

from probe.cli import _options as option

if TYPE_CHECKING:
    from probe.report import Report
    from probe.sandbox import Sandbox


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    output: option.Format = "text",
    personality: option.Personality = None,
    fault: option.Fault = None,
    list_faults: option.ListFaults = False,
    verbose: option.Verbose = False,
) -> int:
    """Start the embedded mail server on loopback, probe it, print the report."""
    from datetime import UTC, datetime

    from probe.cli import _live, _show
    from probe.cli.sandbox import checked, say_faults
    from probe.report import exit_code

    if list_faults:
        say_faults()
        return 0
    _show.require_format(output)
    server = checked(personality, fault)
    started = datetime.now(UTC)
    with _live.progress(["demo"], shown=True) as watches:
        report = asyncio.run(_demo(server, fault, watches[0]))
    seconds = (datetime.now(UTC) - started).total_seconds()
    _show.show([report], started, seconds, output=output, files=(), verbose=verbose, quiet=False)
    return exit_code([report])


async def _demo(personality: str, fault: str | None, watch: Any) -> "Report":
    from probe.sandbox import Sandbox
    from probe.tasks.run import run

    async with Sandbox(personality=personality, fault=fault) as sandbox:
        return await run(_profile(sandbox, fault), watch=watch)


# Under which settings a fault shows that another run would not notice; a message that never comes is not waited for so long.
_LIMITS = {"late": {"delivery_warning": "1s"}, "never-delivers": {"timeout": "8s"}}
# Where POP3 deletes the message, nothing is left that IMAP4 would need UIDPLUS for.
_READERS = {"no-uidplus": ("imap",)}


def _profile(sandbox: "Sandbox", fault: str | None) -> dict[str, Any]:
    """By the name `localhost`, so that the demo resolves a name as a real run does."""
    ports = {name: address.port for name, address in sandbox.addresses.items()}
    return {
        "name": "demo",
        "submission": {"host": "localhost", "port": ports["submission"], "family": "ipv4", "ehlo": "probe.sandbox.test"},
        "account": {"username": sandbox.username, "password": {"file": str(sandbox.password_file)}},
        "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "1h", "expires_critical": "1h"},
        "readback": {name: {"port": ports[f"{name}s"], "family": "ipv4"} for name in _READERS.get(fault or "", ("imap", "pop3"))},
        "limits": {"timeout": "20s", **_LIMITS.get(fault or "", {})},
    }
