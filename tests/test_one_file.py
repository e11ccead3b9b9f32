"""Adding one thing is one file (docs/architecture.md, rule 3): six new files are laid into a copy of the package, nothing else is
edited, and each shows wherever its kind shows."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NEW = {
    "observe/legs/jmap.py": '''"""A reader with a stage of its own."""

from dataclasses import dataclass
from typing import ClassVar

from probe.facts import Facts, one
from probe.profile import Reader

NAME = "jmap"
STAGES = ("jmap.session",)
NEEDS = ()


@dataclass(frozen=True, slots=True)
class Session(Facts):
    path: str | None = one("the path that was asked")


class Settings(Reader):
    """`[readback.jmap]`."""

    tls_port: ClassVar[int] = 443
    plain_port: ClassVar[int] = 80
    path: str = "/jmap"


async def read(job, journal, side, settings):
    try:
        async with journal.stage("jmap.session", "ask for the session", Session()) as stage:
            stage.facts = Session(path=settings.path)
    finally:
        job.read[NAME].give_up()
        job.done[NAME].give_up()


async def log_on(job, journal, side):
    pass
''',
    "sasl/rot13.py": '''"""A mechanism."""

from probe.sasl import Credentials, Mechanism, Responses, Service


def rot13(credentials: Credentials, service: Service) -> Responses:
    yield credentials.secret.encode()


MECHANISMS = {"X-ROT13": Mechanism("X-ROT13", 0, initial=True, respond=rot13)}
''',
    "judge/greeting_name.py": '''"""A check."""

from probe.facts import Greeted
from probe.report import Finding, Kind

FINDINGS = {"greeting.has-name": Kind("the greeting has a name", "It always has.", ("Check: nothing",))}


def judge(record, profile):
    name = record.seen("smtp.greeting", Greeted).name
    if name:
        kind = FINDINGS["greeting.has-name"]
        yield Finding("greeting.has-name", "info", "smtp.greeting", f"{kind.summary}: {name}", name, kind.cause, kind.remedy)
''',
    "output/shout.py": '''"""`shout`: for the deaf."""


def write(reports, context):
    return "".join(f"{report.profile.upper()} {report.verdict.upper()}\\n" for report in reports)
''',
    "observe/audit/nothing.py": '''"""An audit check."""

from probe.observe.audit import Facts
from probe.report import Kind

FINDINGS = {"audit.nothing": Kind("nothing was wrong", "Nothing.", ("Check: nothing",))}
SEVERITY = "warning"
PROVES = "nothing"
DOES_NOT_PROVE = "anything"


async def observe(scene):
    return Facts("pass", "nothing")
''',
    "judge/replies/example.toml": """[[reply]]
