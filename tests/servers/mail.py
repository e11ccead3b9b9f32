"""Real Postfix and Dovecot in a temporary directory on free high ports of loopback, without systemd.

Both are ended by their process id. Postfix asks Dovecot's auth socket for passwords and hands mail to Dovecot's LMTP; users are
virtual. Loopback has no privilege: `mynetworks` is empty and Dovecot's `ssl = required` holds for 127.0.0.1 too.
"""

import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.servers.pki import Authority, Certificate

SERVICES = ("submission", "submissions", "smtp25", "imap", "imaps", "pop3", "pop3s")
_POSTFIX_MASTER = Path("/usr/lib/postfix/sbin/master")
_START_SECONDS = 20.0


def available() -> str | None:
    """Why real servers cannot be had, or None when they can."""
    if os.geteuid() != 0:
        return "Postfix and Dovecot can only be started by root"
    missing = [name for name in ("postfix", "dovecot", "doveadm") if not _which(name)]
    if not missing and not Path("/usr/lib/dovecot/lmtp").exists():
        missing = ["dovecot-lmtpd"]
    return f"not installed: {', '.join(missing)} (run scripts/install-servers)" if missing else None


def _which(name: str) -> str | None:
    return shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")


def free_port() -> int:
    """A port of loopback that nobody uses at this moment, on IPv4 and IPv6."""
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::", 0))
        return int(probe.getsockname()[1])


class MailServers:
    """Postfix and Dovecot for one domain; a context manager. Settings of Postfix go by `extra_postfix`."""

    domain = "example.test"
    fqdn = "mail.example.test"

    def __init__(
        self,
        authority: Authority,
        *,
        certificate: Certificate | None = None,
        starttls: bool = True,
        discard: bool = False,
        auth_mechanisms: str = "plain login cram-md5",
        extra_postfix: dict[str, str] | None = None,
        extra_dovecot: str = "",
    ) -> None:
        self.certificate = certificate or authority.leaf(self.fqdn, "localhost", "127.0.0.1", "::1")
        self.ca_file = authority.ca_file
        self.starttls, self.discard, self.auth_mechanisms = starttls, discard, auth_mechanisms
        self.extra_postfix, self.extra_dovecot = extra_postfix or {}, extra_dovecot
        self.ports = {name: free_port() for name in (*SERVICES, "lmtp", "auth")}
        # Not pytest's tmp_path: its folders are 0700, and user postfix has to pass through.
        self.directory = Path(tempfile.mkdtemp(prefix="probe-mail-"))
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "MailServers":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- users and mail ----------------------------------------------------------------------------------------

    def add_user(self, name: str, password: str) -> str:
        """Add a user; returns the address. A file each: Dovecot looks at a file's time by the second only."""
        address = f"{name}@{self.domain}"
        (self.directory / "users" / address).write_text(f"{address}:{{PLAIN}}{password}\n")
        return address

    def maildir(self, name: str) -> Path:
        return self.directory / "mail" / f"{name}@{self.domain}"

    def messages(self, name: str, folder: str = "INBOX") -> list[bytes]:
        """Every message of a folder, as the files hold it."""
        base = self.maildir(name) if folder == "INBOX" else self.maildir(name) / f".{folder}"
        return [path.read_bytes() for part in ("cur", "new") for path in sorted((base / part).glob("*"))]

    def deliver(self, name: str, raw: bytes) -> None:
        """Put a message into INBOX by LMTP, as Postfix does."""
        import smtplib

        with smtplib.LMTP("127.0.0.1", self.ports["lmtp"]) as lmtp:
            lmtp.sendmail("friend@example.test", [f"{name}@{self.domain}"], raw)

    def log(self) -> str:
        """What both have logged so far."""
        texts = [path.read_text(errors="replace") for path in (self.directory / "postfix.log", self.directory / "dovecot.log")
                 if path.exists()]  # fmt: skip
        return "".join(texts)

    # -- start and stop ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Write the configuration, start both, and wait until every port greets."""
        self.directory.chmod(0o755)
        self._write_dovecot()
        self._write_postfix()
        self._spawn([_which("dovecot") or "dovecot", "-F", "-c", str(self.directory / "dovecot.conf")])
        self._spawn([str(_POSTFIX_MASTER), "-c", str(self.directory / "postfix"), "-d"])
        for name in SERVICES:
            self._await_port(self.ports[name])

    def stop(self) -> None:
        """End both by their process ids, their children with them, and remove the directory."""
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._processes.clear()
        shutil.rmtree(self.directory, ignore_errors=True)

    def swap_certificate(self, certificate: Certificate) -> None:
        """Serve another certificate from now on, as an administrator would: change the files and reload."""
        self.certificate = certificate
        self._write_dovecot()
        self._write_postfix()
        for process in self._processes:
            process.send_signal(signal.SIGHUP)

    def _spawn(self, command: list[str]) -> None:
        output = (self.directory / "output.log").open("ab")
        environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "MAIL_CONFIG": str(self.directory / "postfix")}
        self._processes.append(
            subprocess.Popen(command, stdout=output, stderr=output, env=environ, start_new_session=True, cwd=self.directory)
        )

    def _await_port(self, port: int) -> None:
        """Wait until something listens; a server that died says so in the error."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if any(process.poll() is not None for process in self._processes):
                break
            time.sleep(0.02)
        raise RuntimeError(f"no server on port {port}:\n{(self.directory / 'output.log').read_text()}\n{self.log()[-4000:]}")

    # -- configuration -------------------------------------------------------------------------------------------

    def _write_dovecot(self) -> None:
        mail = self.directory / "mail"
        mail.mkdir(exist_ok=True)
        owner, group = pwd.getpwnam("mail"), grp.getgrnam("mail")
        os.chown(mail, owner.pw_uid, group.gr_gid)
        users = self.directory / "users"
        users.mkdir(exist_ok=True)
        listeners = "".join(
            f"""service {protocol}-login {{
  process_limit = 1024
  service_count = 0
  inet_listener {protocol} {{
    address = 127.0.0.1 ::1
    port = {self.ports[protocol]}
  }}
  inet_listener {protocol}s {{
    address = 127.0.0.1 ::1
    port = {self.ports[protocol + "s"]}
    ssl = yes
  }}
}}
service {protocol} {{
  process_limit = 1024
}}
"""
            for protocol in ("imap", "pop3")
        )
        (self.directory / "dovecot.conf").write_text(f"""base_dir = {self.directory}/dovecot
