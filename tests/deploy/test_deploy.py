"""Each file of deploy/ read by the program it is for."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import bcrypt
import kubernetes_validate
import pytest
import yaml

from benchmarks.alerts import compressed
from probe.sandbox import Sandbox
from tests.serve.serving import Serving, values

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
# Of workers only: tests/fleet.
QUEUE = "submission_probe_queue_up"
_METRIC = re.compile(r"\b(?:submission_probe|probe)_[a-z0-9_]+|\bup\b")


def told(*command: str | Path, cwd: Path = DEPLOY, **environ: str) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=cwd, env={**os.environ, **environ}, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_file_is_spoken_of_here() -> None:
    kinds = {path.relative_to(DEPLOY).parts[0] for path in DEPLOY.rglob("*") if path.is_file()}
    more = {"icinga", "nagios", "postgresql"}  # tests/monitors, tests/fleet
    assert kinds - more == {
        "alertmanager", "ansible", "ci", "cron", "docker", "grafana", "kubernetes", "powershell", "prometheus", "systemd",
    }  # fmt: skip


@pytest.mark.parametrize("unit", ["submission-probe@.service", "submission-probe-serve.service"])
def test_units_are_sound_and_hardened(tmp_path: Path, unit: str) -> None:
    for path in (DEPLOY / "systemd").iterdir():
        # The program must exist for `verify`; an instance stands for the template.
        name = path.name.replace("@.", "@office.")
        (tmp_path / name).write_text(path.read_text().replace("/usr/bin/probe", sys.executable))
    file = tmp_path / unit.replace("@.", "@office.")
    assert told("systemd-analyze", "verify", file, cwd=tmp_path) == ""
    exposure = re.search(r"exposure level for \S+: (\d+\.\d+)", told("systemd-analyze", "security", "--offline=true", file))
    assert exposure and float(exposure[1]) <= 1.5


def test_what_init_writes_is_as_hardened() -> None:
    from probe.cli._schedule import _HARDENING

    for unit in ("submission-probe@.service", "submission-probe-serve.service"):
        shipped = (DEPLOY / "systemd" / unit).read_text().replace("ProtectHome=yes", "ProtectHome=read-only")
        assert _HARDENING in shipped


def test_the_timer_is_sound(tmp_path: Path) -> None:
    calendar = re.search(r"OnCalendar=(.*)", (DEPLOY / "systemd" / "submission-probe@.timer").read_text())
    assert calendar and "Next elapse" in told("systemd-analyze", "calendar", calendar[1])


def test_the_options_in_every_file_exist() -> None:
    """A command line that deploy/ shows is one that probe takes."""
    shown = {
        path: re.findall(r"probe (run|serve) ([^\n#\"]*)", path.read_text())
        for path in DEPLOY.rglob("*")
        if path.suffix in (".service", ".cfg", ".yml", ".yaml", "") and path.is_file()
    }
    assert sum(map(len, shown.values())) >= 6
    for command in ("run", "serve"):
        help_text = told(sys.executable, "-m", "probe", command, "--help", COLUMNS="200")
        for path, calls in shown.items():
            for name, words in calls:
                for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", words) if name == command else ():
                    assert re.search(rf"(?<![\w-]){option}(?![\w-])", help_text), f"{path}: {option}"


def test_the_crontab_is_one(tmp_path: Path) -> None:
    """`crontab -n` reads a user's table: the system's has one field more, the user."""
    text = (DEPLOY / "cron" / "submission-probe").read_text()
    line = next(line for line in text.splitlines() if line.startswith("*/5"))
    fields = line.split(None, 6)
    assert fields[5] == "submission-probe" and "%" not in fields[6]
    (tmp_path / "table").write_text(text.replace(line, " ".join([*fields[:5], fields[6]])))
    assert told("crontab", "-n", tmp_path / "table") is not None


def test_every_line_of_the_page_on_cron_runs_as_it_stands(tmp_path: Path) -> None:
    """docs/how-to/cron.md: lines of one table, the shipped one; each is whole, and its options go together."""
    page = (DEPLOY.parent / "docs" / "how-to" / "cron.md").read_text(encoding="utf-8")
    shipped = "".join(line for line in (DEPLOY / "cron" / "submission-probe").read_text().splitlines(True) if line[0] != "#")
    assert f"```\n{shipped}```\n" in page
    profile = tmp_path / "office.toml"
    profile.write_text('[submission]\nhost = "h"\n[account]\nusername = "a@b.test"\npassword = { env = "X" }\n[readback.imap]\n')
    lines = [line.strip() for line in page.splitlines() if line.strip().startswith("*/5")]
    for line in lines:
        fields = line.split(None, 6)
        assert fields[:7][5:6] == ["submission-probe"] and "%" not in line and fields[6].startswith("probe run -q "), line
        (tmp_path / "table").write_text(" ".join([*fields[:5], fields[6], "\n"]))
        assert told("crontab", "-n", tmp_path / "table") is not None
        words = fields[6].replace("/etc/submission-probe/profiles/office.toml", str(profile)).split()
        assert str(profile) in words and "at most 50 s" in told(sys.executable, "-m", *words, "--dry-run")
    assert len(lines) >= 4


def test_prometheus_takes_scrape_and_rules() -> None:
    for name in ("scrape.yml", "many-sites.yml"):
        assert "SUCCESS" in told("promtool", "check", "config", "--syntax-only", DEPLOY / "prometheus" / name)
    assert "SUCCESS" in told("promtool", "check", "rules", DEPLOY / "prometheus" / "rules.yml")
    assert "SUCCESS" in told("promtool", "test", "rules", "rules_test.yml", cwd=DEPLOY / "prometheus")


def test_each_alert_is_tried_both_ways() -> None:
    """promtool sees each rule fire, and at another time stay silent."""
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
    names = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    tests = yaml.safe_load((DEPLOY / "prometheus" / "rules_test.yml").read_text())["tests"]
    tried = {(one["alertname"], bool(one["exp_alerts"])) for test in tests for one in test["alert_rule_test"]}
    assert tried == {(name, fires) for name in names for fires in (True, False)}


def test_the_rules_of_the_soak_are_ours_with_less_time(tmp_path: Path) -> None:
    rules = (DEPLOY / "prometheus" / "rules.yml").read_text()
    (tmp_path / "rules.yml").write_text(compressed(rules, 30))
    assert "SUCCESS" in told("promtool", "check", "rules", tmp_path / "rules.yml")
    whole, hasty = (
        [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
        for text in (rules, (tmp_path / "rules.yml").read_text())
    )
    assert [rule["alert"] for rule in whole] == [rule["alert"] for rule in hasty]
    assert {rule["alert"]: rule["for"] for rule in hasty if "for" in rule}["SubmissionFailing"] == "12000ms"
    changed = [rule["alert"] for rule, other in zip(whole, hasty, strict=True) if rule["expr"] != other["expr"]]
    assert changed == [
        "SubmissionDeliverySlow", "SubmissionNotProbed", "SubmissionMailOverdue", "SubmissionMailLate", "SubmissionMessagesMissing",
    ]  # fmt: skip


def test_an_unknown_verdict_wakes_nobody() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
    pages = [rule["expr"] for group in rules["groups"] for rule in group["rules"] if rule["labels"]["severity"] == "critical"]
    assert pages and not any("unknown" in expr or "success" in expr or "secrets" in expr for expr in pages)


def test_alertmanager_takes_the_route() -> None:
    assert "SUCCESS" in told("amtool", "check-config", DEPLOY / "alertmanager" / "route.yml")


async def test_rules_and_dashboard_use_metrics_that_exist(tmp_path: Path) -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    board = json.loads((DEPLOY / "grafana" / "submission-probe.json").read_text())
    shown = [target["expr"].replace("$profile", ".*") for panel in board["panels"] for target in panel["targets"]]
    (tmp_path / "shown.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "g", "rules": [{"record": f"r{i}", "expr": e} for i, e in enumerate(shown)]}]})
    )
    assert "SUCCESS" in told("promtool", "check", "rules", tmp_path / "shown.yml")
    (tmp_path / "office.toml").write_text("")
    async with Sandbox() as sandbox:
        (tmp_path / "office.toml").write_text(sandbox.profile())
        async with Serving(tmp_path, str(tmp_path / "office.toml"), "--interval", "1s") as serving:
            await serving.until_metric("submission_probe_runs_total", 1, "office", "ok")
            text = (await serving.get("/metrics")).text
    known = {*values(text), *re.findall(r"^# TYPE (\S+)", text, re.MULTILINE), "up", QUEUE}
    used = {name for expression in [*expressions, *shown] for name in _METRIC.findall(expression)}
    assert len(used) >= 9 and used <= known, used - known


def test_the_dashboard_is_what_its_script_writes(tmp_path: Path) -> None:
    before = (DEPLOY / "grafana" / "submission-probe.json").read_text()
    folder = tmp_path / "deploy" / "grafana"
    folder.mkdir(parents=True)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "make-grafana", tmp_path / "scripts")
    told(sys.executable, tmp_path / "scripts" / "make-grafana")
    assert (folder / "submission-probe.json").read_text() == before


@pytest.mark.parametrize("name", ["serve.yaml", "cronjob.yaml"])
def test_kubernetes_schemas(name: str) -> None:
    kinds = {}
    for data in yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text()):
        kubernetes_validate.validate(data, "1.30", strict=True)
        kinds[data["kind"]] = data
    if name == "cronjob.yaml":
        assert kinds["CronJob"]["spec"]["concurrencyPolicy"] == "Forbid"
        pod = kinds["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    else:
        pod = kinds["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]


def test_the_kubernetes_profile_is_one(tmp_path: Path) -> None:
    config = next(yaml.safe_load_all((DEPLOY / "kubernetes" / "serve.yaml").read_text()))
    (tmp_path / "office.toml").write_text(config["data"]["office.toml"])
    assert "mail.example.com" in told(sys.executable, "-m", "probe", "run", "--dry-run", tmp_path / "office.toml")


def test_the_dockerfile_is_modest() -> None:
    """No engine is here to build it: its lines are known instructions, and it ends as somebody who is not root."""
    text = (DEPLOY / "docker" / "Dockerfile").read_text().replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    words = [line.split()[0] for line in lines]
    assert (
        set(words) <= {"FROM", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "ENTRYPOINT", "CMD", "HEALTHCHECK"} and words[0] == "FROM"
    )
    assert words.index("USER") > max(index for index, word in enumerate(words) if word == "RUN") and "USER 0" not in lines


async def test_the_container_is_healthy_without_a_password(tmp_path: Path) -> None:
    """The recipe's own command, against an exporter that has users as the recipe wants them."""
    text = (DEPLOY / "docker" / "Dockerfile").read_text()
    found = re.search(r"^HEALTHCHECK [^\n]*\\\n +CMD (\[.*\])$", text, re.MULTILINE)
    assert found
    program, *words = json.loads(found[1])
    assert program == "python" and "127.0.0.1:9587" in words[-1]
    mark = bcrypt.hashpw(b"scrape-Horse7", bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(f"basic_auth_users:\n  prometheus: {mark}\n")
    async with Sandbox() as sandbox:
        (tmp_path / "office.toml").write_text(sandbox.profile())
        options = ["--interval", "none", "--web-config", str(tmp_path / "web.yml")]
        async with Serving(tmp_path, str(tmp_path / "office.toml"), *options) as serving:
            words[-1] = words[-1].replace("127.0.0.1:9587", serving.url.rpartition("/")[2])
            assert (await serving.get("/readyz")).text == "submission-probe is up\n"
            assert [(await serving.get(path)).status_code for path in ("/", "/metrics", "/-/ready")] == [401] * 3
            healthy = await asyncio.create_subprocess_exec(sys.executable, *words)
            assert await healthy.wait() == 0
        gone = await asyncio.create_subprocess_exec(sys.executable, *words, stderr=asyncio.subprocess.DEVNULL)
        assert await gone.wait() == 1


@pytest.mark.parametrize("name", ["docker/Dockerfile", "kubernetes/serve.yaml"])
def test_whoever_listens_off_loopback_asks_who_is_there(name: str) -> None:
    text = (DEPLOY / name).read_text()
    assert '"0.0.0.0:9587"' in text and '"--web-config"' in text and "--allow-anyone" not in text and "htpasswd" in text


def test_the_github_recipe_runs_nothing_that_can_be_moved() -> None:
    text = (DEPLOY / "ci" / "github-actions.yml").read_text()
    steps = yaml.safe_load(text)["jobs"]["probe"]["steps"]
    uses = re.findall(r"uses: (\S+)", text)
    assert len(uses) == 3 and all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", one) for one in uses)
    assert all("==" in step["run"] for step in steps if "pip install" in step.get("run", ""))
    assert not any("upload-artifact" in step.get("uses", "") for step in steps)  # a report names hosts


@pytest.mark.parametrize(
    ("name", "schema"), [("gitlab-ci.yml", "vendor.gitlab-ci"), ("github-actions.yml", "vendor.github-workflows")]
)
def test_ci_files_fit_their_schema(name: str, schema: str) -> None:
    told(Path(sys.executable).parent / "check-jsonschema", "--builtin-schema", schema, DEPLOY / "ci" / name)


@pytest.mark.parametrize(("fault", "code"), [(None, 0), ("mailbox-full", 2)])
async def test_ansible_runs_the_smoke_test(tmp_path: Path, fault: str | None, code: int) -> None:
    async with Sandbox(fault=fault) as sandbox:
        (tmp_path / "office.toml").write_text(sandbox.profile())
        program = Path(sys.executable).parent / "probe"
        extra = json.dumps({"profile": str(tmp_path / "office.toml"), "probe": str(program), "wait": "2s"})
        environ = {**os.environ, "ANSIBLE_LOCAL_TEMP": str(tmp_path), "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"}
        command = ["/usr/bin/ansible-playbook", str(DEPLOY / "ansible" / "smoke-test.yml"), "-e", extra]
        process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=asyncio.subprocess.PIPE, cwd=tmp_path)
        printed = (await process.communicate())[0].decode()
    assert process.returncode == code, printed
    assert ("office: ok, delivered in" in printed) == (code == 0) and sandbox.password not in printed
