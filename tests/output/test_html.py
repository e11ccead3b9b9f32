"""The HTML page: its source on every recorded run, and what a real browser makes of it."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markupsafe import Markup

from probe.facts import from_json
from probe.output import Context, output
from probe.output._page import hops, merged, view, waiting, waterfall
from probe.output.html import Panel, page
from probe.report.as_json import to_json
from probe.report.statistics import PastRun
from probe.report.steps import pieces
from tests.output.browser import PROGRAM, Browser
from tests.output.runs import HOSTILE, NAMES, saved, told

runs = pytest.mark.parametrize("name", NAMES)
LOADING = {"img", "iframe", "object", "embed", "link", "base", "form", "input", "audio", "video", "foreignobject", "use"}
VOID = {"meta", "br", "wbr", "path", "rect"}


class Source(HTMLParser):
    """Every element with its attributes, the text by element, and whether the elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text[self.open[-1]] = self.text.get(self.open[-1], "") + data


@runs
def test_the_page_has_nothing_that_runs_or_loads(name: str) -> None:
    source = Source(told("html", name))
    assert source.open == []
    kinds = {tag for tag, _ in source.elements}
    assert not kinds & LOADING
    assert [attributes for tag, attributes in source.elements if tag == "script"] == [{"type": "application/json", "id": "run"}]
    for tag, attributes in source.elements:
        for key, value in attributes.items():
            assert not key.startswith("on") and key not in ("style", "src", "srcset", "srcdoc"), (tag, key)
            assert key != "href" or (value or "").startswith("#report-")
    assert "url(" not in source.text["style"] and "@import" not in source.text["style"]


@runs
def test_the_run_stands_in_the_page_as_json(name: str) -> None:
    run = saved(name)
    text = Source(told("html", name)).text["script"]
    # Browsers know more ways to end a script, or to begin a comment in it, than Python's parser does.
    assert not set("<>&") & set(text)
    embedded = json.loads(text)
    assert embedded == json.loads(json.dumps(to_json(run.reports, started=run.started, seconds=run.seconds, version=run.version)))


@runs
def test_every_finding_and_stage_is_in_the_text(name: str) -> None:
    source = Source(told("html", name))
    text = " ".join(" ".join(source.text.values()).split())
    for report in saved(name).reports:
        for finding in report.findings:
            parts = [" ".join(piece.text.split()) for step in finding.remedy for piece in pieces(step)]
            assert finding.id in text and all(part in text for part in parts)
        assert all(stage.name in text for stage in report.stages)


def test_a_surrogate_alone_and_facts_without_half_their_keys_do_not_stop_it() -> None:
    report = saved("ok").reports[0]
    keys = {"chain": [{"subject": "\ud800<b>"}], "hops": [{}], "lines": ["\ud800<b>"], "not_after": "?", "attempts": [{}]}
    stages = tuple(replace(stage, record=replace(stage.record, facts=from_json(stage.name, keys))) for stage in report.stages)
    text = page([replace(report, stages=stages)], Context("2026-11-24T08:00:00Z", 1.0))
    text.encode("utf-8")
    assert "<b>" not in text


def test_panels_stand_above_the_reports() -> None:
    run = saved("ok")
    panel = Panel("What <changed>", Markup("<table class='hops'><tr><td>1</td></tr></table>"))
    text = page(run.reports, Context(run.started, run.seconds), [panel])
    assert text.index("What &lt;changed&gt;") < text.index("<table class='hops'><tr>") < text.index('<article class="report"')


# The values behind the page


@runs
def test_bars_stay_on_the_axis_in_the_order_of_time(name: str) -> None:
    for report in saved(name).reports:
        bars, seconds = waterfall(report.stages)
        assert seconds <= report.seconds + 0.001
        for bar in bars:
            assert bar.left >= 0 and bar.left + bar.width <= 1000.001 and (bar.width > 0) == (bar.stage.status != "skipped")
        ran = [bar for bar in bars if bar.width]
        for one in ran:
            for other in ran:
                if one.stage.record.at + one.stage.record.seconds <= other.stage.record.at:
                    assert one.left <= other.left


def test_the_wait_for_delivery_does_not_crush_the_stages() -> None:
    report = saved("ok").reports[0]
    after = ("imap.verify", "imap.delete", "pop3.login", "pop3.verify", "pop3.delete")
    moved = {stage.name: 60 if stage.name in after else 0 for stage in report.stages}
    late = [replace(stage, record=replace(stage.record, at=stage.record.at + moved[stage.name])) for stage in report.stages]
    assert waterfall(late)[1] <= waterfall(report.stages)[1] + 0.01
    assert merged([(3, 4), (0, 1), (0.5, 2), (2, 2.5)]) == [(0, 2.5), (3, 4)]


