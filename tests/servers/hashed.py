"""MailServers whose Dovecot keeps passwords only hashed, and can lose what it checks them by."""

import os
import signal
import subprocess
import time

from tests.servers.mail import MailServers, living

_SECONDS = 10.0


class HashedMailServers(MailServers):
    """Postfix and Dovecot with {SHA512-CRYPT}; a context manager."""

    def add_user(self, name: str, password: str, extra: str = "") -> str:
        """Add a user, or change the password; returns the address."""
        address = self.address(name)
        said = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password, capture_output=True, text=True, check=True)
        (self.directory / "users" / address).write_text(f"{address}:{{SHA512-CRYPT}}{said.stdout.strip()}::::::{extra}\n")
        return address

    def hide_user(self, name: str) -> None:
        """Dovecot may no longer read what it knows of a user, as after a restored backup with wrong rights."""
        (self.directory / "users" / self.address(name)).chmod(0)

    def stop_authentication(self) -> None:
        """End Dovecot whole, and wait until it is gone; Postfix runs on."""
        dovecot = self._processes.pop(0)
        os.killpg(dovecot.pid, signal.SIGKILL)
        dovecot.wait(_SECONDS)
        until = time.monotonic() + _SECONDS
        while living(dovecot.pid):
            assert time.monotonic() < until, "Dovecot does not end"
            time.sleep(0.02)
