"""Mechanisms of the past in what the server offers after TLS: no harm to a client that takes PLAIN, but worth taking out."""

from probe.observe.audit import Facts
from probe.observe.audit._scene import Scene
from probe.observe.protocol import smtp
from probe.report import Kind

FINDINGS = {
    "audit.weak-mechanisms": Kind(
        "mechanisms of the past are offered",
        "CRAM-MD5 and DIGEST-MD5 (RFC 6331 made it historic) need every password stored so that it can be read, or fail with "
        "hashed ones; NTLM can be relayed. Over TLS PLAIN is what mail programs use, and SCRAM what is better.",
        (
            "Dovecot: auth_mechanisms = plain login   Postfix with Cyrus SASL: mech_list in smtpd.conf",
            "Exchange: Set-ReceiveConnector 'NAME\\Client Frontend NAME' -AuthMechanism Tls,BasicAuth,BasicAuthRequireTLS",
        ),
    )
}
SEVERITY = "info"
PROVES = "the EHLO after TLS lists CRAM-MD5, DIGEST-MD5 or NTLM"
DOES_NOT_PROVE = "that they work there, nor what the readers offer"
_WEAK = {"CRAM-MD5", "DIGEST-MD5", "NTLM"}


async def observe(scene: Scene) -> Facts:
    if scene.submission.security == "plaintext":
        return Facts("not-applicable", "there is no TLS on this port")
    async with scene.smtp(tls=True) as conversation:
        offered = smtp.mechanisms(conversation.words)
    return Facts("fail" if _WEAK & set(offered) else "pass", f"AUTH {' '.join(offered)}" if offered else "no AUTH")
