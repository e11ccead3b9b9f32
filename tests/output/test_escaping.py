"""Whatever a server says, and whatever a profile is called, every output stays what it is."""

import json
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import junitparser
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from prometheus_client.parser import text_string_to_metric_families
from tap.parser import Parser

from probe.facts import Facts, from_json, to_json
from probe.output import Context, formats, output
from probe.output._changes import NATIVE, as_report
from probe.record import StageRecord
from probe.report import Report
from probe.report.comparison import Change, Comparison
from probe.runs.saved import NotARun, read
from tests.output.runs import FOLDER, saved
from tests.output.test_html import Source

CONTEXT = Context("2026-11-24T08:00:00Z", 1.0, transcript=True)
BASE = saved("failed-smtp-submit").reports[0]

# What formats give a meaning to, more often than chance would bring it; and any character, surrogates too.
_BITS = [*"|`*_[]()<>&\"'\\#%:,;=$\n\t\x00\x85\u2028\u202e\ud800", "```", "\r\n", "\x1b[31m", "---", "...", "]]>", "-->", "<!--"]
_WORDS = ["</script>", "</script ", "<script ", "::error::", "##[error]", "# TODO", "# SKIP", "Bail out!", "not ok 1", "1..3"]
_WORDS += ["- ", "    ", "http://a.test", "www.a.test", "@all", "$x$"]
HOSTILE = st.lists(st.one_of(st.sampled_from([*_BITS, *_WORDS]), st.text(max_size=5)), max_size=12).map("".join)


def said(text: str, profile: str = "contoso") -> Report:
    """A run whose server says the text wherever servers are quoted."""
    finding = replace(BASE.findings[0], summary=f"the server said {text}", evidence=text)
    stages = tuple(
        replace(stage, record=replace(stage.record, reason=stage.record.reason and text, facts=_facts(stage.record, text)))
        for stage in BASE.stages
    )
    transcript = tuple(replace(line, text=text) for line in BASE.transcript[:3])
    target = replace(BASE.target, node=text)
    return replace(BASE, profile=profile, target=target, stages=stages, findings=(finding,), transcript=transcript)


def _facts(record: StageRecord, text: str) -> Facts | None:
    return from_json(record.name, _saying(to_json(record.facts), text))


