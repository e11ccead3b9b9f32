"""A command pipelined behind STLS and answered after TLS, over POP3."""

from probe.observe.audit import Facts
from probe.observe.audit._injection import inject
from probe.observe.audit._scene import Scene
from probe.report import Kind

FINDINGS = {
    "audit.stls-injection-pop3": Kind(
        "commands injected behind STLS are carried out (POP3)",
        "The server keeps what it read before TLS: a man in the middle can put commands into the session.",
        ("Update the server, or the proxy that ends TLS before it",),
    )
}
SEVERITY = "critical"
PROVES = "octets sent in clear were treated as sent inside TLS"
DOES_NOT_PROVE = "anything about the other protocols"


async def observe(scene: Scene) -> Facts:
    side = scene.readers.get("pop3")
    if side is None or side.security != "starttls":
        return Facts("not-applicable", "the profile does not use STLS over POP3")
    async with scene.in_clear("pop3") as talk:
        connection = talk.connection

        async def go_ahead() -> bool:
            return (await connection.read_line("STLS")).upper().startswith(b"+OK")

        return await inject(connection, b"STLS\r\nCAPA\r\n", go_ahead, scene.trust(side), side.host, b"CAPA\r\n")
