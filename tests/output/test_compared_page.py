"""The page of a comparison, in a browser: both sides beside each other at every width, words whole, what is alike folded away."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from probe.output import Context, output
from probe.output._compared import blocks, parts
from probe.report.comparison import Change, Comparison
from probe.runs.compare import compare
from tests.output.browser import Browser
from tests.output.runs import FOLDER, saved
from tests.output.test_html import CLIPPED, CONTRAST, OVERFLOW, Source, browser

__all__ = ["browser"]
NEW = "434AC224C8459924B26521298CE8834C514856AB"
LOOKS = {
    "400": {"width": 400},
    "900": {"width": 900},
    "1600": {"width": 1600},
    "900-dark": {"width": 900, "scheme": "dark"},
    "print": {"width": 500, "media": "print"},
}

# Letters of one word that stand in two lines; a thumbprint, which no word is, may go on in the next.
BROKEN = """(() => {
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange();
  while (walk.nextNode()) {
    if (walk.currentNode.parentElement.closest("script, .sr")) continue;
    for (const word of walk.currentNode.data.matchAll(/[A-Za-z_]+/g)) {
      range.setStart(walk.currentNode, word.index);
      range.setEnd(walk.currentNode, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
      if (lines.size > 1) found.push(word[0]);
    }
  }
  return found;
})()"""

SIDES = """[...document.querySelectorAll(".compared .line:not(.head)")].filter(line => line.querySelectorAll(".side").length === 2)
  .map(line => [...line.querySelectorAll(".side")].map(side => side.getBoundingClientRect()))
  .map(([before, after]) => [before.top === after.top, before.right <= after.left, Math.abs(before.width - after.width) < 2])"""


def made() -> Comparison:
    """A certificate announced everywhere that POP3 did not get, a mechanism more, and a logon that broke."""
    before: dict[str, Any] = json.loads((FOLDER / "ok-exchange.json").read_text(encoding="ascii"))
    after = copy.deepcopy(before)
    for stage in after["reports"][0]["stages"]:
        if stage["name"] in ("smtp.certificate", "imap.certificate"):
            stage["facts"]["thumbprint"] = NEW
            stage["facts"]["subject_names"] = ["autodiscover.contoso.com", "mail.contoso.com", "mail-legacy.contoso.com"]
            stage["facts"]["chain"][0]["issuer"] = "CN=Contoso Enterprise Issuing CA 7,OU=Infrastructure,O=Contoso Ltd,C=DE"
        if stage["name"] == "smtp.ehlo_tls":
            stage["facts"]["keywords"]["AUTH"].append("XOAUTH2")
        if stage["name"] == "pop3.login":
            stage["status"] = "failed"
    after["reports"][0]["target"]["host"] = "a-rather-long-name-of-a-server.messaging.contoso.com"
    return compare(before, after, [("certificate", NEW)])


def page(comparison: Comparison) -> str:
    return output("html").write([], Context(comparison.after, 0.0, comparison=comparison))


@pytest.mark.parametrize("look", LOOKS)
def test_it_is_readable_at_every_width(browser: Browser, tmp_path: Path, look: str) -> None:
    path = tmp_path / "page.html"
    path.write_text(page(made()), encoding="utf-8")
    browser.open(path, **LOOKS[look])  # type: ignore[arg-type]
    assert browser.evaluate("document.querySelectorAll('details[open]').length") == 0
    # Paper shows no more than what is unfolded.
    for opened in (False, True):
        browser.evaluate(f"document.querySelectorAll('details').forEach(element => element.open = {str(opened).lower()})")
        assert browser.evaluate(BROKEN) == []
        assert browser.evaluate(OVERFLOW) == [] and browser.evaluate(CLIPPED) == []
        worst = browser.evaluate(CONTRAST)
        assert worst and worst[0][0] >= 4.5, worst
    sides = browser.evaluate(SIDES)
    assert len(sides) > 5 and all(all(one) for one in sides), sides
    assert browser.evaluate("document.getElementById('verdict').innerText.trim()") == "CRITICAL"
    assert browser.requests == [path.as_uri()] and browser.complaints == []


GROUNDS = """[...document.querySelectorAll(".compared .line")].filter(line => line.querySelector("ins")).map(
  line => [line.querySelector(".word").innerText, getComputedStyle(line.querySelector("ins")).backgroundColor])"""


def test_what_one_side_has_alone_is_marked(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page(made()), encoding="utf-8")
    browser.open(path)
    added = browser.evaluate("[...document.querySelectorAll('ins')].map(element => element.innerText)")
    removed = browser.evaluate("[...document.querySelectorAll('del')].map(element => element.innerText)")
    assert "XOAUTH2" in added and NEW in added and "failed" in added and "ok" in removed
    assert not {"GSSAPI", "LOGIN"} & set(added + removed)
    colours = [browser.evaluate(f"getComputedStyle(document.querySelector('{tag}')).backgroundColor") for tag in ("ins", "del")]
    assert len({*colours, "rgba(0, 0, 0, 0)"}) == 3
    # What got worse is on red; what is there now is not on green for that alone.
    grounds = dict(browser.evaluate(GROUNDS))
    assert colours[0] == grounds["critical"] and {grounds["warning"], grounds["expected"]} == {colours[1]}, grounds
    # As it is copied: whole.
    assert NEW in browser.evaluate("document.body.innerText") and "\u200b" not in browser.evaluate("document.body.innerText")


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("2026-12-01T02:47:04Z", "2027-11-24T08:00:00Z", ("[2026-12-01T02:47:04Z]", "[2027-11-24T08:00:00Z]")),
        ("offered NTLM LOGIN", "offered NTLM LOGIN XOAUTH2", ("offered NTLM LOGIN", "offered NTLM LOGIN [XOAUTH2]")),
        ("CN=Old CA,O=C", "CN=New CA,O=C", ("CN=[Old] CA,O=C", "CN=[New] CA,O=C")),
        ("192.0.2.1 192.0.2.2", "192.0.2.1", ("192.0.2.1 [192.0.2.2]", "192.0.2.1")),
        ("same", "same", ("same", "same")),
        ("a. " * 500, "a. " * 501, (f"[{'a. ' * 500}]", f"[{'a. ' * 501}]")),
    ],
)
def test_which_parts_are_marked(before: str, after: str, shown: tuple[str, str]) -> None:
    sides = parts(before, after)
    assert tuple("".join(f"[{part.text}]" if part.differs else part.text for part in side) for side in sides) == shown


def test_a_server_that_names_thousands_is_shown_all_the_same() -> None:
    """Finding the parts of each would take minutes."""
    words = " ".join(f"w{number}." for number in range(60))
    changes = tuple(
        Change("p h:587", f"ehlo.K{number}", f"{number} {words}", f"{words} {number}", "warning") for number in range(3000)
    )
    (block,) = blocks(Comparison(changes, "2026-11-24T08:00:00Z", "2026-11-24T09:00:00Z"))
    assert len(block.lines) == 3000
    assert len(block.lines[0].before) > 1 and [part.differs for part in block.lines[-1].before] == [True]


def test_it_speaks_of_the_servers_and_of_no_report_called_comparison() -> None:
    source = Source(page(made()))
    text = " ".join(source.text.values())
    assert "comparison:0" not in text and "a-rather-long-name" in text and "another host" in text
    assert [attributes.get("class") for tag, attributes in source.elements if tag == "article"] == []
    scripts = [attributes for tag, attributes in source.elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "comparison"}]
    told = json.loads(source.text["script"])
    assert told["schema"] == "submission-probe/comparison/1" and told["verdict"] == "critical"


def test_a_run_that_went_well_and_changed_what_it_should_not_is_no_ok() -> None:
    """The badge and the exit status are the command's: those of the run and of the comparison."""
    run = saved("ok-exchange")
    source = Source(output("html").write(run.reports, Context(run.started, run.seconds, comparison=made())))
    text = " ".join(" ".join(source.text.values()).split())
    assert "CRITICAL" in text and "exit status 2" in text and 'id="report-1"' not in text
    assert json.loads(source.text["script"])["comparison"]["verdict"] == "critical"
    assert [attributes["id"] for tag, attributes in source.elements if tag == "article"] == ["report-1"]