state_dir = {self.directory}/dovecot-state
log_path = {self.directory}/dovecot.log
protocols = imap pop3 lmtp
mail_location = maildir:{mail}/%u
first_valid_uid = 1
ssl = required
ssl_cert = <{self.certificate.cert_file}
ssl_key = <{self.certificate.key_file}
auth_mechanisms = {self.auth_mechanisms}
auth_verbose = yes
auth_failure_delay = 0
auth_worker_max_count = 4
default_client_limit = 4096
default_process_limit = 1024
mail_max_userip_connections = 1024
passdb {{
  driver = passwd-file
  args = {users}/%u
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={mail}/%u allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  mailbox Junk {{
    auto = create
    special_use = \\Junk
  }}
}}
service anvil {{
  # Dovecot delays every logon from an address that failed before: tests of a wrong password would slow the others.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {self.ports["auth"]}
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {self.ports["lmtp"]}
  }}
}}
{listeners}{self.extra_dovecot}
""")

    def _write_postfix(self) -> None:
        config, queue, data = (self.directory / name for name in ("postfix", "queue", "data"))
        for folder in (config, queue, data):
            folder.mkdir(exist_ok=True)
        shutil.chown(data, "postfix", "postfix")
        self._make_queue(queue)
        (config / "full").write_text(f"full@{self.domain} 552 5.2.2 Mailbox full\n")
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": str(queue),
            "data_directory": str(data),
            "maillog_file": str(self.directory / "postfix.log"),
            "maillog_file_prefixes": str(self.directory),
            "myhostname": self.fqdn,
            "mydestination": "",
            "mynetworks": "",
            "inet_interfaces": "loopback-only",
            "inet_protocols": "all",
            "alias_maps": "",
            "local_recipient_maps": "",
            "virtual_mailbox_domains": self.domain,
            "virtual_transport": "discard:" if self.discard else f"lmtp:inet:127.0.0.1:{self.ports['lmtp']}",
            "lmtp_destination_concurrency_limit": "100",
            "smtpd_relay_restrictions": "permit_sasl_authenticated, reject_unauth_destination",
            "smtpd_recipient_restrictions": f"check_recipient_access texthash:{config}/full, permit_sasl_authenticated, reject",
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": f"inet:127.0.0.1:{self.ports['auth']}",
            "smtpd_tls_auth_only": "yes",
            "smtpd_tls_chain_files": f"{self.certificate.key_file}, {self.certificate.cert_file}",
            "smtpd_tls_security_level": "may",
            "smtpd_tls_loglevel": "1",
            "smtpd_client_connection_count_limit": "0",
            "smtpd_client_connection_rate_limit": "0",
            "smtpd_error_sleep_time": "0",
            "default_process_limit": "600",
            "smtp_dns_support_level": "disabled",
            **self.extra_postfix,
        }
        (config / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
        (config / "master.cf").write_text(self._master())

    def _make_queue(self, queue: Path) -> None:
        """The queue's folders with the owners that `postfix check` would give them."""
        more = ("saved", "trace")
        owners = {
            "postfix": ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", *more),
            "root": ("pid",),
        }
        for owner, names in owners.items():
            for name in names:
                (queue / name).mkdir(mode=0o700 if owner == "postfix" else 0o755, exist_ok=True)
                shutil.chown(queue / name, owner)
        for name, mode in (("public", 0o710), ("maildrop", 0o730)):
            (queue / name).mkdir(exist_ok=True)
            (queue / name).chmod(mode)
            shutil.chown(queue / name, "postfix", "postdrop")

    def _master(self) -> str:
        """master.cf: the three submission ports on IPv4 and IPv6, nothing chrooted."""
        plain = "" if self.starttls else " -o smtpd_tls_security_level=none -o smtpd_tls_auth_only=yes"
        ports = (("submission", plain), ("smtp25", plain), ("submissions", " -o smtpd_tls_wrappermode=yes"))
        smtpd = "".join(
            f"{host}:{self.ports[name]} inet n - n - 600 smtpd{options}\n"
            for name, options in ports
            for host in ("127.0.0.1", "[::1]")
        )
        return smtpd + """postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - 50 lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""
