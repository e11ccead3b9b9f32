"""`probe audit`: negative checks of one's own server."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probe.cli import _clients, _out
from probe.cli import _options as option

if TYPE_CHECKING:
    from probe.tasks.audit import Audited

_MOST_EVIDENCE = 400
_SIGNS = {"pass": "pass", "fail": "FAIL", "undecided": "?", "not-applicable": "-"}


def register(app: typer.Typer) -> None:
    app.command("audit")(audit)


def audit(
    profile: option.MaybeProfile = None,
    output: Annotated[str, typer.Option("-o", "--output", metavar="text|json|html", help="What stdout carries.")] = "text",
    check: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this check (repeatable).")] = None,
    list_checks: Annotated[bool, typer.Option("--list", help="List the checks, what each proves and does not, and exit.")] = False,
    return_path: Annotated[
        bool,
        typer.Option("--return-path", help="Also send mail to an address of your domain that cannot exist: does it come back?"),
    ] = False,
    clients: Annotated[
        bool, typer.Option("--clients", help="Instead: which mail programs can still connect and log on (extra clients).")
    ] = False,
    client: Annotated[list[str] | None, typer.Option(metavar="ID", help="With --clients: only this one (repeatable).")] = None,
    host: option.Host = None,
    port: option.Port = None,
    user: option.User = None,
    password_env: option.PasswordEnv = None,
    password_file: option.PasswordFile = None,
    set: option.Set = None,
) -> int:
    """Try what PROFILE's server must refuse. For your own servers only: it logs failed attempts there.

    Exit status: 0 nothing failed, 1 warnings, 2 critical, 3 nothing could be decided.
    """
    from probe.observe.audit import checks
    from probe.tasks import audit as task
    from probe.tasks.run import load_profile

    if output not in (formats := _clients.FORMATS if clients else ("text", "json")):
        raise typer.BadParameter(f"no output format {output!r} here; there are {', '.join(formats)}")
    if client and not clients:
        raise typer.BadParameter("--client says which programs --clients tries; give --clients too")
    _clients.chosen(client or ())
    if clients and list_checks:
        _clients.list_offers()
        return 0
    unknown = [name for name in check or () if name not in checks()]
    if unknown:
        raise typer.BadParameter(f"no check {unknown[0]!r}; there are {', '.join(checks())}")
    if list_checks:
        for name, module in checks().items():
            asked = task.option_of(module)
            _out.say(f"{name} ({module.SEVERITY}{f', only with {asked}' if asked else ''})")
            _out.say(f"  a failure proves: {module.PROVES}\n  it does not prove: {module.DOES_NOT_PROVE}")
        return 0
    settings = option.given(
        host=host, port=port, user=user, password_env=password_env, password_file=password_file, set=set
    )  # fmt: skip
    loaded = load_profile(option.needed(profile), settings)
    if clients:
        return _clients.table(loaded, client or (), output)
    options = ("--return-path",) if return_path else ()
    with _progress(len(task.chosen(tuple(check or ()), options))) as told:
        done = asyncio.run(task.audit(loaded, tuple(check or ()), told, options))
    if output == "json":
        _out.data(json.dumps(_json(loaded.name, done), indent=2) + "\n")
    else:
        tell(loaded.name, done)
    return task.exit_code(done)


def tell(profile: str, done: Sequence["Audited"]) -> None:
    """The verdict, then each check with what to do."""
    from probe.output._safe import safe
    from probe.tasks import audit as task

    _out.say(f"{task.verdict(done).upper()}  {safe(profile)}: {_counted(done)}")
    for item in done:
        _tell(item)


def _counted(done: Sequence["Audited"]) -> str:
    signs = [_sign(item) for item in done]
    notes = signs.count("note")
    counts = {
        "failed": signs.count("FAIL"),
        f"note{'s' if notes > 1 else ''}": notes,
        "undecided": signs.count("?"),
        "not applicable": signs.count("-"),
    }
    more = "".join(f", {count} {word}" for word, count in counts.items() if count)
    return f"{signs.count('pass')} of {len(signs)} checks passed{more}"


def _sign(item: "Audited") -> str:
    """A check that finds what is only worth knowing has not failed."""
    return "note" if item.facts.outcome == "fail" and item.module.SEVERITY == "info" else _SIGNS[item.facts.outcome]


def _tell(item: "Audited") -> None:
    from probe.output._safe import safe

    _out.say(f"{_sign(item):<5} {item.id:<32} {safe(item.facts.evidence)[:_MOST_EVIDENCE]}")
    if item.facts.outcome == "fail":
        for finding in item.findings:
            _out.say(f"      {finding.severity}: {finding.summary}")
            _out.say(f"      likely: {finding.cause}")
            for step in finding.remedy:
                _out.say(f"      do: {step}")


@contextmanager
def _progress(total: int) -> Iterator["Callable[[Audited], None] | None"]:
    """On a terminal, on stderr: how many checks are done; gone when the block ends."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    done: list[str] = []

    def told(item: "Audited") -> None:
        done.append(item.id)
        print(f"\r{len(done)} of {total} checks done", end="", file=sys.stderr, flush=True)

    yield told
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr, flush=True)


def _json(profile: str, done: list["Audited"]) -> dict[str, Any]:
    from probe.tasks import audit as task

    return {
        "schema": "submission-probe/audit/1",
        "profile": profile,
        "verdict": task.verdict(done),
        "exit_code": task.exit_code(done),
        "checks": [
            {
                "id": item.id,
                "outcome": item.facts.outcome,
                "severity": item.module.SEVERITY,
                "evidence": item.facts.evidence,
                "facts": dict(item.facts.more),
                "proves": item.module.PROVES,
                "does_not_prove": item.module.DOES_NOT_PROVE,
                "remedy": [step for finding in item.findings for step in finding.remedy],
                "seconds": round(item.seconds, 6),
            }
            for item in done
        ],
    }
