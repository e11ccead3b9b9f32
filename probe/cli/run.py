"""`probe run`: carry out runs and show them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from probe.cli import _options as option
from probe.cli import _out
from probe.cli._state import can_keep
from probe.cli._unready import said_in
from probe.cli.compare import saved, wanted

if TYPE_CHECKING:
    from probe.judge._ranges import Limits
    from probe.profile import Profile


def register(app: typer.Typer) -> None:
    app.command("run")(run)


def run(
    profiles: option.Profiles = None, output: option.Format = "text", report: option.ReportFiles = None,
    host: option.Host = None, port: option.Port = None, security: option.Security = None,
    user: option.User = None, password_env: option.PasswordEnv = None, password_file: option.PasswordFile = None,
    readback: option.Readback = None, connect: option.Connect = None, every_address: option.EveryAddress = False,
    set: option.Set = None, ca_file: option.CaFile = None, trust_any_certificate: option.TrustAny = False,
    light: option.Light = False, send_only: option.SendOnly = False, collect: option.Collect = False,
    give_up_after: option.GiveUpAfter = None, notify_after: option.NotifyAfter = 1,
    blame: option.Blame = None, no_delete: option.NoDelete = False, no_pipelining: option.NoPipelining = False,
    timeout: option.Timeout = None, size: option.Size = None, try_again: option.TryAgain = False,
    repeat: option.Repeat = 1, interval: option.Interval = "1s", wait_until_ok: option.WaitUntilOk = None,
    against: option.Against = None, expect_change: option.ExpectChange = None, expectations: option.Expectations = None,
    history: option.History = None, concurrency: option.Concurrency = 10, jitter: option.Jitter = "0",
    ping: option.Ping = None, ping_env: option.PingEnv = None, ping_file: option.PingFile = None,
    warning: option.RangeWarning = None, critical: option.RangeCritical = None,
    otel: option.Otel = False, allow_warnings: option.AllowWarnings = False, dry_run: option.DryRun = False,
    verbose: option.Verbose = False, quiet: option.Quiet = False,
) -> int:  # fmt: skip
    """Send a test message through each PROFILE's server, read it back, and say what is wrong."""
    from probe.cli import _show
    from probe.cli._carry_out import Results, carry_out
    from probe.cli._runs import Runs
    from probe.tasks.plan import make_plan

    _show.require_format(output)
    files = [_show.parse_report(text) for text in report or ()]
    settings = option.given(
        host=host, port=port, security=security, user=user, password_env=password_env, password_file=password_file,
        readback=readback, connect=connect, every_address=every_address, set=set, ca_file=ca_file,
        trust_any_certificate=trust_any_certificate, timeout=timeout, blame=blame, size=size,
        give_up_after=give_up_after,
    )  # fmt: skip
    names = _names(profiles, host)
    with said_in([] if dry_run else files, names, settings):
        loaded = load_all(names, settings, in_time=not (light or send_only or collect))
    how = {"light": light or (collect and not send_only), "delete": not no_delete, "pipelining": not no_pipelining}
    plans = [make_plan(profile, send_only=send_only and not collect, **how) for profile in loaded]
    if otel:
        option.require_extra("--otel", "otel", ("opentelemetry.exporter.otlp",))
    if dry_run:
        _out.write(_show.plans(plans, output), machine=output == "json")
        return 0
    runs = Runs(
        concurrency=concurrency, try_again=try_again, collect=collect, send_only=send_only,
        repeat=repeat, interval=option.duration("--interval", interval), wait_seconds=_seconds_to_wait(wait_until_ok, repeat),
        jitter=option.duration("--jitter", jitter),
    )  # fmt: skip
    keeps = can_keep()
    results = Results(
        output=output, files=files, verbose=verbose, quiet=quiet, ranges=_ranges(output, warning, critical),
        allow_warnings=allow_warnings, against=None if against is None else saved(against),
        expected=wanted(expect_change, expectations), history=history_file(history, keeps=keeps), otel=otel,
        notify_after=notify_after,
    )  # fmt: skip
    with said_in(files, names, settings):
        return carry_out(loaded, plans, runs, results, ping_at=_ping(ping, ping_env, ping_file))


def _seconds_to_wait(wait_until_ok: str | None, repeat: int) -> float | None:
    """Raises a usage error."""
    if wait_until_ok is None:
        return None
    if repeat > 1:
        raise typer.BadParameter("--repeat and --wait-until-ok do not go together")
    return option.duration("--wait-until-ok", wait_until_ok)


def _ping(url: str | None, env: str | None, file: Path | None) -> str | None:
    """The address of the dead-man's switch, which is a secret of sorts. Raises ProfileError, or a usage error."""
    if sum(source is not None for source in (url, env, file)) > 1:
        raise typer.BadParameter("give one of --ping, --ping-env and --ping-file")
    if env is None and file is None:
        return url
    from probe.profile import SecretSource, resolve_secret

    source = SecretSource(env=env) if env is not None else SecretSource(file=Path(str(file)))
    return resolve_secret(source, None, key="--ping-env" if env is not None else "--ping-file")


def _ranges(output: str, warning: str | None, critical: str | None) -> "dict[str, Limits]":
    """-w and -c. Raises a usage error."""
    from probe.judge._ranges import NotARange, limits

    if output != "nagios" and (warning, critical) != (None, None):
        raise typer.BadParameter("-w and -c go with -o nagios; a profile has [limits] and [tls] for the other outputs")
    try:
        return limits(warning, critical)
    except NotARange as error:
        raise typer.BadParameter(f"-w, -c: {error}") from None


def history_file(given: str | None, *, keeps: bool = True) -> Path | None:
    """Where to keep runs; None for `none`, and for the usual place where that `keeps` nothing."""
    if given not in (None, "none"):
        return Path(given or "")
    if given == "none" or not keeps:
        return None
    from probe.state.directory import HISTORY, state_directory

    return state_directory() / HISTORY


def _names(profiles: Sequence[str] | None, host: str | None) -> list[str]:
    if profiles:
        return list(profiles)
    if host is None:
        raise typer.BadParameter("name a PROFILE (`probe profiles` lists them), or give --host")
    return ["generic"]


def load_all(names: Sequence[str], settings: Mapping[str, object], *, in_time: bool = False) -> list["Profile"]:
    """Every profile, or one ProfileError with the problems of all of them. `in_time`: a delivery may not outlast the run."""
    from probe.profile import Problem, ProfileError
    from probe.tasks.run import load_profile

    loaded: list[Profile] = []
    problems: list[Problem] = []
    for name in names:
        try:
            loaded.append(profile := load_profile(name, settings))
            if in_time:
                profile.require_in_time()
        except ProfileError as error:
            problems += error.problems
    if problems:
        raise ProfileError(dict.fromkeys(problems))
    return loaded
