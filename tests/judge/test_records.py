"""Records in, finding ids out: judging is pure, so a run recorded once can be judged for ever, with no server and no socket."""

import json
from pathlib import Path
from typing import Any

import pytest

from probe.judge import findings
from probe.judge._verdict import judge
from probe.profile import Profile, load_mapping
from probe.record import Record, record_from_json, record_to_json
from probe.tasks.plan import plugins

FOLDER = Path(__file__).parent / "records"
NAMES = [path.stem for path in sorted(FOLDER.glob("*.json"))]


def case(name: str) -> tuple[Record, Profile, list[str], dict[str, Any]]:
    data = json.loads((FOLDER / f"{name}.json").read_text(encoding="ascii"))
    return record_from_json(data["record"]), load_mapping(data["profile"], plugins=plugins()), data["findings"], data


@pytest.mark.parametrize("name", NAMES)
def test_a_record_gives_its_findings(name: str) -> None:
    """What is critical or a warning exactly; information by inclusion, since more of it may come."""
    record, profile, expected, _ = case(name)
    found = [f"{finding.severity} {finding.id} {finding.stage}" for finding in findings(record, profile)]
    assert [item for item in found if not item.startswith("info")] == [item for item in expected if not item.startswith("info")]
    assert set(expected) <= set(found)


@pytest.mark.parametrize("name", NAMES)
def test_a_record_comes_back_from_json_as_it_was(name: str) -> None:
    record, _, _, data = case(name)
    assert json.loads(json.dumps(record_to_json(record))) == data["record"]


def test_the_verdict_follows_from_the_findings() -> None:
    verdicts = {name: judge(*case(name)[:2]).verdict for name in NAMES}
    assert verdicts["healthy"] == "ok" and verdicts["junk"] == "warning" and verdicts["wrong-password"] == "critical"
    for name, verdict in verdicts.items():
        worst = {item.split(" ")[0] for item in case(name)[2]}
        assert (verdict == "critical") == ("critical" in worst), name


def test_an_old_record_can_be_judged_by_other_limits() -> None:
    record, _, _, data = case("healthy")
    strict = load_mapping({**data["profile"], "limits": {"delivery_warning": "0s", "delivery_critical": "0s"}}, plugins=plugins())
    assert "delivery.late" in {finding.id for finding in findings(record, strict)}
