"""`make bench`: one table of ratios and round trips with goals and peers, all measured in this run; JSON beside it.

Real Postfix and Dovecot; latency by a link of its own (`benchmarks/link.py`), everything interleaved, medians with quartiles. Only
ratios and slopes are judged: absolute times say what machine this is. `--quick` does all of it once, on a small scale: it shows
that the bench runs, and its figures mean nothing.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import fleet, growth, starttls
from benchmarks.link import OUTER, Link, link, proxied
from benchmarks.measure import Cost, interleaved, median, quartiles, slopes, values
from benchmarks.peers import PROBE, ROOT, Bench, Row
from tests.servers.mail import MailServers, available
from tests.servers.pki import Authority


@dataclass(frozen=True)
class Scale:
    """How much is measured: rounds of a tool, RTTs (seconds), loops in flight, messages in a mailbox, octets of a large mail."""

    rounds: int
    rtts: tuple[float, ...]
    fleet: tuple[int, ...]
    messages: tuple[int, ...]
    beside: int


@dataclass(frozen=True)
class Figure:
    """A row of the table; `spread` is its quartiles, where it is a median of several."""

    name: str
    measured: float
    goal: float
    unit: str = ""
    spread: tuple[float, float] | None = None


QUICK = Scale(1, (0.0, 0.01, 0.02), (), (2, 6), 2**20)


def latency(bench: Bench, line: Link, scale: Scale) -> dict[str, list[float]]:
    """Round trips of every tool, round by round."""
    ours = {"probe, imap": bench.probe("imap"), "probe, pop3": bench.probe("pop3"), "probe, send": bench.probe()}
    tools = {**ours, **bench.peers()}
    walls: dict[str, dict[float, list[float]]] = {name: {} for name in tools}
    for tool in tools.values():
        tool()
    for rtt in scale.rtts:
        line.delay(rtt)
        for name, costs in interleaved(tools, scale.rounds).items():
            walls[name][rtt] = values(costs, "wall")
    line.delay(0.0)
    return {name: slopes(by_rtt) for name, by_rtt in walls.items()}


def one_shot(bench: Bench, rounds: int) -> dict[str, list[Cost]]:
    """CPU (user and system, children included) and memory of whole processes, without delay."""
    bare = bench.folder / "bare.py"
    bare.write_text('import typer\n\n\ndef main(name: str = "x") -> None:\n    print(name)\n\n\ntyper.run(main)\n')
    tools = {
        "probe, imap": bench.probe("imap"),
        **bench.peers(),
        "floor": bench.run(sys.executable, str(ROOT / "benchmarks" / "floor.py")),
        "probe --version": bench.run(*PROBE, "--version"),
        "probe explain": bench.run(*PROBE, "explain", "auth.refused"),
        "probe show": bench.run(*PROBE, "show", str(bench.profile("imap"))),
        "bare typer app": bench.run(sys.executable, str(bare)),
        "import probe": bench.run(sys.executable, "-c", "import probe"),
        "import asyncio, ssl": bench.run(sys.executable, "-c", "import asyncio, ssl"),
    }
    return interleaved(tools, rounds)


def seen_after(bench: Bench, rounds: int) -> list[float]:
    """Milliseconds from the final 250 until the message was seen over IMAP4, Dovecot, no delay."""
    import subprocess

    found = []
    for _ in range(rounds):
        command = [*PROBE, "run", str(bench.profile("imap")), "-o", "json"]
        done = subprocess.run(command, env=bench.environ, capture_output=True, check=True)
        found.append(json.loads(done.stdout)["reports"][0]["delivery_seconds"] * 1000)
    return found


def table(trips: Mapping[str, list[float]], shots: Mapping[str, list[Cost]], seen: list[float]) -> list[Figure]:
    """Latency and the cost of one run."""

    def spread(name: str, figures: list[float], goal: float, unit: str = "") -> Figure:
        return Figure(name, statistics.median(figures), goal, unit, quartiles(figures))

    def cpu(name: str) -> list[float]:
        return [seconds * 1000 for seconds in values(shots[name], "cpu")]

    def ratio(one: str, other: str, what: str = "cpu") -> float:
        return median(shots[one], what) / median(shots[other], what)

    rows = [
        spread("round trips, send + IMAP4 readback, clean-up confirmed", trips["probe, imap"], 10.5),
        spread("round trips, send + POP3 readback, clean-up confirmed", trips["probe, pop3"], 12.5),
        spread("round trips, send only", trips["probe, send"], 9),
        spread("message seen after the final 250, Dovecot, no delay", seen, 30, "ms"),
        spread("one-shot CPU, whole process", cpu("probe, imap"), 195, "ms"),
        Figure("one-shot CPU / floor (asyncio, ssl, one loop)", ratio("probe, imap", "floor"), 3.5, "x"),
        spread("peak RSS one-shot", values(shots["probe, imap"], "rss"), 48, "MiB"),
        *(spread(f"CPU of {name}", cpu(name), 100, "ms") for name in ("probe --version", "probe explain", "probe show")),
        Figure("import probe / import asyncio, ssl", ratio("import probe", "import asyncio, ssl", "wall"), 1.3, "x"),
    ]
    if "check_email_delivery, imap" in shots:
        rows.insert(6, Figure("one-shot CPU / check_email_delivery", ratio("probe, imap", "check_email_delivery, imap"), 1, "x"))
    return rows


def grown(bench: Bench, scale: Scale) -> list[Figure]:
    """One run by the size of the mailbox, and beside a large mail."""
    large = scale.beside // 2**20
    rows = [
        Figure(f"RSS with a mail of {large} MiB beside ours / without, {reader}", after / before, 1.05, "x")
        for reader, (before, after) in growth.beside(bench, scale.beside, min(3, scale.rounds)).items()
    ]
    walls = growth.mailbox(bench, scale.messages, min(5, scale.rounds))
    for reader, by_size in walls.items():
        few = by_size[0]
        rows += [
            Figure(f"wall of one run among {size} messages / among {scale.messages[0]}, {reader}", wall / few, 1.5, "x")
            for size, wall in zip(scale.messages[1:], by_size[1:], strict=True)
        ]
    return rows


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[tuple[MailServers, Link]]:
    """Postfix and Dovecot, and the link to them; all of it gone at the end."""
    authority = Authority(folder / "pki")
    certificate = authority.leaf(MailServers.fqdn, "localhost", "127.0.0.1", "::1", OUTER)
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(link())
        mail = MailServers(authority, certificate=certificate, auth_mechanisms="plain login")
        if own is not None:
            mail.hosts = (*mail.hosts, own.address)
        stack.enter_context(mail)
        yield mail, own or stack.enter_context(proxied(mail.ports.values()))


def measured(scale: Scale) -> dict[str, Any]:
    """Everything, from the fast to the slow."""
    with tempfile.TemporaryDirectory() as name, servers(Path(name)) as (mail, line):
        print(f"link: {line.kind}", file=sys.stderr, flush=True)
        near, far = Bench(Path(name), mail), Bench(Path(name), mail, line)
        trips = latency(far, line, scale)
        shots = one_shot(near, scale.rounds)
        rows = table(trips, shots, seen_after(near, scale.rounds))
        wide: list[Row] = [*(starttls.rows(near, scale.rounds) if scale.fleet else []), *fleet.rows(near, list(scale.fleet))]
        rows += [Figure(*row) for row in wide]
        rows += grown(near, scale)
    peers = {tool: {"median": statistics.median(each), "quartiles": quartiles(each)} for tool, each in trips.items()}
    costs = {tool: {what: median(each, what) for what in ("wall", "cpu", "rss")} for tool, each in shots.items()}
    return {"link": line.kind, "machine": machine(), "rows": rows, "round_trips": peers, "one_shot": costs}


def machine() -> str:
    """What limits every absolute figure."""
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{os.cpu_count()} cores, {os.uname().sysname} {os.uname().release}, Python {sys.version.split()[0]}, load {load}"


def say(found: Mapping[str, Any], rounds: int) -> None:
    """The tables: goals, then peers."""
    print(f"\n{found['machine']}; link: {found['link']}; n = {rounds}\n")
    print(f"{'figure':<78} {'median':>9}      {'quartiles':>19}  {'goal':>6}")
    for row in found["rows"]:
        between = "" if row.spread is None else f"{row.spread[0]:.2f} to {row.spread[1]:.2f}"
        verdict = "met" if row.measured <= row.goal else "MISSED"
        print(f"{row.name:<78} {row.measured:>9.2f} {row.unit:<4} {between:>19}  {row.goal:>6g}  {verdict}")
    print(f"\n{'tool':<34} {'round trips':>11}  {'quartiles':>16}  {'CPU ms':>7}  {'RSS MiB':>7}")
    for tool in {**found["round_trips"], **found["one_shot"]}:
        trips, cost = found["round_trips"].get(tool), found["one_shot"].get(tool)
        turns = f"{trips['median']:>11.1f}  {trips['quartiles'][0]:>6.1f} to {trips['quartiles'][1]:>6.1f}" if trips else " " * 29
        print(f"{tool:<34} {turns}" + (f"  {cost['cpu'] * 1000:>7.0f}  {cost['rss']:>7.1f}" if cost else ""))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="runs of each tool at each point (11)")
    parser.add_argument("--fleet", type=int, nargs="*", default=[100, 500], help="loops in flight in one process")
    parser.add_argument("--messages", type=int, nargs="*", default=[10, 1_000, 100_000], help="in the mailbox")
    parser.add_argument("--quick", action="store_true", help="everything once, on a small scale")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results.json")
    options = parser.parse_args()
    reason = available()
    if reason:
        print(f"bench: {reason}", file=sys.stderr)
        return 3
    # As Ctrl-C does: what was made is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    full = Scale(options.rounds, (0.02, 0.04, 0.08), tuple(options.fleet), tuple(options.messages), 64 * 2**20)
    scale = QUICK if options.quick else full
    found = measured(scale)
    options.json.write_text(json.dumps(found, indent=2, default=vars_of) + "\n")
    say(found, scale.rounds)
    return 0


def vars_of(row: object) -> dict[str, Any]:
    """A figure as JSON has it."""
    return {name: getattr(row, name) for name in Figure.__dataclass_fields__}


if __name__ == "__main__":
    sys.exit(main())
