"""`probe explain`: what a finding means, its likely causes, the commands that check and that fix."""

import difflib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli import _out

if TYPE_CHECKING:
    from probe.judge._replies import Entry
    from probe.report import Kind

# A reply of a server, pasted whole, begins so: `535 5.7.3 …`, `NO …`; `-ERR …` needs a `--` before it.
_REPLY_BEGINS = ("-ERR", "NO ", "BAD ", "* BYE", *"45")


def register(app: typer.Typer) -> None:
    app.command("explain")(explain)


def explain(
    finding: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FINDING]", help="A finding's id, or what a server replied.", show_default=False),
    ] = None,
    output: Annotated[str, typer.Option("-o", "--output", metavar="text|json", help="What stdout carries.")] = "text",
) -> int:
    """Say what FINDING means, its likely causes and the commands. Without FINDING, list every one."""
    from probe.output.text import safe

    if output not in ("text", "json"):
        raise typer.BadParameter(f"no output format {output!r} here; there are text, json")
    known = _kinds()
    if not finding:
        _tell(output, known, (f"{name:<40} {kind.summary}" for name, kind in known.items()))
        return 0
    wanted = " ".join(finding)
    name = wanted if wanted in known else _name_of_reply(wanted)
    if name is None:
        raise typer.BadParameter(f"no finding {safe(wanted)!r}; {_nearest(wanted, known)} (probe explain lists all)")
    _tell(output, {name: known[name]}, _lines(name, known[name]))
    return 0


def _kinds() -> dict[str, "Kind"]:
    """Every finding of the checks, of the audit, and every reply that is known, by id."""
    from probe.judge import kinds
    from probe.judge._replies import entries
    from probe.observe.audit import checks
    from probe.report import Kind

    audits = {name: module.FINDINGS[name] for name, module in checks().items()}
    replies = {f"reply.{entry.id}": Kind(_summary(entry), entry.cause, entry.steps) for entry in entries()}
    return {**dict(sorted(kinds().items())), **audits, **replies}


def _summary(entry: "Entry") -> str:
    """When the entry holds, in words."""
    said = " ".join(sorted(entry.code))
    parts = [
        f"replies {said}" if said else "",
        f"words like {entry.text.pattern}" if entry.text else "",
        f"with {', '.join(entry.findings)}" if entry.findings else "",
        f"from {' or '.join(entry.families)}" if entry.families else "",
        f"on port {entry.port}" if entry.port else "",
    ]
    return f"at {', '.join(entry.stages)}: " + "; ".join(part for part in parts if part)


def _name_of_reply(text: str) -> str | None:
    from probe.judge._replies import Said, known

    entry = known(Said(text)) if text.startswith(_REPLY_BEGINS) else None
    return f"reply.{entry.id}" if entry else None


def _nearest(wanted: str, known: dict[str, "Kind"]) -> str:
    words = {name.partition(".")[2]: name for name in known}
    near = difflib.get_close_matches(wanted, known, 3, 0.5) or [
        words[word] for word in difflib.get_close_matches(wanted.rpartition(".")[2], words, 3, 0.5)
    ]
    return f"the nearest: {', '.join(near)}" if near else "none has a name like it"


def _lines(name: str, kind: "Kind") -> Iterator[str]:
    from probe.judge._replies import entries

    yield f"{name}: {kind.summary}"
    yield f"  likely: {kind.cause}"
    for index, step in enumerate(kind.remedy):
        yield f"  {'do:    ' if index == 0 else '       '} {step}"
    special = [entry for entry in entries() if name in entry.findings]
    for entry in special:
        yield f"  reply.{entry.id}: {entry.cause}"


def _tell(output: str, kinds: dict[str, "Kind"], lines: Iterable[str]) -> None:
    if output == "json":
        _out.data(_as_json(kinds) + "\n")
    else:
        _out.say("\n".join(lines))


def _as_json(known: dict[str, "Kind"]) -> str:
    rows = [{"id": name, "summary": kind.summary, "cause": kind.cause, "remedy": list(kind.remedy)} for name, kind in known.items()]
    return json.dumps({"schema": "submission-probe/findings/1", "findings": rows}, indent=2)
