"""Debian's opendkim, opendmarc and rspamd as milters of MailServers' Postfix: installed, on high ports, ended by their process ids.

They ask the name server that a test gives them and no other: opendkim by its resolver's configuration, rspamd by its own,
opendmarc, which knows the system's resolver only, in a mount namespace with an /etc/resolv.conf of its own.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.servers import apart
from tests.servers.mail import free_port

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_PROGRAMS = ("opendkim", "opendmarc", "rspamd")
_SECONDS = 20.0


def why_not() -> str | None:
    """Why they cannot be started here, as a skip's reason; None where they can."""
    missing = [name for name in _PROGRAMS if not shutil.which(name, path=_PATH)]
    if missing:
        return f"needs {', '.join(missing)} (scripts/install-servers)"
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
    return f"this kernel lets nobody make namespaces: {tried.stderr.strip()}" if tried.returncode else None


class Milters:
    """Milters on ports of loopback; a context manager. `here` is their folder, which everybody may pass through."""

    def __init__(self) -> None:
        self.here = Path(tempfile.mkdtemp(prefix="probe-milters-"))
        self.here.chmod(0o755)
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Milters":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        shutil.rmtree(self.here, ignore_errors=True)

    def end(self) -> None:
        """End them all by their process ids; Postfix then finds nobody there."""
        for process in self._processes:
            # A group each: rspamd has workers.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._processes.clear()

    def key(self, name: str, private: Any = None) -> Path:
        """A private key's file, as opendkim and rspamd read it."""
        made = private or rsa.generate_private_key(65537, 2048)
        path = self.here / f"{name}.pem"
        path.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        path.chmod(0o644)
        return path

    def opendkim(self, resolver: str, authserv_id: str, settings: Mapping[str, object]) -> str:
        """Its name for smtpd_milters; `settings` of opendkim.conf: `Mode`, and for a signer `Domain`, `Selector`, `KeyFile`."""
        port, conf = free_port(), self.here / f"opendkim-{len(self._processes)}.conf"
        unbound = self.here / "resolver.conf"
        unbound.write_text(
            f"server:\n  do-not-query-localhost: no\n  local-zone: 'test.' nodefault\n"
            f"forward-zone:\n  name: .\n  forward-addr: {_at(resolver)}\n"
        )
        own = {
            "Socket": f"inet:{port}@127.0.0.1", "AuthservID": authserv_id, "ResolverConfiguration": unbound, "Syslog": "no",
            "RequireSafeKeys": "no", "Canonicalization": "relaxed/relaxed", "InternalHosts": "0.0.0.0/0", "UserID": "nobody",
            "ExternalIgnoreList": "0.0.0.0/0", "AlwaysAddARHeader": "yes",
        }  # fmt: skip
        conf.write_text("".join(f"{name} {value}\n" for name, value in {**own, **settings}.items()))
        return self._started(port, "opendkim", "-f", "-x", str(conf))

    def opendmarc(self, name_server: str, authserv_id: str, trusted: str) -> str:
        """`name_server`: an address, which is asked at port 53; `trusted`: whose DKIM results it takes."""
        port, conf, resolv = free_port(), self.here / "opendmarc.conf", self.here / "resolv.conf"
        conf.write_text(
            f"Socket inet:{port}@127.0.0.1\nAuthservID {authserv_id}\nTrustedAuthservIDs {trusted}\nSyslog no\nUserID nobody\n"
            "SPFIgnoreResults yes\nSPFSelfValidate yes\nRejectFailures no\nIgnoreAuthenticatedClients no\n"
            f"IgnoreHosts {self.here}/ignored\n"
        )
        resolv.write_text(f"nameserver {name_server}\n")
        # Else it passes over mail from 127.0.0.1.
        (self.here / "ignored").write_text("192.0.2.1\n")
        lay = f"mount --make-rprivate / && mount --bind {resolv} /etc/resolv.conf && exec opendmarc -f -c {conf}"
        return self._started(port, "unshare", "--mount", "sh", "-c", lay)

    def rspamd(self, resolver: str, files: Mapping[str, str]) -> str:
        """`files`: what lies in local.d, by name."""
        port, scan, folder = free_port(), free_port(), self.here / "rspamd"
        (folder / "local.d").mkdir(parents=True)
        own = {
            "options.inc": f'dns {{ nameserver = ["{resolver}"]; timeout = 0.3s; retransmits = 1; }} local_addrs = [];\n'
            f'control_socket = "{folder}/control.sock mode=0600"; hs_cache_dir = "{folder}/"; tempdir = "{folder}";\n'
            # Compiling all 9628 public suffixes takes half a minute.
            f'disable_hyperscan = true; url_tld = "{folder}/suffixes";\n',
            "worker-proxy.inc": f'bind_socket = "127.0.0.1:{port}"; upstream "local" {{ default = yes; self_scan = yes; }}\n',
            "worker-normal.inc": f'bind_socket = "127.0.0.1:{scan}"; enabled = false;\n',
            "worker-controller.inc": f'bind_socket = "127.0.0.1:{free_port()}"; enabled = false;\n',
            "milter_headers.conf": 'use = ["authentication-results", "x-spamd-result"];\n'
            "skip_local = false; skip_authenticated = false; authenticated_headers = [];\n",
            # Loopback is local to it whatever the settings, and local mail is not checked.
            **dict.fromkeys(("dkim.conf", "spf.conf", "dmarc.conf"), "check_local = true;\ncheck_authed = true;\n"),
            **files,
        }
        for name, text in own.items():
            (folder / "local.d" / name).write_text(text)
        (folder / "suffixes").write_text("test\n")
        for path in (folder, folder / "local.d", *(folder / "local.d").iterdir()):
            shutil.chown(path, "nobody", "nogroup")
        variables = {"DBDIR": folder, "RUNDIR": folder, "LOGDIR": folder, "LOCAL_CONFDIR": folder}
        given = [f"--var={name}={value}" for name, value in variables.items()]
        return self._started(port, "rspamd", "-f", "-u", "nobody", "-g", "nogroup", *given)

    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.here.glob("**/*log")))

    def _started(self, port: int, *command: str) -> str:
        with (self.here / f"{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": _PATH}, start_new_session=True
            )
        self._processes.append(process)
        apart.await_port(port, lambda: process.poll() is not None, self.log)
        return f"inet:127.0.0.1:{port}"


def _at(resolver: str) -> str:
    """HOST:PORT as unbound writes it."""
    host, _, port = resolver.rpartition(":")
    return f"{host}@{port}"
