"""A second STARTTLS inside TLS (RFC 3207 section 4.2: must not be offered; 503, 502 or 454)."""

from probe.observe.audit import Facts
from probe.observe.audit._scene import Scene
from probe.report import Kind

FINDINGS = {
    "audit.second-starttls": Kind(
        "STARTTLS is accepted a second time, inside TLS",
        "A fault of the server: no client needs it, and few servers survive it well.",
        ("Update the server",),
    )
}
SEVERITY = "warning"
PROVES = "the server answered 220 to STARTTLS inside TLS"
DOES_NOT_PROVE = "that harm follows"


async def observe(scene: Scene) -> Facts:
    async with scene.smtp(tls=True) as conversation:
        reply = await conversation.say("STARTTLS")
    return Facts("fail" if reply.code == 220 else "pass", str(reply))
