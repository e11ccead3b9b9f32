"""Before and after a change, against real Postfix and Dovecot: each change is found, and only it is named."""

import asyncio
import contextlib
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probe.runs.compare import compare, median_shift
from tests.scenarios.test_round_trip import ROOT, Bench, logged_since
from tests.servers.discovery import names
from tests.servers.pki import Authority


def probe(bench: Bench, *arguments: str, password: str | None = None) -> subprocess.CompletedProcess[str]:
    state = {"SUBMISSION_PROBE_STATE": str(bench.folder / "state")}
    environ = {**os.environ, "PROBE_TEST_PASSWORD": password or bench.password, **state}
    command = [sys.executable, "-m", "probe", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, cwd=ROOT, timeout=120)


def save(bench: Bench, profile: Path, name: str, *options: str) -> Path:
    done = probe(bench, "run", str(profile), "-o", "json", *options)
    assert done.stdout, done.stderr
    file = bench.folder / name
    file.write_text(done.stdout)
    return file


def changes(before: Path, after: Path) -> dict[str, tuple[str, str | None, str | None]]:
    found = compare(json.loads(before.read_text(encoding="utf-8")), json.loads(after.read_text(encoding="utf-8")))
    return {change.key: (change.severity, change.before, change.after) for change in found.changes}


def test_a_swapped_certificate_is_found_and_only_it(tmp_path: Path, mail_servers: Callable[..., Any], authority: Authority) -> None:
    first = authority.leaf("mail.example.test", file_stem="before")
    servers = mail_servers(certificate=first)
    bench = Bench(tmp_path, servers)
    profile = bench.profile()
    before = save(bench, profile, "before.json")
    servers.swap_certificate(authority.leaf("mail.example.test", file_stem="after"))
    after = save(bench, profile, "after.json")
    found = changes(before, after)
    assert set(found) <= {
        f"{leg}certificate.{key}" for leg in ("", "imap.", "pop3.") for key in ("thumbprint", "not_after", "names")
    }, found
    assert found["certificate.thumbprint"] == ("warning", first.thumbprint, servers.certificate.thumbprint)
    done = probe(bench, "compare", str(before), str(after))
    assert done.returncode == 1 and f"certificate.thumbprint: {first.thumbprint} → " in done.stdout
    # Announced, it is none to worry about.
    wanted = tmp_path / "wanted"
    wanted.write_text("# the renewal of November\n" + "".join(f"{key}=*\n" for key in found))
    done = probe(bench, "compare", str(before), str(after), "--expectations", str(wanted))
    assert done.returncode == 0 and "expected" in done.stdout
    done = probe(bench, "run", str(profile), "--against", str(before), "-q")
    assert done.returncode == 1 and "certificate.thumbprint" in done.stdout
    told = json.loads(probe(bench, "run", str(profile), "--against", str(before), "-o", "json").stdout)
    assert told["comparison"]["verdict"] == "warning"


def test_a_renewal_on_three_ports_as_the_page_says(tmp_path: Path, mail_servers: Callable[..., Any], authority: Authority) -> None:
    """docs/how-to/after-a-change.md: a run kept, the certificate replaced, awaited, and compared by one word."""
    servers = mail_servers(certificate=authority.leaf("mail.example.test", file_stem="old"))
    bench = Bench(tmp_path, servers, user="renewal")
    profile, old = bench.profile(), servers.certificate.thumbprint
    before = save(bench, profile, "before.json")
    new = authority.leaf("mail.example.test", file_stem="new")
    printed = ":".join(re.findall("..", new.thumbprint)).lower()  # as `openssl x509 -fingerprint` prints it
    announced = ("--against", str(before), "--expect-change", f"certificate={printed}")

    # Nobody has replaced it yet: each port that serves the old one is a finding.
    done = probe(bench, "run", str(profile), *announced, "-o", "json")
    told = json.loads(done.stdout)
    assert done.returncode == 1 and told["verdict"] == "ok" and told["comparison"]["verdict"] == "warning"
    missed = {change["key"]: (change["after"], change["wanted"]) for change in told["comparison"]["changes"]}
    assert missed == {f"{port}certificate.thumbprint": (old, new.thumbprint) for port in ("", "imap.", "pop3.")}

    # Postfix serves it and Dovecot was forgotten.
    servers.swap_certificate(new, readers=False)
    done = probe(bench, "run", str(profile), *announced, "-o", "json")
    told = {change["key"]: change for change in json.loads(done.stdout)["comparison"]["changes"]}
    assert done.returncode == 1 and told["certificate.thumbprint"]["expected"]
    assert {key for key, change in told.items() if change["wanted"]} == {
        f"{port}certificate.thumbprint" for port in ("imap.", "pop3.")
    }

    servers.swap_certificate(new)
    done = probe(bench, "run", str(profile), "--wait-until-ok", "30s")
    assert done.returncode == 0, done.stdout
    page, note = tmp_path / "report.html", tmp_path / "report.md"
    done = probe(bench, "run", str(profile), *announced, "--report", f"html={page}", "--report", f"markdown={note}")
    assert done.returncode == 0 and "\nOK  " in done.stdout, done.stdout
    assert "certificate.thumbprint, imap.certificate.thumbprint, pop3.certificate.thumbprint: " in done.stdout
    assert new.thumbprint in page.read_text().replace("<wbr>", "") and new.thumbprint in note.read_text()
    after = save(bench, profile, "after.json")
    assert probe(bench, "compare", str(before), str(after), "--expect-change", f"certificate={printed}").returncode == 0
    # Without a word it is a warning, which says the word.
    done = probe(bench, "compare", str(before), str(after))
    assert done.returncode == 1 and f"--expect-change certificate={new.thumbprint}" in done.stdout