def test_the_wait_says_whether_the_message_was_seen() -> None:
    lost = waiting(saved("never-delivered").reports[0])
    seen = waiting(saved("junk").reports[0])
    assert lost and seen and not lost.waits[0].seen and (seen.waits[0].seen, seen.waits[0].folder) == (True, "Junk")
    assert waiting(saved("failed-smtp-auth").reports[0]) is None


def test_ehlo_lines_that_differ_are_marked() -> None:
    shown = view(saved("ok-exchange").reports[0])
    assert [line.text for line in shown.before if line.only_here] == ["250-STARTTLS", "250-AUTH GSSAPI NTLM"]
    assert [line.text for line in shown.after if line.only_here] == ["250-AUTH GSSAPI NTLM LOGIN"]


def test_a_negative_hop_is_called_a_clock_difference() -> None:
    (_, second) = hops(saved("late-hops").reports[0])
    assert second.seconds is not None and second.seconds < 0
    assert "clock difference" in told("html", "late-hops") and "clock difference" not in told("html", "ok")


def test_one_fault_on_three_connections_is_one_box_with_three_sessions() -> None:
    (block,) = view(saved("failed-smtp-certificate").reports[0]).blocks
    assert block.cause.stages == ["smtp.certificate", "imap.certificate", "pop3.certificate"] and len(block.sessions) == 3


def test_a_lost_message_is_looked_for_where_it_was_accepted() -> None:
    report = saved("never-delivered").reports[0]
    queue = next(stage.record.facts.queue_id for stage in report.stages if stage.name == "smtp.submit")
    block = next(block for block in view(report).blocks if block.cause.finding.id == "delivery.missing")
    assert [stage for stage, _ in block.sessions] == ["smtp.submit", "imap.find"]
    assert any(queue in place.command for place in block.sessions[0][1])


def test_where_the_session_stands_in_the_servers_log() -> None:
    exchange = told("html", "junk")
    local = next(stage.record.facts.local for stage in saved("junk").reports[0].stages if stage.name == "imap.connect")
    assert f"Client {local}" in exchange and "Logging\\Imap4\\*.log" in exchange
    assert "/var/log/mail.log" in told("html", "failed-smtp-submit")
    assert "The server was not reached" in told("html", "failed-smtp-connect")


def test_a_queue_id_that_is_shell_stays_out_of_commands() -> None:
    from probe.output._logs import places

    report = saved("ok").reports[0]
    nasty = [
        replace(stage, record=replace(stage.record, facts=replace(stage.record.facts, queue_id="x'; rm -rf ~; '")))
        if stage.name == "smtp.submit" else stage
        for stage in report.stages
    ]  # fmt: skip
    assert not any("rm -rf" in place.command for place in places(replace(report, stages=tuple(nasty)), "smtp.submit"))
    queue = next(stage.record.facts.queue_id for stage in report.stages if stage.name == "smtp.submit")
    assert any(queue in place.command for place in places(report, "smtp.submit"))


# In a browser

LOOKS = [
    pytest.param(options, id=look)
    for look, options in {
        "light": {},
        "dark": {"scheme": "dark"},
        "narrow": {"width": 560},
        "narrow-dark": {"width": 560, "scheme": "dark"},
        "phone": {"width": 360},
        "print": {"media": "print", "width": 760},
    }.items()
]

CONTRAST = """(() => {
  const light = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = element => { for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (!/, 0\\)$/.test(colour) && colour !== "transparent") return colour; } return "rgb(255, 255, 255)"; };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || element.closest("script, .sr") || !element.checkVisibility()) continue;
    const pair = [light(getComputedStyle(element).color), light(paper(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    found.push([ratio, element.className || element.tagName, walk.currentNode.data.trim().slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]).slice(0, 3);
})()"""

BADGE = """(() => {
  const badge = document.getElementById("verdict"), box = badge.getBoundingClientRect();
  const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return {text: badge.innerText.trim(), wide: box.width, high: box.height, shown: badge.contains(top), left: box.x};
})()"""

# The matrix may be scrolled in its own box.
OVERFLOW = """[...document.querySelectorAll("body, body *:not(script, .scroll *)")].filter(element => {
  const box = element.getBoundingClientRect();
  return box.right > innerWidth + 0.5 || box.left < -0.5;
}).map(element => element.outerHTML.slice(0, 120))"""

