"""The pages and the code say the same."""

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
REFERENCE = runpy.run_path(str(ROOT / "scripts" / "make-reference"))["PAGES"]
MAN = runpy.run_path(str(ROOT / "scripts" / "make-man"))["PAGES"]
TOP = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").rglob("*.md"))]
FINDING = re.compile(r"`((?:certificate|auth|delivery|dns|nodes|starttls|connect|tls|cleanup)\.[a-z]+(?:-[a-z]+)+)`")


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_the_reference_is_what_the_code_makes(name: str) -> None:
    page = ROOT / "docs" / "reference" / name
    assert page.read_text(encoding="utf-8") == REFERENCE[name]().rstrip() + "\n", "run: make reference"


def test_the_man_pages_are_what_the_help_says() -> None:
    folder = ROOT / "docs" / "man"
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == MAN, "run: make reference"


@pytest.mark.servers  # groff is a Debian package
@pytest.mark.not_on_windows("groff")
@pytest.mark.parametrize("name", sorted(MAN))
def test_man_takes_each_page_without_a_warning(name: str) -> None:
    page = ROOT / "docs" / "man" / name
    done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", "-P-cbou", page], capture_output=True, text=True, check=True)
    assert done.stderr == "" and "OPTIONS" in done.stdout
    if name == "probe-run.1":
        assert "--wait-until-ok DURATION" in done.stdout and "section.key=value" in done.stdout


def test_the_samples_are_what_the_commands_print() -> None:
    done = subprocess.run([sys.executable, "scripts/make-samples", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)", text):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor and there.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor[1:] in anchors, f"{page.name}: {target}{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_and_findings_named_in_the_docs_exist(page: Path) -> None:
    """A page that names an option or a finding that is gone misleads whoever follows it."""
    known = "".join(made() for made in REFERENCE.values())
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for option in re.findall(r"`probe [a-z]+[^`]*?(--[a-z-]+)", text):
        assert f"`{option}`" in known or option == "--help", option
    for finding in FINDING.findall(text):
        assert f"## {finding}\n" in known, finding


@pytest.mark.not_on_windows("make")
def test_whoever_ran_the_demo_is_told_where_the_command_is() -> None:
    said = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    for text in (said, *((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/tutorial.md"))):
        assert "into `.venv`" in text or "in .venv" in text
        assert ". .venv/bin/activate" in text and "`pipx install .`" in text


def _links(page: Path) -> set[Path]:
    targets = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    return {(page.parent / target).resolve() for target in targets}


def test_every_page_is_two_clicks_from_the_readme_at_most() -> None:
    first = _links(ROOT / "README.md")
    second = set().union(*(_links(page) for page in first if page.suffix == ".md"))
    assert {page for page in PAGES if page.name != "README.md"} - first - second == set()


def test_the_readme_names_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    rows = re.findall(r"^\| `([a-z]+)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(row for row in rows if row in extras) == sorted(extras)
