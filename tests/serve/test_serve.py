"""`probe serve` as its users meet it: Prometheus, a person with a browser, systemd, and whoever should be kept out."""

import asyncio
import os
import signal
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import bcrypt
import httpx2
import pytest

from probe.report import Report
from probe.sandbox import Sandbox, imap
from probe.serve import runner
from probe.serve.service import Service, Settings
from probe.serve.targets import Target
from probe.state.directory import state_directory
from probe.state.outbox import entries
from probe.tasks import whose
from tests.canary import leaks
from tests.output.browser import PROGRAM, Browser
from tests.serve.serving import Serving, values
from tests.servers.pki import Authority


def profile(folder: Path, sandbox: Sandbox, name: str = "office", user: str | None = None, more: str = "") -> str:
    path = folder / f"{name}.toml"
    path.write_text(sandbox.profile(user) + more)
    return str(path)


def messages(sandbox: Sandbox) -> int:
    return sum(len(folder.messages) for mailbox in sandbox.mailboxes.values() for folder in mailbox.folders.values())


def submissions(sandbox: Sandbox) -> int:
    return sum(logon.protocol == "smtp" for logon in sandbox.logons)


def promtool(*arguments: str, stdin: Path = Path("/dev/null")) -> str:
    with stdin.open(encoding="utf-8") as given:
        done = subprocess.run(["promtool", *arguments], stdin=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


async def test_the_schedule_runs_by_itself_and_metrics_tell_of_it(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "1s") as serving:
        await serving.until_metric("submission_probe_runs_total", 3, "office", "ok")
        answer = await serving.get("/metrics")
        told = values(answer.text)
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert told["submission_probe_success"] == {("office",): 1}
        assert told["submission_probe_delivery_latency_seconds_count"][("office",)] >= 3
        assert told["submission_probe_leftovers"] == {("office",): 0}
        assert told["submission_probe_last_success_timestamp_seconds"][("office",)] >= told["process_start_time_seconds"][()]
        (tmp_path / "metrics").write_text(answer.text)
        assert promtool("check", "metrics", stdin=tmp_path / "metrics") == ""
        assert await serving.end() == 0
        assert messages(sandbox) == 0 and not list((serving.state / "outbox").glob("*"))


async def test_a_probe_gives_the_names_that_dashboards_know(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "none") as serving:
        text = (await serving.get("/probe", params={"target": "office"})).text
        told = values(text)
        assert told["probe_success"] == {(): 1} and told["probe_ip_protocol"] == {(): 4}
        assert told["probe_tls_version_info"] == {("TLS 1.3",): 1}
        assert told["probe_ssl_earliest_cert_expiry"][()] == min(
            told["submission_probe_certificate_not_after_timestamp_seconds"].values()
        )
        assert {"probe_duration_seconds", "probe_dns_lookup_time_seconds", "probe_ssl_last_chain_info"} <= told.keys()
        assert told["submission_probe_stage_success"][("imap.verify", "office")] == 1
        assert sandbox.addresses["submission"].host not in text  # no address is a label
        assert (await serving.get("/probe", params={"target": str(tmp_path / "office.toml")})).status_code == 200
        debug = await serving.get("/probe", params={"target": "office", "debug": "true"})
        assert "EHLO" in debug.text and not leaks([text, debug.text], sandbox.password, sandbox.username)


async def test_a_bug_in_one_run_does_not_end_the_watch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with Sandbox() as sandbox:
        service = Service(Settings((profile(tmp_path, sandbox),), interval=0.05))
        ran = asyncio.Event()

        async def run(target: Target) -> None:
            if ran.is_set():
                again.set()
            ran.set()
            raise ZeroDivisionError

        again = asyncio.Event()
        service.runner.run = run  # type: ignore[assignment, method-assign]
        await asyncio.wait_for(again.wait(), 20)
        await service.finish()
        assert "office: internal error: ZeroDivisionError; it runs again" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["", "elsewhere", "../office", "office.toml", "127.0.0.1:25"])
