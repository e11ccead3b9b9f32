"""CPU of a STARTTLS and certificate check, 100 in flight, beside blackbox_exporter doing the same to the same Postfix."""

import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.peers import Bench, Row

CHECKS, AT_ONCE = 600, 100
EXPORTER = "prometheus-blackbox-exporter"

_MODULE = """modules:
  smtp_starttls:
    prober: tcp
    timeout: 20s
    tcp:
      query_response:
        - expect: "^220"
        - send: "EHLO bench.example.test"
        - expect: "^250-STARTTLS"
        - expect: "^250 "
        - send: "STARTTLS"
        - expect: "^220"
        - starttls: true
        - send: "EHLO bench.example.test"
        - expect: "^250 "
        - send: "QUIT"
      tls_config:
        ca_file: {ca_file}
        server_name: localhost
"""


def rows(bench: "Bench", rounds: int) -> list["Row"]:
    """Our CPU seconds a check over the exporter's; nothing where the exporter is not installed."""
    if not shutil.which(EXPORTER):
        return []
    ours, theirs = [], []
    with _Exporter(bench) as exporter:
        for _ in range(max(3, rounds // 3)):
            ours.append(_ours(bench))
            theirs.append(exporter.seconds_a_check())
    ratio = sorted(ours)[len(ours) // 2] / sorted(theirs)[len(theirs) // 2]
    return [(f"CPU per STARTTLS+certificate check, {AT_ONCE} in flight / blackbox_exporter", ratio, 1.3, "x")]


class _Exporter:
    """blackbox_exporter on a loopback port."""

    def __init__(self, bench: "Bench") -> None:
        from tests.servers.mail import free_port

        self.target = f"127.0.0.1:{bench.ports['submission']}"
        self.port = free_port()
        self.config = Path(bench.folder) / "blackbox.yml"
        self.config.write_text(_MODULE.format(ca_file=bench.mail.ca_file))

    def __enter__(self) -> "_Exporter":
        command = [EXPORTER, f"--config.file={self.config}", f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=error"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                self._get("/-/healthy")
                return self
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError("blackbox_exporter did not start") from None
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return answer.read().decode()

    def _cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def seconds_a_check(self) -> float:
        before = self._cpu()
        with ThreadPoolExecutor(AT_ONCE) as threads:
            answers = list(threads.map(lambda _: self._get(f"/probe?module=smtp_starttls&target={self.target}"), range(CHECKS)))
        failed = sum("probe_success 1" not in answer for answer in answers)
        if failed:
            raise RuntimeError(f"blackbox_exporter failed {failed} of {CHECKS} checks")
        return (self._cpu() - before) / CHECKS


def _ours(bench: "Bench") -> float:
    profile = bench.folder / "check.toml"
    profile.write_text(
        f'[submission]\nhost = "localhost"\nconnect = ["127.0.0.1"]\nport = {bench.ports["submission"]}\n'
        'ehlo = "bench.example.test"\n[message]\nsender = "a@example.test"\nrecipient = "a@example.test"\n'
        f'[tls]\nca_file = "{bench.mail.ca_file}"\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.starttls", str(profile)], env=bench.environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return float(json.loads(done.stdout))


async def _measure(profile: str) -> float:
    from probe import run
    from probe.observe.connection import Pace
    from probe.tasks.run import load_profile

    loaded = load_profile(profile, {})
    await run(loaded, light=True, raise_bugs=True)
    pace, places = Pace(), asyncio.Semaphore(AT_ONCE)

    async def one() -> str:
        async with places:
            return (await run(loaded, light=True, pace=pace)).verdict

    before = resource.getrusage(resource.RUSAGE_SELF)
    verdicts = await asyncio.gather(*(one() for _ in range(CHECKS)))
    after = resource.getrusage(resource.RUSAGE_SELF)
    if set(verdicts) != {"ok"}:
        raise RuntimeError(f"{verdicts}")
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / CHECKS


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measure(sys.argv[1]))))
