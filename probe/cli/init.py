"""`probe init`: ask, or take options; discover; write a first profile, and on request what runs it again and again."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probe.cli import _first_files, _log_on, _shipped
from probe.cli import _options as option
from probe.cli import discover as discovery
from probe.cli._asking import READERS, Asking

if TYPE_CHECKING:
    from probe.cli._schedule import Job
    from probe.cli._starter import Answers


_Address = Annotated[str | None, typer.Argument(help="The mailbox's mail address.", show_default=False)]
_Output = Annotated[Path | None, typer.Option(metavar="FILE", help="The profile to write (default: among your own); - is stdout.")]
_Extends = Annotated[str | None, typer.Option(metavar="PROFILE", help="The parent (`probe profiles`).")]
_Discover = Annotated[bool | None, typer.Option("--discover/--no-discover", help="Ask what users of ADDRESS are given.")]
_Look = Annotated[bool, typer.Option("--look/--no-look", help="See which parent fits what the servers say of themselves.")]
_Test = Annotated[bool, typer.Option("--test", help="Then log on once, over SMTP, and exit as `probe run` does.")]
_AcceptOtherDomain = Annotated[
    bool, typer.Option("--accept-other-domain", help="Take servers outside ADDRESS's domain that only unsigned DNS names.")
]
_Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing; take what is given, published or usual.")]
_Force = Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")]
_Cron = Annotated[bool, typer.Option("--cron", help="Also print a line for crontab; alone, print a table for /etc/cron.d.")]
_TaskScheduler = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Also write a task for Windows' Task Scheduler (XML) there.")
]


def register(app: typer.Typer) -> None:
    app.command("init", cls=_shipped.COMMAND)(init)


def init(
    address: _Address = None, output: _Output = None, extends: _Extends = None,
    host: option.Host = None, port: option.Port = None, security: option.Security = None, connect: option.Connect = None,
    user: option.User = None, password_env: option.PasswordEnv = None, password_file: option.PasswordFile = None,
    readback: option.Readback = None,
    discover: _Discover = None, look: _Look = True, test: _Test = False, accept_other_domain: _AcceptOtherDomain = False,
    yes: _Yes = False, force: _Force = False, cron: _Cron = False,
    systemd: _shipped.Systemd = None, icinga: _shipped.Icinga = None, task_scheduler: _TaskScheduler = None,
    nagios: _shipped.Nagios = False, prometheus: _shipped.Prometheus = None, alertmanager: _shipped.Alertmanager = False,
    grafana: _shipped.Grafana = False, kubernetes: _shipped.Kubernetes = None, docker: _shipped.Docker = False,
    ansible: _shipped.Ansible = False, ci: _shipped.Ci = None, powershell: _shipped.Powershell = False,
    postgresql: _shipped.Postgresql = False,
    resolver: discovery.Resolver = None, connect_https: discovery.ConnectHttps = None, ca_file: option.CaFile = None,
    timeout: discovery.PerPage = "10s",
) -> int:  # fmt: skip
    """Write a first profile. On a terminal it asks for what is not given; it never overwrites without --force."""
    if _shipped.written({"prometheus": prometheus, "kubernetes": kubernetes, "ci": ci}, force=force):
        return 0
    given = option.given(
        address=address, extends=extends, host=host, user=user, password_env=password_env, password_file=password_file,
        readback=readback, ca_file=ca_file, port=port, security=security,
    )  # fmt: skip
    _refuse_contradictions(given, output, cron=cron or test or any(one is not None for one in (systemd, icinga, task_scheduler)))
    terminal = not yes and is_terminal()
    asking = Asking(
        {name: str(value) for name, value in given.items()}, terminal=terminal, accept_strangers=accept_other_domain, looks=look,
        connect=connect or (),
    )  # fmt: skip
    way = {"resolver": resolver, "connect": connect_https, "ca_file": ca_file, "timeout": timeout}
    answers = asking.answers(discover, way)
    target = output or _first_files.usual_place(answers.servers["smtp"].host)
    job = _job(target, answers)
    files = _first_files.texts(target, answers, job, systemd, icinga, task_scheduler)
    if not force:
        _first_files.refuse_overwriting([path for path in files if str(path) != "-"])
    _first_files.check(files[target], target)
    _first_files.write(files)
    _first_files.say_what_is_next(target, answers, job if cron else None, files)
    if task_scheduler is not None:
        _first_files.say_how_to_register(job, task_scheduler, sys.stderr if cron else sys.stdout)
    if str(target) != "-" and (test or (terminal and asking.reached and _log_on.wanted())):
        return _log_on.once(target, answers, terminal=terminal)
    return 0


def is_terminal() -> bool:
    """Whether a person can be asked: both ends are a terminal."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stdout and sys.stdout.isatty())


def _refuse_contradictions(given: dict[str, Any], output: Path | None, *, cron: bool) -> None:
    if "password_env" in given and "password_file" in given:
        raise typer.BadParameter("give --password-env or --password-file, not both")
    if given.get("readback", "both") not in READERS:
        raise typer.BadParameter(f"--readback: expected imap, pop3, both or none, got {given['readback']!r}")
    if output is not None and not str(output).isprintable():
        raise typer.BadParameter("--output: the name holds a control character")
    if str(output) == "-" and cron:
        raise typer.BadParameter(
            "--cron, --systemd, --icinga, --task-scheduler and --test need a profile in a file, not --output -"
        )


def _job(target: Path, answers: "Answers") -> "Job":
    from probe.cli._schedule import Job, program

    file = Path(answers.password_file) if answers.password_file else None
    return Job(program(sys.argv, sys.executable), target.absolute(), target.stem, answers.password_env, file)
