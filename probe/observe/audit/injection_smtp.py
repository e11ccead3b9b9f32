"""A command pipelined behind STARTTLS and answered after TLS, over SMTP."""

from probe.observe.audit import Facts
from probe.observe.audit._injection import inject
from probe.observe.audit._scene import Scene
from probe.report import Kind

FINDINGS = {
    "audit.starttls-injection-smtp": Kind(
        "commands injected behind STARTTLS are carried out (SMTP)",
        "The server keeps what it read before TLS: a man in the middle can put commands into the session (CVE-2011-0411).",
        ("Update the server, or the proxy that ends TLS before it",),
    )
}
SEVERITY = "critical"
PROVES = "octets sent in clear were treated as sent inside TLS"
DOES_NOT_PROVE = "anything about the other protocols"


async def observe(scene: Scene) -> Facts:
    side = scene.submission
    if side.security != "starttls":
        return Facts("not-applicable", "there is no STARTTLS on this port")
    async with scene.smtp(tls=False) as conversation:
        connection = conversation.connection

        async def go_ahead() -> bool:
            return (await connection.read_line("STARTTLS")).startswith(b"220")

        return await inject(connection, b"STARTTLS\r\nNOOP\r\n", go_ahead, scene.trust(side), side.host, b"NOOP\r\n")
