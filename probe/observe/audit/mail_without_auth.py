"""MAIL without AUTH on the submission port (RFC 6409 section 4.3: 530)."""

from probe.observe.audit import Facts
from probe.observe.audit._scene import FOREIGN_DOMAIN, Scene
from probe.report import Kind

FINDINGS = {
    "audit.mail-without-auth": Kind(
        "mail for a recipient is taken without AUTH",
        "The submission port likely admits anonymous users, or this machine's address is trusted.",
        (
            "Exchange: Set-ReceiveConnector 'NAME\\Client Frontend NAME' -PermissionGroups ExchangeUsers",
            "Postfix: smtpd_recipient_restrictions / smtpd_relay_restrictions on the submission service; mynetworks",
        ),
    )
}
SEVERITY = "warning"
PROVES = "MAIL and RCPT for the profile's own recipient were accepted without AUTH"
DOES_NOT_PROVE = "that a message would be accepted behind them: none is sent"


async def observe(scene: Scene) -> Facts:
    async with scene.smtp(tls=True) as conversation:
        mail = await conversation.say(f"MAIL FROM:<probe@{FOREIGN_DOMAIN}>")
        if mail.code != 250:
            return Facts("pass", str(mail))
        recipient = scene.job.draft.recipient if scene.job.draft else ""
        rcpt = await conversation.say(f"RCPT TO:<{recipient}>")
        await conversation.say("RSET")
    return Facts("fail" if rcpt.code in (250, 251) else "pass", f"{mail}; {rcpt}")
