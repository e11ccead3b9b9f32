"""What a user installs: the wheel holds what the program needs, and says what it is."""

import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_is_marked_as_typed(wheel: zipfile.ZipFile) -> None:
    """Without the marker a type checker ignores every annotation (PEP 561)."""
    assert "probe/py.typed" in wheel.namelist()


def test_the_wheel_holds_every_shipped_profile(wheel: zipfile.ZipFile) -> None:
    shipped = {f"probe/_profiles/{path.name}" for path in (ROOT / "profiles").glob("*.toml")}
    assert shipped and shipped <= set(wheel.namelist())


def test_the_pages_that_the_wheel_names_exist(wheel: zipfile.ZipFile) -> None:
    metadata: Message = Parser().parsestr(
        wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA"))).decode()
    )
    pages = dict(line.split(", ", 1) for line in metadata.get_all("Project-URL", []))
    assert {"Documentation", "Changelog"} <= set(pages)
    for name, page in pages.items():
        assert page.startswith("https://") or (ROOT / page).exists(), name