def test_a_keyword_taken_away_is_found_and_only_it(tmp_path: Path, mail_servers: Callable[..., Any]) -> None:
    one, other = mail_servers(), mail_servers(extra_postfix={"smtpd_discard_ehlo_keywords": "dsn"})
    bench = Bench(tmp_path, one)
    other.add_user(bench.user, bench.password)
    # Two servers that differ in one setting; the port is how the profile tells them apart, and no fact.
    profile = bench.profile(readback__imap=None, readback__pop3=None)
    before = save(bench, profile, "before.json")
    there = f'connect = ["127.0.0.1:{other.ports["submission"]}"]'
    profile.write_text(profile.read_text().replace('connect = ["127.0.0.1"]', there))
    swapped = changes(before, save(bench, profile, "after.json"))
    certificates = {key for key in swapped if key.startswith("certificate.")}
    assert set(swapped) - certificates == {"ehlo.DSN", "ehlo_tls.DSN"}, swapped
    assert swapped["ehlo_tls.DSN"] == ("warning", "offered", None)


async def test_a_second_address_is_found_and_only_it(tmp_path: Path, mail: Any) -> None:
    """A real DNS server, asked by the probe as a resolver of the profile, gives one address more."""
    bench = Bench(tmp_path, mail, user="addresses")
    zone = {("localhost.", "A"): ["127.0.0.1"]}
    async with names(zone) as resolver:
        here = {"host": "localhost", "connect": [], "family": "ipv4"}
        profile = bench.profile(submission=here, readback__imap=None, readback__pop3=None)
        profile.write_text(profile.read_text() + f'[dns.resolvers]\ninternal = "{resolver}"\n')
        before = await asyncio.to_thread(save, bench, profile, "before.json")
        zone["localhost.", "A"].append("127.0.0.2")
        after = await asyncio.to_thread(save, bench, profile, "after.json")
    assert changes(before, after) == {"addresses.internal": ("warning", "127.0.0.1", "127.0.0.1 127.0.0.2")}


def test_a_slower_delivery_is_found_and_only_it(tmp_path: Path, mail_servers: Callable[..., Any]) -> None:
    """The way from Postfix to the mailbox is made 300 ms longer."""
    way = SlowWay()
    servers = mail_servers(extra_postfix={"virtual_transport": f"lmtp:inet:127.0.0.1:{way.port}"})
    way.target = servers.ports["lmtp"]
    bench = Bench(tmp_path, servers, user="slower")
    profile = bench.profile(readback__pop3=None)
    repeat = ("--repeat", "12", "--interval", "0")
    before = save(bench, profile, "before.json", *repeat)
    way.seconds = 0.3
    found = changes(before, save(bench, profile, "after.json", *repeat))
    way.close()
    assert set(found) == {"latency.delivery"}, found
    severity, _, after = found["latency.delivery"]
    # At least: a machine under load adds its own.
    median = re.match(r"median ([0-9.]+) s \(shift \+", str(after))
    assert severity == "warning" and median and float(median[1]) >= 0.3, found


