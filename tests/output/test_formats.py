"""Every output on every recorded run, each read by somebody else's reader of that format."""

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import junitparser
import pytest
import yaml
from markdown_it import MarkdownIt
from nagiosplugin.performance import Performance
from nagiosplugin.range import Range
from prometheus_client.parser import text_string_to_metric_families
from tap.parser import Parser

from probe.report import exit_code, worst_verdict
from probe.report.causes import causes
from tests.output.runs import HOSTILE, NAMES, OURS, saved, told

CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
runs = pytest.mark.parametrize("name", NAMES)


def test_the_recorded_runs_cover_every_stage_that_can_fail() -> None:
    failed = {report.failed_stage for name in NAMES for report in saved(name).reports}
    stages = {stage.name for stage in saved("ok").reports[0].stages}
    # Deleting ends in a warning: the message was proven and read.
    assert stages - failed == {"imap.delete", "pop3.delete"}
    assert {"cleanup.failed"} <= {finding.id for report in saved("warned-imap-delete").reports for finding in report.findings}
    assert len(HOSTILE) >= 4 and len(NAMES) >= 30


@runs
@pytest.mark.parametrize("format", OURS)
def test_each_output_ends_its_lines_and_says_the_same_twice(format: str, name: str) -> None:
    text = told(format, name, transcript=True)
    assert text.endswith("\n") and "\r" not in text
    assert text == told(format, name, transcript=True)


@runs
@pytest.mark.parametrize("format", [name for name in OURS if name not in ("junit", "html")])
def test_no_control_character_of_a_server_gets_through(format: str, name: str) -> None:
    assert not CONTROLS.search(told(format, name, transcript=True))


# json and jsonl


@runs
def test_json_of_a_saved_run_is_what_was_saved(name: str) -> None:
    text = told("json", name)
    assert text.isascii()
    recorded = json.loads(told("json", name))
    assert recorded["exit_code"] == exit_code(saved(name).reports)


@runs
def test_jsonl_has_a_line_a_target(name: str) -> None:
    text = told("jsonl", name)
    lines = [json.loads(line) for line in text.splitlines()]
    assert text.isascii() and [line["profile"] for line in lines] == [report.profile for report in saved(name).reports]
    for line, report in zip(lines, json.loads(told("json", name))["reports"], strict=True):
        assert {key: line[key] for key in report} == report and line["schema"] == "submission-probe/report/1"


# nagios


def perfdata(line: str) -> list[Performance]:
    """By the guidelines: what stands behind the one bar; nagiosplugin checks labels and ranges."""
    found = []
    for word in line.split("|")[1].split():
        label, value, *rest = re.split("[=;]", word)
        number, unit = re.fullmatch(r"(-?[0-9.]+)([a-z%]*)", value).groups()  # type: ignore[union-attr]
        warning, critical, least, most = [*rest, "", "", "", ""][:4]
        assert str(Performance(label, number, unit, warning, critical, least, most)).replace("'", "") == word
        for text in filter(None, (warning, critical)):
            Range(text)
        found.append(Performance(label, float(number), unit, warning, critical, least, most))
    return found


@runs
def test_nagios_is_one_ascii_line_with_one_bar(name: str) -> None:
    text = told("nagios", name)
    assert text.isascii() and text.count("\n") == 1 and text.count("|") == 1 and len(text) < 4096
    reports = saved(name).reports
    state = "unknown" if any(report.interrupted for report in reports) else worst_verdict(report.verdict for report in reports)
    assert text.startswith(f"SUBMISSION {state.upper()} - ")
    labels = [item.label for item in perfdata(text)]
    assert len(labels) == len(set(labels))


def test_nagios_performance_data() -> None:
    report = saved("ok").reports[0]
    data = {item.label: item for item in perfdata(told("nagios", "ok"))}
    assert {"delivery", "total", "certificate_days", "smtp.connect", "imap.find", "pop3.delete"} <= set(data)
    assert data["total"].value == pytest.approx(report.seconds) and data["total"].uom == "s"
    assert Range(data["delivery"].warn).match(9) and not Range(data["delivery"].warn).match(11)
    assert Range(data["delivery"].crit).match(59) and not Range(data["delivery"].crit).match(61)
    # The sandbox's certificate is valid for 7 days, the demo warns within the last hour.
    assert 6.9 < data["certificate_days"].value < 7.1
    assert Range(data["certificate_days"].warn).match(1) and not Range(data["certificate_days"].warn).match(0.01)


def test_nagios_leaves_out_whole_numbers_when_there_are_too_many_targets() -> None:
    labels = [item.label for item in perfdata(told("nagios", "many"))]
    assert {f"site-{number:02}.contoso.test/total" for number in range(12)} <= set(labels)
    assert len(labels) < 12 * 23


def test_nagios_names_the_targets_that_are_not_well() -> None:
    assert "1 of 3 targets ok; contoso: critical, localhost" in told("nagios", "nodes")


# prometheus


@runs
def test_prometheus_is_read_by_its_own_parser(name: str) -> None:
    text = told("prometheus", name)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert all(family.startswith("submission_probe_") for family in families)
    for family in families.values():
        series = [tuple(sorted(sample.labels.items())) for sample in family.samples]
        assert len(series) == len(set(series)) and all(sample.timestamp is None for sample in family.samples)
        assert {label for sample in family.samples for label in sample.labels} <= {
            "profile", "stage", "finding", "severity", "verdict"
        }  # fmt: skip
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert heads == [line for line in told("prometheus", "ok").splitlines() if line.startswith("#")]


