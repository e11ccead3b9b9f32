"""AUTH tried before TLS, with a user that does not exist: a healthy server does not even look at it (530, 538, 502, 503, 504)."""

import base64

from probe.observe.audit import Facts
from probe.observe.audit._scene import Scene, trusted_peer
from probe.report import Kind

FINDINGS = {
    "audit.auth-before-tls": Kind(
        "the server takes AUTH before TLS",
        "The server checks passwords that came in clear.",
        ("Exchange: add BasicAuthRequireTLS to the connector's AuthMechanism", "Postfix: postconf -e smtpd_tls_auth_only=yes"),
    )
}
SEVERITY = "critical"
PROVES = "AUTH PLAIN in clear was checked (235 or 535) instead of refused for want of TLS"
DOES_NOT_PROVE = "anything about mechanisms other than PLAIN and LOGIN"
_LOOKED_AT = {235, 334, 432, 454, 535}


async def observe(scene: Scene) -> Facts:
    if scene.submission.security != "starttls":
        return Facts("not-applicable", "there is nothing before TLS on this port")
    blob = base64.b64encode(f"\0{scene.stranger}\0not-a-password".encode()).decode()
    async with scene.smtp(tls=False) as conversation:
        if why := trusted_peer(conversation.connection, conversation.greeting):
            return Facts("not-applicable", why)
        reply = await conversation.say(f"AUTH PLAIN {blob}")
        if reply.code == 504:
            reply = await conversation.say("AUTH LOGIN")
    return Facts("fail" if reply.code in _LOOKED_AT else "pass", str(reply))
