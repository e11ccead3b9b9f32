"""The tools that are measured side by side: their profiles, environment and commands."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.link import Link
from benchmarks.measure import Cost, cost_of
from tests.servers.mail import MailServers

ROOT = Path(__file__).parent.parent
PROBE = [str(Path(sys.executable).with_name("probe"))]
PASSWORD = "bench-Horse7battery"
# (figure, measured, reach, unit)
Row = tuple[str, float, float, str]


class Bench:
    """The servers, a profile for each way, and the commands of every peer."""

    def __init__(self, folder: Path, mail: MailServers, link: Link | None = None) -> None:
        self.folder, self.mail, self.link = folder, mail, link
        self.address = link.address if link else "127.0.0.1"
        self.ports = {service: link.port(port) if link else port for service, port in mail.ports.items()}
        self.user = mail.add_user("bench", PASSWORD)
        self.environ = {
            **os.environ,
            "BENCH_USER": self.user,
            "BENCH_PASSWORD": PASSWORD,
            "BENCH_CA": str(mail.ca_file),
            "BENCH_ADDRESS": self.address,
            "BENCH_SUBMISSION": str(self.ports["submission"]),
            "BENCH_IMAPS": str(self.ports["imaps"]),
            "BENCH_POP3S": str(self.ports["pop3s"]),
            "SUBMISSION_PROBE_STATE": str(folder / "state"),
            "LC_ALL": "C",
        }

    def profile(self, *readers: str) -> Path:
        path = self.folder / f"{'-'.join(readers) or 'send'}-{self.address}.toml"
        tables = [
            '[submission]\nhost = "localhost"\nehlo = "bench.example.test"',
            f'connect = ["{self.address}"]\nport = {self.ports["submission"]}',
            f'[account]\nusername = "{self.user}"\npassword = {{ env = "BENCH_PASSWORD" }}',
            f'[tls]\nca_file = "{self.mail.ca_file}"',
            *(f'[readback.{name}]\nconnect = ["{self.address}"]\nport = {self.ports[name + "s"]}' for name in readers),
        ]
        path.write_text("\n".join(tables) + "\n")
        return path

    def run(self, *command: str) -> Callable[[], Cost]:
        whole = self.link.through(command) if self.link else command
        return lambda: cost_of(whole, self.environ)

    def probe(self, *readers: str) -> Callable[[], Cost]:
        return self.run(*PROBE, "run", str(self.profile(*readers)), "-q")

    def plain(self, way: str) -> Callable[[], Cost]:
        return self.run(sys.executable, str(ROOT / "benchmarks" / "plain.py"), way)

    def swaks(self) -> Callable[[], Cost]:
        server = f"{self.address}:{self.ports['submission']}"
        account = ["--auth", "PLAIN", "--auth-user", self.user, "--auth-password", PASSWORD]
        return self.run("swaks", "--server", server, "--tls", *account, "--from", self.user, "--to", self.user, "--silent", "3")

    def send_peers(self) -> dict[str, Callable[[], Cost]]:
        return {"swaks, send": self.swaks()} if shutil.which("swaks") else {}
