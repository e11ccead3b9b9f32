"""`probe init --task-scheduler`: a task that the Task Scheduler's schema takes, and words that Windows' shells take."""

import codecs
import xml.etree.ElementTree as ET
from pathlib import Path, PureWindowsPath

import pytest

from probe.cli import _shell, _starter, entry
from probe.cli._schedule import Job, program
from probe.cli._starter import Answers, Server, profile_text
from probe.cli._task import NAMESPACE, registering, task

# MS-TSCH 2.5 and what Windows exports: the known elements, each group in its order.
ORDER = {
    "Task": ["RegistrationInfo", "Triggers", "Principals", "Settings", "Actions"],
    "RegistrationInfo": ["Date", "Author", "Description", "URI"],
    "TimeTrigger": ["Repetition", "StartBoundary", "EndBoundary", "ExecutionTimeLimit", "Enabled", "RandomDelay"],
    "Repetition": ["Interval", "Duration", "StopAtDurationEnd"],
    "Principal": ["UserId", "LogonType", "RunLevel"],
    "Settings": [
        "MultipleInstancesPolicy", "DisallowStartIfOnBatteries", "StopIfGoingOnBatteries", "AllowHardTerminate",
        "StartWhenAvailable", "RunOnlyIfNetworkAvailable", "IdleSettings", "AllowStartOnDemand", "Enabled", "Hidden",
        "RunOnlyIfIdle", "WakeToRun", "ExecutionTimeLimit", "Priority",
    ],
    "Exec": ["Command", "Arguments", "WorkingDirectory"],
}  # fmt: skip
ENUMERATED = {"MultipleInstancesPolicy": "IgnoreNew", "LogonType": "Password", "RunLevel": "LeastPrivilege"}
JOB = Job(
    (r"C:\Program Files\probe & more\probe.exe",),
    PureWindowsPath(r"C:\Users\Jürgen <x>\two words.toml"),  # type: ignore[arg-type]
    "two words", "PROBE_PASSWORD", None,
)  # fmt: skip


def local(element: ET.Element) -> str:
    assert element.tag.startswith(f"{{{NAMESPACE}}}")
    return element.tag.partition("}")[2]


def test_the_task_has_the_schema_s_elements_in_its_order() -> None:
    root = ET.fromstring(task(JOB).encode("utf-16"))
    assert root.get("version") == "1.2"
    for element in root.iter():
        names = [local(child) for child in element]
        if local(element) in ORDER:
            places = [ORDER[local(element)].index(name) for name in names]
            assert places == sorted(set(places)), names
        if local(element) in ENUMERATED:
            assert element.text == ENUMERATED[local(element)]
    found = {local(element): element.text for element in root.iter()}
    assert (found["Interval"], found["MultipleInstancesPolicy"]) == ("PT5M", "IgnoreNew")
    minutes = int((found["ExecutionTimeLimit"] or "").removeprefix("PT").removesuffix("M"))
    assert 50 < minutes * 60 <= 300, "above the run's own limit, within the interval"
    actions = root.find(f"{{{NAMESPACE}}}Actions")
    principal = root.find(f".//{{{NAMESPACE}}}Principal")
    assert actions is not None and principal is not None and actions.get("Context") == principal.get("id")
    assert found["Command"] == JOB.program[0]
    assert found["Arguments"] == r'run -q "C:\Users\Jürgen <x>\two words.toml"'
    assert found["WorkingDirectory"] == r"C:\Users\Jürgen <x>"


def test_init_writes_it_as_windows_does_and_says_how_to_register_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUBMISSION_PROBE_PROFILES", str(tmp_path / "own"))
    file = tmp_path / "it's a task.xml"
    given = ["init", "probe@contoso.com", "--host", "mail.contoso.com", "--yes", "--task-scheduler", str(file)]
    assert entry(given) == 0
    octets = file.read_bytes()
    assert octets.startswith(codecs.BOM_UTF16_LE) and 'encoding="UTF-16"' in octets.decode("utf-16")
    assert ET.fromstring(octets).tag == f"{{{NAMESPACE}}}Task"
    said = capsys.readouterr().out
    assert f'/xml "{file}"' in said and "schtasks /create /tn" in said
    assert f"(Get-Content -Raw '{str(file).replace(chr(39), chr(39) * 2)}')" in said and "PROBE_PASSWORD must be" in said
    assert entry(given) == 3, "it overwrites nothing"


def test_registering_names_the_ways_to_the_password() -> None:
    said = "\n".join(registering(JOB, "x.xml"))
    assert "keyring" in said and 'probe history "two words"' in said
    assert "-Password (Get-Credential" in said, "no password on a command line"
    from dataclasses import replace

    assert not any("keyring" in line for line in registering(replace(JOB, password_env=None), "x.xml"))


@pytest.mark.parametrize(
    ("text", "windows", "posix"),
    [
        ("plain", "plain", "plain"),
        (r"C:\a\b.toml", r"C:\a\b.toml", r"'C:\a\b.toml'"),
        (r"Z:\init two.toml", r'"Z:\init two.toml"', r"'Z:\init two.toml'"),
        ("a&b", '"a&b"', "'a&b'"),
        ("(x)", '"(x)"', "'(x)'"),
        ("", '""', "''"),
    ],
)
def test_a_word_as_each_shell_takes_it(text: str, windows: str, posix: str) -> None:
    assert (_shell.word(text, True), _shell.word(text, False)) == (windows, posix)


def test_on_windows_nothing_speaks_of_chmod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_starter, "WINDOWS", False)
    answers = Answers("probe@contoso.com", {"smtp": Server("mail.contoso.com")}, password_file=r"C:\pw.txt")
    assert "chmod 600" in profile_text(answers, "x")
    monkeypatch.setattr(_starter, "WINDOWS", True)
    monkeypatch.setattr(_shell, "WINDOWS", True)
    text = profile_text(answers, "x")
    assert "chmod" not in text and "icacls FILE /inheritance:r /grant:r USER:R" in text and r'"C:\\pw.txt"' in text
    assert "mode 600" not in profile_text(Answers("a@b.c", answers.servers, password_env="X"), "x")


@pytest.mark.parametrize("place", ["probe.exe", "Scripts/probe.exe", "probe"])
def test_the_program_is_found_where_pip_puts_it(place: str, tmp_path: Path) -> None:
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert program(["-c"], str(tmp_path / "python.exe")) == (str(path),)
    assert program([str(path.with_name("probe"))], "/nowhere/python") == (str(path),)
    assert program(["other"], "/nowhere/python") == ("/nowhere/python", "-m", "probe")
