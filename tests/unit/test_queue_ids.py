"""The id that a server gives the message in its final reply, as the software of the field says it."""

import pytest

from probe.observe.protocol.smtp import queue_id

SAID = [
    ("2.0.0 Ok: queued as 4XyZ1234", "4XyZ1234"),  # Postfix
    ("2.0.0 Ok: queued as 0F1F2", "0F1F2"),
    ("OK id=1tFabc-000000001Ab-2xYz", "1tFabc-000000001Ab-2xYz"),  # Exim
    ("Requested mail action okay, completed: id=0MfgBq-1tK", "0MfgBq-1tK"),  # GMX
    ("2.0.0 4AOxyz012345 Message accepted for delivery", "4AOxyz012345"),  # Sendmail
    ("2.0.0 3f4a5b6c Message accepted for delivery", "3f4a5b6c"),  # OpenSMTPD
    ("2.0.0: 3d9a1b2c Message accepted for delivery", "3d9a1b2c"),
    ("6543210 message accepted for delivery", "6543210"),  # CommuniGate
    (
        "2.6.0 <a1b2@mail.contoso.com> [InternalId=123456, Hostname=EX01.contoso.local] Queued mail for delivery",
        "a1b2@mail.contoso.com",
    ),
    ("Ok 0102018f-aaaa-bbbb-cccc-ddddeeee0000-000000", "0102018f-aaaa-bbbb-cccc-ddddeeee0000-000000"),  # SES
    ("Ok. 00000000000E0B7B.000000005F3C7C8D.00006E0C", "00000000000E0B7B.000000005F3C7C8D.00006E0C"),  # Courier
    ("2.0.0 OK  1732443600 a1-20020a05.1 - gsmtp", "a1-20020a05.1"),  # Gmail
    ("2.0.0 OK DMARC:Quarantine 1732443600 ffacd0b85a97d-38260 - gsmtp", "ffacd0b85a97d-38260"),
    ("ok 1732443600 qp 12345", "12345"),  # qmail
    ("ok:  Message 123456789 accepted", "123456789"),  # IronPort
    ("Ok, message saved <Message-ID: MD50000001@x.test>", "MD50000001@x.test"),  # MDaemon
    ("Message Queued (5A1B2C3D-0000-4000-8000-ABCDEFABCDEF.1)", "5A1B2C3D-0000-4000-8000-ABCDEFABCDEF.1"),  # Haraka
    ("2.0.0 Ok: queued on smtp1.mail.yandex.net as 1732443600-AbCdEfGh", "1732443600-AbCdEfGh"),
    ("Mail OK queued as smtp8,DMmowAA3u7ab.12345S2 1732443600", "smtp8,DMmowAA3u7ab.12345S2"),  # NetEase
    ("2.5.0 Ok, envelope id 0PXY00ABC@mail.x.test", "0PXY00ABC@mail.x.test"),  # Oracle
    ("2.6.0 message received id 5A1B2C", "5A1B2C"),
    ("2.0.0 Message queued with id 123abc.", "123abc"),  # Stalwart
    ("Message accepted, id: pd35abc123.msg", "pd35abc123.msg"),
    ("OK <pd35000000001.msg>, <id@x> (Mail queued)", "pd35000000001.msg"),
    ("2.0.0 accepted: ABC123XYZ", "ABC123XYZ"),
    ("SmtpThread-123@uk-mta-1.uk.mimecast.lan Received OK [abcDEF123.uk1]", "abcDEF123.uk1"),
    # None is named.
    ("Queued (0.123 seconds)", None),  # hMailServer
    ("2.1.5 OK", None),
    ("OK: queued as.", None),  # QQ
    ("Requested mail action okay, completed", None),
    ("Great success", None),
    ("Message queued for delivery", None),
    ("2.6.0 Message received", None),  # James
    ("Ok, all is well", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "found"), SAID)
def test_the_id_in_the_final_reply(text: str, found: str | None) -> None:
    assert queue_id(text) == found
