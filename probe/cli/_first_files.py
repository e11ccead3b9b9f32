"""The files of `probe init`: the profile and what runs it again and again; written whole, never over others unasked."""

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from probe.cli import _out

if TYPE_CHECKING:
    from probe.cli._schedule import Job
    from probe.cli._starter import Answers


def usual_place(host: str) -> Path:
    """A file of the user's own, named after the host, so that `probe run HOST` finds it."""
    import os

    from probe.profile.find import NOWHERE, user_folder
    from probe.profile.values import host as host_name

    folder = user_folder(os.environ)
    if folder == NOWHERE:
        raise typer.BadParameter("no home directory is known for this user: name the profile's file with --output FILE")
    try:
        return folder / f"{host_name(host)}.toml"
    except ValueError as error:
        raise typer.BadParameter(f"--host: {error}") from None


def texts(
    target: Path, answers: "Answers", job: "Job", systemd: Path | None, icinga: Path | None, task: Path | None
) -> dict[Path, str]:
    """Every file to write, with its text."""
    from probe.cli import _schedule, _task
    from probe.cli._shell import word
    from probe.cli._starter import profile_text

    files = {target: profile_text(answers, word(_called(target)))}
    if systemd is not None:
        files[systemd / f"{job.unit}.service"] = _schedule.service(job)
        files[systemd / f"{job.unit}.timer"] = _schedule.timer(job)
    if icinga is not None:
        files[icinga] = _schedule.icinga(job)
    if task is not None:
        files[task] = _task.task(job)
    return files


def _called(target: Path) -> str:
    """How a command line names the profile: by its name where it lies among the user's own."""
    import os

    from probe.profile.find import user_folder

    if str(target) == "-":
        return "FILE"
    return target.stem if target.parent.absolute() == user_folder(os.environ).absolute() else str(target)


def refuse_overwriting(paths: list[Path]) -> None:
    there = [str(path) for path in paths if path.exists() or path.is_symlink()]
    if there:
        raise typer.BadParameter(f"{', '.join(there)} is there already, and nothing was written; --force overwrites it")


def check(text: str, target: Path) -> None:
    """Load the profile before anything is written. Raises ProfileError with what the answers got wrong."""
    from probe.profile import load_mapping
    from probe.tasks.plan import plugins

    folder = Path.cwd() if str(target) == "-" else target.absolute().parent
    load_mapping(tomllib.loads(text), plugins=plugins(), base=folder)


def write(files: dict[Path, str]) -> None:
    from probe.cli._task import ENCODING
    from probe.state.files import write_atomically

    for path, text in files.items():
        if str(path) == "-":
            _out.data(text)
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text, encoding=ENCODING if text.startswith("<?xml") else "utf-8")
        except OSError as error:
            raise typer.BadParameter(f"cannot write {path}: {error.strerror or error}") from None


def say_what_is_next(target: Path, answers: "Answers", job: "Job | None", files: dict[Path, str]) -> None:
    """What was written and what comes next; with --cron the line alone is on stdout."""
    from probe.cli._schedule import crontab
    from probe.cli._shell import WINDOWS, owner_only, word

    told = sys.stderr if job is not None else sys.stdout
    if str(target) == "-":
        return
    for path in files:
        print(f"wrote {path}", file=told)
    units = any(path.suffix == ".service" for path in files)
    home = _home() if units else None
    if home is not None and target.absolute().is_relative_to(home):
        note = f"note: the service runs as a user of its own, which likely cannot read below {home}: move the profile"
        print(note, file=told)
    if answers.password_env:
        print(f"next: put the password into the environment variable {answers.password_env}, then", file=told)
    elif answers.password_file is None:
        print("next: give the parent's account.token (probe show says where it comes from), then", file=told)
    else:
        private = owner_only(str(answers.password_file)) if WINDOWS else "chmod 600"
        print(f"next: put the password into the first line of {answers.password_file} ({private}), then", file=told)
    print(f"  probe run --light {word(_called(target))}", file=told)
    if job is not None:
        _out.data(crontab(job))


def say_how_to_register(job: "Job", file: Path, told: TextIO) -> None:
    from probe.cli._task import registering

    print("then register the task, in a console with administrator's rights:", file=told)
    for line in registering(job, str(file.absolute())):
        print(f"  {line}", file=told)


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # neither HOME nor an entry in passwd
        return None
