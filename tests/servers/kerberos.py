"""A real MIT KDC on loopback, in a temporary directory, ended by its process id; and JSON Web Tokens for Dovecot to validate."""

import base64
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.servers.mail import free_port

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Kdc:
    """One realm; a context manager. `environ` makes a client use it."""

    realm = "EXAMPLE.TEST"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.keytab = directory / "service.keytab"
        self.cache = directory / "ccache"
        self.environ = {
            "KRB5_CONFIG": str(directory / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(directory / "kdc.conf"),
            "KRB5CCNAME": f"FILE:{self.cache}",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Kdc":
        (self.directory / "krb5.conf").write_text(f"""[libdefaults]
default_realm = {self.realm}
dns_lookup_kdc = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1
[realms]
{self.realm} = {{
  kdc = 127.0.0.1:{self.port}
}}
[domain_realm]
.example.test = {self.realm}
""")
        (self.directory / "kdc.conf").write_text(f"""[kdcdefaults]
kdc_listen = ""
kdc_tcp_listen = 127.0.0.1:{self.port}
[realms]
{self.realm} = {{
  database_name = {self.directory}/principal
  key_stash_file = {self.directory}/stash
  acl_file = {self.directory}/acl
}}
[logging]
kdc = FILE:{self.directory}/kdc.log
""")
        self._run("kdb5_util", "create", "-s", "-P", "master-Horse7battery", "-r", self.realm)
        command = [shutil.which("krb5kdc", path=_PATH) or "krb5kdc", "-n"]
        with (self.directory / "output.log").open("wb") as output:
            self._process = subprocess.Popen(command, env={**os.environ, **self.environ}, stdout=output, stderr=output)
        self._await_port()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(5)

    def add_service(self, *names: str) -> None:
        """Principals such as `imap/mail.example.test`, their keys in the keytab."""
        for name in names:
            self._run("kadmin.local", "-q", f"addprinc -randkey {name}")
            self._run("kadmin.local", "-q", f"ktadd -k {self.keytab} {name}")
        self.keytab.chmod(0o644)

    def add_user(self, name: str, password: str) -> None:
        self._run("kadmin.local", "-q", f"addprinc -pw {password} {name}")

    def get_ticket(self, name: str, password: str) -> None:
        self._run("kinit", name, secret=f"{password}\n")

    def _run(self, program: str, *arguments: str, secret: str | None = None) -> None:
        command = [shutil.which(program, path=_PATH) or program, *arguments]
        done = subprocess.run(command, env={**os.environ, **self.environ}, input=secret, text=True, capture_output=True, timeout=30)
        assert done.returncode == 0, (program, done.stdout, done.stderr)

    def _await_port(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, (self.directory / "output.log").read_text()
                time.sleep(0.01)


def json_web_token(key: bytes, **claims: object) -> str:
    """A JWT (RFC 7519) signed by HMAC-SHA-256."""
    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    signed = ".".join(_base64url(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{_base64url(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
