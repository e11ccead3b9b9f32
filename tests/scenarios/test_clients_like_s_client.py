"""The table of mail programs agrees with `openssl s_client`, given the same offers, at servers of several configurations."""

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from probe.clients import Offer, clients
from probe.observe.connection import Address, Connection, Deadline, Pace
from probe.observe.connection.imitated import imitate, imitation
from probe.observe.journal import Journal
from probe.observe.trouble import Stopped
from probe.redact import Redactor
from tests.servers.mail import free_port
from tests.servers.pki import Authority

pytestmark = [
    pytest.mark.not_on_windows("openssl's own server and client"),
    pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl"),
]
OFFERS = list({client.offer.id: client.offer for client in clients().values()}.values())
# Known to cryptography's OpenSSL, not to Debian's 3.0; a server of 3.0 does not choose it either.
UNKNOWN_TO_S_CLIENT = {"X25519MLKEM768"}


@dataclass(frozen=True)
class Server:
    keys: tuple[str, ...]
    options: tuple[str, ...] = ()


SERVERS = {
    "of today, RSA": Server(("rsa2048",)),
    "ECDSA only": Server(("ec",)),
    "ECDSA and RSA": Server(("ec", "rsa2048")),
    "TLS 1.3 only": Server(("ec",), ("-tls1_3",)),
    "TLS 1.2 with RSA key exchange only": Server(("rsa2048",), ("-tls1_2", "-cipher", "kRSA")),
    "TLS 1.0 and level 0": Server(("rsa1024",), ("-tls1", "-cipher", "DEFAULT:@SECLEVEL=0")),
    "P-384 only": Server(("rsa2048",), ("-groups", "P-384")),
    "no SHA-1, PSS and ECDSA signatures": Server(("ec", "rsa2048"), ("-sigalgs", "rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256")),
}


@contextmanager
def serving(directory: Path, server: Server) -> Iterator[int]:
    port = free_port()
    made = [Authority(directory / str(index)).leaf("localhost", key=key) for index, key in enumerate(server.keys)]
    flags = ["-cert", made[0].cert_file, "-key", made[0].key_file]
    flags += ["-dcert", made[1].cert_file, "-dkey", made[1].key_file] if len(made) > 1 else []
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-www", *map(str, flags), *server.options]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if b"ACCEPT" in line:
                    break
            yield port
        finally:
            process.kill()


def s_client(port: int, offer: Offer) -> tuple[str, str] | None:
    """Version and cipher, None where the handshake fails: what Debian's own client makes of the offer."""
    left_out = {*imitation(offer).left_out, *UNKNOWN_TO_S_CLIENT}

    def kept(names: tuple[str, ...]) -> str:
        return ":".join(name for name in names if name not in left_out)

    flags = ["-min_protocol", offer.minimum, "-max_protocol", offer.maximum, "-cipher", f"{kept(offer.ciphers)}:@SECLEVEL=0"]
    flags += ["-ciphersuites", kept(offer.suites)] if offer.suites else []
    flags += ["-groups", kept(offer.groups)] if offer.groups else []
    flags += ["-sigalgs", kept(offer.signatures)] if offer.signatures else []
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", *flags]
    said = subprocess.run(command, input=b"Q\n", capture_output=True, timeout=20).stdout.decode(errors="replace")
    cipher, version = re.search(r"Cipher is (\S+)", said), re.search(r"^New, (\S+),", said, re.MULTILINE)
    if cipher is None or version is None or cipher[1] == "(NONE)":
        return None
    # The line `New,` names the version that the suite came with; the session's own is below it.
    session = re.search(r"^ *Protocol *: (\S+)", said, re.MULTILINE)
    return (session[1] if session else version[1]), cipher[1]


async def ours(port: int, offer: Offer) -> tuple[str, str] | None:
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    connection = Connection(
        sock, Address("127.0.0.1", port), name="smtp", journal=Journal(loop.time, Redactor()),
        deadline=Deadline(loop.time() + 20), until=loop.time() + 20, pace=Pace(),
    )  # fmt: skip
    try:
        with suppress(Stopped):
            agreed = await imitate(connection, offer, "localhost")
            return agreed.version, agreed.cipher
        return None
    finally:
        await connection.close()


@pytest.mark.parametrize("name", SERVERS)
async def test_every_offer_ends_as_with_s_client(tmp_path: Path, name: str) -> None:
    with serving(tmp_path, SERVERS[name]) as port:
        got = {offer.id: await ours(port, offer) for offer in OFFERS}
        expected = {offer.id: await asyncio.to_thread(s_client, port, offer) for offer in OFFERS}
    assert got == expected
    # The servers are such that the offers do not all end alike.
    if name in ("TLS 1.3 only", "TLS 1.0 and level 0", "ECDSA only", "TLS 1.2 with RSA key exchange only"):
        assert None in got.values() and any(got.values())
