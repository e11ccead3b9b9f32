"""Many sites by Prometheus: three exporters, thirty mailboxes, hashmod; rules fire and resolve through a real Alertmanager."""

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from probe.sandbox import Sandbox
from tests.serve.serving import ROOT, Serving, values
from tests.servers.mail import free_port

DEPLOY = ROOT / "deploy"
MAILBOXES = 30
WAIT_SECONDS = 90.0


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Where Alertmanager tells of alerts: its address, and what came."""
    seen: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.extend(body["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/alerts", seen
    server.shutdown()
    server.server_close()


@asynccontextmanager
async def running(folder: Path, *command: str) -> AsyncIterator[None]:
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, cwd=folder)
        try:
            yield
        finally:
            process.terminate()
            await process.wait()


def hurried(text: str) -> str:
    """Our own files, with seconds in the place of minutes."""
    text = re.sub(r"\n +for: \w+.*", "\n        for: 1s", text)
    text = re.sub(r"group_wait: \w+", "group_wait: 1s", text)
    text = re.sub(r"group_interval: \w+", "group_interval: 1s", text)
    return text.replace("scrape_interval: 5m", "scrape_interval: 4s").replace("scrape_timeout: 55s", "scrape_timeout: 3900ms")


def written(folder: Path, exporters: list[str], alertmanager: int, hook: str) -> Path:
    """Prometheus' and Alertmanager's files, made of those in deploy/."""
    scrape = hurried((DEPLOY / "prometheus" / "many-sites.yml").read_text())
    for index, address in enumerate(exporters):
        scrape = scrape.replace(f"site-{index}.example.com:9587", address)
    config = folder / "prometheus.yml"
    config.write_text(
        "global: { scrape_interval: 1s, evaluation_interval: 1s }\nrule_files: [rules.yml]\n"
        f'alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: ["127.0.0.1:{alertmanager}"] }}] }}] }}\n' + scrape
    )
    (folder / "rules.yml").write_text(hurried((DEPLOY / "prometheus" / "rules.yml").read_text()))
    (folder / "profiles.yml").write_text(json.dumps([{"targets": [f"box{index}" for index in range(MAILBOXES)]}]))
    route = hurried((DEPLOY / "alertmanager" / "route.yml").read_text())
    (folder / "alertmanager.yml").write_text(route.replace("http://127.0.0.1:9099/alerts", hook))
    return config


async def until(seen: list[dict[str, Any]], status: str, **labels: str) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not any(one["status"] == status and labels.items() <= one["labels"].items() for one in seen):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_three_exporters_share_thirty_mailboxes(tmp_path: Path, webhook: tuple[str, list[dict[str, Any]]]) -> None:
    hook, alerts = webhook
    users = [f"box{index}@sandbox.test" for index in range(MAILBOXES)]
    async with Sandbox(others=users) as sandbox, Sandbox(fault="mailbox-full", others=users) as full, AsyncExitStack() as stack:
        # One mailbox of the thirty is full.
        paths = []
        for index, user in enumerate(users):
            path = tmp_path / f"box{index}.toml"
            path.write_text((full if index == 7 else sandbox).profile(user))
            paths.append(str(path))
        sites = []
        for number in range(3):
            (tmp_path / f"site{number}").mkdir()
            sites.append(await stack.enter_async_context(Serving(tmp_path / f"site{number}", *paths, "--interval", "none")))
        addresses = [site.url.rpartition("//")[2] for site in sites]
        alertmanager, web = free_port(), free_port()
        config = written(tmp_path, addresses, alertmanager, hook)
        await stack.enter_async_context(running(
            tmp_path, "prometheus-alertmanager", "--config.file=alertmanager.yml", f"--web.listen-address=127.0.0.1:{alertmanager}",
            "--cluster.listen-address=", f"--storage.path={tmp_path}/alerts",
        ))  # fmt: skip
        await stack.enter_async_context(running(
            tmp_path, "prometheus", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{web}",
            f"--storage.tsdb.path={tmp_path}/tsdb",
        ))  # fmt: skip
        await until(alerts, "firing", alertname="SubmissionFailing", profile="box7")
        shares = await every_mailbox_probed(sites)
        assert all(shares), "an exporter with nothing to do: the hash does not spread"
        assert sum(map(len, shares)) == MAILBOXES and set.union(*shares) == {f"box{index}" for index in range(MAILBOXES)}

        # A site dies: an alert, and no other site takes its mailboxes.
        port = addresses[1]
        sites[1].process.kill()
        await until(alerts, "firing", alertname="SubmissionProbeDown", instance=port)
        assert not (await probed(sites[0]) | await probed(sites[2])) & shares[1]

        # The mailbox is emptied, the site comes back: both alerts resolve.
        full._world.fault = None
        again = Serving(tmp_path / "site1", *paths, "--interval", "none", listen=port)
        await stack.enter_async_context(again)
        await until(alerts, "resolved", alertname="SubmissionProbeDown", instance=port)
        await until(alerts, "resolved", alertname="SubmissionFailing", profile="box7")
        names = {(one["labels"]["alertname"], one["labels"].get("profile")) for one in alerts}
        assert {name for name in names if name[0] == "SubmissionFailing"} == {("SubmissionFailing", "box7")}


async def every_mailbox_probed(sites: list[Serving]) -> list[set[str]]:
    """Which profiles each site has run, once every profile was."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            shares = [await probed(site) for site in sites]
            if len(set.union(*shares)) == MAILBOXES:
                return shares
            await asyncio.sleep(0.2)


async def probed(site: Serving) -> set[str]:
    runs = values((await site.get("/metrics")).text)["submission_probe_runs_total"]
    return {next(label for label in labels if label.startswith("box")) for labels, count in runs.items() if count}
