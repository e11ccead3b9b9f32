"""Relaying to a foreign domain without AUTH. Stops at RCPT; nothing is delivered."""

from probe.observe.audit import Facts
from probe.observe.audit._scene import FOREIGN_DOMAIN, Scene
from probe.report import Kind

FINDINGS = {
    "audit.open-relay": Kind(
        "the server relays to foreign domains without AUTH",
        "An open relay: it will be found and used for spam within hours.",
        (
            "Exchange: Get-ReceiveConnector | Get-ADPermission | ? ExtendedRights -like '*Accept-Any-Recipient*'",
            "Postfix: postconf -e 'smtpd_relay_restrictions=permit_sasl_authenticated, reject_unauth_destination'",
        ),
    )
}
SEVERITY = "critical"
PROVES = f"RCPT for {FOREIGN_DOMAIN} was accepted without AUTH from this machine's address"
DOES_NOT_PROVE = "that other addresses are refused as well"


async def observe(scene: Scene) -> Facts:
    async with scene.smtp(tls=True) as conversation:
        mail = await conversation.say(f"MAIL FROM:<probe@{FOREIGN_DOMAIN}>")
        if mail.code != 250:
            return Facts("pass", str(mail))
        rcpt = await conversation.say(f"RCPT TO:<{scene.stranger}@{FOREIGN_DOMAIN}>")
        await conversation.say("RSET")
    return Facts("fail" if rcpt.code in (250, 251) else "pass", f"{mail}; {rcpt}")
