"""What somebody types first: `probe` alone, a slip in a command's name, the shell's completion."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")


def said(*arguments: str, **environ: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "probe", *arguments], capture_output=True, text=True, env={**os.environ, **environ}, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


def test_alone_it_prints_its_help_on_stdout() -> None:
    status, out, err = said()
    assert (status, err) == (0, "") and out == said("--help")[1]
    assert out.startswith("Usage: probe") and "\n  discover " in out and "--show-completion" in out


@pytest.mark.parametrize(("slip", "meant"), [("rnu", "run"), ("discovr", "discover"), ("explian", "explain")])
def test_an_unknown_command_is_answered_by_the_near_one(slip: str, meant: str) -> None:
    status, out, err = said(slip, "x")
    assert (status, out) == (3, "") and f"Did you mean '{meant}'?" in err and err.count("\n") == 1


@pytest.mark.parametrize("shell", SHELLS)
def test_the_completion_of_each_shell_is_shown(shell: str) -> None:
    status, out, err = said("--show-completion", shell)
    assert (status, err) == (0, "") and "_PROBE_COMPLETE" in out and "probe" in out


def test_an_unknown_shell_is_one_plain_line() -> None:
    status, out, err = said("--show-completion", "tcsh")
    assert (status, out) == (3, "") and "'bash', 'zsh', 'fish'" in err and err.count("\n") == 1


@pytest.mark.not_on_windows("bash")
def test_bash_takes_the_script_and_completes_commands_profiles_formats_and_findings(tmp_path: Path) -> None:
    """bash's own `complete` calls the function, which calls probe, as the Tab key does."""
    (tmp_path / "probe").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m probe "$@"\n', encoding="utf-8")
    (tmp_path / "probe").chmod(0o755)
    (tmp_path / "completion").write_text(said("--show-completion", "bash")[1], encoding="utf-8")
    tab = """source completion; COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        $(complete -p probe | sed 's/.*-F //; s/ .*//') probe; printf '%s\\n' "${COMPREPLY[@]}" """
    expected = {
        "probe disc": {"discover"},
        "probe run exch": {"exchange-2016", "exchange-online"},
        "probe run -o js": {"json", "jsonl"},
        "probe explain certificate.exp": {"certificate.expired", "certificate.expires-soon"},
        "probe run --wait": {"--wait-until-ok"},
    }
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for typed, words in expected.items():
        done = subprocess.run(["bash", "-c", tab, "bash", typed], capture_output=True, text=True, cwd=tmp_path, env=environ)
        assert set(done.stdout.split()) == words, done.stderr


@pytest.mark.not_on_windows("bash")
def test_it_installs_itself_for_a_shell_that_is_named(tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text("alias ll='ls -l'\n", encoding="utf-8")
    status, out, _ = said("--install-completion", "bash", HOME=str(tmp_path))
    assert status == 0 and "bash completion installed" in out
    script = tmp_path / ".bash_completions" / "probe.sh"
    rc = (tmp_path / ".bashrc").read_text(encoding="utf-8")
    assert "_PROBE_COMPLETE" in script.read_text(encoding="utf-8") and str(script) in rc and rc.startswith("alias ll=")
    assert said("--install-completion", "fish", HOME=str(tmp_path))[0] == 0
    assert (tmp_path / ".config" / "fish" / "completions" / "probe.fish").exists()


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["audit", "--nope"], "probe audit"),
        (["show"], "probe show"),
        (["nope"], "probe"),
        (["audit"], "probe audit"),
        (["--nope"], "probe"),
    ],
)
def test_a_slip_is_answered_by_the_help_of_its_own_command(arguments: list[str], command: str) -> None:
    status, out, err = said(*arguments)
    assert (status, out) == (3, "") and f"(see `{command} --help`)" in err and err.count("\n") == 1


def test_the_checks_of_an_audit_are_listed_without_a_profile() -> None:
    status, out, err = said("audit", "--list")
    assert (status, err) == (0, "") and "it does not prove" in out
    assert said("audit")[0] == 3 and "Missing argument 'PROFILE'" in said("audit")[2]


def test_a_profile_that_lies_here_is_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "popself.toml").write_text("", encoding="utf-8")
    own = tmp_path / "own"
    done = subprocess.run(
        [sys.executable, "-m", "probe", "run", "popself"], capture_output=True, text=True, cwd=tmp_path, timeout=60,
        env={**os.environ, "SUBMISSION_PROBE_PROFILES": str(own), "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
    )  # fmt: skip
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    assert "; popself.toml lies in this directory: `probe run popself.toml`. Own profiles are looked for in" in done.stderr
    assert str(own) in done.stderr