class SlowWay:
    """Passes connections on, each after some seconds."""

    def __init__(self) -> None:
        self.target, self.seconds = 0, 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        time.sleep(self.seconds)  # the subject of the test, not a wait for something
        server = socket.create_connection(("127.0.0.1", self.target))
        threading.Thread(target=_copy, args=(client, server), daemon=True).start()
        _copy(server, client)

    def close(self) -> None:
        self._listener.close()


def test_an_unchanged_server_compares_clean_fifty_times(tmp_path: Path, mail: Any) -> None:
    bench = Bench(tmp_path, mail, user="unchanged")
    profile = bench.profile()
    runs = json.loads(save(bench, profile, "runs.json", "--repeat", "51", "--interval", "0").read_text())
    assert len(runs["reports"]) == 51
    first, *others = ({**runs, "reports": [report]} for report in runs["reports"])
    assert [compare(first, other).changes for other in others] == [()] * 50
    # And by samples: one half of the runs against the other.
    halves = ({**runs, "reports": runs["reports"][start::2]} for start in (0, 1))
    assert compare(*halves).changes == ()
    assert runs["statistics"]["profile"]["count"] == 51 and runs["statistics"]["profile"]["lost"] == 0


def test_what_broke_is_critical(tmp_path: Path, mail: Any) -> None:
    bench = Bench(tmp_path, mail, user="broke")
    profile = bench.profile(readback__imap=None, readback__pop3=None)
    before = save(bench, profile, "before.json")
    done = probe(bench, "run", str(profile), "--against", str(before), "-o", "json", password="wrong-Horse7battery")
    told = {change["key"]: change["severity"] for change in json.loads(done.stdout)["comparison"]["changes"]}
    assert told["smtp.auth.status"] == told["finding.smtp.auth.auth.refused"] == "critical" and done.returncode == 2


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "submission-probe/run/1"}', '{"schema": "x", "reports": []}', "\x00"])
def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path, mail: Any, text: str) -> None:
    bench = Bench(tmp_path, mail, user="refusedfile")
    file = tmp_path / "run.json"
    file.write_text(text)
    done = probe(bench, "compare", str(file), str(file))
    assert done.returncode == 3 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_the_shift_of_a_median() -> None:
    before = [0.10, 0.11, 0.12, 0.10, 0.11, 0.13, 0.10, 0.12]
    low, high = median_shift(before, [value + 0.3 for value in before]) or (0.0, 0.0)
    assert 0.2 < low <= 0.3 <= high < 0.4
    low, high = median_shift(before, before) or (1.0, 1.0)
    assert low <= 0 <= high
    assert median_shift(before, before[:4]) is None


# -- history -------------------------------------------------------------------------------------------------


def test_history_survives_a_damaged_file_and_a_full_disk(tmp_path: Path, mail: Any) -> None:
    bench = Bench(tmp_path, mail, user="history")
    profile = str(bench.profile(readback__imap=None, readback__pop3=None))
    store = tmp_path / "history.sqlite"
    assert probe(bench, "run", profile, "--history", str(store)).returncode == 0
    store.write_bytes(b"this is no database " * 400)
    for leftover in tmp_path.glob("history.sqlite-*"):
        leftover.unlink()
    done = probe(bench, "run", profile, "--history", str(store))
    assert done.returncode == 0 and "was damaged" in done.stderr and list(tmp_path.glob("history.sqlite.damaged-*"))
    shown = probe(bench, "history", "--history", str(store))
    assert shown.returncode == 0 and "profile: 1 runs, 0 failed" in shown.stdout
    full = probe(bench, "run", profile, "--history", "/dev/full/history.sqlite")
    assert full.returncode == 0 and "is not in the history" in full.stderr and "OK  profile" in full.stdout