def _saying(value: Any, text: str) -> Any:
    if isinstance(value, dict):
        return {key: _saying(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [_saying(item, text) for item in value]
    return text if isinstance(value, str) else value


def told(format: str, report: Report) -> str:
    text = output(format).write([report], CONTEXT)
    text.encode("utf-8", "strict" if format not in ("text", "markdown") else "backslashreplace")
    return text


@settings(max_examples=80, deadline=None)
@given(HOSTILE)
def test_lines_stay_lines(text: str) -> None:
    report = said(text)
    nagios = told("nagios", report)
    assert nagios.isascii() and nagios.count("\n") == nagios.count("|") == 1 and len(nagios) < 4096
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", nagios)
    github = told("github", report).splitlines()
    assert len(github) == 2 and all(re.fullmatch(r"::(error|warning|notice) title=[^:,]*::.*", line) for line in github)
    assert told("jsonl", report).isascii() and told("jsonl", report).count("\n") == 1 and told("json", report).isascii()


@settings(max_examples=80, deadline=None)
@given(HOSTILE)
def test_xml_yaml_and_html_stay_whole(text: str) -> None:
    report = said(text)
    (suite,) = junitparser.JUnitXml.fromstring(told("junit", report).encode())
    assert suite.tests == len(BASE.stages) and suite.failures == 1
    lines = list(Parser().parse_text(told("tap", report)))
    assert Counter(line.category for line in lines) == {"version": 1, "plan": 1, "test": len(BASE.stages)}
    assert not any(line.todo for line in lines if line.category == "test")
    assert all(line.count("#") <= 1 for line in told("tap", report).splitlines() if re.match("(not )?ok ", line))
    block = re.search(r"  ---\n(.*?)  \.\.\.\n", told("tap", report), re.DOTALL)
    assert block and yaml.safe_load(block[1])["message"].startswith("the server said")
    source, plain = Source(told("html", report)), Source(told("html", said("x")))
    tags = {"script", "style", "img", "article", "section", "b", "a", "table"}
    assert source.open == [] and _count(source, tags) == _count(plain, tags)


def _count(source: Source, tags: set[str]) -> Counter[str]:
    return Counter(tag for tag, _ in source.elements if tag in tags)


@settings(max_examples=80, deadline=None)
@given(HOSTILE)
def test_markdown_shows_text_as_text(text: str) -> None:
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(told("markdown", said(text)))
    every = [*tokens, *(child for token in tokens for child in token.children or ())]
    kinds = Counter(token.type for token in every)
    assert not {"html_block", "html_inline", "link_open", "image", "s_open", "em_open", "fence", "hr"} & set(kinds)
    assert (kinds["heading_open"], kinds["table_open"], kinds["code_block"]) == (2, 1, 1)
    assert kinds["td_open"] == 4 * len(BASE.stages)


@settings(max_examples=80, deadline=None)
@given(st.text(min_size=1, max_size=30) | HOSTILE.filter(bool))
def test_a_profile_may_be_called_anything(profile: str) -> None:
    report = said("no", profile)
    families = list(text_string_to_metric_families(told("prometheus", report)))
    assert {sample.labels["profile"] for family in families for sample in family.samples} != set()
    assert told("nagios", report).count("|") == 1
    (suite,) = junitparser.JUnitXml.fromstring(told("junit", report).encode())
    assert suite.tests == len(BASE.stages)
    assert not any(line.category == "unknown" for line in Parser().parse_text(told("tap", report)))
    github = told("github", report).splitlines()
    assert len(github) == 2 and all(re.fullmatch(r"::error title=[^:,]*::.*", line) for line in github)


def compared(format: str, text: str) -> str:
    """A comparison whose keys, which servers name too (a capability), and values say the text."""
    made = Comparison((Change(text, text, text, text, "critical"),), text, text)
    reports = [] if format in NATIVE else [as_report(made)]
    return output(format).write(reports, replace(CONTEXT, comparison=made))


@settings(max_examples=60, deadline=None)
@given(HOSTILE)
def test_what_a_comparison_names_is_data(text: str) -> None:
    for format in formats():
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", compared(format, text)), format
    assert len(compared("text", text).splitlines()) == 2
    assert compared("nagios", text).count("\n") == compared("nagios", text).count("|") == 1
    github = compared("github", text).splitlines()
    assert len(github) == 2 and all(re.fullmatch(r"::error title=[^:,]*::.*", line) for line in github)
    (suite,) = junitparser.JUnitXml.fromstring(compared("junit", text).encode())
    assert suite.tests == suite.failures == 1
    lines = Counter(line.category for line in Parser().parse_text(compared("tap", text)))
    assert lines == {"version": 1, "plan": 1, "test": 1}
    list(text_string_to_metric_families(compared("prometheus", text)))
    source = Source(compared("html", text))
    assert source.open == [] and _count(source, {"script", "img", "b"}) == {"script": 1}
    assert [attributes.get("role") for _, attributes in source.elements].count("cell") == 2
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(compared("markdown", text))
    kinds = Counter(token.type for token in (*tokens, *(child for token in tokens for child in token.children or ())))
    assert not {"html_block", "html_inline", "link_open", "image", "s_open", "em_open", "fence", "hr"} & set(kinds)
    assert (kinds["heading_open"], kinds["table_open"], kinds["td_open"]) == (2, 1, 4)


@pytest.mark.parametrize("format", formats())
def test_a_finding_of_no_stage_may_be_called_anything(format: str) -> None:
    """Outputs that go by stages show it in a place of its own, under its id."""
    text = "change.\n\x1b[31m<b>|#&]]>\x00"
    finding = replace(BASE.findings[0], id=text, stage="elsewhere")
    shown = told(format, replace(BASE, findings=(*BASE.findings, finding)))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)
    if format == "tap":
        lines = Counter(line.category for line in Parser().parse_text(shown))
        assert lines == {"version": 1, "plan": 1, "test": len(BASE.stages) + 1}
    elif format == "junit":
        (suite,) = junitparser.JUnitXml.fromstring(shown.encode())
        assert suite.tests == len(BASE.stages) + 1


@pytest.mark.parametrize(
    "word", ["smtp.\x1b[31m", "smtp.x # TODO", "smtp.x\nnot ok 1", "smtp.x|a=1", "smtp." + "x" * 200, "smtp.<b>"]
)
@pytest.mark.parametrize("place", ["stage", "finding", "finding's stage", "connection", "failed_stage"])
def test_a_saved_run_has_plain_names(place: str, word: str) -> None:
    run = json.loads((FOLDER / "failed-smtp-submit.json").read_text(encoding="ascii"))
    report = run["reports"][0]
    if place == "failed_stage":
        report[place] = word
    else:
        item, key = {
            "stage": (report["stages"][0], "name"), "finding": (report["findings"][0], "id"),
            "finding's stage": (report["findings"][0], "stage"), "connection": (report["transcript"][0], "connection"),
        }[place]  # fmt: skip
        item[key] = word
    with pytest.raises(NotARun, match="not a plain name") as caught:
        read(json.dumps(run), "run.json")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 250
