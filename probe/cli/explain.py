"""`probe explain`: what a finding means, its likely causes, the commands that check and that fix; and the calendar of what ends."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli import _out

if TYPE_CHECKING:
    from probe.judge._replies import Entry
    from probe.report import Kind

# A reply of a server, pasted whole, begins so: `535 5.7.3 …`, `NO …`; `-ERR …` needs a `--` before it.
_REPLY_BEGINS = ("-ERR", "NO ", "BAD ", "* BYE", *"45")
# Windows' event logs: `12014`, `event 12014`, `EventID 12014`.
_EVENT = re.compile(r"(?:event ?(?:id)? ?)?(\d{4,5})", re.IGNORECASE)
_CODE = re.compile(r"[45]\d\d|[45]\.\d{1,3}\.\d{1,3}")


def _ids(incomplete: str) -> list[str]:
    """For the shell's completion."""
    return _beginning(incomplete, _kinds())


def register(app: typer.Typer) -> None:
    app.command("explain")(explain)


def explain(
    finding: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FINDING",
            help="A finding's id or how it begins, a reply's id or the reply itself, an event's number; sunset: what ends when.",
            show_default=False,
            autocompletion=_ids,
        ),
    ] = None,
    output: Annotated[str, typer.Option("-o", "--output", metavar="text|json", help="What stdout carries.")] = "text",
) -> int:
    """Say what FINDING means, its likely causes and the commands. Without FINDING, or where several fit, list them."""
    from probe.output._safe import safe

    if output not in ("text", "json"):
        raise typer.BadParameter(f"no output format {output!r} here; there are text, json")
    if finding == ["sunset"]:
        return _calendar(output)
    known = _known(finding or [])
    if not finding:
        _tell(output, known, _listed(known))
        return 0
    wanted = " ".join(finding)
    fitting = {name: known[name] for name in _meant(finding, known)}
    if not fitting:
        raise typer.BadParameter(f"no finding {safe(wanted)!r}; {_nearest(wanted, known)} (probe explain lists all)")
    named = len(fitting) == 1 or set(finding) >= set(fitting)
    _tell(output, fitting, _explained(fitting) if named else _listed(fitting))
    return 0


def _calendar(output: str) -> int:
    from datetime import UTC, datetime

    from probe.cli import _calendar as calendar

    if output == "json":
        _out.data(calendar.as_json() + "\n")
    else:
        _out.say("\n".join(calendar.lines(datetime.now(UTC).date())))
    return 0


def _meant(words: list[str], known: dict[str, "Kind"]) -> list[str]:
    """The ids that the words mean, in the order of the list: from what is surely meant to what only speaks of it."""
    if set(words) <= set(known):
        return words
    wanted = " ".join(words)
    if f"reply.{wanted}" in known:
        return [f"reply.{wanted}"]
    if event := _EVENT.fullmatch(wanted):
        return [name for name, kind in known.items() if _speaks_of(int(event[1]), kind)]
    if (reply := _name_of_reply(wanted)) is not None:
        return [reply]
    if _CODE.fullmatch(wanted):
        return _with_code(wanted)
    return _beginning(wanted, known) or _beginning(f"reply.{wanted}", known)


def _beginning(text: str, known: Iterable[str]) -> list[str]:
    return [name for name in known if name.startswith(text)]


def _speaks_of(event: int, kind: "Kind") -> bool:
    """Whether it names the event's number, or a range around it (`12014-12018`), outside an address."""
    text = re.sub(r"https?://\S+", "", " ".join((kind.summary, kind.cause, *kind.remedy)))
    numbers = re.findall(r"(?<![\w.-])(\d{4,5})(?:-(\d{4,5}))?(?![\w-])", text)
    return any(int(first) <= event <= int(last or first) for first, last in numbers)


def _with_code(code: str) -> list[str]:
    """The replies that are known by this code, basic or enhanced."""
    from probe.judge._replies import entries

    return [f"reply.{entry.id}" for entry in entries() if code in entry.code]


def _listed(kinds: dict[str, "Kind"]) -> Iterator[str]:
    return (f"{name:<40} {kind.summary}" for name, kind in kinds.items())


def _explained(kinds: dict[str, "Kind"]) -> Iterator[str]:
    for index, (name, kind) in enumerate(kinds.items()):
        yield from [""] * bool(index)
        yield from _lines(name, kind)


def _known(words: list[str]) -> dict[str, "Kind"]:
    """Every kind; only those of the checks where these are all their ids: an audit's words come with all that it needs to talk."""
    from probe.judge import kinds

    return dict(kinds()) if words and set(words) <= kinds().keys() else _kinds()


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
        f"words like {entry.text}" if entry.text else "",
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
