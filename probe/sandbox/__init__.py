"""The embedded mail server on loopback: submission, IMAP4 and POP3 for `probe demo` and `probe sandbox`.

It imports nothing else of ours, so that no misreading of an RFC is shared between client and server. SMTP is aiosmtpd's;
IMAP4 and POP3 are our own. Mail lives in memory; the certificate authority is thrown away with it.
"""

import asyncio
import errno
import json
import secrets
import shutil
import ssl
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.sandbox.faults import FAULTS, PERSONALITIES, TEACHES, personality_of
from probe.sandbox.mailbox import Logon, Mailbox, StoredMessage, World

if TYPE_CHECKING:
    from probe.sandbox.stream import Lines

__all__ = [
    "FAULTS",
    "PERSONALITIES",
    "TEACHES",
    "Address",
    "CannotStart",
    "Logon",
    "Mailbox",
    "Sandbox",
    "StoredMessage",
    "personality_of",
]


@dataclass(frozen=True)
class Address:
    """Where a service listens."""

    host: str
    port: int


# Six listeners, what Python has open, and both ends of each connection of a run: some 35.
LEAST_DESCRIPTORS = 64
# What is said of a folder that takes no file.
_NO_ROOM = (errno.ENOENT, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


class CannotStart(Exception):
    """This machine has no room for the server's temporary files (certificates, a password), no port or no descriptor for it."""

    def __init__(self, error: OSError) -> None:
        remedy = "; its temporary files need a folder that can be written: set TMPDIR" if error.errno in _NO_ROOM else ""
        super().__init__(f"the sandbox cannot start: {error.strerror or error}{remedy}")


def _require_descriptors() -> None:
    """Server and client are one process, and asyncio says it with a stack trace when it cannot accept. Raises OSError."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    open_at_most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if open_at_most < LEAST_DESCRIPTORS:
        text = f"this process may open {open_at_most} files, and server and client take up to {LEAST_DESCRIPTORS}: ulimit -n 256"
        raise OSError(errno.EMFILE, text)


class Sandbox:
    """The server; an async context manager. `addresses` has submission, submissions, imap, imaps, pop3 and pop3s.

    `tarpit`: seconds that a failed logon is held back; Exchange's 5 for its personality. `others`: further users, same password.
    `chunking`: whether the personality `postfix` offers CHUNKING (Exchange's always does).
    """

    fqdn = "mail.sandbox.test"
    username = "probe@sandbox.test"

    def __init__(
        self,
        *,
        personality: str = "postfix",
        fault: str | None = None,
        host: str = "127.0.0.1",
        ports: Mapping[str, int] | None = None,
        mechanisms: Sequence[str] | None = None,
        tarpit: float | None = None,
        others: Sequence[str] = (),
        chunking: bool = False,
    ) -> None:
        if personality not in PERSONALITIES:
            raise ValueError(f"no personality {personality!r}")
        if fault is not None and fault not in FAULTS:
            raise ValueError(f"no fault {fault!r}")
        self.password = secrets.token_urlsafe(15)
        self.addresses: dict[str, Address] = {}
        if fault == "administrator":
            self.username = "administrator@sandbox.test"
        self._host, self._ports = host, ports or {}
        self._world = World(self.fqdn, personality, fault, dict.fromkeys((self.username, *others), self.password))
        self._world.tarpit = (5.0 if personality == "exchange-2016" else 0.0) if tarpit is None else tarpit
        self._world.chunking = chunking
        self.token = secrets.token_urlsafe(120)
        self._world.tokens[self.username] = self.token
        self._world.mechanisms = tuple(mechanisms) if mechanisms is not None else None
        self._servers: list[asyncio.Server] = []
        self._clients: set[asyncio.Task[None]] = set()
        self._folder: Path | None = None
        self.ca_file = Path()
        self.password_file = Path()
        self.client_certificate = Path()

    @property
    def mailboxes(self) -> dict[str, Mailbox]:
        """Every user's mailbox, for tests."""
        return self._world.mailboxes

    @property
    def logons(self) -> list[Logon]:
        """Every logon that was tried, for tests."""
        return self._world.logons

    async def __aenter__(self) -> "Sandbox":
        try:
            _require_descriptors()
            self._folder = Path(tempfile.mkdtemp(prefix="probe-sandbox-"))
            await self._start(self._folder)
        except OSError as error:
            await self.__aexit__()
            raise CannotStart(error) from None
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        tasks = [*self._clients, *self._world.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _start(self, folder: Path) -> None:
        from probe.sandbox.authority import make_context
        from probe.sandbox.imap import Imap
        from probe.sandbox.pop3 import Pop3
        from probe.sandbox.smtp import Submission

        context, self.ca_file, self._world.binding = make_context(folder, self.fqdn, self._world.fault, self.username)
        if "EXTERNAL" in (self._world.mechanisms or ()):
            context.verify_mode = ssl.CERT_OPTIONAL
        self.client_certificate = folder / "client.pem"
        self._world.ntlm_file = folder / "ntlm"
        self._world.ntlm_file.touch(mode=0o600)
        self._world.ntlm_file.write_text(f":{self.username}:{self.password}\n", encoding="utf-8")
        self.password_file = folder / "password"
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(f"{self.password}\n", encoding="utf-8")
        loop = asyncio.get_running_loop()
        for name, tls in (("submission", None), ("submissions", context)):
            made = lambda implicit=tls is not None: Submission(self._world, context, implicit=implicit)  # noqa: E731
            self._listening(name, await loop.create_server(made, self._host, self._ports.get(name, 0), ssl=tls))
        for name, kind, tls in (("imap", Imap, None), ("imaps", Imap, context), ("pop3", Pop3, None), ("pop3s", Pop3, context)):
            client = self._client(kind, context, tls is not None)
            self._listening(name, await asyncio.start_server(client, self._host, self._ports.get(name, 0), ssl=tls))

    def _listening(self, name: str, server: asyncio.Server) -> None:
        self._servers.append(server)
        host, port = server.sockets[0].getsockname()[:2]
        self.addresses[name] = Address(host, port)

    def _client(self, kind: Any, context: ssl.SSLContext, tls: bool) -> Callable[..., Any]:
        from probe.sandbox.stream import Lines

        # A plain function that starts a task of ours: asyncio 3.11 logs an error for a coroutine that is cancelled.
        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            served = _serve(kind, self._world, context, Lines(reader, writer, tls=tls))
            task = asyncio.get_running_loop().create_task(served)
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)

        return serve

    def profile(self, username: str | None = None) -> str:
        """A profile, in TOML, that `probe run` takes as it is; for one of the `others` too."""
        port = {name: address.port for name, address in self.addresses.items()}
        connect = f'connect = ["{self._host}"]  # the name is not in DNS'
        return f"""# A profile for the sandbox, for as long as it runs.
[submission]
host = "{self.fqdn}"
port = {port["submission"]}
{connect}

[account]
username = "{username or self.username}"
password = {{ file = {_quoted(self.password_file)} }}

[readback.imap]
port = {port["imaps"]}
{connect}

[readback.pop3]
port = {port["pop3s"]}
{connect}

[tls]
ca_file = {_quoted(self.ca_file)}
expires_warning = "1h"
expires_critical = "1h"
"""


def _quoted(path: object) -> str:
    """A TOML basic string: JSON's escapes are among TOML's."""
    return json.dumps(str(path), ensure_ascii=False)


async def _serve(kind: Any, world: World, context: ssl.SSLContext, lines: "Lines") -> None:
    try:
        await kind(world, context, lines).serve()
    except OSError:
        pass  # the client reset the connection: nothing is left to say to it
    finally:
        lines.close()
