"""The tools that are measured side by side: their profiles, environment and commands."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Cost, cost_of
from tests.servers.mail import MailServers

ROOT = Path(__file__).parent.parent
PROBE = [str(Path(sys.executable).with_name("probe"))]
PASSWORD = "bench-Horse7battery"
# (figure, measured, reach, unit)
Row = tuple[str, float, float, str]


class Bench:
    """The servers, a profile for each way, and the commands of every peer."""

    def __init__(self, folder: Path, mail: MailServers, ports: dict[str, int]) -> None:
        self.folder, self.mail, self.ports = folder, mail, ports
        self.user = mail.add_user("bench", PASSWORD)
        self.environ = {
            **os.environ,
            "BENCH_USER": self.user,
            "BENCH_PASSWORD": PASSWORD,
            "BENCH_CA": str(mail.ca_file),
            "BENCH_SUBMISSION": str(ports["submission"]),
            "BENCH_IMAPS": str(ports["imaps"]),
            "BENCH_POP3S": str(ports["pop3s"]),
            "SUBMISSION_PROBE_STATE": str(folder / "state"),
            "LC_ALL": "C",
        }

    def profile(self, *readers: str) -> Path:
        path = self.folder / f"{'-'.join(readers) or 'send'}-{self.ports['submission']}.toml"
        tables = [
            '[submission]\nhost = "localhost"\nconnect = ["127.0.0.1"]\nehlo = "bench.example.test"',
            f"port = {self.ports['submission']}",
            f'[account]\nusername = "{self.user}"\npassword = {{ env = "BENCH_PASSWORD" }}',
            f'[tls]\nca_file = "{self.mail.ca_file}"',
            *(f'[readback.{name}]\nconnect = ["127.0.0.1"]\nport = {self.ports[name + "s"]}' for name in readers),
        ]
        path.write_text("\n".join(tables) + "\n")
        return path

    def run(self, *command: str) -> Callable[[], Cost]:
        return lambda: cost_of(command, self.environ)

    def probe(self, *readers: str) -> Callable[[], Cost]:
        return self.run(*PROBE, "run", str(self.profile(*readers)), "-q")

    def plain(self, way: str) -> Callable[[], Cost]:
        return self.run(sys.executable, str(ROOT / "benchmarks" / "plain.py"), way)

    def swaks(self) -> Callable[[], Cost]:
        server = f"127.0.0.1:{self.ports['submission']}"
        account = ["--auth", "PLAIN", "--auth-user", self.user, "--auth-password", PASSWORD]
        return self.run("swaks", "--server", server, "--tls", *account, "--from", self.user, "--to", self.user, "--silent", "3")

    def send_peers(self) -> dict[str, Callable[[], Cost]]:
        return {"swaks, send": self.swaks()} if shutil.which("swaks") else {}
