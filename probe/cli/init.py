"""`probe init`: ask, or take options; discover; write a first profile, and on request what runs it again and again."""

import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from probe.cli import _options as option
from probe.cli import _out
from probe.cli import discover as discovery

if TYPE_CHECKING:
    from probe.cli._schedule import Job
    from probe.cli._starter import Answers, Server
    from probe.observe.discover.published import PublishedServer
    from probe.report import Report

_READERS = {"imap": ("imap",), "pop3": ("pop3",), "both": ("imap", "pop3"), "none": ()}


def register(app: typer.Typer) -> None:
    app.command("init")(init)


def init(
    address: Annotated[str | None, typer.Argument(help="The mailbox's mail address.", show_default=False)] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The profile to write (default: among your own); - is stdout.")
    ] = None,
    extends: Annotated[str | None, typer.Option(metavar="PROFILE", help="The parent (`probe profiles`).")] = None,
    host: option.Host = None,
    user: option.User = None,
    password_env: option.PasswordEnv = None,
    password_file: option.PasswordFile = None,
    readback: option.Readback = None,
    discover: Annotated[bool | None, typer.Option("--discover/--no-discover", help="Ask what users of ADDRESS are given.")] = None,
    accept_other_domain: Annotated[
        bool, typer.Option("--accept-other-domain", help="Take servers outside ADDRESS's domain that only unsigned DNS names.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; take what is given, published or usual.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
    cron: Annotated[bool, typer.Option("--cron", help="Also print a line for crontab.")] = False,
    systemd: Annotated[Path | None, typer.Option(metavar="DIRECTORY", help="Also write a systemd service and timer there.")] = None,
    icinga: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write an Icinga 2 CheckCommand there.")] = None,
    task_scheduler: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a task for Windows' Task Scheduler (XML) there.")
    ] = None,
    resolver: discovery.Resolver = None,
    connect_https: discovery.ConnectHttps = None,
    ca_file: option.CaFile = None,
    timeout: discovery.PerPage = "10s",
) -> int:
    """Write a first profile. On a terminal it asks for what is not given; it never overwrites without --force."""
    given = option.given(
        address=address, extends=extends, host=host, user=user, password_env=password_env, password_file=password_file,
        readback=readback, ca_file=ca_file,
    )  # fmt: skip
    _refuse_contradictions(given, output, cron=cron or any(one is not None for one in (systemd, icinga, task_scheduler)))
    asking = _Asking(given, terminal=not yes and is_terminal(), accept_strangers=accept_other_domain)
    way = {"resolver": resolver, "connect": connect_https, "ca_file": ca_file, "timeout": timeout}
    answers = asking.answers(discover, way)
    target = output or _usual_place(answers.servers["smtp"].host)
    job = _job(target, answers)
    files = _files(target, answers, job, systemd, icinga, task_scheduler)
    if not force:
        _refuse_overwriting([path for path in files if str(path) != "-"])
    _check(files[target], target)
    _write(files)
    _tell(target, answers, job if cron else None, files)
    if task_scheduler is not None:
        _tell_task(job, task_scheduler, sys.stderr if cron else sys.stdout)
    return 0


