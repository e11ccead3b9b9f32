"""A wrong password, after TLS, for a user that does not exist: no account is locked by it."""

import base64

from probe.observe.audit import Facts
from probe.observe.audit._scene import Scene
from probe.observe.protocol import smtp
from probe.report import Kind

FINDINGS = {
    "audit.wrong-password": Kind(
        "a logon with a made-up user and password is accepted",
        "The server accepts any credentials.",
        ("Look at the server's authentication backend at once", "Dovecot: doveconf passdb (no static passdb with nopassword)"),
    )
}
SEVERITY = "critical"
PROVES = "a user that does not exist was let in"
DOES_NOT_PROVE = "that a wrong password for a user who exists is refused"


async def observe(scene: Scene) -> Facts:
    blob = base64.b64encode(f"\0{scene.stranger}\0not-a-password".encode()).decode()
    user = base64.b64encode(scene.stranger.encode()).decode()
    async with scene.smtp(tls=True) as conversation:
        offered = smtp.mechanisms(conversation.words)
        if "PLAIN" in offered:
            reply = await conversation.say(f"AUTH PLAIN {blob}")
        elif "LOGIN" in offered:
            *_, reply = [await conversation.say(text) for text in ("AUTH LOGIN", user, base64.b64encode(b"no").decode())]
        else:
            return Facts("not-applicable", f"neither PLAIN nor LOGIN is offered: {' '.join(offered) or 'nothing'}")
    return Facts("fail" if reply.code == 235 else "pass", str(reply))