async def test_only_names_of_the_list_are_probed(tmp_path: Path, target: str) -> None:
    async with Sandbox() as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "none") as serving:
        answer = await serving.get("/probe", params={"target": target})
        assert answer.status_code == 400 and "no such profile" in answer.text
        for header in ("soon", "-1", "nan", "inf"):
            headers = {"X-Prometheus-Scrape-Timeout-Seconds": header}
            assert (await serving.get("/probe", params={"target": "office"}, headers=headers)).status_code == 400
        assert submissions(sandbox) == 0


async def test_who_asks_at_the_same_time_shares_one_run(tmp_path: Path) -> None:
    async with Sandbox(fault="late") as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "none") as serving:
        answers = await asyncio.gather(*(serving.get("/probe", params={"target": "office"}) for _ in range(5)))
        assert {values(answer.text)["probe_success"][()] for answer in answers} == {1}
        assert submissions(sandbox) == 1


async def test_two_profiles_of_one_mailbox_wait_for_each_other(tmp_path: Path) -> None:
    async with Sandbox(fault="late") as sandbox:
        both = [profile(tmp_path, sandbox, name) for name in ("a", "b")]
        async with Serving(tmp_path, *both, "--interval", "none") as serving:
            answers = await asyncio.gather(*(serving.get("/probe", params={"target": name}) for name in ("a", "b")))
            assert [values(answer.text)["probe_success"][()] for answer in answers] == [1, 1]
            # Each delivery takes three seconds: one after the other, not at once.
            ended = [values(answer.text)["submission_probe_last_run_timestamp_seconds"] for answer in answers]
            first, second = sorted(value for found in ended for value in found.values())
            assert second - first >= 3
            # Who has no time for that is told so, and nothing is said of the server.
            slow = asyncio.create_task(serving.get("/probe", params={"target": "a"}))
            while submissions(sandbox) < 3:  # noqa: ASYNC110  the sandbox has no event for it
                await asyncio.sleep(0.01)
            headers = {"X-Prometheus-Scrape-Timeout-Seconds": "1"}
            hasty = await serving.get("/probe", params={"target": "b"}, headers=headers)
            assert hasty.status_code == 503 and "probe_success" not in hasty.text
            assert (await slow).status_code == 200


async def test_a_run_that_the_scrape_has_time_for_tells_what_is_wrong(tmp_path: Path) -> None:
    async with Sandbox(fault="never-delivers") as sandbox:
        path = profile(tmp_path, sandbox, more='[limits]\ntimeout = "2s"\n')
        async with Serving(tmp_path, path, "--interval", "none") as serving:
            headers = {"X-Prometheus-Scrape-Timeout-Seconds": "30"}
            told = values((await serving.get("/probe", params={"target": "office"}, headers=headers)).text)
        assert told["probe_success"] == {(): 0}
        assert any("delivery.missing" in labels for labels in told["submission_probe_finding"])


