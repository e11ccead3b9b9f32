"""Ports against the security set for them: 465, 993 and 995 begin with TLS, 25, 110, 143 and 587 do not (RFC 8314, RFC 6409)."""

from collections.abc import Iterator

from probe.profile import Profile, Reader, Submission
from probe.record import Record
from probe.report import Finding, Kind

FINDINGS = {
    "port.security-differs": Kind(
        "the port and the security set for it disagree",
        "The profile likely mixes up implicit TLS (465, 993, 995) and STARTTLS (587, 143, 110; 25 for old clients). Users with "
        "the same settings wait for a greeting that never comes.",
        (
            'Set security = "tls" with 465, 993 and 995, and security = "starttls" with 587, 143, 110 and 25',
            "Exchange: Get-PopSettings | fl SSLBindings,UnencryptedOrTLSBindings; "
            "Get-ImapSettings | fl SSLBindings,UnencryptedOrTLSBindings",
        ),
    ),
}

_BEGIN_WITH_TLS = frozenset({465, 993, 995})
_BEGIN_IN_CLEAR = frozenset({25, 110, 143, 587})


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    """The profile's own word, whatever came of it: the finding stands beside the handshake that failed."""
    sides: dict[str, Submission | Reader] = {"smtp": profile.submission, **profile.readers}
    for leg, side in sides.items():
        expected = _expected(side.port, side.security)
        if expected is not None:
            kind = FINDINGS["port.security-differs"]
            text = f'port {side.port} usually means security = "{expected}", but the profile says "{side.security}"'
            yield Finding("port.security-differs", "warning", f"{leg}.connect", text, "", kind.cause, kind.remedy)


def _expected(port: int, security: str) -> str | None:
    """The security that the port stands for, where the one that is set is another."""
    if port in _BEGIN_WITH_TLS and security != "tls":
        return "tls"
    return "starttls" if port in _BEGIN_IN_CLEAR and security == "tls" else None
