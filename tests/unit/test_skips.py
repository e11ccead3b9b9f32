"""A test that did not run is a failure, unless the machine cannot run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import skips

ROOT = Path(__file__).parent.parent.parent
FORMS = {
    "test": "import pytest\ndef test_it():\n    pytest.skip({!r})\n",
    "fixture": "import pytest\n@pytest.fixture\ndef it():\n    pytest.skip({!r})\ndef test_it(it): pass\n",
    "mark": "import pytest\n@pytest.mark.skipif(True, reason={!r})\ndef test_it(): pass\n",
    "file": "import pytest\npytest.skip({!r}, allow_module_level=True)\n",
}


def ran(folder: Path, reason: str, *options: str) -> tuple[int, str]:
    """Exit status and output of pytest on a file for each form of a skip, and one expected failure."""
    for name, text in FORMS.items():
        (folder / f"test_{name}.py").write_text(text.format(reason))
    (folder / "test_xfail.py").write_text("import pytest\n@pytest.mark.xfail\ndef test_it(): assert False\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "xdist",
        "-p",
        "tests.skips",
        "-pno:cacheprovider",
        "-c",
        "/dev/null",
        "--rootdir",
        folder,
    ]
    options = ("--continue-on-collection-errors", *options, str(folder))
    # The other plug-ins that are installed have no part in it, and take their time.
    # On a CI machine pytest writes its summary's lines in full: the same words twice.
    environ = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER")}
    environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, env=environ)
    return done.returncode, done.stdout


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_skip_is_a_failure_where_it_counts(tmp_path: Path, workers: str) -> None:
    status, said = ran(tmp_path, "nobody installed it", "--strict-skips", "-n", workers)
    assert status == 1 and said.count("skipped: nobody installed it\n") == len(FORMS), said
    assert "1 xfailed" in said and " skipped," not in said


@pytest.mark.parametrize("reason", [f"{skips.allowed()[0]}: as in this container"])
def test_what_the_machine_cannot_do_may_be_skipped(tmp_path: Path, reason: str) -> None:
    status, said = ran(tmp_path, reason, "--strict-skips")
    assert status == 0 and f"{len(FORMS)} skipped, 1 xfailed" in said, said


def test_elsewhere_a_skip_is_said_aloud(tmp_path: Path) -> None:
    status, said = ran(tmp_path, "nobody installed it")
    assert status == 0 and f"{len(FORMS)} tests were SKIPPED" in said


def test_every_allowed_reason_is_one_that_a_test_gives() -> None:
    """A reason that no test gives any more is taken off the list."""
    said = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    assert skips.allowed() and [reason for reason in skips.allowed() if reason not in said] == []
