"""Cleartext or token mechanisms offered before TLS. GSSAPI and NTLM before TLS are Exchange's healthy default."""

from probe.observe.audit import Facts
from probe.observe.audit._scene import Scene, trusted_peer
from probe.observe.protocol import smtp
from probe.report import Kind

FINDINGS = {
    "audit.cleartext-mechanisms": Kind(
        "mechanisms that send the password or a token in clear are offered before TLS",
        "A client that does not insist on TLS will send its password in clear.",
        ("Exchange: add BasicAuthRequireTLS to the connector's AuthMechanism", "Postfix: postconf -e smtpd_tls_auth_only=yes"),
    )
}
SEVERITY = "critical"
PROVES = "the EHLO before TLS lists LOGIN, PLAIN, XOAUTH2 or OAUTHBEARER"
DOES_NOT_PROVE = "that AUTH is refused when it is tried all the same (audit.auth-before-tls tries)"
_CLEARTEXT = {"LOGIN", "PLAIN", "XOAUTH2", "OAUTHBEARER"}


async def observe(scene: Scene) -> Facts:
    if scene.submission.security != "starttls":
        return Facts("not-applicable", "there is no EHLO before TLS on this port")
    async with scene.smtp(tls=False) as conversation:
        if why := trusted_peer(conversation.connection, conversation.greeting):
            return Facts("not-applicable", why)
        offered = smtp.mechanisms(conversation.words)
    found = sorted(_CLEARTEXT & set(offered))
    return Facts("fail" if found else "pass", f"AUTH {' '.join(offered)}" if offered else "no AUTH before TLS")
