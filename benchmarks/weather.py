"""`make soak`: half an hour of bad weather for `probe serve`, with a Prometheus: what fired, and what should.

python -m benchmarks.weather [MINUTES]. Real Postfix and Dovecot; a script of events with times; beside it a profile whose target
is dead all the while. What counts in minutes is compressed, the rules' own times too (benchmarks/alerts.py); what the product
counts by itself (a refusal is confirmed after a minute) is not. At the end a table; exit status 1 where an alert is missing or one
too many.
"""

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.alerts import Alert, Fired, Prometheus, Serving
from tests.servers.mail import MailServers
from tests.servers.pki import Authority

INTERVAL = 10.0
# The shipped rules are written for an interval of five minutes.
COMPRESSED = 300.0 / INTERVAL
# From the end of a fault: the next run, the scrape and the evaluation that see it.
CLEARS_SECONDS = 30.0
SAMPLE_SECONDS = 5.0
WHOLE_MINUTES = 30.0


def nothing() -> None:
    """An event that ends by itself."""


@dataclass(frozen=True)
class Event:
    """From second `begin` until `end`; what should fire until `clears` seconds after it, and nothing else."""

    begin: float
    end: float
    name: str
    do: Callable[[], None]
    undo: Callable[[], None] = nothing
    expected: frozenset[Alert] = frozenset()
    clears: float = CLEARS_SECONDS


class Weather:
    """The servers, the profile's files, and what may happen to them."""

    first, second = "correct-Horse7battery", "another-Staple8"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder / "pki")
        self.mail = MailServers(self.authority)
        self.good = self.mail.certificate
        self.secret = folder / "password"
        self._keep(self.first)
        self._dead_secret = self._kept("dead-password", self.first)
        # Takes connections, and never says a word.
        self._silent = socket.create_server(("127.0.0.1", 0), backlog=512)

    def begin(self) -> list[str]:
        """Start the servers; the profiles."""
        self.mail.start()
        self.mail.add_user("probe", self.first)
        ports = self.mail.ports
        silent = self._silent.getsockname()[1]
        return [
            self._profile("office", self.secret, ports["submission"], ports["imaps"], ports["pop3s"]),
            self._profile("dead", self._dead_secret, silent, silent, silent),
        ]

    def end(self) -> None:
        self.mail.stop()
        self._silent.close()

    def _profile(self, name: str, secret: Path, port: int, imaps: int, pop3s: int) -> str:
        path = self.folder / f"{name}.toml"
        user = self.mail.address("probe" if name == "office" else name)
        path.write_text(
            f'[submission]\nhost = "{self.mail.fqdn}"\nport = {port}\nconnect = ["127.0.0.1"]\n'
            f'[account]\nusername = "{user}"\npassword = {{ file = "{secret}" }}\n'
            f'[tls]\nca_file = "{self.mail.ca_file}"\n[limits]\ntimeout = "6s"\n'
            f'[readback.imap]\nport = {imaps}\nconnect = ["127.0.0.1"]\n'
            f'[readback.pop3]\nport = {pop3s}\nconnect = ["127.0.0.1"]\n',
            encoding="utf-8",
        )
        return str(path)

    def _keep(self, password: str) -> None:
        self._kept(self.secret.name, password)

    def _kept(self, name: str, password: str) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(password, encoding="utf-8")
        return path

    def die(self) -> None:
        self.mail.halt()

    def come_back(self) -> None:
        self.mail.start()

    def renew(self) -> None:
        self.good = self.authority.leaf(self.mail.fqdn)
        self.mail.swap_certificate(self.good)

    def expire(self) -> None:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        self.mail.swap_certificate(
            self.authority.leaf(self.mail.fqdn, not_before=yesterday - timedelta(days=90), not_after=yesterday)
        )

    def serve_good(self) -> None:
        self.mail.swap_certificate(self.good)

    def refuse(self) -> None:
        self.mail.add_user("probe", self.second)

    def accept(self) -> None:
        self.mail.add_user("probe", self.first)

    def follow(self) -> None:
        self._keep(self.second)

    def get_back(self) -> None:
        self.mail.add_user("probe", self.first)
        self._keep(self.first)

    def lose_secret(self) -> None:
        self.secret.rename(self.folder / "away")

    def find_secret(self) -> None:
        (self.folder / "away").rename(self.secret)

    def spoil_profile(self) -> None:
        self._write("office.toml", (self.folder / "office.toml").read_text(encoding="utf-8") + "[limit]\n")

    def repair_profile(self) -> None:
        self._write("office.toml", (self.folder / "office.toml").read_text(encoding="utf-8").removesuffix("[limit]\n"))

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def hold(self) -> None:
        self.mail.hold()

    def release(self) -> None:
        self.mail.release()


