"""A real PostgreSQL in a temporary directory: its own user, a high port of loopback, ended by its process id."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from tests.servers.mail import free_port

# To begin, and to end.
WITHIN_SECONDS = 30.0


def programs() -> Path:
    """The folder of Debian's newest server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    assert found, "not installed: postgresql (run make test)"
    return found[-1]


class PostgreSQL:
    """A context manager; `conninfo` is what libpq takes."""

    def __enter__(self) -> "PostgreSQL":
        self.directory = Path(tempfile.mkdtemp(prefix="probe-postgresql-"))
        account = pwd.getpwnam("postgres")
        os.chown(self.directory, account.pw_uid, account.pw_gid)
        self.port = free_port()
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "cwd": self.directory}
        data = self.directory / "data"
        made = subprocess.run(
            [programs() / "initdb", "-D", data, "-A", "trust", "-U", "probe", "--no-sync"], capture_output=True, text=True, **who
        )
        assert made.returncode == 0, made.stderr
        options = ["-c", f"port={self.port}", "-c", f"unix_socket_directories={self.directory}", "-c", "fsync=off"]
        # A client that is ended while it logs on holds the server's end up so long; the default is a minute.
        options += ["-c", "authentication_timeout=5s"]
        self._command, self._who = [programs() / "postgres", "-D", data, *options], who
        self.conninfo = f"host=127.0.0.1 port={self.port} user=probe dbname=postgres"
        self.start()
        return self

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, **self._who)
        self._await()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)  # "fast": connections are ended
        try:
            self.process.wait(WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)  # "immediate"
            self.process.wait(WITHIN_SECONDS)

    def _await(self) -> None:
        until = time.monotonic() + WITHIN_SECONDS
        while True:
            try:
                psycopg.connect(self.conninfo, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                assert self.process.poll() is None and time.monotonic() < until, (self.directory / "log").read_text()
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def ask(self, question: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            return connection.execute(question, values).fetchall()  # type: ignore[arg-type]
