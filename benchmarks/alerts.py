"""`probe serve` and a Prometheus with the shipped alert rules, their times compressed; and which alerts fired when."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.mail import free_port

RULES = Path(__file__).parent.parent / "deploy" / "prometheus" / "rules.yml"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_START_SECONDS = 30.0


@dataclass(frozen=True, order=True)
class Alert:
    """An alert's name, and the profile it is about; empty where it is about the exporter."""

    name: str
    profile: str = ""

    @classmethod
    def of(cls, name: str, profile: str = "") -> "Alert":
        return cls(name, profile)

    def __str__(self) -> str:
        return self.name + (f" ({self.profile})" if self.profile else "")


@dataclass(frozen=True)
class Fired:
    """An alert that fired from second `begin` of the soak until `end`."""

    alert: Alert
    begin: float
    end: float


def compressed(text: str, factor: float) -> str:
    """The rules with each duration (`for: 6m`, `[30m]`) divided, and each threshold of a time that has passed
    (`…_seconds > 3600`); no other."""

    def divided(match: re.Match[str]) -> str:
        return f"{match[1]}{max(1, round(int(match[2]) * _SECONDS[match[3]] * 1000 / factor))}ms"

    text = re.sub(r"(\bfor: |\[)(\d+)([smhd])\b", divided, text)
    return re.sub(r"(_seconds > )(\d+)\b", lambda match: f"{match[1]}{int(match[2]) / factor:g}", text)


class Serving:
    """`probe serve` as a process of its own; a context manager."""

    def __init__(self, folder: Path, profiles: Sequence[str], interval: float) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._log = folder / "serve.log"
        self._environ = {**os.environ, "SUBMISSION_PROBE_STATE": str(folder / "state"), "PYTHONUNBUFFERED": "1"}
        self._command = [
            sys.executable,
            "-m",
            "probe",
            "serve",
            *profiles,
            "--listen",
            self.address,
            "--interval",
            f"{interval:g}s",
        ]

    def __enter__(self) -> "Serving":
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, env=self._environ, stderr=log)
        _until(lambda: _get(f"http://{self.address}/healthz"), "probe serve answers")
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on()
        _end(self._process)

    def stand_still(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    @property
    def rss_mib(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else 0.0

    @property
    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    def said(self) -> str:
        """What it wrote to stderr, but for the line with its address."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines if "profiles, every" not in line)


class Prometheus:
    """A context manager: scrapes the exporter each second, and evaluates the rules each second."""

    def __init__(self, folder: Path, exporter: str, factor: float) -> None:
        self._folder = folder
        self._address = f"127.0.0.1:{free_port()}"
        (folder / "rules.yml").write_text(compressed(RULES.read_text(encoding="utf-8"), factor), encoding="utf-8")
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [{"job_name": "submission-probe", "static_configs": [{"targets": [exporter]}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")

    def __enter__(self) -> "Prometheus":
        command = [
            "prometheus", f"--config.file={self._folder}/prometheus.yml", f"--web.listen-address={self._address}",
            f"--storage.tsdb.path={self._folder}/tsdb",
        ]  # fmt: skip
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        _until(lambda: _get(f"http://{self._address}/-/ready"), "prometheus answers")
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._process)

    def fired(self, begun: float, ended: float) -> list[Fired]:
        """Every alert that fired in this time (Unix seconds), in the order in which they began."""
        found = self._ask("query_range", query='ALERTS{alertstate="firing"}', start=f"{begun}", end=f"{ended}", step="1")
        fired = []
        for series in found:
            labels = series["metric"]
            alert = Alert(labels["alertname"], labels.get("profile", ""))
            fired += [Fired(alert, begin, end) for begin, end in _spans([at - begun for at, _ in series["values"]])]
        return sorted(fired, key=lambda one: one.begin)

    def total(self, name: str) -> float:
        """The sum over all profiles, now."""
        return sum(float(series["value"][1]) for series in self._ask("query", query=name))

    def runs(self) -> str:
        """How many runs ended how, now."""
        found = self._ask("query", query="submission_probe_runs_total > 0")
        counts = sorted((one["metric"]["profile"], one["metric"]["verdict"], one["value"][1]) for one in found)
        return ", ".join(f"{profile} {verdict} {count}" for profile, verdict, count in counts)

    def _ask(self, what: str, **given: str) -> list[Any]:
        answer = json.loads(_get(f"http://{self._address}/api/v1/{what}?{urllib.parse.urlencode(given)}"))
        result: list[Any] = answer["data"]["result"]
        return result


def _spans(moments: Sequence[float]) -> list[tuple[float, float]]:
    """Moments a second apart, as from and to; a gap of some seconds ends a span."""
    spans: list[tuple[float, float]] = []
    for moment in moments:
        if spans and moment - spans[-1][1] < 3:
            spans[-1] = (spans[-1][0], moment)
        else:
            spans.append((moment, moment))
    return spans


def _get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return str(answer.read().decode())


def _until(seen: Any, what: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            seen()
        except OSError:
            if time.monotonic() > deadline:
                raise RuntimeError(f"not within {_START_SECONDS:g} s: {what}") from None
            time.sleep(0.1)
        else:
            return


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