def script(weather: Weather, serving: Serving, factor: float) -> list[Event]:
    """What happens when: seconds of the whole half hour, times `factor`."""
    office = {"profile": "office"}
    failing, ends_soon = Alert.of("SubmissionFailing", **office), Alert.of("SubmissionCertificateEndsSoon", **office)
    # The script as people would tell it: from, to, what, how it begins, how it ends, what should fire.
    told: Sequence[tuple[float, float, str, Callable[[], None], Callable[[], None], set[Alert], float]] = [
        (120, 210, "the target dies, and comes back", weather.die, weather.come_back, {failing}, 30),
        (300, 345, "another good certificate", weather.renew, nothing, set(), 30),
        (420, 480, "the profile's file is spoilt, and repaired", weather.spoil_profile, weather.repair_profile,
         {Alert.of("SubmissionProfileInvalid", **office)}, 30),
        (540, 720, "an expired certificate, then the good one", weather.expire, weather.serve_good, {failing, ends_soon}, 30),
        (810, 850, "the password is refused for 40 s", weather.refuse, weather.accept, {failing}, 45),
        (930, 1080, "the password changes; the secret's file follows", weather.refuse, weather.follow, {failing}, 30),
        (1140, 1150, "the old password again, on both sides", weather.get_back, nothing, set(), 30),
        (1200, 1290, "the secret's file is missing, and restored", weather.lose_secret, weather.find_secret,
         {Alert.of("SubmissionSecretMissing", **office)}, 30),
        (1350, 1410, "the exporter stands still (SIGSTOP), and goes on", serving.stand_still, serving.go_on,
         {Alert.of("SubmissionProbeDown")}, 30),
        (1470, 1620, "accepted mail waits in the queue, and is let go", weather.hold, weather.release,
         {failing, Alert.of("SubmissionMailOverdue", **office), Alert.of("SubmissionMailLate", **office)}, 110),
    ]  # fmt: skip
    return [
        Event(begin * factor, end * factor, name, do, undo, frozenset(expected), clears * max(factor, 0.5))
        for begin, end, name, do, undo, expected, clears in told
    ]


@dataclass
class Size:
    """What the exporter took at a moment."""

    at: float
    rss_mib: float
    descriptors: int


def play(events: Sequence[Event], serving: Serving, seconds: float) -> list[Size]:
    """Play the script to its end; what the exporter took meanwhile."""
    begun, sizes = time.monotonic(), []
    steps = sorted(
        [(event.begin, f"begins: {event.name}", event.do) for event in events]
        + [(event.end, f"ends:   {event.name}", event.undo) for event in events if event.undo is not nothing],
        key=lambda step: step[0],
    )
    while (now := time.monotonic() - begun) < seconds:
        while steps and steps[0][0] <= now:
            _, what, do = steps.pop(0)
            print(f"{clock(now)}  {what}  ({serving.rss_mib:.1f} MiB, {serving.descriptors} descriptors)", flush=True)
            do()
        sizes.append(Size(now, serving.rss_mib, serving.descriptors))
        following = min([begun + at for at, *_ in steps[:1]] + [begun + seconds])
        time.sleep(max(0.0, min(SAMPLE_SECONDS, following - time.monotonic())))
    return sizes


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"


