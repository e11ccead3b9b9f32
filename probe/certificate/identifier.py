"""Exchange's identifier of a certificate, `<I>issuer<S>subject`: made, compared, and assigned."""

from collections.abc import Mapping
from typing import Any

from probe.certificate.distinguished_name import parsed_name


def identifier(entry: Mapping[str, object]) -> str:
    """Exchange's TlsCertificateName of a certificate: `<I>issuer<S>subject`."""
    return f"<I>{entry['issuer']}<S>{entry['subject']}"


def assignment(certificate_name: str) -> str:
    """The line that assigns a certificate to Exchange's connector, ready to paste into the Exchange Management Shell."""
    # PowerShell: within single quotes only a quote is special, doubled (about_Quoting_Rules).
    quoted = certificate_name.replace("'", "''")
    # The connector on port 587 that Setup makes (Microsoft, "Receive connectors in Exchange Server").
    return f"Set-ReceiveConnector 'SERVER\\Client Frontend SERVER' -TlsCertificateName '{quoted}'"


def same_identifier(first: str, second: str) -> bool:
    """Whether two `<I>issuer<S>subject` texts name the same certificate: compared as parsed names, in either order of their parts,
    without case, with whatever spelling of the attribute types."""
    left, right = (_parsed_identifier(text) for text in (first, second))
    return left is not None and left == right


def _parsed_identifier(text: str) -> tuple[Any, ...] | None:
    head, found, rest = text.strip().partition("<S>")
    if not found or not head.startswith("<I>"):
        return None
    issuer, subject = parsed_name(head[3:]), parsed_name(rest)
    return None if issuer is None or subject is None else (_either_way(issuer), _either_way(subject))


def _either_way(name: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """.NET prints the most specific part first, OpenSSL last: both ways are one name."""
    return min(tuple(name), tuple(reversed(name)))
