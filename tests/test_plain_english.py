"""Plain English wherever a person reads: docs, help, findings, messages, comments. The old words do not come back."""

import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OLD = re.compile(r"\b(told|tells|tell|telling|mend|mends|mended|mending)\b", re.IGNORECASE)
# Keys of the JSON and a finding's id stay what they are.
STAYS = re.compile(r"discover\.plaintext-told|[\"'`]told[\"'`]|\{[^{}]*\}")
PAGES = ("*.md", "docs", "profiles", "deploy")


def pages() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *PAGES], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\n") if name and not name.startswith("tests/")]


def old_words(text: str) -> list[str]:
    return [line.strip()[:120] for line in text.splitlines() if OLD.search(STAYS.sub("", line))]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not_on_windows: the bench has no repository")
def test_pages_are_free_of_the_old_words() -> None:
    found = {path.name: words for path in pages() if (words := old_words(path.read_text(encoding="utf-8", errors="replace")))}
    assert not found


@pytest.mark.parametrize("path", sorted((ROOT / "probe").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_texts_and_comments_are_free_of_the_old_words(path: Path) -> None:
    with tokenize.open(path) as stream:
        source = stream.read()
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    spoken = [token.string for token in tokens if token.type in (tokenize.STRING, tokenize.COMMENT)]
    assert not [words for text in spoken for words in old_words(text)]


def test_what_servers_say_is_explained_in_plain_words() -> None:
    for path in sorted((ROOT / "probe" / "judge" / "replies").glob("*.toml")):
        assert not old_words(path.read_text(encoding="utf-8")), path.name