def is_terminal() -> bool:
    """Whether a person can be asked: both ends are a terminal."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stdout and sys.stdout.isatty())


def _refuse_contradictions(given: dict[str, Any], output: Path | None, *, cron: bool) -> None:
    if "password_env" in given and "password_file" in given:
        raise typer.BadParameter("give --password-env or --password-file, not both")
    if given.get("readback", "both") not in _READERS:
        raise typer.BadParameter(f"--readback: expected imap, pop3, both or none, got {given['readback']!r}")
    if output is not None and not str(output).isprintable():
        raise typer.BadParameter("--output: the name holds a control character")
    if str(output) == "-" and cron:
        raise typer.BadParameter("--cron, --systemd, --icinga and --task-scheduler need a profile in a file, not --output -")


class _Asking:
    """Options first; then, on a terminal, questions with a default; else the default, or a usage error that names the option."""

    def __init__(self, given: dict[str, Any], *, terminal: bool, accept_strangers: bool = False) -> None:
        self._given = given
        self._terminal = terminal
        self._accept_strangers = accept_strangers

    def answers(self, discover: bool | None, way: dict[str, Any]) -> "Answers":
        from probe.cli._starter import Answers
        from probe.profile.values import is_address

        user = self._value(
            "user", "User name of the mailbox (its mail address, where that is the user name)", self._given.get("address")
        )
        address = self._given.get("address") or (user if is_address(user) else None)
        if address is None:
            address = self._value("address", "Its mail address", None)
        told = self._discovered(address, discover, way)
        host = self._value("host", "Submission server, the name users type", told["smtp"].host if "smtp" in told else None)
        extends, wanted = self._parent(told)
        password_file = self._given.get("password_file")
        env = self._given.get("password_env")
        if not password_file and not env:
            env = self._value("password_env", "Environment variable with the password", "PROBE_PASSWORD")
        ca_file = self._given.get("ca_file")
        return Answers(
            user=user,
            servers=_servers(host, wanted, told),
            extends=extends,
            address=None if is_address(user) else address,
            password_env=env,
            password_file=str(Path(password_file).absolute()) if password_file else None,
            ca_file=str(Path(ca_file).absolute()) if ca_file else None,
            date=datetime.now(UTC).strftime("%Y-%m-%d"),
            not_read=tuple(name for name in ("imap", "pop3") if name not in wanted),
        )

    def _value(self, name: str, question: str, default: str | None) -> str:
        flag = "ADDRESS" if name == "address" else "--" + name.replace("_", "-")
        if name in self._given:
            return str(self._given[name])
        if self._terminal:
            return str(typer.prompt(question, default=default)).strip()
        if default is None:
            raise typer.BadParameter(f"{flag} is missing: {question[0].lower()}{question[1:]}")
        return default

    def _discovered(self, address: str, wanted: bool | None, way: dict[str, Any]) -> "dict[str, Server]":
        if wanted is None:
            wanted = (
                self._terminal
                and "host" not in self._given
                and typer.confirm(f"Ask what users of {address} are given?", default=True)
            )
        if not wanted:
            return {}
        discovery.require_extra()
        report = discovery.ask(address, verify=False, login=None, **way)
        print(f"probe: discovery of {address}: {_found(report)}", file=sys.stderr)
        return self._without_strangers(address, _best(report), _strangers(report) - {self._given.get("host")})

    def _without_strangers(self, address: str, told: "dict[str, Server]", strangers: set[str]) -> "dict[str, Server]":
        """A password goes to these servers: one of another domain that only unsigned DNS names is asked about.

        RFC 6186 section 6. One that --host names is not; nor is the submission server, where --host names another.
        """
        domain = address.rpartition("@")[2]
        given = self._given.get("host")
        used = {server.host for name, server in told.items() if name != "smtp" or given is None}
        doubtful = sorted(used & strangers - {given})
        if not doubtful:
            return told
        said = f"{', '.join(doubtful)}: outside {domain}, and only unsigned DNS names it; whoever forges DNS would get the password"
        if self._accept_strangers:
            print(f"probe: warning: {said} (accepted by --accept-other-domain)", file=sys.stderr)
            return told
        if not self._terminal:
            raise typer.BadParameter(f"{said}. If it is your provider's, give --accept-other-domain; else --host and --no-discover")
        if typer.confirm(f"{said}. Is it the right one?", default=False):
            return told
        return {name: server for name, server in told.items() if server.host not in doubtful}

    def _parent(self, told: "dict[str, Server]") -> tuple[str | None, tuple[str, ...]]:
        """The parent and the readers wanted. A profile cannot switch its parent's readers off: then it has no parent."""
        from probe.profile import names

        likely = "exchange-2016" if any("autodiscover" in server.source for server in told.values()) else "generic"
        known = ", ".join(name for name, *_ in names())
        extends = self._value("extends", f"Parent profile ({known})", likely)
        readback = self._value("readback", "Read back over (imap, pop3, both or none)", "both")
        if readback not in _READERS:
            raise typer.BadParameter(f"expected imap, pop3, both or none, got {readback!r}")
        wanted = _READERS[readback]
        if set(_inherited(extends)) <= set(wanted):
            return extends, wanted
        if "extends" in self._given:
            raise typer.BadParameter(f"a profile cannot switch off a reader of its parent {extends!r}: leave out --extends")
        return None, wanted


def _inherited(extends: str) -> tuple[str, ...]:
    """The readers that the parent switches on. Raises ProfileError when there is no such parent."""
    from probe.profile import load_mapping
    from probe.tasks.plan import plugins

    skeleton = {"extends": extends, "submission": {"host": "mail.example"}, "account": {"username": "a@example"}}
    skeleton["account"] |= {"password": {"env": "PROBE_PASSWORD"}}  # type: ignore[operator]
    return tuple(load_mapping(skeleton, plugins=plugins()).readers)


