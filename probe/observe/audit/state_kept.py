"""State from before TLS kept after it: MAIL before STARTTLS, RCPT after must be 503 (RFC 3207 section 4.2)."""

from probe.observe.audit import Facts
from probe.observe.audit._scene import FOREIGN_DOMAIN, Scene
from probe.report import Kind

FINDINGS = {
    "audit.state-kept-over-tls": Kind(
        "the server keeps the state from before TLS",
        "What was said in clear, by whomever, still counts inside TLS.",
        ("Update the server, or the proxy that ends TLS before it",),
    )
}
SEVERITY = "warning"
PROVES = "an envelope begun in clear was continued inside TLS"
DOES_NOT_PROVE = "that other state (capabilities, AUTH) is dropped"


async def observe(scene: Scene) -> Facts:
    if scene.submission.security != "starttls":
        return Facts("not-applicable", "there is no STARTTLS on this port")
    async with scene.smtp(tls=False) as conversation:
        mail = await conversation.say(f"MAIL FROM:<probe@{FOREIGN_DOMAIN}>")
        if mail.code != 250:
            return Facts("pass", f"MAIL is refused before TLS: {mail}")
        await conversation.start_tls(scene, scene.trust(scene.submission))
        rcpt = await conversation.say(f"RCPT TO:<postmaster@{FOREIGN_DOMAIN}>")
    return Facts("fail" if rcpt.code in (250, 251, 550, 554) else "pass", f"{mail}; after TLS: {rcpt}")
