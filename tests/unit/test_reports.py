"""A report that the message will not come, read wholly (RFC 3464), and explained as the refusal that it quotes."""

import pytest

from probe.judge import _replies, kinds
from probe.judge.delivery import delivery_finding
from probe.message.bounce import bounce
from probe.message.parts import read
from probe.record import Record, StageRecord, Target

REPORT = b"""From: MAILER-DAEMON@mail.contoso.test\r
Content-Type: multipart/report; report-type=delivery-status; boundary=b\r
\r
--b\r
Content-Type: text/plain\r
\r
It did not work.\r
--b\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; mail.contoso.test\r
X-Postfix-Queue-ID: 4X\r
Arrival-Date: Fri, 27 Nov 2026 18:00:00 +0000 (UTC)\r
\r
Final-Recipient: rfc822; a@partner.test\r
Action: delayed\r
Status: 4.4.1\r
\r
Final-Recipient: rfc822; nobody@contoso.test\r
Original-Recipient: rfc822;nobody@contoso.test\r
Action: failed\r
Status: 5.1.1\r
Remote-MTA: dns; store.contoso.test\r
Diagnostic-Code: smtp; 550 5.1.1 <nobody@contoso.test>: Recipient address\r
    rejected: User unknown\r
\r
--b--\r
"""


def test_every_field_is_read() -> None:
    seen = bounce(read(REPORT))
    assert seen is not None and seen.is_final
    assert (seen.status, seen.recipient) == ("5.1.1", "nobody@contoso.test")
    assert (seen.reporting, seen.remote) == ("mail.contoso.test", "store.contoso.test")
    assert seen.diagnostic == "550 5.1.1 <nobody@contoso.test>: Recipient address rejected: User unknown"
    assert seen.arrived == "Fri, 27 Nov 2026 18:00:00 +0000 (UTC)"


@pytest.mark.parametrize("leg", ["imap", "pop3"])
@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("5.1.1 550 5.1.1 <nobody@contoso.test>: Recipient address rejected: User unknown", "no such recipient"),
        ("5.2.2 552 5.2.2 <full@contoso.test> Quota exceeded (mailbox for user is full)", "full"),
        ("5.2.2 mailbox is full", "full"),
        ("5.3.4 552 5.3.4 Message size exceeds fixed limit", "large"),
        ("5.7.1 550 5.7.1 Message rejected as spam by Content Filtering.", "spam"),
    ],
)
def test_its_words_are_explained_as_those_of_a_refusal(said: str, word: str, leg: str) -> None:
    finding = delivery_finding("delivery.bounced", "critical", f"{leg}.find", f"the message was returned: {said}", said)
    stages = (StageRecord(f"{leg}.find", "failed"),)
    record = Record("", "x", Target("mail.contoso.test", 587, "starttls"), "", 0.0, stages)
    (told,) = _replies.explained(record, [finding], kinds())
    general = kinds()["delivery.bounced"]
    assert told.cause != general.cause and word in told.cause.lower(), told.cause
    assert "likely" in told.cause and any("probe explain reply." in step for step in told.remedy)


def test_words_that_nobody_knows_keep_the_general_cause() -> None:
    finding = delivery_finding("delivery.bounced", "critical", "imap.find", "returned: no reason given", "no reason given")
    record = Record("", "x", Target("mail.contoso.test", 587, "starttls"), "", 0.0, (StageRecord("imap.find", "failed"),))
    (told,) = _replies.explained(record, [finding], kinds())
    assert told.cause == kinds()["delivery.bounced"].cause
