"""Real Postfix and Dovecot in a temporary directory on free high ports of loopback, without systemd.

Both are ended by their process id. Postfix asks Dovecot's auth socket for passwords and hands mail to Dovecot's LMTP; users are
virtual. Postfix gives loopback no privilege (`mynetworks` is empty). Dovecot does: a client that comes from the very address it
connects to counts as secured, so that 127.0.0.1 and ::1 are offered AUTH before TLS, whatever the settings. A client that connects
to `foreign_host` comes from 127.0.0.1 and is a stranger, as one from the network is: LOGINDISABLED, and plaintext refused.
"""

import hashlib
import os
import random
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from tests.servers import configuration
from tests.servers.pki import Authority, Certificate

SERVICES = ("submission", "submissions", "smtp25", "imap", "imaps", "pop3", "pop3s")
_INNER = ("lmtp", "auth", "quota")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_POSTFIX_MASTER = Path("/usr/lib/postfix/sbin/master")
_PROGRAMS = (
    "dovecot", "krb5kdc", "kadmin.local", "kinit", "nagios4", "icinga2", "prometheus", "promtool", "prometheus-alertmanager",
    "prometheus-node-exporter", "amtool", "ansible-playbook", "cron", "systemd-analyze", "crontab",
)  # fmt: skip
_START_SECONDS = 20.0
_STOP_SECONDS = 0.5
_RELOAD_SECONDS = 10.0