id = "example-out-of-cheese"
stages = ["smtp.*"]
text = "out of cheese"
cause = "The server is likely out of cheese."
check = "ls /var/cheese"
fix = "buy cheese"
source = "https://example.com/cheese"
""",
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "probe", folder / "probe", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "profiles", folder / "profiles")
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    for name, text in NEW.items():
        assert not (folder / "probe" / name).exists()
        (folder / "probe" / name).write_text(text, encoding="utf-8")
    return folder


def probe(package: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    state = {"SUBMISSION_PROBE_STATE": str(package / "state"), "PROBE_PASSWORD": "Horse7battery-staple", "PYTHONPATH": str(package)}
    command = [sys.executable, "-m", "probe", *arguments]
    return subprocess.run(command, cwd=package, capture_output=True, text=True, env={**os.environ, **state, **environ}, timeout=60)


PROFILE = """
[submission]
host = "localhost"
port = 1
connect = ["127.0.0.1:1"]
[account]
username = "probe@example.test"
mechanism = "X-ROT13"
password = { env = "PROBE_PASSWORD" }
[readback.jmap]
path = "/here"
"""


@pytest.fixture(scope="module")
def profile(package: Path) -> str:
    path = package / "new.toml"
    path.write_text(PROFILE, encoding="utf-8")
    return str(path)


def test_the_schema_has_the_reader_and_the_mechanism(package: Path) -> None:
    done = probe(package, "schema", "profile")
    assert done.returncode == 0 and '"path"' in done.stdout and "/jmap" in done.stdout and "X-ROT13" in done.stdout, done.stderr


def test_a_dry_run_plans_the_readers_stage(package: Path, profile: str) -> None:
    done = probe(package, "run", profile, "--dry-run")
    assert done.returncode == 0 and "jmap.session" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("format", ["text", "json", "prometheus", "nagios", "junit", "html", "exchange"])
def test_every_output_shows_the_readers_stage(package: Path, profile: str, format: str) -> None:
    done = probe(package, "run", profile, "-o", format, "--light")
    assert done.returncode == 2, done.stderr
    shown = "jmap" if format in ("nagios", "exchange") else "jmap.session"
    assert shown in done.stdout.lower() or format == "nagios", done.stdout
    if format == "json":
        stage = next(item for item in json.loads(done.stdout)["reports"][0]["stages"] if item["name"] == "jmap.session")
        assert (stage["status"], stage["facts"]) == ("ok", {"path": "/here"})


def test_a_saved_run_with_its_facts_is_read_back(package: Path, profile: str) -> None:
    saved = package / "run.json"
    saved.write_text(probe(package, "run", profile, "-o", "json", "--light").stdout, encoding="utf-8")
    done = probe(package, "report", str(saved), "-o", "json")
    assert done.returncode in (0, 2) and '"/here"' in done.stdout, done.stderr


def test_the_output_is_one(package: Path, profile: str) -> None:
    assert probe(package, "run", profile, "-o", "shout", "--light").stdout == "NEW CRITICAL\n"
    assert "shout" in probe(package, "run", "--help").stdout or "shout" in probe(package, "run", profile, "-o", "none").stderr


@pytest.mark.parametrize("name", ["greeting.has-name", "audit.nothing", "reply.example-out-of-cheese"])
def test_explain_knows_the_finding_and_the_reply(package: Path, name: str) -> None:
    done = probe(package, "explain", name)
    assert done.returncode == 0 and ("cheese" in done.stdout or "othing" in done.stdout), done.stdout + done.stderr


def test_the_check_judges(package: Path) -> None:
    code = """
from probe.facts import Greeted
from probe.judge import findings
from probe.profile import load_mapping
from probe.record import Record, StageRecord, Target, Trouble
stages = (
    StageRecord("smtp.greeting", "ok", facts=Greeted(name="mail.test")),
    StageRecord("smtp.submit", "failed", reason="x", trouble=Trouble("submit.refused", "554 out of cheese", "554 out of cheese")),
)
record = Record("1", "p", Target("h", 587, "starttls"), "2026-11-26T00:00:00Z", 1.0, stages)
profile = load_mapping({"submission": {"host": "h"}, "account": {"username": "a@b.test", "password": {"env": "X"}}}, plugins={})
for finding in findings(record, profile):
    print(finding.id, finding.cause)
"""
    environ = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run([sys.executable, "-c", code], cwd=package, capture_output=True, text=True, env=environ, timeout=60)
    assert "greeting.has-name" in done.stdout and "out of cheese" in done.stdout, done.stdout + done.stderr


def test_the_reference_pages_name_all_of_them(package: Path) -> None:
    pages = package / "pages"
    environ = {**os.environ, "PYTHONPATH": str(package)}
    made = [sys.executable, str(package / "scripts" / "make-reference"), str(pages)]
    done = subprocess.run(made, cwd=package, capture_output=True, text=True, env=environ, timeout=60)
    assert done.returncode == 0, done.stderr
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(pages.iterdir()))
    for word in ("readback.jmap", "X-ROT13", "greeting.has-name", "audit.nothing", "`shout`"):
        assert word in text, word