def test_history_survives_a_writer_that_is_killed(tmp_path: Path) -> None:
    """A transaction cut off by kill -9 leaves a whole file."""
    from probe.state.history import rows

    store = tmp_path / "history.sqlite"
    code = f"""
import os, sqlite3
from pathlib import Path
from probe.state import history
with history._opened(Path({str(store)!r})) as database:
    database.execute("begin immediate")
    database.execute("insert into run values ('1','p','2026','ok',null,1.0,null,'h',null,x'00')")
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert rows(store) == []
    assert sqlite3.connect(store).execute("pragma integrity_check").fetchone() == ("ok",)


def test_history_exports_whole_runs_and_forgets_old_ones(tmp_path: Path, mail: Any) -> None:
    bench = Bench(tmp_path, mail, user="export")
    profile = str(bench.profile(readback__pop3=None))
    store = tmp_path / "state" / "history.sqlite"
    probe(bench, "run", profile, "--repeat", "3", "--interval", "0")
    database = sqlite3.connect(store)
    database.execute("update run set started = '2020-01-01T00:00:00Z' where rowid = 1")
    database.commit()
    database.close()
    probe(bench, "run", profile)
    lines = probe(bench, "history", "--export", "jsonl").stdout.splitlines()
    assert len(lines) == 3 and all(json.loads(line)["profile"] == "profile" for line in lines)
    page = tmp_path / "page.html"
    assert probe(bench, "history", "--html", str(page)).returncode == 0
    assert page.read_text().count("<circle") == 3 and "<script" not in page.read_text()
    assert probe(bench, "history", "--export", "csv").returncode == 3


# -- until all is well ---------------------------------------------------------------------------------------


def test_wait_until_ok_shows_its_attempts(tmp_path: Path, mail: Any) -> None:
    """The server comes back while the probe waits: here, the port it is told is opened by a forwarder after two attempts."""
    bench = Bench(tmp_path, mail, user="restart")
    with socket.socket() as keeper:
        keeper.bind(("127.0.0.1", 0))
        port = keeper.getsockname()[1]
        profile = bench.profile(submission={"connect": [f"127.0.0.1:{port}"]}, readback__imap=None, readback__pop3=None)
        state = {"SUBMISSION_PROBE_STATE": str(tmp_path / "state"), "PROBE_TEST_PASSWORD": bench.password}
        command = [sys.executable, "-m", "probe", "run", str(profile), "--wait-until-ok", "60s", "--interval", "0.2s", "-o", "json"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env={**os.environ, **state}, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as process:
            assert process.stderr and process.stdout
            assert "not yet: CRITICAL" in process.stderr.readline()
            keeper.listen()
            threading.Thread(target=_forward, args=(keeper, mail.ports["submission"]), daemon=True).start()
            told = json.loads(process.stdout.read())
            process.stderr.read()
        assert process.returncode == 0 and told["verdict"] == "ok" and told["attempts"] >= 2


def _forward(listener: Any, port: int) -> None:
    client, _ = listener.accept()
    server = socket.create_connection(("127.0.0.1", port))
    threading.Thread(target=_copy, args=(client, server), daemon=True).start()
    _copy(server, client)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):  # either side may hang up first
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_neither_waits_nor_repeats_with_a_refused_password(tmp_path: Path, mail: Any) -> None:
    for options in (("--wait-until-ok", "60s"), ("--repeat", "5", "--interval", "0")):
        bench = Bench(tmp_path, mail, user=f"once{options[0][2:6]}")
        before = mail.log()
        profile = bench.profile(readback__imap=None, readback__pop3=None)
        done = probe(bench, "run", str(profile), *options, "-o", "json", password="wrong-Horse7battery")
        assert done.returncode == 2 and len(json.loads(done.stdout)["reports"]) == 1
        assert sum("authentication failed" in line for line in logged_since(mail, before)) == 1


@pytest.mark.parametrize("name", ["text", "json", "jsonl", "markdown", "github", "junit", "tap", "nagios", "prometheus", "html"])
def test_every_output_carries_a_comparison(tmp_path: Path, mail: Any, name: str) -> None:
    bench = Bench(tmp_path, mail, user="carried")
    run = json.loads((ROOT / "tests" / "recorded" / "ok.json").read_text(encoding="ascii"))
    (seen,) = (stage["facts"] for stage in run["reports"][0]["stages"] if stage["name"] == "smtp.certificate")
    for number, thumbprint in enumerate(("AA" * 20, "BB<b>" * 8), 1):
        seen["thumbprint"] = thumbprint
        (tmp_path / f"{number}.json").write_text(json.dumps(run))
    done = probe(bench, "compare", str(tmp_path / "1.json"), str(tmp_path / "2.json"), "-o", name)
    assert done.returncode == 1, done.stderr
    assert "certificate.thumbprint" in done.stdout.replace("\\", "") and not done.stderr
    if name == "html":
        assert "BB<b>" not in done.stdout.partition("<script")[0]
