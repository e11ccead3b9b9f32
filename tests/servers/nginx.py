"""nginx' mail proxy in front of Postfix and Dovecot: it ends TLS, asks a small HTTP server who may log on, and logs on behind.

Postfix gets the user by XCLIENT, Dovecot by LOGIN and USER/PASS in clear, on loopback. The HTTP server is a thread here; it counts
what it is asked. Only unpacked (scripts/unpack-stacks): installed, Debian's nginx would start by itself.
"""

import hashlib
import hmac
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template
from urllib.parse import unquote

from tests.servers.apart import ROOT, await_port
from tests.servers.mail import MailServers, free_ports
from tests.servers.pki import Authority

_PROGRAM = ROOT / "nginx/usr/sbin/nginx"
_MODULE = ROOT / "nginx/usr/lib/nginx/modules/ngx_mail_module.so"
_SERVICES = {"submission": "smtp", "submissions": "smtp", "imap": "imap", "imaps": "imap", "pop3": "pop3", "pop3s": "pop3"}
_STOP_SECONDS = 5
_CONF = Template("""load_module $module;
user root;
daemon off;
pid $here/nginx.pid;
error_log $here/error.log info;
events { worker_connections 256; }
mail {
  server_name $fqdn;
  auth_http 127.0.0.1:$auth/;
  proxy_pass_error_message on;
  ssl_certificate $cert_file;
  ssl_certificate_key $key_file;
  smtp_auth plain login cram-md5;
  imap_auth plain login cram-md5;
  pop3_auth plain cram-md5;
  imap_capabilities IMAP4rev1 UIDPLUS;
$servers}
""")


def why_not() -> str | None:
    """Why it cannot be started here, as a skip's reason; None where it can."""
    return None if _PROGRAM.exists() and _MODULE.exists() else "nginx cannot be unpacked here"


class Doorkeeper:
    """What nginx asks (its `auth_http`): a thread that knows users, and behind which port each protocol is."""

    def __init__(self, behind: Mapping[str, int]) -> None:
        self.users: dict[str, str] = {}
        self.behind = dict(behind)
        self.asked: Counter[str] = Counter()
        # What it says of everybody instead of looking: Auth-Status, and the code that nginx gives SMTP clients with it.
        self.says: tuple[str, str] | None = None
        keeper = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                for name, value in keeper.answer(self.headers).items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def answer(self, asked: Mapping[str, str]) -> dict[str, str]:
        """The headers of the answer to nginx' (its documentation of ngx_mail_auth_http_module)."""
        user, protocol = unquote(asked["Auth-User"]), asked["Auth-Protocol"]
        self.asked[user] += 1
        if self.says:
            return dict(zip(("Auth-Status", "Auth-Error-Code"), self.says, strict=True))
        password = self.users.get(user, "")
        if not password or not _matches(asked, password):
            return {"Auth-Status": "Invalid login or password"}
        port = str(self.behind[protocol])
        return {"Auth-Status": "OK", "Auth-Server": "127.0.0.1", "Auth-Port": port, "Auth-User": user, "Auth-Pass": password}

    def close(self) -> None:
        """Stop listening. May be called again."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _matches(asked: Mapping[str, str], password: str) -> bool:
    given = unquote(asked["Auth-Pass"])
    if asked["Auth-Method"] != "cram-md5":
        return given == password
    return given == hmac.new(password.encode(), unquote(asked["Auth-Salt"]).encode(), hashlib.md5).hexdigest()


class Nginx:
    """The proxy with its own Postfix and Dovecot behind it, and the ports of `MailServers`; a context manager."""

    domain = MailServers.domain
    fqdn = MailServers.fqdn

    def __init__(self, authority: Authority) -> None:
        self.ca_file = authority.ca_file
        self.behind = MailServers(
            authority, extra_postfix={"smtpd_authorized_xclient_hosts": "127.0.0.1", "smtpd_tls_auth_only": "no"}
        )
        self.ports = free_ports(tuple(_SERVICES))
        self._here = Path(tempfile.mkdtemp(prefix="probe-nginx-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Nginx":
        self.behind.start()
        self.doorkeeper = Doorkeeper({"smtp": self.behind.ports["submission"], **self.behind.ports})
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(_STOP_SECONDS)
        self.doorkeeper.close()
        self.behind.stop()
        shutil.rmtree(self._here, ignore_errors=True)

    def add_user(self, name: str, password: str) -> str:
        address = self.behind.add_user(name, password)
        self.doorkeeper.users[address] = password
        return address

    def deliver(self, name: str, raw: bytes) -> None:
        self.behind.deliver(name, raw)

    def messages(self, name: str) -> list[bytes]:
        return self.behind.messages(name)

    def log(self) -> str:
        return self.behind.log() + (self._here / "error.log").read_text(errors="replace")

    def stop_authentication(self) -> None:
        self.doorkeeper.close()

    def _start(self) -> None:
        leaf = self.behind.certificate
        servers = "".join(
            f"  server {{ listen 127.0.0.1:{self.ports[name]}{' ssl' if name.endswith('s') else ''}; protocol {protocol};"
            f" starttls {'off' if name.endswith('s') else 'only'}; }}\n"
            for name, protocol in _SERVICES.items()
        )
        text = _CONF.substitute(
            module=_MODULE, here=self._here, fqdn=self.fqdn, auth=self.doorkeeper.port, servers=servers,
            cert_file=leaf.cert_file, key_file=leaf.key_file,
        )  # fmt: skip
        (self._here / "nginx.conf").write_text(text)
        command = [str(_PROGRAM), "-p", str(self._here), "-c", str(self._here / "nginx.conf"), "-e", str(self._here / "error.log")]
        with (self._here / "output.log").open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        for port in self.ports.values():
            await_port(port, lambda: self._process is not None and self._process.poll() is not None, self.log)
