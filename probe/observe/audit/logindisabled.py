"""LOGINDISABLED missing before TLS over IMAP4 (RFC 3501 section 6.2.3, RFC 2595 section 3.2)."""

from probe.observe.audit import Facts
from probe.observe.audit._scene import Scene, trusted_peer
from probe.observe.protocol.imap_conversation import ImapTalk
from probe.report import Kind

FINDINGS = {
    "audit.logindisabled-missing": Kind(
        "IMAP4 does not say LOGINDISABLED before TLS",
        "A client that does not insist on TLS will send its password in clear.",
        ("Exchange: Set-ImapSettings -LoginType SecureLogin", "Dovecot: disable_plaintext_auth = yes, ssl = required"),
    )
}
SEVERITY = "warning"
PROVES = "the capabilities before STARTTLS lack LOGINDISABLED, or list AUTH=PLAIN or AUTH=LOGIN"
DOES_NOT_PROVE = "that LOGIN is refused when it is tried all the same. Dovecot takes loopback for secure and never says it there"


async def observe(scene: Scene) -> Facts:
    side = scene.readers.get("imap")
    if side is None or side.security != "starttls":
        return Facts("not-applicable", "the profile does not use STARTTLS over IMAP4")
    async with scene.in_clear("imap") as talk:
        assert isinstance(talk, ImapTalk)
        if why := trusted_peer(talk.connection, talk.greeting_text):
            return Facts("not-applicable", why)
        capabilities = talk.greeted or (await talk.command("CAPABILITY")).untagged[0].text.upper().split()
    exposed = "LOGINDISABLED" not in capabilities or {"AUTH=PLAIN", "AUTH=LOGIN"} & set(capabilities)
    return Facts("fail" if exposed else "pass", " ".join(capabilities))