@dataclass
class Row:
    """One line of the table."""

    when: str
    what: str
    expected: frozenset[Alert]
    fired: list[Fired]

    @property
    def missing(self) -> set[Alert]:
        return {alert for alert in self.expected if not any(one.alert == alert for one in self.fired)}

    @property
    def extra(self) -> set[Alert]:
        return {one.alert for one in self.fired if one.alert not in self.expected}

    def line(self) -> str:
        first = {alert: min(one.begin for one in self.fired if one.alert == alert) for alert in {one.alert for one in self.fired}}
        fired = ", ".join(f"{alert} at {clock(first[alert])}" for alert in sorted(first) if alert in self.expected)
        words = [self.when, self.what, _names(self.expected), fired or "none", _names(self.missing), _names(self.extra)]
        return "| " + " | ".join(words) + " |"


def _names(alerts: set[Alert] | frozenset[Alert]) -> str:
    return ", ".join(map(str, sorted(alerts))) or "none"


def table(events: Sequence[Event], fired: Sequence[Fired], seconds: float) -> list[Row]:
    """A row an event, one for the dead profile, one for the time in between."""
    dead = [one for one in fired if one.alert.profile == "dead"]
    others = [one for one in fired if one.alert.profile != "dead"]
    rows, used = [], []
    for event in events:
        own = [one for one in others if event.begin <= one.begin <= event.end + event.clears]
        used += own
        rows.append(Row(f"{clock(event.begin)}–{clock(event.end)}", event.name, event.expected, own))
    # One that began with its event and is still there when it should have cleared is one too many.
    late = [
        one for event in events for one in others
        if event.begin <= one.begin <= event.end + event.clears < one.end
    ]  # fmt: skip
    between = [one for one in others if one not in used] + late
    rows.append(Row("all the while", "a second profile with a dead target", frozenset({DEAD}), dead))
    rows.append(Row("in between", "nothing happens", frozenset(), between))
    return rows


DEAD = Alert.of("SubmissionFailing", profile="dead")
HEAD = "| when | event | should fire | fired | missing | too many |\n|---|---|---|---|---|---|"


def tell(rows: Sequence[Row], sizes: Sequence[Size], serving: Serving, prometheus: Prometheus) -> int:
    """Print what came of it; the exit status."""
    print(f"\n{HEAD}")
    for row in rows:
        print(row.line())
    print("\n| the exporter | at | memory (RSS) | descriptors |\n|---|---|---|---|")
    warm = [size for size in sizes if size.at >= sizes[-1].at / 30]
    for name, size in (("start", warm[0]), ("middle", warm[len(warm) // 2]), ("end", warm[-1])):
        print(f"| {name} | {clock(size.at)} | {size.rss_mib:.1f} MiB | {size.descriptors} |")
    print(f"\nruns: {prometheus.runs()}")
    print(f"late: {prometheus.total('submission_probe_messages_late_total')}, ", end="")
    print(f"missing: {prometheus.total('submission_probe_messages_missing_total')}, ", end="")
    print(f"left over: {prometheus.total('submission_probe_leftovers')}")
    if said := serving.said():
        print(f"the exporter said:\n{said}")
    wrong = [row for row in rows if row.missing or row.extra]
    print("ok: what should fire fired, and nothing else" if not wrong else f"FAILED: {len(wrong)} rows")
    return 1 if wrong else 0


def soak(minutes: float) -> int:
    """The whole of it; the exit status."""
    factor = minutes / WHOLE_MINUTES
    interval = max(1.0, INTERVAL * factor)
    compressed = 300.0 / interval
    print(
        f"{minutes:g} min; a run every {interval:g} s stands for one every 5 min: the rules' times are divided by {compressed:g}."
    )
    with tempfile.TemporaryDirectory(prefix="probe-weather-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        weather = Weather(folder)
        try:
            profiles = weather.begin()
            with Serving(folder, profiles, interval) as serving, Prometheus(folder, serving.address, compressed) as prometheus:
                events = script(weather, serving, factor)
                begun = time.time()
                sizes = play(events, serving, minutes * 60)
                fired = prometheus.fired(begun, time.time())
                return tell(table(events, fired, minutes * 60), sizes, serving, prometheus)
        finally:
            weather.end()


if __name__ == "__main__":
    os.umask(0o022)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    raise SystemExit(soak(float((sys.argv[1:2] or ["30"])[0])))
