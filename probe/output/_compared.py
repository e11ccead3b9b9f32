"""A comparison in words that several outputs share: what is shown together, in which order, which parts of two values differ."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from probe.output._safe import safe
from probe.plain import dataclass
from probe.report.comparison import CERTIFICATE, Change, Comparison, Same, targets

_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
_WORD = re.compile(r"\S+|\s+")
# Beyond this many words, or rows of a target, a value is marked as a whole: finding the parts takes the square of them, and a
# server can name thousands.
_MOST_TOKENS, _MOST_ROWS = 250, 200
_MISSING, _EXPECTED = "missing", "expected"
_RANK = {"critical": 0, _MISSING: 1, "warning": 2, "better": 3, _EXPECTED: 4}
_THUMBPRINT = f"{CERTIFICATE}.thumbprint"
# A finding's key, and its value: finding.STAGE.ID SEVERITY: ID.
_FINDING = re.compile(r"finding\.(?P<stage>.+)\.(?P<id>\S+) \w+: (?P=id)", re.DOTALL)

# A signature's key (runs/compare.py): it is gone where it has no value any more.
_STOPPED = re.compile(r"[a-z0-9]+\.dkim\.(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Row:
    """Changes that are one and the same at several ports: their keys, and what they share. `word` says what to think of it."""

    word: str
    keys: tuple[str, ...]
    change: Change


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a value, and whether the other side has it not."""

    text: str
    differs: bool


def rows(comparison: Comparison, target: str) -> list[Row]:
    """A target's changes, the worst first; those of several ports in one row where both values are alike."""
    found: dict[tuple[object, ...], list[Change]] = {}
    for change in comparison.changes:
        if change.target == target and not _unseen(change):
            alike = (_word(change), change.key.rpartition(f"{CERTIFICATE}.")[2], change.before, change.after, change.wanted)
            found.setdefault(alike if f"{CERTIFICATE}." in change.key else (change,), []).append(change)
    made = [Row(_word(same[0]), tuple(change.key for change in same), same[0]) for same in found.values()]
    return sorted(made, key=lambda row: _RANK[row.word])


def _unseen(change: Change) -> bool:
    """Whether this only follows from a failure, and nobody announced it."""
    return change.because is not None and change.wanted is None and not change.expected


def not_seen(comparison: Comparison, target: str) -> list[str]:
    """What a failure kept the later run from seeing: a sentence for each failure."""
    causes = Counter(change.because for change in comparison.changes if change.target == target and _unseen(change))
    return [f"not seen, because {safe(str(cause))} failed: {_counted(count, 'fact')}" for cause, count in causes.items()]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _word(change: Change) -> str:
    if not change.happened and change.wanted is not None:
        return _MISSING
    return _EXPECTED if change.expected else {"info": "better"}.get(change.severity, change.severity)


def summary(comparison: Comparison) -> str:
    """How many changes there are, and how many of them nobody announced."""
    seen = [change for change in comparison.changes if not _unseen(change)]
    count = sum(change.happened for change in seen)
    wrong = sum(change.severity != "info" and change.happened for change in seen)
    missing = sum(_word(change) == _MISSING for change in seen)
    said = [f"{_counted(count, 'change')}, {wrong or 'none'} unexpected"] if count else []
    if missing:
        said.append(f"{_counted(missing, 'expected change')} did not happen")
    if unseen := len(comparison.changes) - len(seen):
        said.append(f"{_counted(unseen, 'fact')} not seen")
    if comparison.unchanged:
        said.append(f"{len(comparison.unchanged)} facts unchanged")
    return ", ".join(said) or "nothing changed"


def values(change: Change) -> tuple[str, str]:
    """Both sides, as they are shown."""
    before, after = ("(none)" if value is None else safe(value) for value in (change.before, change.after))
    return before, after


def expectation(change: Change) -> str:
    """What was announced instead; empty where nothing was."""
    if change.wanted is None:
        return ""
    return "a change was expected" if change.wanted == "*" else f"expected: {safe(change.wanted)}"


def sentence(change: Change, form: str = "{} → {}") -> str:
    """What became of one fact, in one line without its key."""
    before, after = values(change)
    said = form.format(before, after)
    if not change.happened:
        said = (
            f"already {before} before" if change.expected else f"still {before}" if change.before is not None else "no such change"
        )
    wanted = expectation(change)
    return f"{said} ({wanted})" if wanted else said


def told(row: Row) -> str:
    """A row as one line, with its keys; what is no fact but a finding in words."""
    change = row.change
    if (stopped := _STOPPED.fullmatch(change.key)) and change.happened and change.after is None and change.wanted is None:
        return f"DKIM stopped: {safe(change.key)}: {safe(stopped[1])} signed before ({safe(str(change.before))})"
    found = [_FINDING.fullmatch(f"{key} {change.before or change.after}") for key in row.keys]
    if not all(found) or not change.happened or change.wanted is not None:
        return f"{safe(', '.join(row.keys))}: {sentence(change)}"
    where = safe(", ".join(one["stage"] for one in found if one))
    name = safe(str(found[0] and found[0]["id"]))
    before, after = ((value or "").partition(":")[0] for value in (change.before, change.after))
    if not before:
        return f"new finding in {where}: {name} ({safe(after)})"
    return f"finding in {where}: {name}: {safe(before)} → {safe(after)}" if after else f"no longer found in {where}: {name}"


