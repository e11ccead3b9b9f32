"""`probe demo`: the sandbox, a run against it, the report. Needs no account and no network."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probe.cli import _options as option

if TYPE_CHECKING:
    from probe.report import Report
    from probe.sandbox import Sandbox


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    output: option.Format = "text",
    personality: Annotated[str, typer.Option(help="postfix or exchange-2016.")] = "postfix",
    fault: Annotated[str | None, typer.Option(metavar="NAME", help="Let the server misbehave (`probe sandbox --help`).")] = None,
    verbose: option.Verbose = False,
) -> int:
    """Start the embedded mail server on loopback, probe it, print the report."""
    from datetime import UTC, datetime

    from probe.cli import _live, _show
    from probe.cli.sandbox import checked
    from probe.report import exit_code

    _show.require_format(output)
    checked(personality, fault)
    started = datetime.now(UTC)
    with _live.progress(["demo"], shown=True) as watches:
        report = asyncio.run(_demo(personality, fault, watches[0]))
    seconds = (datetime.now(UTC) - started).total_seconds()
    _show.show([report], started, seconds, output=output, files=(), verbose=verbose, quiet=False)
    return exit_code([report])


async def _demo(personality: str, fault: str | None, watch: Any) -> "Report":
    from probe.sandbox import Sandbox
    from probe.tasks.run import run

    async with Sandbox(personality=personality, fault=fault) as sandbox:
        return await run(_profile(sandbox), watch=watch)


def _profile(sandbox: "Sandbox") -> dict[str, Any]:
    """By the name `localhost`, so that the demo resolves a name as a real run does."""
    ports = {name: address.port for name, address in sandbox.addresses.items()}
    return {
        "name": "demo",
        "submission": {"host": "localhost", "port": ports["submission"], "family": "ipv4", "ehlo": "probe.sandbox.test"},
        "account": {"username": sandbox.username, "password": {"file": str(sandbox.password_file)}},
        "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "1h", "expires_critical": "1h"},
        "readback": {
            "imap": {"port": ports["imaps"], "family": "ipv4"},
            "pop3": {"port": ports["pop3s"], "family": "ipv4"},
        },
        "limits": {"timeout": "20s"},
    }
