"""The scripts that `make test` installs with fail plainly where something cannot be had: no test is left out unseen."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.not_on_windows("the scripts install Debian's packages")


def installed(folder: Path, script: str, **programs: str) -> tuple[int, str]:
    """Exit status and complaint of a script, where these programs (shell text) stand before the machine's own."""
    programs = {"dpkg-query": "exit 1", "id": "echo 0", "debconf-set-selections": "exit 0", **programs}
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    done = subprocess.run(
        ["bash", ROOT / "scripts" / script], env={**os.environ, "PATH": f"{folder}:/usr/bin:/bin"}, capture_output=True, text=True
    )
    return done.returncode, done.stderr


def test_a_failed_apt_get_is_a_failure(tmp_path: Path) -> None:
    status, said = installed(tmp_path, "install-servers", **{"apt-get": "echo E: no route to the mirror; exit 100"})
    assert status == 1
    assert "E: no route to the mirror" in said and "install-servers: apt-get failed: install by hand: postfix" in said


def test_without_root_it_says_what_is_missing(tmp_path: Path) -> None:
    status, said = installed(tmp_path, "install-servers", id="echo 1000", sudo="exit 1", **{"apt-get": "exit 0"})
    assert status == 1
    assert "install-servers: only root can install packages" in said and "dovecot-core" in said and "make quick" in said


def test_what_is_there_is_not_installed_again(tmp_path: Path) -> None:
    status, said = installed(tmp_path, "install-servers", **{"dpkg-query": "printf 'install ok installed'", "apt-get": "exit 100"})
    assert (status, said) == (0, "")
