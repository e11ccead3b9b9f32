"""A saved run read back: JSON → reports, and the JSON Schema of the run object (contract section 5).

One description serves both: what the schema refuses is not read. Keys are only ever added, so keys that this version does not
know are passed over.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

from probe.facts import Connected, Other, from_json, kind_of
from probe.plain import dataclass
from probe.record import HIDDEN, Line, StageRecord, StageStatus, Target
from probe.report import EXIT_CODES, EXIT_INTERRUPTED, Finding, Report, Stage, Status, Threshold
from probe.runs.described import DIALECT, INSTANT, SECONDS, definitions, facts_schema, report_schema, stage_schema

RUN = "submission-probe/run/1"
REPORT = "submission-probe/report/1"

_TEXT: dict[str, Any] = {"type": "string"}
_MOST_NUMBER = 1e15
_MOST_DEPTH = 40


class NotARun(ValueError):
    """The text is no run of ours; the message is one plain line that says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A run as it was saved. `seconds` is the whole command's, `version` that of the program that ran."""

    reports: tuple[Report, ...]
    started: str
    seconds: float
    version: str


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


def _array(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _run_schema() -> dict[str, Any]:
    reports = _array(report_schema())
    return _object(
        {
            "schema": {"const": RUN},
            "version": _TEXT,
            "started": INSTANT,
            "seconds": SECONDS,
            "verdict": {"enum": list(EXIT_CODES)},
            "exit_code": {"enum": [*EXIT_CODES.values(), EXIT_INTERRUPTED]},
            "reports": reports,
        }
    )


def schema() -> dict[str, object]:
    """JSON Schema 2020-12 of the run object. Keys may be added in later versions; those that are here stay."""
    title = "A run of submission-probe: times in seconds, instants in RFC 3339 UTC"
    run = _run_schema()
    stages = run["properties"]["reports"]["items"]["properties"]["stages"]
    stages["items"] = stage_schema(stages["items"])
    return {"$schema": DIALECT, "$id": f"urn:{RUN.replace('/', ':')}", "title": title, **run, "$defs": definitions()}


def read(text: str, name: str = "the input") -> Saved:
    """The run that `-o json` wrote, or the lines that `-o jsonl` wrote. Raises NotARun."""
    try:
        return _from_object(_loaded(text), name)
    except (ValueError, RecursionError) as error:
        if isinstance(error, NotARun):
            raise
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not lines[0].lstrip().startswith("{"):
            raise NotARun(_not_json(name, text, error)) from None
    return _joined([_from_line(line, f"{name}, line {number}") for number, line in enumerate(lines, 1)])


def _loaded(text: str) -> Any:
    """JSON whose numbers and depth every format can show. Raises ValueError, RecursionError."""
    data = json.loads(text, parse_constant=_no_constant, parse_int=_number(int), parse_float=_number(float))
    level = [data] if isinstance(data, (dict, list)) else []
    for _ in range(_MOST_DEPTH):
        level = [item for each in level for item in _inside(each) if isinstance(item, (dict, list))]
    if level:
        raise ValueError(f"nested more than {_MOST_DEPTH} deep")
    return data


def _inside(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _number(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def number(digits: str) -> Any:
        if abs(float(digits)) > _MOST_NUMBER:
            raise ValueError(f"a number of more than {_MOST_NUMBER:g}: {digits[:20]}")
        return kind(digits)

    return number


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _not_json(name: str, text: str, error: Exception) -> str:
    what = "is empty" if not text.strip() else f"is not JSON ({error})"
    return f"{name} {what}: give the file that `probe run -o json` or `--report json=FILE` wrote"


def _from_line(line: str, name: str) -> Saved:
    try:
        return _from_object(_loaded(line), name)
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, NotARun) else NotARun(_not_json(name, line, error)) from None


def _joined(runs: Sequence[Saved]) -> Saved:
    reports = tuple(report for run in runs for report in run.reports)
    return Saved(reports, min(run.started for run in runs), max(run.seconds for run in runs), runs[0].version)


def _from_object(data: Any, name: str) -> Saved:
    """Check against the schema, then build: after the check nothing is missing and nothing has the wrong type."""
    kind = data.get("schema") if isinstance(data, dict) else None
    if kind == REPORT:
        _require(data, _object({"version": _TEXT}), name)
        _require(data, report_schema(), name)
        _require_facts([data], name)
        return Saved(_reports([data]), data["started"], float(data["seconds"]), data["version"])
    _require_run(data, name)
    return Saved(_reports(data["reports"]), data["started"], float(data["seconds"]), data["version"])


def checked(text: str, name: str = "the input") -> dict[str, object]:
    """The run object that `-o json` wrote, as it stands, or one of the lines that `-o jsonl` wrote: after the same check as in
    `read`, every value has its type.

    Raises NotARun.
    """
    try:
        data = _loaded(text)
        if not _is_report(data):
            _require_run(data, name)
            return dict(data)
        lines = [data]
    except (ValueError, RecursionError) as error:
        if isinstance(error, NotARun):
            raise
        lines = _report_lines(text)
        if not lines:
            raise NotARun(_not_json(name, text, error)) from None
    made = _run_of(lines)
    _require_run(made, name)
    return made


def _is_report(data: Any) -> bool:
    return isinstance(data, dict) and data.get("schema") == REPORT


def _report_lines(text: str) -> list[dict[str, Any]]:
    """What `-o jsonl` wrote, a report in a line; empty for anything else."""
    try:
        found = [_loaded(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return []
    return found if all(map(_is_report, found)) else []


def _run_of(reports: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Reports that were saved one by one, as one run object."""
    first = min(reports, key=lambda report: str(report.get("started")))
    more = {key: first[key] for key in ("version", "started", "seconds", "verdict", "exit_code") if key in first}
    return {"schema": RUN, **more, "reports": list(reports)}


def _require_run(data: Any, name: str) -> None:
    kind = data.get("schema") if isinstance(data, dict) else None
    if kind != RUN:
        what = f"has the schema {_brief(kind)}" if kind is not None else "has no schema"
        raise NotARun(f"{name} {what}, not {RUN}: give the file that `probe run -o json` or `--report json=FILE` wrote")
    _require(data, _run_schema(), name)
    _require_facts(data["reports"], name)


def _require_facts(reports: Sequence[Mapping[str, Any]], name: str) -> None:
    """Each stage's facts are of its kind; a stage that this version does not know may hold anything."""
    for number, report in enumerate(reports):
        for index, stage in enumerate(report["stages"]):
            kind = kind_of(stage["name"], stage["facts"])
            where = f"reports[{number}].stages[{index}].facts"
            if kind is not Other:
                _require(stage["facts"], facts_schema(kind), name, where)


def _require(data: Any, description: Mapping[str, Any], name: str, path: str = "") -> None:
    problem = next(_problems(data, description, path), None)
    if problem is not None:
        raise NotARun(f"{name} is a damaged run: {problem}; run `probe schema run` for what it must look like")


def _problems(value: Any, description: Mapping[str, Any], path: str) -> Iterator[str]:
    """What the schema says against a value; the part of JSON Schema that the description above uses."""
    where = path or "it"
    if "const" in description and value != description["const"]:
        yield f"{where} is {_brief(value)}, not {description['const']}"
    elif "enum" in description and (value not in description["enum"] or isinstance(value, bool)):
        yield f"{where} is {_brief(value)}, not one of {', '.join(map(str, description['enum']))}"
    elif "type" in description and not _is(value, description["type"]):
        types = description["type"]
        yield f"{where} is {_brief(value)}, not {types if isinstance(types, str) else ' or '.join(types)}"
    elif "pattern" in description and value is not None and (wrong := _unlike(value, description["pattern"])):
        yield f"{where} is {_brief(value)}, not {wrong}"
    elif "maximum" in description and value is not None and not description["minimum"] <= value <= description["maximum"]:
        yield f"{where} is {_brief(value)}, not between {description['minimum']:g} and {description['maximum']:g}"
    elif isinstance(value, dict):
        yield from _object_problems(value, description, path)
    elif isinstance(value, list) and "items" in description:
        for index, item in enumerate(value):
            yield from _problems(item, description["items"], f"{path}[{index}]")


def _object_problems(value: Mapping[str, Any], description: Mapping[str, Any], path: str) -> Iterator[str]:
    for key in description.get("required", ()):
        if key not in value:
            yield f"{f'{path}.{key}'.lstrip('.')} is missing"
    others = description.get("additionalProperties")
    for key, item in value.items():
        inner = description.get("properties", {}).get(key, others)
        if inner:
            yield from _problems(item, inner, f"{path}.{key}".lstrip("."))


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "number": (int, float), "integer": (int,), "boolean": (bool,), "array": (list,), "object": (dict,),
    "null": (type(None),),
}  # fmt: skip


def _is(value: Any, types: str | Sequence[str]) -> bool:
    names = [types] if isinstance(types, str) else types
    return any(isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool)) for name in names)


def _unlike(value: str, pattern: str) -> str:
    """What a text should have been, by the pattern that describes it; empty when it is that."""
    if pattern == INSTANT["pattern"]:
        return "" if _is_instant(value) else "an instant like 2026-11-24T08:00:00Z"
    return "" if re.fullmatch(pattern.removesuffix("$"), value) else "a plain name"


def _is_instant(value: str) -> bool:
    from datetime import datetime

    try:
        return value.endswith("Z") and 1970 <= datetime.fromisoformat(value).year < 3000
    except ValueError:
        return False


def _brief(value: Any) -> str:
    """A value of unknown origin in an error line: ASCII, short, no control characters."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def rebuilt(data: Sequence[Mapping[str, object]]) -> tuple[Report, ...]:
    """Reports from their JSON, as this version writes it."""
    return _reports(data)


def _reports(data: Sequence[Mapping[str, Any]]) -> tuple[Report, ...]:
    """The reports; where an earlier version did not say what each is of, by the facts and the addresses."""
    made = [_report(one) for one in data]
    if any("kind" in one for one in data):
        return tuple(made)
    nodes = [report.seen("smtp.connect", Connected).nodes is not None for report in made]
    single = [report for report, is_node in zip(made, nodes, strict=True) if not is_node]
    # Fewer addresses than reports of a profile: it was probed more than once.
    again = {one.profile for one in single if _is_repeated([other for other in single if other.profile == one.profile])}
    return tuple(
        replace(one, kind="node" if is_node else "repetition" if one.profile in again else "run")
        for one, is_node in zip(made, nodes, strict=True)
    )


def _is_repeated(reports: Sequence[Report]) -> bool:
    return len(reports) > len({report.target.address for report in reports})


def _report(data: Mapping[str, Any]) -> Report:
    """The report, each key by the field of its name."""
    made: dict[str, Any] = {
        "target": partial(_built, Target),
        "stages": partial(_each, _stage),
        "findings": partial(_each, _finding),
        "transcript": partial(_each, partial(_built, Line)),
        "thresholds": _thresholds,
        "seconds": float,
    }
    known = _known(Report, data)
    return Report(**{key: made[key](value) if key in made else value for key, value in known.items()})


def _known(kind: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that are fields; those of later versions are passed over."""
    names = {item.name for item in fields(kind) if item.metadata != HIDDEN}
    return {key: value for key, value in data.items() if key in names}


def _built(kind: Any, data: Mapping[str, Any]) -> Any:
    return kind(**_known(kind, data))


def _each(make: Callable[[Mapping[str, Any]], Any], items: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    return tuple(make(item) for item in items)


def _thresholds(data: Mapping[str, Mapping[str, Any]]) -> dict[str, Threshold]:
    return {name: _built(Threshold, line) for name, line in data.items()}


def _stage(data: Mapping[str, Any]) -> Stage:
    """The trouble of a failed stage is not in the run object: its words are in the reason and in the finding."""
    status: Status = data["status"]
    ended: StageStatus = "ok" if status == "warning" else status
    record = {**_known(StageRecord, data), "status": ended, "facts": from_json(data["name"], data["facts"])}
    return Stage(StageRecord(**record), status)


def _finding(data: Mapping[str, Any]) -> Finding:
    return Finding(**{**_known(Finding, data), "remedy": tuple(data["remedy"])})