def _best(report: "Report") -> "dict[str, Server]":
    """Of what is published, per protocol, never plaintext: what is vouched for first, for outside before inside.

    STARTTLS on 587 to submit, TLS to read.
    """
    from probe.cli._starter import Server
    from probe.tasks.discover import answers, told

    sources: dict[tuple[str, str, int, str], list[str]] = {}
    for answer in answers(report):
        for server in answer["told"]:
            key = (server["protocol"], server["host"], server["port"], server["security"])
            if answer["source"] not in sources.setdefault(key, []):
                sources[key].append(answer["source"])
    found: dict[str, Server] = {}
    strangers = _strangers(report)
    for one in sorted(told(report), key=lambda one: _rank(one, strangers)):
        if one.security != "plaintext" and one.protocol not in found:
            who = ", ".join(sources[one.protocol, one.host, one.port, one.security])
            found[one.protocol] = Server(one.host, one.port, one.security, who)
    return found


def _rank(one: "PublishedServer", strangers: set[str]) -> tuple[bool, ...]:
    return one.host in strangers, one.scope == "internal", one.protocol == "smtp" and one.security != "starttls"


def _strangers(report: "Report") -> set[str]:
    """The hosts of other domains that nothing but unsigned DNS names."""
    return {finding.evidence for finding in report.findings if finding.id == "discover.other-domain"}


def _found(report: "Report") -> str:
    best = _best(report)
    said = ", ".join(f"{name} {server.host}:{server.port} ({server.source})" for name, server in best.items())
    warnings = sum(finding.severity != "info" for finding in report.findings)
    more = f"; {warnings} warning(s): probe discover shows them" if warnings else ""
    return (said or "nothing is published") + more


def _servers(host: str, wanted: tuple[str, ...], told: "dict[str, Server]") -> "dict[str, Server]":
    """What is published holds for the host it is published for; another host that the user names is asked in the usual way."""
    from probe.cli._starter import Server

    mine = told.get("smtp")
    submission = mine if mine is not None and mine.host == host else Server(host)
    return {"smtp": submission, **{name: told.get(name, Server(host)) for name in wanted}}


def _usual_place(host: str) -> Path:
    """A file of the user's own, named after the host, so that `probe run HOST` finds it."""
    import os

    from probe.profile.find import user_folder
    from probe.profile.values import host as host_name

    try:
        return user_folder(os.environ) / f"{host_name(host)}.toml"
    except ValueError as error:
        raise typer.BadParameter(f"--host: {error}") from None


def _job(target: Path, answers: "Answers") -> "Job":
    from probe.cli._schedule import Job, program

    file = Path(answers.password_file) if answers.password_file else None
    return Job(program(sys.argv, sys.executable), target.absolute(), target.stem, answers.password_env, file)


def _files(
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


def _refuse_overwriting(paths: list[Path]) -> None:
    there = [str(path) for path in paths if path.exists() or path.is_symlink()]
    if there:
        raise typer.BadParameter(f"{', '.join(there)} is there already, and nothing was written; --force overwrites it")


def _check(text: str, target: Path) -> None:
    """Load the profile before anything is written. Raises ProfileError with what the answers got wrong."""
    from probe.profile import load_mapping
    from probe.tasks.plan import plugins

    folder = Path.cwd() if str(target) == "-" else target.absolute().parent
    load_mapping(tomllib.loads(text), plugins=plugins(), base=folder)


def _write(files: dict[Path, str]) -> None:
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


def _tell(target: Path, answers: "Answers", job: "Job | None", files: dict[Path, str]) -> None:
    """What was written and what comes next; with --cron the line alone is on stdout."""
    from probe.cli._schedule import crontab
    from probe.cli._shell import WINDOWS, owner_only, word

    told = sys.stderr if job is not None else sys.stdout
    if str(target) == "-":
        return
    for path in files:
        print(f"wrote {path}", file=told)
    units = any(path.suffix == ".service" for path in files)
    if units and target.absolute().is_relative_to(Path.home()):
        note = f"note: the service runs as a user of its own, which likely cannot read below {Path.home()}: move the profile"
        print(note, file=told)
    if answers.password_env:
        print(f"next: put the password into the environment variable {answers.password_env}, then", file=told)
    else:
        private = owner_only(str(answers.password_file)) if WINDOWS else "chmod 600"
        print(f"next: put the password into the first line of {answers.password_file} ({private}), then", file=told)
    print(f"  probe run --light {word(_called(target))}", file=told)
    if job is not None:
        _out.data(crontab(job))


def _tell_task(job: "Job", file: Path, told: TextIO) -> None:
    from probe.cli._task import registering

    print("then register the task, in a console with administrator's rights:", file=told)
    for line in registering(job, str(file.absolute())):
        print(f"  {line}", file=told)
