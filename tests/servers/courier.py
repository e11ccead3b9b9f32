"""Debian's Courier (IMAP4, POP3, authdaemond) over the maildirs of MailServers: another stack behind the same Postfix.

Where it is installed it removes Dovecot. So it is unpacked (scripts/unpack-courier) and laid over /usr and /etc in a mount
namespace of its own, with a /run of its own; the machine sees nothing of it but two ports on loopback.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.servers.mail import MailServers, free_ports

ROOT = Path(__file__).parent.parent.parent / ".courier"
_SECONDS = 20.0
# Each daemon reads shell variables from its environment, as Courier's own start scripts give them.
_SCRIPT = r"""set -e
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$ROOT/usr:/usr" /usr
makeuserdb -f "$HERE/etc/courier/userdb"
mount -t overlay overlay -o "lowerdir=$HERE/etc:/etc" /etc
mount -t tmpfs tmpfs /run
mkdir -p /run/courier/authdaemon
chmod 755 /run/courier/authdaemon
(set -a; . /etc/courier/authdaemonrc; exec /usr/lib/courier/courier-authlib/authdaemond) &
echo $! > "$HERE/authdaemond.pid"
while [ ! -S /run/courier/authdaemon/socket ]; do read -t 0.1 _ </dev/zero || :; done
serve() { exec couriertcpd -address=127.0.0.1 -maxprocs=40 -maxperip=20 $TCPDOPTS "$@"; }
(
    set -a; prefix=/usr
    . /etc/courier/imapd; . /etc/courier/imapd-ssl
    IMAP_TLS=1 TLS_CACHEFILE= TLS_DHPARAMS=
    serve $IMAP_PORT $COURIERTLS -server -tcpd /usr/lib/courier/courier/imaplogin /usr/bin/imapd Maildir
) &
(
    set -a; prefix=/usr
    . /etc/courier/pop3d; . /etc/courier/pop3d-ssl
    POP3_TLS=1 POP3_STARTTLS=NO POP3AUTH_TLS="LOGIN PLAIN" TLS_CACHEFILE= TLS_DHPARAMS=
    cd /usr/lib/courier/courier
    serve $POP3_PORT $COURIERTLS -server -tcpd $PWD/courierpop3login $PWD/courierpop3d Maildir
) &
wait
"""


def why_not() -> str | None:
    """Why it cannot be started here, as a skip's reason; None where it can."""
    if not (ROOT / "usr/sbin/couriertcpd").exists():
        return "Courier cannot be unpacked here"
    try_it = f"mount --make-rprivate / && mount -t overlay overlay -o 'lowerdir={ROOT}/usr:/usr' /usr && mount -t tmpfs tmpfs /run"
    tried = subprocess.run(["unshare", "--mount", "sh", "-c", try_it], capture_output=True, text=True)
    return f"this kernel lets nobody make namespaces: {tried.stderr.strip()}" if tried.returncode else None


class Courier:
    """IMAP4 and POP3 with implicit TLS for one user of `mail`; a context manager."""

    def __init__(self, mail: MailServers, user: str, password: str) -> None:
        self.ports = free_ports(("imaps", "pop3s"))
        self._here = Path(tempfile.mkdtemp(prefix="probe-courier-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._write(mail, mail.address(user), mail.maildir(user), password)

    def __enter__(self) -> "Courier":
        environ = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "ROOT": str(ROOT),
            "HERE": str(self._here),
            "IMAP_PORT": str(self.ports["imaps"]),
            "POP3_PORT": str(self.ports["pop3s"]),
        }
        command = ["unshare", "--mount", "bash", "-c", _SCRIPT]
        with (self._here / "log").open("wb") as log:
            self._process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
        try:
            for port in self.ports.values():
                self._await(port)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            # couriertcpd makes groups of its own, but stays in the session.
            while left := _of_session(self._process.pid):
                for number in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(number, signal.SIGKILL)
                time.sleep(0.01)
            self._process.wait()
        shutil.rmtree(self._here, ignore_errors=True)

    def stop_authentication(self) -> None:
        """End authdaemond, and wait until it is gone."""
        number = int((self._here / "authdaemond.pid").read_text())
        os.kill(number, signal.SIGTERM)
        until = time.monotonic() + _SECONDS
        while _stat(number):
            assert time.monotonic() < until, "authdaemond does not end"
            time.sleep(0.02)

    def _write(self, mail: MailServers, address: str, maildir: Path, password: str) -> None:
        etc = self._here / "etc"
        shutil.copytree(ROOT / "etc/courier", etc / "courier")
        (etc / "passwd").write_text(
            Path("/etc/passwd").read_text(encoding="utf-8") + "courier:x:64990:64990::/nowhere:/usr/sbin/nologin\n"
        )
        (etc / "group").write_text(Path("/etc/group").read_text(encoding="utf-8") + "courier:x:64990:\n")
        owner = maildir.parent.stat()
        hashed = subprocess.run(["openssl", "passwd", "-6", password], capture_output=True, text=True, check=True).stdout.strip()
        users = etc / "courier/userdb"
        users.write_text(f"{address}\tuid={owner.st_uid}|gid={owner.st_gid}|home={maildir}|mail={maildir}|systempw={hashed}\n")
        users.chmod(0o600)
        rc = etc / "courier/authdaemonrc"
        rc.write_text(rc.read_text().replace('authmodulelist="authpam"', 'authmodulelist="authuserdb"'))
        chain = mail.certificate.key_file.read_text() + mail.certificate.cert_file.read_text()
        for name in ("imapd.pem", "pop3d.pem"):
            (etc / "courier" / name).write_text(chain)
        self._here.chmod(0o755)

    def _await(self, port: int) -> None:
        until = time.monotonic() + _SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                died = self._process is not None and self._process.poll() is not None
                if died or time.monotonic() > until:
                    raise RuntimeError(f"no Courier on port {port}:\n{(self._here / 'log').read_text(errors='replace')}") from None
                time.sleep(0.02)


def _of_session(session: int) -> list[int]:
    """The living processes of a session."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if (stat := _stat(path.name)) and int(stat[3]) == session]


def _stat(number: int | str) -> list[str]:
    """State, parent, group, session … of a process; empty when it has ended (proc(5))."""
    try:
        words = Path(f"/proc/{number}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
    return [] if words[0] in "ZX" else words
