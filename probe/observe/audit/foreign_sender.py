"""After AUTH, a sender that the account does not own. Stops at RCPT.

Exchange takes any sender in the envelope and judges it when the message has come (550 5.7.60, learn.microsoft.com: "Client does not
have permissions to send as this sender"), so that an acceptance there says nothing.
"""

import re

from probe.facts import greetings
from probe.observe.audit import Facts
from probe.observe.audit._scene import FOREIGN_DOMAIN, Scene, Smtp
from probe.observe.legs.submission import open_authenticated
from probe.report import Kind

FINDINGS = {
    "audit.foreign-sender": Kind(
        "an account may send as an address that is not its own",
        "Any account that is taken over can then write as anybody.",
        (
            "Exchange, Exchange Online: probe run PROFILE --set message.sender=OTHER must end with 550 5.7.60 or SendAsDenied",
            "Exchange: where it does not, look for Send-As on all: Get-ADPermission MAILBOX | ? ExtendedRights -like '*Send-As*'",
            "Postfix: reject_sender_login_mismatch, smtpd_sender_login_maps",
        ),
    )
}
SEVERITY = "warning"
PROVES = "MAIL and RCPT with a foreign sender were accepted after AUTH"
DOES_NOT_PROVE = "that the message would not be refused or rewritten later: none is sent"


async def observe(scene: Scene) -> Facts:
    if scene.submission.credentials is None or scene.job.draft is None:
        return Facts("not-applicable", "the profile has no credentials")
    talk = await open_authenticated(scene.job, scene.journal)
    try:
        conversation = Smtp(talk)
        mail = await conversation.say(f"MAIL FROM:<somebody-else@{FOREIGN_DOMAIN}>")
        if mail.code != 250:
            return Facts("pass", str(mail))
        rcpt = await conversation.say(f"RCPT TO:<{scene.job.draft.recipient}>")
        await conversation.say("RSET")
    finally:
        await talk.close()
    return _judged(scene, f"{mail}; {rcpt}", taken=rcpt.code in (250, 251))


def _judged(scene: Scene, said: str, *, taken: bool) -> Facts:
    if taken and _JUDGES_AFTER_DATA.search(" ".join(greetings(scene.journal.seen, "smtp"))):
        return Facts("undecided", f"{said}; Exchange judges the sender only after DATA, and an audit sends no message")
    return Facts("fail" if taken else "pass", said)


_JUDGES_AFTER_DATA = re.compile(r"Microsoft ESMTP MAIL", re.IGNORECASE)