async def test_reload_takes_new_profiles_and_keeps_the_old_on_a_mistake(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        folder = tmp_path / "profiles"
        folder.mkdir()
        profile(folder, sandbox, "one")
        environ = {"SUBMISSION_PROBE_PROFILES": str(folder)}
        async with Serving(tmp_path, "--interval", "1s", environ=environ) as serving:
            await serving.until_metric("submission_probe_runs_total", 1, "one", "ok")
            profile(folder, sandbox, "two")
            serving.process.send_signal(signal.SIGHUP)
            await serving.until(lambda: "reloaded, 2 profiles" in serving.said)
            await serving.until_metric("submission_probe_runs_total", 1, "two", "ok")
            profile(folder, sandbox, "two", more="[nonsense]\n")
            assert (await serving.client.get("/-/reload")).status_code == 405
            refused = await serving.client.post("/-/reload")
            assert refused.status_code == 500 and "nonsense" in refused.text
            told = await serving.metrics()
            assert told["submission_probe_reload_success"] == {(): 0} and ("two",) in told["submission_probe_success"]
            assert "The last reload failed" in (await serving.get("/")).text
            (folder / "two.toml").unlink()
            assert (await serving.client.post("/-/reload")).status_code == 200
            told = await serving.metrics()
            assert not any("two" in labels for series in told.values() for labels in series)
            assert (await serving.get("/probe", params={"target": "two"})).status_code == 400


async def test_the_end_finishes_what_is_under_way(tmp_path: Path) -> None:
    """SIGTERM while the message is on its way: the run ends early, and its trace stays for the next start to account for."""
    async with Sandbox(fault="late") as sandbox:
        path = profile(tmp_path, sandbox, more='[limits]\ntimeout = "10s"\n')
        async with Serving(tmp_path, path, "--interval", "5m") as serving:
            outbox = serving.state / "outbox"
            await serving.until(lambda: list(outbox.glob("*.json")) and submissions(sandbox))
            assert await serving.end() == 0
        # Either it was still deleted, or its trace is there.
        await serving.until(lambda: messages(sandbox) or not list(outbox.glob("*.json")))
        async with Serving(tmp_path, path, "--interval", "3s") as serving:
            await serving.until(lambda: messages(sandbox) == 0 and not list(outbox.glob("*.json")))
            told = await serving.metrics()
            assert told["submission_probe_messages_missing_total"] == {("office",): 0}


async def test_the_second_failure_in_a_row_is_an_alarm_and_outstanding_mail_has_an_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Sandbox(fault="never-delivers") as sandbox:
        monkeypatch.setenv("PROBE_SANDBOX_PASSWORD", sandbox.password)
        path = profile(tmp_path, sandbox, more='[limits]\ntimeout = "3s"\n')
        service = Service(Settings((path,), interval=None, notify_after=2))
        for number, alarm in ((1, 0), (2, 1)):
            await service.runner.run(service.targets["office"])
            told = values(service.metrics())
            assert told["submission_probe_failures_in_a_row"] == {("office",): number}
            assert told["submission_probe_alarm"] == {("office",): alarm} and told["submission_probe_success"] == {("office",): 0}
        assert told["submission_probe_messages_sent_total"] == {("office",): 2}
        assert told["submission_probe_leftovers"] == {("office",): 2}
        assert told["submission_probe_oldest_outstanding_seconds"][("office",)] >= 2
        await service.finish()


async def test_over_pop3_alone_what_came_late_is_deleted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox(fault="late") as sandbox:
        monkeypatch.setenv("PROBE_SANDBOX_PASSWORD", sandbox.password)
        text = sandbox.profile()
        path = tmp_path / "office.toml"
        imap = text.index("[readback.imap]")
        path.write_text(text[:imap] + text[text.index("[readback.pop3]") :] + '[limits]\ntimeout = "2s"\n')
        service = Service(Settings((str(path),), interval=None))
        await service.runner.run(service.targets["office"])
        await asyncio.gather(*sandbox._world.tasks)
        assert messages(sandbox) == 1
        monkeypatch.setattr(runner, "longest", lambda plan: timedelta(0))
        await service.runner.collect(service.targets["office"])
        assert messages(sandbox) == 0 and values(service.metrics())["submission_probe_messages_late_total"] == {("office",): 1}
        await service.finish()


async def test_what_a_run_comes_across_counts_as_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox(fault="late") as sandbox:
        monkeypatch.setenv("PROBE_SANDBOX_PASSWORD", sandbox.password)
        path = profile(tmp_path, sandbox, more='[limits]\ntimeout = "2s"\n')
        service = Service(Settings((path,), interval=None))
        (first,) = await service.runner.run(service.targets["office"])
        await asyncio.gather(*sandbox._world.tasks)
        monkeypatch.setattr(whose, "longest", lambda plan: timedelta(0))
        (second,) = await service.runner.run(service.targets["office"])
        assert first.failed_stage == second.failed_stage == "imap.find"
        assert any(finding.id == "delivery.late" and first.id in finding.evidence for finding in second.findings)
        assert values(service.metrics())["submission_probe_messages_late_total"] == {("office",): 1}
        assert len(entries(state_directory())) == 1
        await service.finish()


async def test_the_end_ends_a_collection_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not its schedule was cancelled before."""
    begun = asyncio.Event()

    async def silent(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with Sandbox(fault="never-delivers") as sandbox:
        monkeypatch.setenv("PROBE_SANDBOX_PASSWORD", sandbox.password)
        path = profile(tmp_path, sandbox, more='[limits]\ntimeout = "2s"\n')
        service = Service(Settings((path,), interval=None))
        await service.runner.run(service.targets["office"])
        office = service.targets["office"]
        patient = replace(
            office,
            profile=office.profile.replace(limits=office.profile.limits.replace(timeout=3600.0)),
        )
        monkeypatch.setattr(runner, "longest", lambda plan: timedelta(0))
        monkeypatch.setitem(imap._COMMANDS, "SEARCH", silent)
        collecting = asyncio.create_task(service.runner.collect(patient))
        async with asyncio.timeout(30):
            await begun.wait()
            collecting.cancel()
            await service.finish()
        assert not service.runner._collecting and len(entries(state_directory())) == 1


async def test_a_run_that_we_ended_ourselves_proves_nothing(tmp_path: Path) -> None:
    """Neither the counters nor the store hear of it: the server did nothing wrong. Its message keeps its trace."""
    stored: list[Report] = []
    async with Sandbox(fault="late") as sandbox:
        service = Service(Settings((profile(tmp_path, sandbox),), interval=None, store=lambda reports: stored.extend(reports)))
        running = asyncio.create_task(service.runner.run(service.targets["office"]))
        while not entries(state_directory()):  # noqa: ASYNC110  the trace is a file
            await asyncio.sleep(0.01)
        await service.finish()
        (report,) = await running
        assert report.interrupted and report.verdict != "ok"
        assert not stored and not service.board.states["office"].runs


async def test_a_password_that_is_gone_is_said_and_the_schedule_goes_on(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        path = profile(tmp_path, sandbox)
        file = sandbox.password_file
        password = file.read_text()
        file.unlink()
        async with Serving(tmp_path, path, "--interval", "1s") as serving:
            await serving.until_metric("submission_probe_runs_total", 1, "office", "unknown")
            assert "account.password" in (await serving.get("/")).text
            assert submissions(sandbox) == 0
            file.touch(mode=0o600)
            file.write_text(password)
            await serving.until_metric("submission_probe_runs_total", 1, "office", "ok")


async def test_a_refused_password_is_not_tried_again(tmp_path: Path) -> None:
    wrong = Sandbox(fault="wrong-password")
    async with wrong as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "1s") as serving:
        await serving.until_metric("submission_probe_runs_total", 3, "office", "critical")
        assert submissions(sandbox) == 1 and len(sandbox.logons) <= 3
        answer = await serving.get("/probe", params={"target": "office"})
        assert any("auth.suspended" in labels for labels in values(answer.text)["submission_probe_finding"])
        page = (await serving.get("/")).text
        assert not leaks([answer.text, page, serving.said], sandbox.password, sandbox.username)


async def test_tls_and_basic_authentication_by_a_web_config_file(tmp_path: Path, authority: Authority) -> None:
    certificate = authority.leaf("localhost", "127.0.0.1")
    mark = bcrypt.hashpw(b"scrape-Horse7", bcrypt.gensalt(4)).decode()
    config = tmp_path / "web.yml"
    config.write_text(
        f"tls_server_config:\n  cert_file: {certificate.cert_file}\n  key_file: {certificate.key_file}\n  min_version: TLS13\n"
        f"http_server_config:\n  headers:\n    X-Frame-Options: sameorigin\nbasic_auth_users:\n  prometheus: {mark}\n"
    )
    assert "SUCCESS" in promtool("check", "web-config", str(config))
    async with Sandbox() as sandbox:
        arguments = (profile(tmp_path, sandbox), "--interval", "none", "--web-config", str(config))
        async with Serving(tmp_path, *arguments) as serving:
            assert serving.url.startswith("https://")
            for auth in (None, ("prometheus", "wrong"), ("nobody", "scrape-Horse7"), ("prometheus", "x" * 100)):
                for path in ("/", "/metrics", "/probe?target=office", "/-/healthy"):
                    refused = await serving.client.get(path, auth=auth)
                    assert refused.status_code == 401 and "Basic" in refused.headers["www-authenticate"]
            for rubbish in ("Basic", "Basic !!!", "Bearer x", "Basic " + "AAAA" * 1000):
                assert (await serving.get("/", headers={"Authorization": rubbish})).status_code == 401
            assert submissions(sandbox) == 0
            for _ in range(2):
                let = await serving.client.get("/metrics", auth=("prometheus", "scrape-Horse7"))
                assert let.status_code == 200 and let.headers["x-frame-options"] == "sameorigin"
            # A renewed certificate is shown after a reload, without a restart.
            renewed = authority.leaf("localhost", "127.0.0.1")
            config.write_text(config.read_text().replace(str(certificate.cert_file), str(renewed.cert_file)).replace(
                str(certificate.key_file), str(renewed.key_file)
            ))  # fmt: skip
            serving.process.send_signal(signal.SIGHUP)
            await serving.until(lambda: "reloaded" in serving.said)
            port = int(serving.url.rpartition(":")[2])
            shown = await asyncio.to_thread(_leaf, port)
            assert shown.encode() in renewed.leaf_pem and shown.encode() not in certificate.leaf_pem


def _leaf(port: int) -> str:
    import ssl

    return ssl.get_server_certificate(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("basic_auth_user: {a: b}", "basic_auth_user: unknown key"),
        ("basic_auth_users: {}", "basic_auth_users: expected user names"),
        ("basic_auth_users: {a: plain-Horse7}", "basic_auth_users.a: expected a bcrypt hash"),
        ("tls_server_config: {cert_file: x.pem}", "tls_server_config.key_file: missing"),
        ("tls_server_config: {cert_file: x.pem, key_file: x.pem}", "tls_server_config: No such file"),
        ("a: [", "this is no YAML"),
        ("- 1", "expected keys with values"),
        ("", "the file is empty"),
        ("# basic_auth_users:\n", "the file is empty"),
    ],
)
def test_a_wrong_web_config_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "web.yml").write_text(text)
    done = _probe("serve", "profiles/generic.toml", "--web-config", str(tmp_path / "web.yml"))
    assert done.returncode == 3 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert "plain-Horse7" not in done.stderr


def _probe(*arguments: str) -> subprocess.CompletedProcess[str]:
    import sys

    return subprocess.run([sys.executable, "-m", "probe", *arguments], capture_output=True, text=True, timeout=60)


async def test_bad_calls_are_one_line(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "none") as serving:
        taken = serving.url.rpartition("//")[2]
        cases = {
            ("--listen", "nowhere"): "expected HOST:PORT",
            ("--listen", taken): "address already in use",
            ("--interval", "0s"): "at least 1s",
            ("--interval", "often"): "--interval",
        }
        for arguments, said in cases.items():
            done = await asyncio.to_thread(_probe, "serve", str(tmp_path / "office.toml"), *arguments)
            assert done.returncode == 3 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium here (run scripts/install-browser)")
async def test_the_status_page_in_a_browser(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, Sandbox(fault="mailbox-full") as full:
        paths = [profile(tmp_path, sandbox, "well"), profile(tmp_path, full, "full")]
        async with Serving(tmp_path, *paths, "--interval", "1s") as serving:
            await serving.until_metric("submission_probe_runs_total", 2, "well", "ok")
            await serving.until_metric("submission_probe_runs_total", 2, "full", "critical")
            await asyncio.to_thread(_look, serving.url, tmp_path)


def _look(url: str, folder: Path) -> None:
    with Browser() as browser:
        for scheme, width in (("light", 1100), ("dark", 1100), ("light", 360)):
            browser.open(url + "/", width=width, scheme=scheme)
            browser.screenshot(Path(os.environ.get("SCREENSHOTS", folder)) / f"status-{scheme}-{width}.png")
            assert browser.complaints == [] and {one.rpartition(":")[0] for one in browser.requests} == {"http://127.0.0.1"}
            assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        names = browser.evaluate("[...document.querySelectorAll('article')].map(a => a.id + ' ' + a.className).join()")
        assert names == "full critical,well ok"  # what needs somebody comes first
        assert "552" in browser.evaluate("document.querySelector('#full .said').textContent")
        report = browser.evaluate("document.querySelector('#full .tick').href")
        browser.open(report)
        assert browser.complaints == [] and "mailbox" in browser.evaluate("document.body.textContent").lower()


async def test_a_run_is_told_as_json_too(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "none") as serving:
        await serving.get("/probe", params={"target": "office"})
        link = (await serving.get("/")).text.partition('href="run/')[2].partition('"')[0]
        answer: httpx2.Response = await serving.get(f"/run/{link}", params={"format": "json"})
        assert answer.json()["reports"][0]["id"] == link and answer.headers["cache-control"] == "no-store"
        assert (await serving.get("/run/0000")).status_code == 404
