"""`make bench`: one table of ratios and round trips beside the peers, all measured in this run; JSON beside it.

Real Postfix and Dovecot on loopback, latency by a delay proxy, everything interleaved, medians. Only ratios and slopes are judged:
absolute times say what machine this is.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks import fleet, starttls
from benchmarks.delay import DelayedLink
from benchmarks.measure import interleaved, median, slope
from benchmarks.peers import PROBE, ROOT, Bench, Row
from tests.servers.mail import MailServers, available
from tests.servers.pki import Authority


def latency(bench: Bench, link: DelayedLink, rounds: int) -> dict[str, dict[float, float]]:
    """Median wall by RTT for every tool."""
    tools = {
        "probe, imap": bench.probe("imap"),
        "probe, pop3": bench.probe("pop3"),
        "probe, send": bench.probe(),
        "plain, imap": bench.plain("imap"),
        "plain, pop3": bench.plain("pop3"),
        "plain, send": bench.plain("send"),
        **bench.send_peers(),
    }
    walls: dict[str, dict[float, float]] = {name: {} for name in tools}
    for rtt in (0.02, 0.05, 0.1):
        link.rtt = rtt
        for name, costs in interleaved(tools, rounds).items():
            walls[name][rtt] = median(costs, "wall")
    link.rtt = 0.0
    return walls


def one_shot(bench: Bench, rounds: int) -> dict[str, dict[str, float]]:
    """CPU and memory of single commands, without delay."""
    bare = bench.folder / "bare.py"
    bare.write_text('import typer\n\n\ndef main(name: str = "x") -> None:\n    print(name)\n\n\ntyper.run(main)\n')
    tools = {
        "probe, imap": bench.probe("imap"),
        "plain, imap": bench.plain("imap"),
        "probe --version": bench.run(*PROBE, "--version"),
        "bare typer app": bench.run(sys.executable, str(bare)),
        "import probe": bench.run(sys.executable, "-c", "import probe"),
        "import asyncio, ssl": bench.run(sys.executable, "-c", "import asyncio, ssl"),
    }
    costs = interleaved(tools, rounds)
    return {name: {what: median(costs[name], what) for what in ("wall", "cpu", "rss")} for name in tools}


def seen_after(bench: Bench, rounds: int) -> float:
    """Median seconds from the final 250 until the message was seen over IMAP4, Dovecot, no delay."""
    import statistics
    import subprocess

    seconds = []
    for _ in range(rounds):
        command = [*PROBE, "run", str(bench.profile("imap")), "-o", "json"]
        done = subprocess.run(command, env=bench.environ, capture_output=True, check=True)
        seconds.append(json.loads(done.stdout)["reports"][0]["delivery_seconds"])
    return statistics.median(seconds)


def table(walls: dict[str, dict[float, float]], shots: dict[str, dict[str, float]], seen: float, more: list[Row]) -> list[Row]:
    """(figure, measured, reach, unit)."""
    trips = {name: slope(points) for name, points in walls.items()}
    half = {name: points[0.05] for name, points in walls.items()}
    return [
        ("round trips, send + IMAP4 readback, clean-up confirmed", trips["probe, imap"], 14, ""),
        ("round trips, send + POP3 readback", trips["probe, pop3"], 14, ""),
        ("round trips, send only", trips["probe, send"], 11, ""),
        ("wall at RTT 50 ms, whole loop / plain smtplib+imaplib", half["probe, imap"] / half["plain, imap"], 0.65, "x"),
        ("message seen after the final 250, Dovecot", seen * 1000, 30, "ms"),
        ("one-shot CPU / plain smtplib+imaplib", shots["probe, imap"]["cpu"] / shots["plain, imap"]["cpu"], 5, "x"),
        ("peak RSS one-shot", shots["probe, imap"]["rss"], 50, "MiB"),
        ("probe --version / bare typer app", shots["probe --version"]["wall"] / shots["bare typer app"]["wall"], 1.15, "x"),
        ("import probe / import asyncio, ssl", shots["import probe"]["wall"] / shots["import asyncio, ssl"]["wall"], 1.3, "x"),
        *more,
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="runs of each tool at each point (10)")
    parser.add_argument("--fleet", type=int, nargs="*", default=[100, 500], help="loops in flight in one process")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results.json")
    options = parser.parse_args()
    reason = available()
    if reason:
        print(f"bench: {reason}", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = Authority(folder / "pki")
        with MailServers(authority, auth_mechanisms="plain login") as mail, DelayedLink(mail.ports.values()) as link:
            far = Bench(folder, mail, {service: link.ports[port] for service, port in mail.ports.items()})
            near = Bench(folder, mail, mail.ports)
            shots = one_shot(near, options.rounds)
            seen = seen_after(near, options.rounds)
            more = [*starttls.rows(near, options.rounds), *fleet.rows(near, options.fleet)]
            walls = latency(far, link, options.rounds)
    rows = table(walls, shots, seen, more)
    peers = {name: round(slope(points), 2) for name, points in walls.items()}
    options.json.write_text(
        json.dumps({"rows": rows, "round_trips": peers, "one_shot": shots, "wall_by_rtt": walls}, indent=2) + "\n"
    )
    print("\nround trips (slope of wall over RTT): " + ", ".join(f"{name} {trips}" for name, trips in peers.items()) + "\n")
    print(f"{'figure':<72} {'measured':>10}  {'reach':>8}")
    for figure, measured, reach, unit in rows:
        verdict = "met" if measured <= reach else "MISSED"
        print(f"{figure:<72} {measured:>8.2f} {unit:<3} ≤ {reach:>6g}  {verdict}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
