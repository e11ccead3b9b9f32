"""The files of deploy/, which lie in the package: `probe init --nagios` prints what is there to be copied; several files
(`--prometheus`) it writes into a directory, if one is given."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.models import OptionInfo

from probe.cli import _out

# These also take a place: the first two for files that are made for the profile, the others for those that are shipped. Alone they
# print the shipped ones.
_WITH_A_PLACE = ("--systemd", "--icinga", "--prometheus", "--kubernetes", "--ci")
_PRINT = "-"


class _Init(TyperCommand):
    """Options with a place need none; and `--cron`, which goes with a profile, prints the shipped table where it stands alone."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args == ["--cron"]:
            _print("cron")
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


def _shipped(name: str) -> list[Path]:
    from probe.profile.find import shipped_folder

    return sorted((shipped_folder("deploy") / name).iterdir())


def _print(name: str) -> None:
    # A file's own test is for whoever changes the file.
    files = [path for path in _shipped(name) if not path.stem.endswith("_test")]
    for index, path in enumerate(files):
        title = f"{chr(10) * bool(index)}# ==> {path.name}\n" if len(files) > 1 else ""
        _out.data(title + path.read_text(encoding="utf-8"))
    if sys.stderr is not None and sys.stderr.isatty():
        print(f"probe: from {files[0].parent}", file=sys.stderr)
    raise typer.Exit


def written(places: Mapping[str, Path | None], *, force: bool) -> bool:
    """Whether a directory was given for the files of deploy/NAME: then they are there. Raises a usage error, with nothing written,
    where that would overwrite files unasked."""
    from probe.cli import _first_files

    wanted = {
        place / path.name: path.read_text(encoding="utf-8")
        for name, place in places.items()
        if place is not None
        for path in _shipped(name)
    }
    if not force:
        _first_files.refuse_overwriting(list(wanted))
    _first_files.write(wanted)
    for path in wanted:
        _out.say(f"wrote {path}")
    return bool(wanted)


def _or_print(name: str, metavar: str, words: str) -> OptionInfo:
    option: OptionInfo = typer.Option(metavar=f"[{metavar}]", callback=_unless_a_place(name), is_eager=True, help=words)
    return option


def _or_write(name: str, words: str) -> OptionInfo:
    return _or_print(name, "DIRECTORY", f"Write {words} there, to copy, and no profile; without DIRECTORY, print them.")


Systemd = Annotated[
    Path | None,
    _or_print("systemd", "DIRECTORY", "Also write a systemd service and timer there; without DIRECTORY, print the shipped units."),
]
Icinga = Annotated[
    Path | None,
    _or_print("icinga", "FILE", "Also write an Icinga 2 CheckCommand there; without FILE, print the shipped one."),
]
Nagios = Annotated[bool, _flag("nagios", "a command and a service for Nagios")]
Prometheus = Annotated[Path | None, _or_write("prometheus", "scrape jobs and alerts for Prometheus")]
Alertmanager = Annotated[bool, _flag("alertmanager", "a route for Alertmanager")]
Grafana = Annotated[bool, _flag("grafana", "a dashboard for Grafana")]
Kubernetes = Annotated[Path | None, _or_write("kubernetes", "manifests for Kubernetes")]
Docker = Annotated[bool, _flag("docker", "a Dockerfile")]
Ansible = Annotated[bool, _flag("ansible", "a playbook for Ansible")]
Ci = Annotated[Path | None, _or_write("ci", "jobs for GitHub and GitLab")]
Powershell = Annotated[bool, _flag("powershell", "functions like Exchange's cmdlets")]
Postgresql = Annotated[bool, _flag("postgresql", "the role of `probe worker`")]
