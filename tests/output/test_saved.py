"""A saved run is read back whole, and what is no run is refused with one plain line."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from probe.output import formats
from probe.report.as_json import report_to_json
from probe.runs.saved import NotARun, read, schema
from tests.output.runs import FOLDER, NAMES, OURS, saved

ROOT = Path(__file__).parent.parent.parent
OK = (FOLDER / "ok.json").read_text(encoding="ascii")


def probe(*arguments: str, stdin: bytes | None = None, **environ: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "probe", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, cwd=ROOT, env={**os.environ, **environ}, timeout=60)


@pytest.mark.parametrize("name", NAMES)
def test_every_recorded_run_comes_back_as_it_was(name: str) -> None:
    recorded = json.loads((FOLDER / f"{name}.json").read_text(encoding="ascii"))
    assert [report_to_json(report) for report in saved(name).reports] == recorded["reports"]


@pytest.mark.parametrize("name", [path.stem for path in sorted((FOLDER / "earlier").glob("*.json"))])
def test_a_run_of_an_earlier_version_loses_nothing(name: str) -> None:
    text = (FOLDER / "earlier" / f"{name}.json").read_text(encoding="ascii")
    now = [report_to_json(report) for report in read(text, name).reports]
    for before, after in zip(json.loads(text)["reports"], now, strict=True):
        for old, new in zip(before["stages"], after["stages"], strict=True):
            assert new["facts"].items() >= old["facts"].items()
            new["facts"] = old["facts"]
        assert {**after, "kind": "run"} == {**before, "kind": "run"}


@pytest.mark.parametrize(
    ("stage", "key", "value"),
    [("smtp.ehlo", "lines", 5), ("imap.verify", "hops", ["x"]), ("smtp.certificate", "chain", [None]),
     ("imap.find", "seconds", "x"),
     ("smtp.ehlo", "keywords", {"SIZE": 3}), ("smtp.certificate", "not_after", 7), ("smtp.auth", "reply", {})],
)  # fmt: skip
def test_facts_of_another_type_are_refused_with_their_place(stage: str, key: str, value: Any) -> None:
    data = json.loads(OK)
    index = next(index for index, item in enumerate(data["reports"][0]["stages"]) if item["name"] == stage)
    data["reports"][0]["stages"][index]["facts"][key] = value
    with pytest.raises(NotARun, match=rf"reports\[0\]\.stages\[{index}\]\.facts\.{key}"):
        read(json.dumps(data))
    assert list(jsonschema.Draft202012Validator(schema()).iter_errors(data))


@pytest.mark.parametrize("name", NAMES)
def test_every_recorded_run_fits_the_schema_and_the_schema_knows_every_key(name: str) -> None:
    recorded = json.loads((FOLDER / f"{name}.json").read_text(encoding="ascii"))
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(recorded, schema(), jsonschema.Draft202012Validator)
    jsonschema.validate(recorded, closed(schema()), jsonschema.Draft202012Validator)


def closed(description: Any) -> Any:
    """The schema with no key allowed that it does not name."""
    if isinstance(description, list):
        return [closed(item) for item in description]
    if not isinstance(description, dict):
        return description
    made = {key: closed(item) for key, item in description.items()}
    return {**made, "additionalProperties": False} if "required" in made and "properties" in made else made


def changed(path: str, value: Any) -> str:
    data: Any = json.loads(OK)
    place = data
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        place = place[step]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("schema", "submission-probe/run/2", "submission-probe/run/2"),
        ("schema", "submission-probe/audit/1", "has the schema"),
        ("schema", KeyError, "has no schema"),
        ("reports", {}, "reports is {}, not array"),
        ("reports.0.verdict", "fine", 'reports[0].verdict is "fine", not one of ok'),
        ("reports.0.seconds", "3", 'reports[0].seconds is "3", not number'),
        ("reports.0.seconds", True, "reports[0].seconds is true, not number"),
        ("reports.0.stages.2.facts", [], "reports[0].stages[2].facts is [], not object"),
        ("reports.0.target.port", KeyError, "reports[0].target.port is missing"),
        ("reports.0.started", "yesterday", "not an instant"),
        ("reports.0.started", "9999-12-31T23:59:59.999999Z", "not an instant"),
        ("started", "0001-01-01T00:00:00Z", "not an instant"),
        ("reports.0.seconds", 1e14, "reports[0].seconds is 100000000000000.0, not between"),
        ("reports.0.transcript.0.at", -1e10, "not between"),
        ("reports.0.transcript.0.text", None, "reports[0].transcript[0].text is null, not string"),
        ("exit_code", False, "exit_code is false"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line_by_us_and_by_the_schema(path: str, value: Any, says: str) -> None:
    text = changed(path, value)
    with pytest.raises(NotARun) as caught:
        read(text, "run.json")
    assert says in str(caught.value) and "\n" not in str(caught.value) and str(caught.value).startswith("run.json ")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(text), schema())


NONSENSE = ["", "  \n", "hello", "{", "[1]", "null", "{}", "[" * 100_000, '{"schema": NaN}', OK[:5000], "{\n}\n"]


@pytest.mark.parametrize("text", NONSENSE)
def test_garbage_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(NotARun) as caught:
        read(text)
    assert "\n" not in str(caught.value) and "probe run -o json" in str(caught.value)


@pytest.mark.parametrize("number", ["1" + "0" * 400, "1" + "0" * 5000, "1e999", "-1e308"])
@pytest.mark.parametrize(
    "path",
    ["seconds", "reports.0.delivery_seconds", "reports.0.stages.1.at", "reports.0.stages.1.facts.x", "reports.0.target.port"],
)
def test_a_number_that_nothing_can_show_is_refused_in_one_line(path: str, number: str) -> None:
    with pytest.raises(NotARun) as caught:
        read(changed(path, "@@").replace('"@@"', number), "run.json")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_keys_of_later_versions_are_passed_over() -> None:
    data = json.loads(OK)
    data["later"] = data["reports"][0]["later"] = data["reports"][0]["stages"][0]["later"] = {"a": 1}
    assert read(json.dumps(data)).reports == saved("ok").reports


def test_runs_of_earlier_versions_had_no_thresholds() -> None:
    data = json.loads(OK)
    for key in ("thresholds", "error", "interrupted"):
        del data["reports"][0][key]
    (report,) = read(json.dumps(data)).reports
    assert report.thresholds == {} and report.error is None and not report.interrupted


@pytest.mark.parametrize("name", NAMES)
def test_jsonl_is_read_too(name: str) -> None:
    from probe.output import Context, output

    run = saved(name)
    lines = output("jsonl").write(run.reports, Context(run.started, run.seconds, version=run.version))
    assert read(lines).reports == run.reports
    with pytest.raises(NotARun, match="line 2"):
        read(lines.splitlines()[0] + "\n{broken\n")


# The command


@pytest.mark.parametrize("name", ["ok", "junk", "failed-smtp-auth", "broken", "interrupted", "nodes"])
def test_the_exit_status_is_the_runs_own(name: str) -> None:
    done = probe("report", str(FOLDER / f"{name}.json"))
    assert done.returncode == json.loads((FOLDER / f"{name}.json").read_text())["exit_code"] and not done.stderr


def test_every_report_at_once_and_json_unchanged(tmp_path: Path) -> None:
    options = [word for name in formats() for word in ("--report", f"{name}={tmp_path / name}")]
    done = probe("report", str(FOLDER / "nodes.json"), "-o", "json", *options)
    assert done.returncode == 2 and not done.stderr
    assert json.loads(done.stdout) == json.loads((FOLDER / "nodes.json").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(formats())
    assert (tmp_path / "json").read_bytes() == done.stdout


def test_one_run_writes_every_report(tmp_path: Path) -> None:
    profile = tmp_path / "closed.toml"
    profile.write_text('[submission]\nhost = "localhost"\nport = 1\n[account]\nusername = "a@b.test"\npassword = { env = "PW" }\n')
    options = [word for name in formats() for word in ("--report", f"{name}={tmp_path / 'reports' / name}")]
    (tmp_path / "reports").mkdir()
    done = probe("run", str(profile), "-o", "nagios", *options, PW="correct-Horse7battery", SUBMISSION_PROBE_STATE=str(tmp_path))
    assert done.returncode == 2 and done.stdout.startswith(b"SUBMISSION CRITICAL - localhost:1 smtp.connect failed")
    written = {path.name: path.read_bytes() for path in (tmp_path / "reports").iterdir()}
    assert sorted(written) == sorted(formats()) and all(b"connect.refused" in written[name] for name in OURS)
    assert not any(b"Horse7battery" in text for text in written.values())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_stdin_as_shells_write_it(encoding: str) -> None:
    for arguments in ([], ["-"]):
        done = probe("report", *arguments, stdin=OK.encode(encoding))
        assert done.returncode == 0 and done.stdout.startswith(b"OK  demo"), done.stderr


@pytest.mark.not_on_windows("modes of files: Windows has access lists")
def test_a_prometheus_file_is_for_all_to_read_whatever_the_umask(tmp_path: Path) -> None:
    metrics, run = tmp_path / "probe.prom", tmp_path / "run.json"
    before = os.umask(0o077)
    try:
        done = probe("report", str(FOLDER / "ok.json"), "--report", f"prometheus={metrics}", "--report", f"json={run}")
    finally:
        os.umask(before)
    assert done.returncode == 0
    assert (metrics.stat().st_mode & 0o777, run.stat().st_mode & 0o777) == (0o644, 0o600)
    assert metrics.read_bytes().endswith(b"\n") and [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("arguments", [["-o", "nagios"], ["-onagios"], ["--output=nagios"], ["--output", "nagios"]])
def test_nagios_is_told_of_our_own_errors_on_stdout(tmp_path: Path, arguments: list[str]) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('[submission]\nhost = "a|b"\nprot = 587\n')
    for call in (["run", str(bad)], ["run", "--no-such-option", "x"], ["report", str(bad)], ["run", "no-such-profile"]):
        done = probe(*call, *arguments)
        assert done.returncode == 3
        assert done.stdout.startswith(b"SUBMISSION UNKNOWN - ") and done.stdout.count(b"\n") == 1 and b"|" not in done.stdout


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\xff", b"\x89PNG\r\n\xff", b'{"schema": "other"}'])
def test_the_command_refuses_garbage(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "run.json"
    file.write_bytes(content)
    done = probe("report", str(file))
    assert done.returncode == 3 and done.stdout == b"" and done.stderr.count(b"\n") == 1 and str(file).encode() in done.stderr
    missing = probe("report", str(tmp_path / "missing.json"))
    assert missing.returncode == 3 and b"No such file" in missing.stderr


def test_schema_run_and_schema_profile() -> None:
    assert json.loads(probe("schema", "run").stdout) == json.loads(json.dumps(schema()))
    assert "submission" in json.loads(probe("schema").stdout)["properties"]
    assert probe("schema").stdout == probe("schema", "profile").stdout
    assert probe("schema", "nothing").returncode == 3


def test_the_reader_changes_nothing_it_is_given() -> None:
    data = json.loads(OK)
    before = copy.deepcopy(data)
    read(json.dumps(data))
    assert data == before
