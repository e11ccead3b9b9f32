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
PLUGINS = "/usr/lib/nagios/plugins"
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
        # What is only sent lies in a mailbox of its own: a run reads and deletes what earlier ones left in its own.
        self.sent = mail.add_user("sent", PASSWORD)
        self.environ = {
            **os.environ,
            "BENCH_USER": self.user,
            "BENCH_PASSWORD": PASSWORD,
            "BENCH_SENT": self.sent,
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
            *([] if readers else [f'[message]\nrecipient = "{self.sent}"']),
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
        return self.run("swaks", "--server", server, "--tls", *account, "--from", self.user, "--to", self.sent, "--silent", "3")

    def check_email_delivery(self) -> Callable[[], Cost]:
        """From monitoring-plugins-contrib. By LOGIN: the PLAIN of its Net::SMTP::TLS sends wrong base64."""
        account = f"-U {self.user} -P {PASSWORD}"
        server = f"-H {self.address} -p"
        send = f"{server} {self.ports['submission']} --tls --auth LOGIN {account} --mailto {self.user} --mailfrom {self.user}"
        read = f"{server} {self.ports['imaps']} --ssl {account} -s SUBJECT -s 'bench %TOKEN1%' --imap-retries 20"
        plugins = [
            f"{PLUGINS}/check_smtp_send {send} --header 'Subject: bench %TOKEN1%' --body x",
            f"{PLUGINS}/check_imap_receive {read} --imap-check-interval 1",
        ]
        trust = ("env", f"SSL_CERT_FILE={self.mail.ca_file}")
        # Whatever is not nought and less than a second is no wait at all.
        wait = ("--wait", "0.001", *(word for plugin in plugins for word in ("--plugin", plugin)))
        return self.run(*trust, f"{PLUGINS}/check_email_delivery", *wait)

    def peers(self) -> dict[str, Callable[[], Cost]]:
        """Those that are installed."""
        found = {"plain, imap": self.plain("imap"), "plain, pop3": self.plain("pop3"), "plain, send": self.plain("send")}
        if shutil.which("swaks"):
            found["swaks, send"] = self.swaks()
        if Path(PLUGINS, "check_email_delivery").exists():
            found["check_email_delivery, imap"] = self.check_email_delivery()
        return found
