"""`make growth`: how wall, CPU and memory grow with targets in flight, and one run with the size of the mailbox; SVG into docs/."""

import json
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fleet import USERS
from benchmarks.measure import cost_of
from benchmarks.peers import ROOT, Bench
from tests.servers.mail import MailServers, available
from tests.servers.pki import Authority

TARGETS = (1, 10, 100, 500)
MESSAGES = (10, 100, 1_000, 10_000, 100_000)


def targets(bench: Bench) -> dict[str, list[float]]:
    """Wall, CPU seconds and RSS (MiB) of so many whole loops in one process."""
    users = [bench.mail.add_user(f"fleet{number}", bench.environ["BENCH_PASSWORD"]) for number in range(USERS)]
    figures: dict[str, list[float]] = {"wall": [], "cpu": [], "rss": []}
    for size in TARGETS:
        command = [sys.executable, "-m", "benchmarks.fleet", str(bench.profile("imap")), str(size), *users]
        done = subprocess.run(command, env=bench.environ, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        if found["failures"]:
            raise RuntimeError(f"{size}: {found['reasons']}")
        for name, values in figures.items():
            values.append(found[name])
    return figures


def mailbox(bench: Bench, sizes: Sequence[int] = MESSAGES, rounds: int = 5) -> dict[str, list[float]]:
    """Median wall seconds of one run, by reader, in a mailbox that already holds so many messages."""
    walls: dict[str, list[float]] = {"imap": [], "pop3": []}
    for size in sizes:
        _fill(bench, size)
        for reader, values in walls.items():
            tool = bench.probe(reader)
            values.append(statistics.median(tool().wall for _ in range(rounds)))
    return walls


def beside(bench: Bench, octets: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Median of the peak RSS (MiB) of one run, by reader: without a mail of so many octets in the mailbox, and with it."""
    before = {reader: [bench.probe(reader)().rss for _ in range(rounds)] for reader in ("imap", "pop3")}
    folder = _folder(bench)
    path = folder / f"{int(time.time())}.N0.large:2,S"
    line = b"x" * 76 + b"\n"
    path.write_bytes(b"From: a@example.test\nSubject: large\n\n" + line * (octets // len(line)))
    shutil.chown(path, "mail", "mail")
    _read_folder(bench)
    after = {reader: [bench.probe(reader)().rss for _ in range(rounds)] for reader in before}
    path.unlink()
    _read_folder(bench)
    return {reader: (statistics.median(before[reader]), statistics.median(after[reader])) for reader in before}


def _fill(bench: Bench, size: int) -> None:
    """Messages straight into the maildir, as an import would put them; then the server reads the changed folder once."""
    folder = _folder(bench)
    have = sum(1 for _ in folder.iterdir())
    for number in range(have, size):
        path = folder / f"{int(time.time())}.N{number}.bench:2,S"
        path.write_text(f"From: a@example.test\nSubject: message {number}\n\nhello\n")
        shutil.chown(path, "mail", "mail")
    _read_folder(bench)


def _folder(bench: Bench) -> Path:
    """Where Dovecot keeps the mailbox's messages; a first logon makes it."""
    folder = bench.mail.maildir("bench") / "cur"
    if not folder.exists():
        _read_folder(bench)
    return folder


def _read_folder(bench: Bench) -> None:
    import imaplib

    context = ssl.create_default_context(cafile=bench.environ["BENCH_CA"])
    with imaplib.IMAP4_SSL("localhost", bench.ports["imaps"], ssl_context=context, timeout=300) as imap:
        imap.login(bench.user, bench.environ["BENCH_PASSWORD"])
        imap.select("INBOX")
        imap.uid("SEARCH", "ALL")


def draw(by_targets: dict[str, list[float]], by_messages: dict[str, list[float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4))
    for name, unit in (("wall", "s"), ("cpu", "s"), ("rss", "MiB")):
        left.plot(TARGETS, by_targets[name], marker="o", label=f"{name} ({unit})")
    left.set(xscale="log", yscale="log", xlabel="whole loops in flight, one process", title="Cost by number of targets")
    for reader, values in by_messages.items():
        right.plot(MESSAGES, values, marker="o", label=reader)
    right.set(xscale="log", xlabel="messages in the mailbox", ylabel="wall (s), one run", title="One run by size of the mailbox")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> int:
    reason = available()
    if reason:
        print(f"growth: {reason}", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with MailServers(Authority(folder / "pki"), auth_mechanisms="plain login") as mail:
            bench = Bench(folder, mail)
            by_targets = targets(bench)
            cost_of([str(Path(sys.executable).with_name("probe")), "run", str(bench.profile("imap")), "-q"], bench.environ)
            by_messages = mailbox(bench)
    print(json.dumps({"targets": dict(zip(map(str, TARGETS), zip(*by_targets.values(), strict=True), strict=True)),
                      "mailbox": by_messages}, indent=2))  # fmt: skip
    draw(by_targets, by_messages, ROOT / "docs" / "growth.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