def available() -> str | None:
    """Why real servers cannot be had, or None when they can."""
    files = [_POSTFIX_MASTER, *(Path("/usr/lib/dovecot") / name for name in ("imap", "pop3", "lmtp"))]
    files.append(Path("/usr/lib/dovecot/modules/auth/libmech_gssapi.so"))
    missing = [str(path) for path in files if not path.exists()]
    missing += [name for name in _PROGRAMS if not shutil.which(name, path=_PATH)]
    missing += [f"Python's {name}" for name in ("gssapi", "krb5") if find_spec(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (run make test)"
    return "only root can start real servers" if os.geteuid() != 0 else None


def has_ipv6() -> bool:
    """Whether loopback speaks IPv6 here; in some containers it does not."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


# Below those that the kernel gives to outgoing connections. Each worker of pytest-xdist has a share of its own, and no port is
# given twice, since some time passes before a server listens on it.
_PORTS = range(10000, 32000)
_SHARES = 16
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody uses at this moment, and that no other test is given."""
    share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SHARES
    while True:
        port = random.choice(_PORTS[share::_SHARES])
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
                if has_ipv6():
                    with socket.socket(socket.AF_INET6) as second:
                        second.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                        second.bind(("::", port))
            except OSError:
                continue
        _given.add(port)
        return port


def free_ports(names: tuple[str, ...]) -> dict[str, int]:
    """A port for each name, no two the same."""
    return {name: free_port() for name in names}


class MailServers:
    """Postfix and Dovecot for one domain; a context manager. Settings of Postfix go by `extra_postfix`.

    `quota="10K"` bounds every mailbox: a message that does not fit is refused at RCPT (Dovecot's quota-status asks for MAIL's SIZE)
    or bounced. The address full@ is refused with 552 always. Mail to name+Junk@ goes to the folder Junk.
    """

    domain = "example.test"
    fqdn = "mail.example.test"
    foreign_host = "127.0.0.2"

    def __init__(
        self,
        authority: Authority,
        *,
        certificate: Certificate | None = None,
        starttls: bool = True,
        discard: bool = False,
        quota: str | None = None,
        auth_mechanisms: str = "plain login cram-md5",
        extra_postfix: dict[str, str] | None = None,
        extra_dovecot: str = "",
        environ: dict[str, str] | None = None,
    ) -> None:
        self.certificate = certificate or authority.leaf(self.fqdn, "localhost", "127.0.0.1", "::1")
        self.ca_file = authority.ca_file
        self.starttls, self.discard, self.quota, self.auth_mechanisms = starttls, discard, quota, auth_mechanisms
        self.extra_postfix, self.extra_dovecot = extra_postfix or {}, extra_dovecot
        self.environ = environ or {}
        self.hosts = ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",)
        self.ports = free_ports((*SERVICES, *_INNER))
        # Not pytest's tmp_path: its folders are 0700, and user postfix has to pass through.
        self.directory = Path(tempfile.mkdtemp(prefix="probe-mail-"))
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "MailServers":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- users and mail ----------------------------------------------------------------------------------------

    def add_user(self, name: str, password: str, extra: str = "") -> str:
        """Add a user, or change the password; returns the address. `extra`: further fields of Dovecot's passdb."""
        address = self.address(name)
        (self.directory / "users" / address).write_text(f"{address}:{{PLAIN}}{password}::::::{extra}\n")
        return address

    def address(self, name: str) -> str:
        """Lower case, as Dovecot makes every user name before it looks it up."""
        return f"{name}@{self.domain}".lower()

    def maildir(self, name: str) -> Path:
        return self.directory / "mail" / self.address(name)

    def messages(self, name: str, folder: str = "INBOX") -> list[bytes]:
        """Every message of a folder, as the files hold it."""
        base = self.maildir(name) if folder == "INBOX" else self.maildir(name) / f".{folder}"
        return [path.read_bytes() for part in ("cur", "new") for path in sorted((base / part).glob("*"))]

    def deliver(self, name: str, raw: bytes, folder: str = "INBOX") -> None:
        """Put a message into a folder by LMTP, as Postfix does."""
        local = name if folder == "INBOX" else f"{name}+{folder}"
        with smtplib.LMTP("127.0.0.1", self.ports["lmtp"]) as lmtp:
            lmtp.sendmail("friend@example.test", [f"{local}@{self.domain}"], raw)

    def log(self) -> str:
        """What both have logged so far."""
        files = (self.directory / "postfix.log", self.directory / "dovecot.log")
        return "".join(path.read_text(errors="replace") for path in files if path.exists())

    def wait_log(self, pattern: str, timeout: float = 5.0) -> re.Match[str]:
        """Wait until a line of the log has the regular expression in it."""

        def seen() -> re.Match[str] | None:
            return re.search(pattern, self.log(), re.MULTILINE)

        _await(seen, timeout)
        found = seen()
        assert found, f"not in the log within {timeout} s: {pattern}\n{self.log()[-4000:]}"
        return found

    # -- start and stop ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Write the configuration, start both, and wait until every service answers; if one does not, leave nothing behind."""
        try:
            self._write()
            self._spawn(shutil.which("dovecot", path=_PATH) or "dovecot", "-F", "-c", str(self.directory / "dovecot.conf"))
            self._spawn(str(_POSTFIX_MASTER), "-c", str(self.directory / "postfix"), "-d")
            for name in SERVICES:
                self._await_greeting(name)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End both, and remove the directory. May be called again."""
        self.halt()
        shutil.rmtree(self.directory, ignore_errors=True)

    def halt(self) -> None:
        """End both by their process ids, their children with them; users and mail stay, and `start` brings them back."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            # Not waited for before: as long as it is not, nobody else can get its number, nor its group's.
            if not _await(lambda group=process.pid: not living(group), _STOP_SECONDS):
                os.killpg(process.pid, signal.SIGKILL)
                _await(lambda group=process.pid: not living(group), _STOP_SECONDS)
            process.wait()
        self._processes.clear()

    def hold(self) -> None:
        """Accept mail, and leave it in the queue."""
        self._reload_postfix({**self.extra_postfix, "defer_transports": "lmtp"})

    def release(self) -> None:
        """Deliver again, and what lies in the queue at once."""
        self._reload_postfix({key: value for key, value in self.extra_postfix.items() if key != "defer_transports"})
        subprocess.run(["postqueue", "-c", str(self.directory / "postfix"), "-f"], env={"PATH": _PATH}, check=True)

    def _reload_postfix(self, settings: dict[str, str]) -> None:
        self.extra_postfix = settings
        self._write()
        self._processes[-1].send_signal(signal.SIGHUP)

    def swap_certificate(self, certificate: Certificate, *, readers: bool = True) -> None:
        """Serve another certificate from now on, as an administrator would: change the files and reload. Without `readers` Dovecot
        is forgotten: it goes on with the one it has."""
        self.certificate = certificate
        self._write()
        dovecot, postfix = self._processes
        for process in (dovecot, postfix) if readers else (postfix,):
            process.send_signal(signal.SIGHUP)
        served = ("submissions", "imaps", "pop3s") if readers else ("submissions",)
        if not _await(lambda: all(self._thumbprint(name) == certificate.thumbprint for name in served), _RELOAD_SECONDS):
            raise RuntimeError(f"the certificate was not swapped:\n{self.log()[-4000:]}")

    @property
    def pids(self) -> list[int]:
        """Every living process of both."""
        return [pid for process in self._processes for pid in living(process.pid)]

    def _spawn(self, *command: str) -> None:
        environ = {"PATH": _PATH, "MAIL_CONFIG": str(self.directory / "postfix"), **self.environ}
        with (self.directory / "output.log").open("ab") as output:
            # A session each: its number is the group to end.
            self._processes.append(
                subprocess.Popen(command, stdout=output, stderr=output, env=environ, start_new_session=True, cwd=self.directory)
            )

    def _await_greeting(self, name: str) -> None:
        """Wait until a service greets, or shakes hands; a server that died says so in the error."""

        def greets() -> bool:
            try:
                if name.endswith("s"):
                    return bool(self._thumbprint(name))
                with socket.create_connection(("127.0.0.1", self.ports[name]), 5) as connection:
                    return bool(connection.recv(1))
            except OSError:
                return False

        answered = _await(lambda: greets() or self._died(), _START_SECONDS)
        if self._died() or not answered:
            output = (self.directory / "output.log").read_text()
            raise RuntimeError(f"no {name} on port {self.ports[name]}:\n{output}\n{self.log()[-4000:]}")

    def _died(self) -> bool:
        return any(process.poll() is not None for process in self._processes)

    def _thumbprint(self, name: str) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        with (
            socket.create_connection(("127.0.0.1", self.ports[name]), 5) as connection,
            context.wrap_socket(connection) as tls,
        ):
            return hashlib.sha1(tls.getpeercert(True) or b"").hexdigest().upper()

    # -- files -------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        self.directory.chmod(0o755)
        for name, owner in (("mail", "mail"), ("data", "postfix"), ("users", "root"), ("postfix", "root"), ("queue", "root")):
            (self.directory / name).mkdir(exist_ok=True)
            shutil.chown(self.directory / name, owner, owner)
        self._make_queue(self.directory / "queue")
        hosts = (*self.hosts, self.foreign_host)
        leaf = self.certificate
        texts = {
            "dovecot.conf": configuration.dovecot(
                self.directory, hosts, self.ports, cert_file=leaf.cert_file, key_file=leaf.key_file,
                auth_mechanisms=self.auth_mechanisms, quota=self.quota, extra=self.extra_dovecot,
            ),
            "postfix/main.cf": configuration.postfix_main(
                self.directory, self.ports, fqdn=self.fqdn, domain=self.domain, chain_files=f"{leaf.key_file}, {leaf.cert_file}",
                discard=self.discard, quota=self.quota, extra=self.extra_postfix,
            ),
            "postfix/master.cf": configuration.postfix_master(hosts, self.ports, starttls=self.starttls),
            "postfix/full": f"full@{self.domain} 552 5.2.2 Mailbox full\n",
        }  # fmt: skip
        before = time.time() - 60
        for name, text in texts.items():
            path = self.directory / name
            path.write_text(text)
            # Every Postfix daemon reads a file again and again, 0.3 s apart, until it is two seconds old.
            os.utime(path, (before, before))

    def _make_queue(self, queue: Path) -> None:
        """The queue's folders with the owners that `postfix check` would give them."""
        own = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace")
        folders = [
            *((name, 0o700, "postfix", "root") for name in own),
            ("pid", 0o755, "root", "root"),
            ("public", 0o710, "postfix", "postdrop"),
            ("maildrop", 0o730, "postfix", "postdrop"),
        ]
        for name, mode, owner, group in folders:
            (queue / name).mkdir(exist_ok=True)
            (queue / name).chmod(mode)
            shutil.chown(queue / name, owner, group)


def _await(done: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def living(group: int) -> list[int]:
    """The processes of a group, without those that have ended and wait for their parent to notice."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state not in "ZX":
            found.append(int(path.parent.name))
    return found
