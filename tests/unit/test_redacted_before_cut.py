"""Text from outside is redacted first and cut afterwards: half a secret at the edge would not be known for one."""

import base64
import json

import pytest

from probe.message import read
from probe.message.bounce import bounce
from probe.message.received import hops
from probe.observe import find
from probe.observe.journal import Journal
from probe.observe.token import claims
from probe.observe.trouble import Stopped
from probe.redact import Redactor

SECRET = "Xk7-quartz-Lantern-93!"
# Wherever the cut lies, some of the secret stands before it and some behind.
EDGES = [edge - at for edge in (20, 200, 255, 320, 500) for at in (1, 11, len(SECRET) - 1) if edge > at]


def journal() -> Journal:
    return Journal(lambda: 0.0, Redactor([SECRET]))


def leaks(shown: str) -> bool:
    return any(SECRET[:length] in shown or SECRET[-length:] in shown for length in range(4, len(SECRET) + 1))


@pytest.mark.parametrize("before", EDGES)
def test_a_tokens_claims(before: int) -> None:
    said = "x" * before + SECRET + "y" * 400
    names = ("aud", "scp", "roles", "iss", "appid", "tid", "upn")
    payload = base64.urlsafe_b64encode(json.dumps({name: [said] if name == "roles" else said for name in names}).encode())
    found = claims(f"e30.{payload.decode().rstrip('=')}.x", journal().brief)
    assert {"audience", "scopes", "roles", "issuer", "client", "tenant", "user"} <= set(found)
    assert not leaks(json.dumps(found)) and len(found["issuer"]) < 300


REPORT = (
    "Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.test\r\nContent-Type: multipart/report; boundary=D\r\n\r\n--D\r\n"
    "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; {0}\r\n\r\nFinal-Recipient: rfc822; {0}\r\nAction: failed\r\n"
    "Status: {0}\r\nDiagnostic-Code: smtp; {0}\r\n--D--\r\n"
)
PLAIN = "Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.test\r\nContent-Type: text/plain\r\n\r\n{0}\r\n"


@pytest.mark.parametrize("before", EDGES)
def test_a_reports_reason_and_name(before: int) -> None:
    said = bounce(read(REPORT.format("x" * before + SECRET + "y" * 400).encode()))
    assert said is not None
    with pytest.raises(Stopped) as caught:
        raise find.returned(journal(), said)
    assert caught.value.trouble.id == "delivery.bounced" and not leaks(f"{caught.value.trouble}")


def filled(begin: str, end: str, most: int) -> str:
    """Lines without a meaning between the two, so that the limit runs through the secret."""
    left = most - len(begin) - len(end) - len(SECRET) // 2
    return begin + "X-Fill: 1\r\n" * (left // 11) + end + "x" * (left % 11) + SECRET


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.format(filled("", "\r\n550 no ", 65_536)),
        REPORT.partition("Reporting-MTA")[0]
        + filled("Action: failed\r\n", "Diagnostic-Code: smtp; 552 ", 20_000)
        + "\r\n--D--\r\n",
    ],
    ids=["plain", "report"],
)
def test_a_report_that_is_too_long_ends_with_a_whole_line(text: str) -> None:
    """What is beyond the parser's limit is not looked at: then the line it runs through is not shown at all."""
    said = bounce(read(text.encode()))
    assert said is not None and not leaks(repr(said))


@pytest.mark.parametrize("before", [edge for edge in EDGES if edge > 200])
def test_a_hops_name(before: int) -> None:
    raw = f"Received: from a by {'x' * before}{SECRET} with ESMTP; Thu, 26 Nov 2026 10:00:00 +0000\r\n\r\n"
    shown = "".join(journal().redacted(hop.by) for hop in hops(read(raw.encode()).header))
    assert not leaks(shown)
