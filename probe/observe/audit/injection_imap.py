"""A command pipelined behind STARTTLS and answered after TLS, over IMAP4."""

from probe.observe.audit import Facts
from probe.observe.audit._injection import inject
from probe.observe.audit._scene import Scene
from probe.report import Kind

FINDINGS = {
    "audit.starttls-injection-imap": Kind(
        "commands injected behind STARTTLS are carried out (IMAP4)",
        "The server keeps what it read before TLS: a man in the middle can put commands into the session.",
        ("Update the server, or the proxy that ends TLS before it",),
    )
}
SEVERITY = "critical"
PROVES = "octets sent in clear were treated as sent inside TLS"
DOES_NOT_PROVE = "anything about the other protocols"


async def observe(scene: Scene) -> Facts:
    side = scene.readers.get("imap")
    if side is None or side.security != "starttls":
        return Facts("not-applicable", "the profile does not use STARTTLS over IMAP4")
    async with scene.in_clear("imap") as talk:
        connection = talk.connection

        async def go_ahead() -> bool:
            return (await connection.read_line("STARTTLS")).upper().startswith(b"X1 OK")

        together = b"X1 STARTTLS\r\nX2 NOOP\r\n"
        return await inject(connection, together, go_ahead, scene.trust(side), side.host, b"X3 NOOP\r\n")
