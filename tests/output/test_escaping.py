"""Whatever a server says, and whatever a profile is called, every output stays what it is."""

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import junitparser
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from prometheus_client.parser import text_string_to_metric_families
from tap.parser import Parser

from probe.facts import Facts, from_json, to_json
from probe.output import Context, output
from probe.record import StageRecord
from probe.report import Report
from tests.output.runs import saved
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
