"""TLS 1.0 or 1.1 (RFC 8996: must not be used)."""

from probe.observe.audit import Facts
from probe.observe.audit._scene import Scene
from probe.observe.trouble import Stopped
from probe.report import Kind

FINDINGS = {
    "audit.old-tls": Kind(
        "TLS 1.0 or 1.1 is accepted",
        "Versions that RFC 8996 retired.",
        (
            "Windows: disable TLS 1.0 and 1.1 for Server under SCHANNEL\\Protocols",
            "Postfix: postconf -e 'smtpd_tls_mandatory_protocols=>=TLSv1.2' 'smtpd_tls_protocols=>=TLSv1.2'   "
            "Dovecot: ssl_min_protocol = TLSv1.2",
        ),
    )
}
SEVERITY = "warning"
PROVES = "a handshake that offers nothing newer than TLS 1.1 succeeded"
DOES_NOT_PROVE = "the same of the other ports, nor of ciphers"


async def observe(scene: Scene) -> Facts:
    side = scene.submission
    trust = scene.trust(side, minimum_version="TLSv1", maximum_version="TLSv1.1")
    try:
        if side.security == "tls":
            connection = await scene.connect(side)
            handshake = await connection.start_tls(trust, side.host)
            await connection.close()
        else:
            async with scene.smtp(tls=False) as conversation:
                handshake = await conversation.start_tls(scene, trust)
    except Stopped as error:
        if error.trouble.id in ("tls.handshake-failed", "tls.version"):
            return Facts("pass", error.trouble.text)
        raise
    return Facts("fail", f"the handshake gave {handshake.version}")
