"""`probe discover`: what users are given about a mail address's servers, and whether it is true."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probe.cli import _options as option
from probe.cli import _out
from probe.cli._believed import table

if TYPE_CHECKING:
    from probe.observe.discover.web import Login
    from probe.report import Report

NEEDS = ("httpx2", "defusedxml")
Resolver = Annotated[str | None, typer.Option(metavar="HOST[:PORT]", help="Ask this DNS resolver instead of the system's.")]
ConnectHttps = Annotated[str | None, typer.Option(metavar="HOST[:PORT]", help="Where HTTPS goes, whatever the name in the URL.")]
PerPage = Annotated[str, typer.Option(metavar="DURATION", help="The limit of each HTTPS question, redirects included.")]


def register(app: typer.Typer) -> None:
    app.command("discover")(discover)


def discover(
    address: Annotated[str, typer.Argument(help="A mail address of the domain, such as probe@contoso.com.", show_default=False)],
    verify: Annotated[bool, typer.Option("--verify", help="Also try every server that is published, without logging on.")] = False,
    output: option.Format = "text",
    user: Annotated[str | None, typer.Option(help="User name for Autodiscover (default: the address).")] = None,
    password_env: option.PasswordEnv = None,
    password_file: option.PasswordFile = None,
    consent: Annotated[
        list[str] | None, typer.Option(metavar="HOST[:PORT]", help="A host that may be sent the password when redirected there.")
    ] = None,
    resolver: Resolver = None,
    connect_https: ConnectHttps = None,
    ca_file: option.CaFile = None,
    timeout: PerPage = "10s",
    try_again: option.TryAgain = False,
) -> int:
    """Ask SRV records, Thunderbird's autoconfig, Autodiscover and PACC what they publish for users of ADDRESS's domain.

    The password goes to Autodiscover only, over verified HTTPS.

    Exit status: 0 all agree, 1 warnings (nothing found is one), 2 critical.
    """
    from probe.cli import _show
    from probe.report import exit_code

    _show.require_format(output)
    require_extra()
    login = _unless_refused(address, _login(address, user, password_env, password_file, consent or []), try_again)
    started = datetime.now(UTC)
    way = {"resolver": resolver, "connect": connect_https, "ca_file": ca_file, "timeout": timeout}
    report = ask(address, verify=verify, login=login, way=way)
    if login is not None:
        _remember(address, login, report)
    if output == "text":
        _out.write("".join(f"{line}\n" for line in lines(report)))
    else:
        seconds = (datetime.now(UTC) - started).total_seconds()
        _show.show([report], started, seconds, output=output, files=(), verbose=False, quiet=False)
    return exit_code([report])


def ask(address: str, *, verify: bool, login: "Login | None", way: Mapping[str, str | Path | None]) -> "Report":
    """Discover, with the user's mistakes as usage errors. `way`: resolver, connect, ca_file, timeout."""
    from probe.observe.discover.web import Way
    from probe.profile.values import seconds
    from probe.tasks import discover as task

    try:
        how = {name: str(value) for name, value in way.items() if value is not None and name != "timeout"}
        asked = task.question(address, Way(**how, seconds=seconds(way["timeout"])), verify=verify, login=login)
    except ValueError as error:
        raise typer.BadParameter(f"{error}") from None
    return asyncio.run(task.discover(asked))


def require_extra() -> None:
    """Say plainly what is missing. Raises a usage error."""
    option.require_extra("discovery", "discover", NEEDS)


def _login(address: str, user: str | None, env: str | None, file: Path | None, consent: list[str]) -> "Login | None":
    if env is None and file is None:
        if user or consent:
            raise typer.BadParameter("--user and --consent go with --password-env or --password-file")
        return None
    if env is not None and file is not None:
        raise typer.BadParameter("give --password-env or --password-file, not both")
    from probe.observe.discover.web import Login
    from probe.profile import SecretSource, resolve_secret

    key = "--password-env" if env is not None else "--password-file"
    source = SecretSource(env=env) if env is not None else SecretSource(file=Path(str(file)))
    return Login(user or address, resolve_secret(source, None, key=key), frozenset(name.lower() for name in consent))


def _whose(address: str) -> str:
    return f"autodiscover://{address.rpartition('@')[2]}"


def _unless_refused(address: str, login: "Login | None", try_again: bool) -> "Login | None":
    """The login, or None (said on stderr) where its password was refused lately: each try counts towards a locked account."""
    from probe.tasks.backoff import suspended

    if login is None or try_again or (why := suspended(_whose(address), login.username, login.password)) is None:
        return login
    print(f"probe: Autodiscover is asked without a password: {why}", file=sys.stderr)
    return None


def _remember(address: str, login: "Login", report: "Report") -> None:
    """Whether the password was refused, or let us in; else nothing is known."""
    from probe.tasks.backoff import note
    from probe.tasks.discover import answers

    ended = {answer["outcome"] for answer in answers(report) if answer.get("username_sent")}
    if ended & {"credentials", "found"}:
        note(_whose(address), login.username, login.password, refused="credentials" in ended)


def lines(report: "Report") -> Iterator[str]:
    """The report as text: each source with what it publishes, what trying it showed, then the findings."""
    from probe.output._safe import safe
    from probe.tasks.discover import answers, tried

    yield f"{report.verdict.upper()}  {safe(report.profile)}  {report.seconds:.2f} s"
    for answer in answers(report):
        yield from (f"  {safe(line)}" for line in _answer(answer))
    verified = next(stage for stage in report.stages if stage.name == "discover.verify").record
    if verified.status == "skipped":
        yield f"  not tried: {verified.reason}"
    for server in tried(report).servers:
        yield f"  tried {safe(_server(server))}: {safe(_outcome(server))}"
    if tried(report).left_out:
        yield f"  not tried: {tried(report).left_out} more servers"
    yield from table(report)
    for finding in report.findings:
        yield ""
        yield f"{finding.severity.upper()}  {finding.id}: {safe(finding.summary)}"
        yield f"  likely: {finding.cause}"
        yield from (f"  {'do:    ' if index == 0 else '       '} {step}" for index, step in enumerate(finding.remedy))


def _answer(answer: Mapping[str, Any]) -> Iterator[str]:
    text = f"  {answer['text']}" if answer["text"] and answer["text"] not in ("no such record",) else ""
    yield f"{answer['source']:<17} {answer['outcome']:<11} {answer['place']}{text}"
    yield from (f"    redirected to {hop}" for hop in answer["hops"])
    yield from (f"    publishes {_server(server)}" for server in answer["told"])


def _server(server: Mapping[str, Any]) -> str:
    scope = "" if server["scope"] == "any" else f", {server['scope']}"
    return f"{server['protocol']} {server['host']}:{server['port']} ({server['security']}{scope})"


def _outcome(server: Mapping[str, Any]) -> str:
    certificate = server["certificate"]
    if server["really"]:
        return f"it speaks {server['really']}"
    if certificate and certificate["trusted"] and certificate["name_matches"] and not server["trouble"]:
        return f"as published; certificate until {certificate['not_after']}"
    return server["trouble"]["text"] if server["trouble"] else "as published"
