"""Mail programs that the profile says must be able to connect and log on."""

from probe.clients import clients
from probe.observe.audit import Facts
from probe.observe.audit._clients import service
from probe.observe.audit._scene import Scene
from probe.observe.connection.imitated import is_possible
from probe.report import Kind

FINDINGS = {
    "audit.clients": Kind(
        "a mail program that must work cannot connect or log on",
        "TLS versions, cipher suites, the kind of certificate or the mechanisms were changed, and the program has nothing "
        "in common with the server any more.",
        (
            "See every program at every port: probe audit PROFILE --clients; what each offers: probe audit --clients --list",
            "Postfix: postconf smtpd_tls_protocols smtpd_tls_ciphers tls_medium_cipherlist   "
            "Dovecot: doveconf ssl_min_protocol ssl_cipher_list auth_mechanisms",
            "Exchange: Get-TlsCipherSuite | ft Name; Get-ReceiveConnector | fl Identity,AuthMechanism",
            "Update the program, or take it out of clients in the profile's table expect",
        ),
    )
}
SEVERITY = "critical"
PROVES = "a handshake with what that program offers is refused, its certificate is not trusted, or there is no mechanism for it"
DOES_NOT_PROVE = "that the program itself fails: its settings, its roots and what OpenSSL cannot imitate are not known here"


async def observe(scene: Scene) -> Facts:
    expected = [clients()[name] for name in scene.job.conduct.clients]
    if not expected:
        return Facts("not-applicable", "the profile expects no mail programs (clients in the table expect)")
    if not is_possible():
        return Facts("undecided", "pyOpenSSL is not installed; install: pip install 'submission-probe[clients]'")
    rows = [row for side in scene.sides for row in (await service(scene, side, expected)).rows]
    said = {
        outcome: [f"{row.client} ({row.service}): {row.why}" for row in rows if row.outcome == outcome]
        for outcome in ("no", "undecided")
    }
    more = {row.client: {one.service: one.outcome for one in rows if one.client == row.client} for row in rows}
    if said["no"]:
        return Facts("fail", "; ".join(said["no"]), more)
    if said["undecided"]:
        return Facts("undecided", "; ".join(said["undecided"]), more)
    return Facts("pass", f"{', '.join(client.id for client in expected)} can connect and log on", more)
