"""`probe audit --clients`: which mail programs can still connect and log on."""

import asyncio
import json
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from probe.cli import _options as option
from probe.cli import _out

if TYPE_CHECKING:
    from probe.profile import Profile
    from probe.report.clients import Service

FORMATS = ("text", "json", "html")


def chosen(names: Sequence[str]) -> None:
    """Refuse the name of a program that there is not. Raises a usage error."""
    from probe.clients import clients

    unknown = [name for name in names if name not in clients()]
    if unknown:
        raise typer.BadParameter(f"no mail program {unknown[0]!r}; there are {', '.join(clients())}")


def list_offers() -> None:
    """Every program, what it offers, and where that is known from."""
    from probe.clients import clients
    from probe.output._clients import offers

    _out.say("\n".join(offers(clients())))


def table(profile: "Profile", names: Sequence[str], output: str) -> int:
    """Carry it out and print it. The exit status: 2 where an expected program cannot, 3 where nothing could be decided, else 0."""
    from probe.clients import clients
    from probe.output import _clients as words
    from probe.report import EXIT_CODES
    from probe.report.clients import clients_to_json
    from probe.tasks.clients import clients_table
    from probe.version import __version__

    option.require_extra("probe audit --clients", "clients", ("OpenSSL",))
    programs = [clients()[name] for name in names] if names else list(clients().values())
    made = asyncio.run(clients_table(profile, programs, _told))
    if output == "json":
        _out.data(json.dumps(clients_to_json(made), indent=2) + "\n")
    elif output == "html":
        _out.data(words.page(made, __version__) + "\n")
    else:
        width = shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None
        _out.say("\n".join(words.text(made, width)))
    return EXIT_CODES[made.verdict]


def _told(service: "Service") -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        print(f"{service.leg} port {service.port} done", file=sys.stderr, flush=True)