# Text that is wider than the box it stands in, where the box does not let it out.
CLIPPED = """[...document.querySelectorAll(".name, .seconds, .badge, th, td, code, pre, strong")].filter(element =>
  element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1).map(element => element.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if sys.platform == "win32":
        pytest.skip("not_on_windows: Chromium reads the same octets on Linux")
    if PROGRAM is None:
        pytest.skip("no Chromium here (run scripts/install-browser)")
    with Browser() as running:
        yield running


def written(name: str, folder: Path) -> Path:
    path = folder / f"{name}.html"
    path.write_text(told("html", name), encoding="utf-8")
    return path


@pytest.mark.parametrize("options", LOOKS)
@pytest.mark.parametrize("name", ["ok-exchange", "junk", "nodes", "many", "late-hops", "failed-smtp-certificate", *HOSTILE])
def test_it_is_readable_in_every_look(browser: Browser, tmp_path: Path, name: str, options: dict[str, object]) -> None:
    path = written(name, tmp_path)
    browser.open(path, **options)  # type: ignore[arg-type]
    badge = browser.evaluate(BADGE)
    assert badge["shown"] and badge["wide"] > 40 and badge["high"] > 16
    assert badge["text"] in ("OK", "WARNING", "CRITICAL", "UNKNOWN")
    browser.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    worst = browser.evaluate(CONTRAST)
    assert worst and worst[0][0] >= 4.5, worst
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), browser.evaluate(OVERFLOW)
    assert browser.evaluate(OVERFLOW) == []
    assert browser.evaluate(CLIPPED) == []
    # The file itself and nothing else; no violation of the policy, no error, no script's word.
    assert browser.requests == [path.as_uri()] and browser.complaints == []


@pytest.mark.parametrize("width", [400, 800, 900, 1600])
def test_past_runs_stay_within_their_card(browser: Browser, tmp_path: Path, width: int) -> None:
    """The card may be scrolled where the plot would be too small to read."""
    past: list[PastRun] = [
        {"started": f"2026-11-2{day}T08:00:00Z", "profile": "contoso", "verdict": "ok", "seconds": 2.0 + day} for day in range(5)
    ]
    run, path = saved("nodes"), tmp_path / "page.html"
    nodes = [replace(one, kind="node", target=replace(one.target, node="mail.contoso.com")) for one in run.reports]
    path.write_text(output("html").write(nodes, Context(run.started, run.seconds, history=tuple(past))), encoding="utf-8")
    browser.open(path, width=width)
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth") and browser.evaluate(OVERFLOW) == []
    drawn, card = browser.evaluate("""(() => {
      const plot = document.querySelector(".panel svg[role=img]");
      return [plot.getBoundingClientRect().width, plot.parentElement.scrollWidth];
    })()""")
    assert 600 <= drawn <= card + 0.5
    # Nodes that greet with one name are told apart by their address.
    rows = browser.evaluate("[...document.querySelectorAll('.matrix tbody th')].map(row => row.innerText)")
    assert len(set(rows)) == len(rows) == 3


@pytest.mark.parametrize("name", HOSTILE)
def test_a_banner_with_markup_stays_text(browser: Browser, tmp_path: Path, name: str) -> None:
    browser.open(written(name, tmp_path))
    browser.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    assert "<script>" in browser.evaluate("document.body.innerText")
    assert browser.evaluate("document.scripts.length") == 1 and browser.evaluate("document.scripts[0].type") == "application/json"
    assert browser.evaluate("document.querySelectorAll('img, b, [onerror], [onload], a:not([href^=\"#report-\"])').length") == 0
    assert "submission probe" in browser.evaluate("document.title")
    assert browser.evaluate("JSON.parse(document.getElementById('run').textContent).schema") == "submission-probe/run/1"
    controls = browser.evaluate("document.documentElement.innerText")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", controls)


def test_the_policy_stops_a_script_and_a_picture_that_somebody_got_in(browser: Browser, tmp_path: Path) -> None:
    """The second line of defence, tested by breaking the first."""
    text = told("html", "ok").replace(
        "</main>", "<script>document.title='owned'</script><img src='http://127.0.0.1:9/x.png'></main>"
    )
    path = tmp_path / "broken.html"
    path.write_text(text, encoding="utf-8")
    browser.open(path)
    assert browser.evaluate("document.title") != "owned"
    assert len(browser.complaints) == 2 and all("Content Security Policy" in text for text in browser.complaints)


def test_the_style_sheet_is_let_in_by_its_hash(browser: Browser, tmp_path: Path) -> None:
    browser.open(written("ok", tmp_path))
    assert browser.evaluate("getComputedStyle(document.getElementById('verdict')).backgroundColor") == "rgb(26, 127, 55)"
    browser.open(written("ok", tmp_path), scheme="dark")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 22, 29)"
