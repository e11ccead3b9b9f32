"""The files of deploy/, which lie in the package: `probe init --nagios` prints what is there to be copied."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.models import OptionInfo

from probe.cli import _out

# These two also take a place, for files that are made for the profile; alone they print the shipped ones.
_WITH_A_PLACE = ("--systemd", "--icinga")
_PRINT = "-"


class _Init(TyperCommand):
    """`--systemd` and `--icinga` need no value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_with_values(args)))


COMMAND: type[TyperCommand] = _Init


def _with_values(words: list[str]) -> Iterator[str]:
    for word, following in zip(words, [*words, "--"][1:], strict=True):
        yield f"{word}={_PRINT}" if word in _WITH_A_PLACE and following.startswith("-") and following != _PRINT else word


def _flag(name: str, words: str) -> OptionInfo:
    """The option --NAME, which prints the files of deploy/NAME and ends the program."""

    def ask(wanted: bool) -> None:
        if wanted:
            _print(name)

    option: OptionInfo = typer.Option(f"--{name}", callback=ask, is_eager=True, help=f"Print {words}, to copy.")
    return option


def _unless_a_place(name: str) -> Callable[[Path | None], Path | None]:
    """The same for an option that also takes a place: only where none is given."""

    def ask(place: Path | None) -> Path | None:
        if place is not None and str(place) == _PRINT:
            _print(name)
        return place

    return ask


def _print(name: str) -> None:
    from probe.profile.find import shipped_folder

    folder = shipped_folder("deploy") / name
    # A file's own test is for whoever changes the file.
    files = sorted(path for path in folder.iterdir() if not path.stem.endswith("_test"))
    for index, path in enumerate(files):
        title = f"{chr(10) * bool(index)}# ==> {path.name}\n" if len(files) > 1 else ""
        _out.data(title + path.read_text(encoding="utf-8"))
    if sys.stderr is not None and sys.stderr.isatty():
        print(f"probe: from {folder}", file=sys.stderr)
    raise typer.Exit


def _or_print(name: str, metavar: str, words: str) -> OptionInfo:
    option: OptionInfo = typer.Option(metavar=f"[{metavar}]", callback=_unless_a_place(name), is_eager=True, help=words)
    return option


Systemd = Annotated[
    Path | None,
    _or_print("systemd", "DIRECTORY", "Also write a systemd service and timer there; without DIRECTORY, print the shipped units."),
]
Icinga = Annotated[
    Path | None,
    _or_print("icinga", "FILE", "Also write an Icinga 2 CheckCommand there; without FILE, print the shipped one."),
]
Nagios = Annotated[bool, _flag("nagios", "a command and a service for Nagios")]
Prometheus = Annotated[bool, _flag("prometheus", "scrape jobs and alerts for Prometheus")]
Alertmanager = Annotated[bool, _flag("alertmanager", "a route for Alertmanager")]
Grafana = Annotated[bool, _flag("grafana", "a dashboard for Grafana")]
Kubernetes = Annotated[bool, _flag("kubernetes", "manifests for Kubernetes")]
Docker = Annotated[bool, _flag("docker", "a Dockerfile")]
Ansible = Annotated[bool, _flag("ansible", "a playbook for Ansible")]
Ci = Annotated[bool, _flag("ci", "jobs for GitHub and GitLab")]
Powershell = Annotated[bool, _flag("powershell", "functions like Exchange's cmdlets")]
Postgresql = Annotated[bool, _flag("postgresql", "the role of `probe worker`")]