@pytest.mark.not_on_windows("promtool: the same octets are tried on Linux")
@runs
def test_prometheus_passes_promtool(name: str) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run(["promtool", "check", "metrics"], input=told("prometheus", name), capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_prometheus_tells_the_worse_of_two_runs_of_one_profile() -> None:
    families = {family.name: family.samples for family in text_string_to_metric_families(told("prometheus", "nodes"))}
    assert [sample.value for sample in families["submission_probe_success"]] == [0.0]
    stages = {sample.labels["stage"]: sample.value for sample in families["submission_probe_stage_success"]}
    assert stages["smtp.auth"] == 0.0 and stages["smtp.ehlo"] == 1.0


# junit


@runs
def test_junit_is_read_by_junitparser_and_counts_are_right(name: str) -> None:
    text = told("junit", name)
    ET.fromstring(text)
    suites = list(junitparser.JUnitXml.fromstring(text.encode()))
    reports = saved(name).reports
    assert len(suites) == len(reports)
    names: Counter[tuple[str, str]] = Counter()
    for suite, report in zip(suites, reports, strict=True):
        counted = (suite.tests, suite.failures, suite.errors, suite.skipped)
        suite.update_statistics()
        assert counted == (suite.tests, suite.failures, suite.errors, suite.skipped)
        for case in suite:
            assert case.classname == f"submission-probe.{report.profile}"
            names[case.classname, case.name] += 1
            for result in case.result:
                assert result.message
                assert isinstance(result, junitparser.Skipped) or result.text.strip()
        assert (suite.failures + suite.errors > 0) == (report.exit_code not in (0, 1))
    assert set(names.values()) == {1}


def test_junit_has_the_servers_words_without_what_xml_cannot_hold() -> None:
    (suite,) = junitparser.JUnitXml.fromstring(told("junit", "hostile-greeting").encode())
    (case,) = [case for case in suite if case.name == "smtp.greeting"]
    (failure,) = case.result
    assert "</script><script>alert(1)</script>" in failure.text and "]]>" in failure.text
    assert failure.type == "greeting.refused" and "\x1b" not in failure.text


# tap


@runs
def test_tap_is_read_by_tap_py(name: str) -> None:
    text = told("tap", name)
    lines = list(Parser().parse_text(text))
    kinds = Counter(line.category for line in lines)
    assert not kinds["unknown"] and not kinds["bail"] and kinds["version"] == kinds["plan"] == 1
    points = [line for line in lines if line.category == "test"]
    assert [line.number for line in points] == list(range(1, lines[1].expected_tests + 1))
    reports = saved(name).reports
    stages = [stage for report in reports for stage in report.stages]
    assert sum(point.skip for point in points) == sum(stage.status == "skipped" for stage in stages)
    assert not any(point.todo for point in points)
    assert all(point.ok for point in points) == (exit_code(reports) in (0, 1))
    for point in points:
        assert point.ok or "message" in point.yaml_block


@pytest.mark.not_on_windows("prove: the same octets are tried on Linux")
@runs
def test_tap_is_read_by_perls_prove(name: str, tmp_path: Path) -> None:
    if shutil.which("prove") is None:
        pytest.skip("prove is not installed (Debian: perl)")
    file = tmp_path / "run.tap"
    file.write_text(told("tap", name), encoding="utf-8")
    done = subprocess.run(["prove", "--exec", "cat", str(file)], capture_output=True, text=True)
    assert "Parse errors" not in done.stdout + done.stderr
    assert (done.returncode == 0) == (exit_code(saved(name).reports) in (0, 1))


def test_tap_keeps_the_servers_words_in_yaml() -> None:
    block = re.search(r"  ---\n(.*?)  \.\.\.\n", told("tap", "hostile-greeting"), re.DOTALL)
    assert block
    data = yaml.safe_load(block[1])
    assert "| perf=1;;;0" in data["message"] and "😀" in data["message"] and data["findings"][0]["id"] == "greeting.refused"


# github


@runs
def test_github_has_commands_only(name: str) -> None:
    lines = told("github", name).splitlines()
    reports = saved(name).reports
    assert len(lines) == len(reports) + sum(len(causes(report.findings)) for report in reports)
    for line in lines:
        matched = re.fullmatch(r"::(error|warning|notice) title=([^:,\r\n]*)::(.*)", line)
        assert matched and "%" not in re.sub("%(25|0A|0D|3A|2C)", "", matched[2] + matched[3])


def test_github_escapes_so_that_unescaping_gives_the_servers_words() -> None:
    message = told("github", "hostile-greeting").splitlines()[1].split("::", 2)[2]
    plain = message.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
    assert "::error::x%0A ##[error]y" in plain and '{% include "x" %}' in plain


# markdown


@runs
def test_markdown_holds_no_html_link_image_or_broken_table(name: str) -> None:
    text = told("markdown", name, transcript=True)
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    every = [*tokens, *(child for token in tokens for child in token.children or ())]
    kinds = Counter(token.type for token in every)
    reports = saved(name).reports
    assert not {"html_block", "html_inline", "link_open", "image", "s_open", "em_open", "fence", "hr"} & set(kinds)
    assert kinds["table_open"] == len(reports) and kinds["code_block"] == sum(bool(report.transcript) for report in reports)
    assert kinds["td_open"] == 4 * sum(len(report.stages) for report in reports)
    # Headings: one a report, one a cause, none that a server wrote.
    assert kinds["heading_open"] == len(reports) + sum(len(causes(report.findings)) for report in reports)


def test_markdown_shows_the_servers_words_as_they_are() -> None:
    tokens = MarkdownIt("commonmark").parse(told("markdown", "hostile-greeting"))
    spans = [child.content for token in tokens for child in token.children or () if child.type == "code_inline"]
    assert any("`code` **bold** @everyone" in span and "<img src=http" in span for span in spans)
    headings = "".join(child.content for token in tokens for child in token.children or () if child.type == "text")
    assert "[link](http://evil.test)" in headings and "@everyone" not in headings
