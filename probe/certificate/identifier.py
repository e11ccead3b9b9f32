"""Exchange's identifier of a certificate, `<I>issuer<S>subject`: made, compared, and assigned."""

import re
from collections.abc import Mapping

from probe.certificate.distinguished_name import Name, parsed_name

# PowerShell: within single quotes only a quote is special, doubled (about_Quoting_Rules); the curly ones are quotes to it too
# (CodeGeneration.EscapeSingleQuotedStringContent).
_QUOTES = re.compile("['\u2018\u2019\u201a\u201b]")


def identifier(entry: Mapping[str, object]) -> str:
    """Exchange's TlsCertificateName of a certificate: `<I>issuer<S>subject`."""
    return f"<I>{entry['issuer']}<S>{entry['subject']}"


def assignment(certificate_name: str, connector: str = r"'SERVER\Client Frontend SERVER'") -> str:
    """The line that assigns a certificate to Exchange's connector, ready to paste into the Exchange Management Shell. `connector`
    is quoted already; the word SERVER stands for what is not known."""
    quoted = _QUOTES.sub(r"\g<0>\g<0>", certificate_name)
    return f"Set-ReceiveConnector {connector} -TlsCertificateName '{quoted}'"


def same_identifier(wanted: str, served: str) -> bool:
    """Whether a profile's text names the certificate whose `<I>issuer<S>subject` is `served`: compared as parsed names, in either
    order of their parts, without case, with whatever spelling of the attribute types. A text that names only the subject is
    compared with the subject."""
    left, right = _parsed(wanted), _parsed(served)
    if left is None or right is None:
        return False
    return all(name is None or name == other for name, other in zip(left, right, strict=True))


# How Exchange, .NET (X509Certificate2.ToString), certutil and people mark issuer and subject.
_MARK = re.compile(r"(?:X509:)?<(?P<tag>[IS])>|\[(?P<heading>issuer|subject)\]|\b(?P<word>issuer|subject)\s*[:=]", re.IGNORECASE)


def _parsed(text: str) -> tuple[Name | None, Name | None] | None:
    """(issuer, subject), None for one that is not named; None where the text cannot be read."""
    marks = list(_MARK.finditer(text))
    if not marks:
        subject = parsed_name(text)
        return None if subject is None else (None, _either_way(subject))
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    named: dict[str, Name | None] = {}
    for mark, end in zip(marks, ends, strict=True):
        name = parsed_name(text[mark.end() : end].strip().rstrip(";,"))
        if name is None:
            return None
        named[(mark["tag"] or mark["heading"] or mark["word"])[0].upper()] = _either_way(name)
    return named.get("I"), named.get("S")


def _either_way(name: Name) -> Name:
    """.NET prints the most specific part first, OpenSSL last: both ways are one name."""
    return min(name, tuple(reversed(name)), key=lambda parts: [sorted(part) for part in parts])
