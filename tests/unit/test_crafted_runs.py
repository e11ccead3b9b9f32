"""A saved run that somebody made to break us: one plain line and exit 3, or a report: no traceback, no control character."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_output_octets import RECORDED, told

VALUES: dict[str, Any] = {
    "null": None, "true": True, "huge": 10**400, "large": 1e14, "negative": -(10**9), "empty": "",
    "hostile": "\x1b[31m|\n<b>\u202e",
    "surrogate": "\ud800", "last": "9999-12-31T23:59:59.999999Z",
    "list": [], "object": {}, "inner": [[]], "nothing": [None],
    "digits": "9" * 5000,
}  # fmt: skip
FORMATS = ("text", "html", "nagios", "prometheus", "junit", "tap", "protocol-log", "exchange")


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Each place once by its shape: the first two of a list, every key."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*at, key))


def changed(run: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    made = copy.deepcopy(run)
    inner = made
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    return made


RUN = json.loads((RECORDED / "failed-imap-login.json").read_text(encoding="ascii"))
PLACES = list(places(RUN))


def is_decent(*arguments: str) -> None:
    status, out, err = told("utf-8", *arguments)
    # Lines for people end as that system's do.
    shown, said = (octets.decode().replace("\r\n", "\n") for octets in (out, err))
    # 130: where it says that it was interrupted.
    assert status in (0, 1, 2, 3, 130) and "Traceback" not in said and said.count("\n") <= 1 and len(said) < 600, (
        arguments,
        said[-500:],
    )
    assert status != 3 or out or said.startswith("probe: "), arguments
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown + said), arguments


@pytest.mark.parametrize("name", VALUES)
def test_a_wrong_value_anywhere(name: str, tmp_path: Path) -> None:
    """Each value in a share of all places, another share for each value; the commands take turns."""
    whole, crafted, log = tmp_path / "whole.json", tmp_path / "crafted.json", tmp_path / "log"
    whole.write_text(json.dumps(RUN), encoding="ascii")
    log.write_text("2026-11-24T08:00:00.000Z,c,08D,0,192.0.2.1:587,192.0.2.2:9,+,,\n", encoding="ascii")
    first = list(VALUES).index(name)
    for number, at in enumerate(PLACES[first :: len(VALUES)]):
        crafted.write_text(json.dumps(changed(RUN, at, VALUES[name])), encoding="ascii")
        format = FORMATS[number % len(FORMATS)]
        commands = (
            ("report", str(crafted), "-v", "-o", format),
            ("compare", str(whole), str(crafted), "-o", format),
            ("compare", str(crafted), str(whole), "-o", "github"),
            ("correlate", str(crafted), str(log), "-o", "text"),
        )
        # Not the same rhythm as that of the formats: each command meets each of them.
        is_decent(*commands[(number + number // len(FORMATS)) % len(commands)])


@pytest.mark.parametrize("depth", [41, 500, 100_000])
@pytest.mark.parametrize("command", ["report", "compare", "correlate"])
def test_a_run_that_is_too_deep(command: str, depth: int, tmp_path: Path) -> None:
    crafted = tmp_path / "crafted.json"
    crafted.write_text(
        json.dumps(RUN).replace('"facts": {', '"facts": {"x": ' + "[" * depth + "]" * depth + ", ", 1), encoding="ascii"
    )
    status, out, err = told("utf-8", command, str(crafted), *([] if command == "report" else [str(crafted)]))
    assert status == 3 and not out and err.count(b"\n") == 1 and b"is not JSON" in err, err


@pytest.mark.parametrize(
    ("value", "said"),
    [('{"reports": 7}', "has no schema"), ("[]", "has no schema"), ("", "is empty"), ("1" * 5000, "a number of more")],
)
@pytest.mark.parametrize("command", ["report", "compare", "correlate"])
def test_what_is_no_run(command: str, value: str, said: str, tmp_path: Path) -> None:
    crafted = tmp_path / "crafted.json"
    crafted.write_text(value, encoding="ascii")
    status, out, err = told("utf-8", command, str(crafted), *([] if command == "report" else [str(crafted)]))
    assert status == 3 and not out and err.count(b"\n") == 1 and said in err.decode()
