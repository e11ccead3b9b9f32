"""A soak of `probe serve`: python -m benchmarks.soak [MINUTES] [PROFILES] [INTERVAL_SECONDS]

Many profiles, one mailbox each, against the sandbox. Scrapes `/metrics` and `/` all the while, and says at the end
whether memory and file descriptors stayed flat, whether every run was well, and whether any message was left in a mailbox.
"""

import asyncio
import os
import re
import sys
import tempfile
import urllib.request
from pathlib import Path

from probe.sandbox import Sandbox

SAMPLE_SECONDS = 10.0


async def soak(minutes: float, profiles: int, interval: float) -> int:
    with tempfile.TemporaryDirectory(prefix="probe-soak-") as name:
        folder = Path(name)
        users = [f"u{index}@sandbox.test" for index in range(profiles)]
        async with Sandbox(others=users) as sandbox:
            for user in users:
                (folder / f"{user.partition('@')[0]}.toml").write_text(sandbox.profile(user))
            samples = await _serve(sorted(folder.glob("*.toml")), folder / "state", minutes, interval)  # noqa: ASYNC240
            left = sum(len(folder.messages) for mailbox in sandbox.mailboxes.values() for folder in mailbox.folders.values())
        return _judge(samples, left, len(list((folder / "state" / "outbox").glob("*.json"))))


async def _serve(profiles: list[Path], state: Path, minutes: float, interval: float) -> list[dict[str, float]]:
    environ = {**os.environ, "SUBMISSION_PROBE_STATE": str(state)}
    command = [sys.executable, "-m", "probe", "serve", *map(str, profiles), "--listen", "127.0.0.1:0"]
    serving = await asyncio.create_subprocess_exec(
        *command, "--interval", f"{interval:g}s", env=environ, stderr=asyncio.subprocess.PIPE
    )
    assert serving.stderr is not None
    said = (await serving.stderr.readline()).decode()
    found = re.search(r"http://\S+", said)
    assert found, said
    samples: list[dict[str, float]] = []
    for _ in range(max(2, int(minutes * 60 / SAMPLE_SECONDS))):
        await asyncio.sleep(SAMPLE_SECONDS)
        text = await asyncio.to_thread(_get, f"{found[0]}metrics")
        await asyncio.to_thread(_get, found[0])
        samples.append(_sample(text))
        print(" ".join(f"{name}={value:g}" for name, value in samples[-1].items()), flush=True)
    serving.terminate()
    rest = (await serving.stderr.read()).decode()
    print(f"ended with {await serving.wait()}; said {rest!r}")
    return samples


def _get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return str(answer.read().decode())


def _sample(text: str) -> dict[str, float]:
    def total(pattern: str) -> float:
        return sum(float(value) for value in re.findall(rf"^{pattern} (\S+)$", text, re.MULTILINE))

    return {
        "rss_mib": round(total("process_resident_memory_bytes") / 2**20, 1),
        "fds": total("process_open_fds"),
        "cpu_seconds": total("process_cpu_seconds_total"),
        "runs": total(r"submission_probe_runs_total\{[^}]*\}"),
        "well": total(r'submission_probe_runs_total\{[^}]*verdict="(?:ok|warning)"\}'),
        "leftovers": total(r"submission_probe_leftovers\{[^}]*\}"),
        "late": total(r"submission_probe_messages_late_total\{[^}]*\}"),
        "missing": total(r"submission_probe_messages_missing_total\{[^}]*\}"),
    }


def _judge(samples: list[dict[str, float]], left: int, outbox: int) -> int:
    """After a fifth of the time everything is warm: from there on, the first and the last fifth are compared."""
    warm = samples[len(samples) // 5 :]
    part = max(1, len(warm) // 5)
    begin, end = warm[:part], warm[-part:]

    def mean(some: list[dict[str, float]], name: str) -> float:
        return sum(sample[name] for sample in some) / len(some)

    last = samples[-1]
    checks = {
        f"memory flat: {mean(begin, 'rss_mib'):.1f} to {mean(end, 'rss_mib'):.1f} MiB": mean(end, "rss_mib")
        < mean(begin, "rss_mib") * 1.05,
        f"descriptors flat: at most {max(s['fds'] for s in begin):g}, then {max(s['fds'] for s in end):g}": mean(end, "fds")
        <= mean(begin, "fds") + 5,
        f"every run well: {last['well']:g} of {last['runs']:g}": last["runs"] > 0 and last["well"] == last["runs"],
        f"nothing lost: {last['missing']:g} missing, {last['late']:g} late": last["missing"] == last["late"] == 0,
        f"nothing left: {left} in mailboxes, {outbox} in the outbox": left == outbox == 0,
    }
    for said, good in checks.items():
        print(("ok      " if good else "FAILED  ") + said)
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    given = [float(word) for word in sys.argv[1:]]
    raise SystemExit(asyncio.run(soak(*(given[:1] or [30.0]), int((given[1:2] or [50])[0]), (given[2:3] or [15.0])[0])))