def hint(comparison: Comparison) -> str:
    """How to announce a new certificate that nobody announced; empty where none came, or several, where not each node of a port
    has it, and where it is nothing to want: expired, or not trusted."""
    changed = [change for change in comparison.changes if change.key.endswith(_THUMBPRINT)]
    new = [change for change in changed if change.severity == "warning" and change.because is None]
    ports = {change.key.removesuffix(_THUMBPRINT) for change in new}
    others = {item.key.removesuffix(_THUMBPRINT) for item in _certified(comparison) if item not in new}
    wanted = any(change.wanted is not None for change in comparison.changes)
    values = {change.after for change in new}
    value = values.pop() if len(values) == 1 else None
    if wanted or value is None or not re.fullmatch("[0-9A-F]{40}", value):
        return ""
    if ports & others or any(_refused(comparison, port) for port in ports):
        return ""
    keys = [f"{port or 'smtp.'}{CERTIFICATE}" for port in sorted(ports)] if others else [CERTIFICATE]
    return f"If you replaced the certificate: {' '.join(f'--expect-change {key}={value}' for key in keys)}"


def _certified(comparison: Comparison) -> Iterator[Change | Same]:
    """The certificate of every port, changed or not."""
    items: list[Change | Same] = [*comparison.changes, *comparison.unchanged]
    return (item for item in items if item.key.endswith(_THUMBPRINT))


def _refused(comparison: Comparison, port: str) -> bool:
    """Whether the certificate that a port serves now is found to be bad."""
    finding, trusted = f"finding.{port or 'smtp.'}{CERTIFICATE}.", f"{port}{CERTIFICATE}.trusted"
    if any(change.key == trusted and change.after != "True" for change in comparison.changes):
        return True
    now = [(change.key, change.after) for change in comparison.changes] + [(same.key, same.value) for same in comparison.unchanged]
    return any(key.startswith(finding) and (value or "").startswith("critical") for key, value in now)


def instant(text: str) -> str:
    """An instant without its parts of a second."""
    return re.sub(r"(?<=:[0-9]{2})\.[0-9]+Z$", "Z", safe(text))


def lines(comparison: Comparison) -> Iterator[tuple[str, str, str]]:
    """What differs, by target: (word, severity, text), the word empty for what is no change."""
    for note in comparison.notes:
        yield "note", "info", safe(note)
    several = len({change.target for change in comparison.changes}) > 1
    for target in dict.fromkeys(change.target for change in comparison.changes):
        if several:
            yield "", "info", safe(target)
        for row in rows(comparison, target):
            yield row.word, row.change.severity, told(row)
        for said in not_seen(comparison, target):
            yield "", "info", said
    if said := hint(comparison):
        yield "", "info", said


@dataclass(frozen=True, slots=True)
class Line:
    """A row with both values in pieces, and what was announced instead."""

    row: Row
    before: Sequence[Part]
    after: Sequence[Part]
    wanted: str


@dataclass(frozen=True, slots=True)
class Block:
    """What is shown of one target."""

    target: str
    lines: Sequence[Line]
    not_seen: Sequence[str]
    unchanged: Sequence[Same]


def blocks(comparison: Comparison, *, whole_words: bool = False) -> list[Block]:
    """Every target with its changes, and what is alike; `whole_words`: values are marked by what stands between blanks."""
    return [
        Block(
            target,
            [_line(row, whole_words, marked=number < _MOST_ROWS) for number, row in enumerate(rows(comparison, target))],
            not_seen(comparison, target),
            [same for same in comparison.unchanged if same.target == target],
        )
        for target in targets(comparison)
    ]


def _line(row: Row, whole_words: bool, *, marked: bool) -> Line:
    before, after = values(row.change)
    sides = parts(before, after, whole_words=whole_words) if marked else _whole(before, after)
    return Line(row, *sides, expectation(row.change))


def _whole(before: str, after: str) -> tuple[list[Part], list[Part]]:
    return [Part(before, before != after)], [Part(after, before != after)]


def parts(before: str, after: str, *, whole_words: bool = False) -> tuple[list[Part], list[Part]]:
    """Both values in pieces: what each has that the other has not is marked; `whole_words`: by what stands between blanks."""
    token = _WORD if whole_words else _TOKEN
    old, new = token.findall(before), token.findall(after)
    if max(len(old), len(new)) > _MOST_TOKENS:
        return _whole(before, after)
    pieces = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    left: list[Part] = []
    right: list[Part] = []
    for kind, a, b, c, d in pieces:
        # Signs that happen to be alike between words that differ mark no words off: 2026-11-24 is another date as a whole.
        inside = (a or c) and (b < len(old) or d < len(new)) and not any(map(_is_word, old[a:b]))
        left += _piece(old[a:b], differs=kind != "equal" or bool(inside))
        right += _piece(new[c:d], differs=kind != "equal" or bool(inside))
    return _merged(left), _merged(right)


def _is_word(token: str) -> bool:
    return token[0].isalnum() or token[0] == "_"


def _merged(pieces: Sequence[Part]) -> list[Part]:
    """Neighbours that are alike in what they say, as one."""
    found: list[Part] = []
    for piece in pieces:
        if found and found[-1].differs == piece.differs:
            piece = Part(found.pop().text + piece.text, piece.differs)
        found.append(piece)
    return found


def _piece(tokens: Sequence[str], *, differs: bool) -> list[Part]:
    """A blank at its edge is not marked."""
    text = "".join(tokens)
    inner = text.strip() if differs else text
    before, after = text[: len(text) - len(text.lstrip())] if differs else "", text[len(text.rstrip()) :] if differs else ""
    return [Part(piece, differs and piece is inner) for piece in (before, inner, after) if piece]
