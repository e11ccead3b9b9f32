"""Distinguished names, as .NET and so Exchange print them, and parsed from any of the ways in which people write them."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

# How .NET, and so Exchange, abbreviates attribute types in a name; others stand as OID.N.N.N.
_DOTNET_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "SERIALNUMBER",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "S",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "T",
    "2.5.4.42": "G",
    "2.5.4.43": "I",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "E",
}
# What Windows, .NET and OpenSSL call the same attribute.
_SAME_ATTRIBUTE = {
    "ST": "S", "EMAILADDRESS": "E", "EMAIL": "E", "GN": "G", "GIVENNAME": "G", "SURNAME": "SN", "TITLE": "T", "INITIALS": "I",
    "STREETADDRESS": "STREET", "DOMAINCOMPONENT": "DC", "COMMONNAME": "CN", "COUNTRYNAME": "C", "COUNTRY": "C", "LOCALITYNAME": "L",
    "LOCALITY": "L", "STATEORPROVINCENAME": "S", "ORGANIZATIONNAME": "O", "ORGANIZATION": "O", "ORGANIZATIONALUNITNAME": "OU",
    # EV certificates (CA/Browser Forum, EV Guidelines section 7.1.4.2): what Windows prints as numbers, OpenSSL and CAs in words.
    "BUSINESSCATEGORY": "2.5.4.15", "POSTALCODE": "2.5.4.17", "ORGANIZATIONIDENTIFIER": "2.5.4.97",
    "UID": "0.9.2342.19200300.100.1.1",
    "JURISDICTIONC": "1.3.6.1.4.1.311.60.2.1.3", "JURISDICTIONCOUNTRYNAME": "1.3.6.1.4.1.311.60.2.1.3",
    "JURISDICTIONST": "1.3.6.1.4.1.311.60.2.1.2", "JURISDICTIONSTATEORPROVINCENAME": "1.3.6.1.4.1.311.60.2.1.2",
    "JURISDICTIONL": "1.3.6.1.4.1.311.60.2.1.1", "JURISDICTIONLOCALITYNAME": "1.3.6.1.4.1.311.60.2.1.1",
    "DNQUALIFIER": "2.5.4.46", "PSEUDONYM": "2.5.4.65", "GENERATIONQUALIFIER": "2.5.4.44", "DESCRIPTION": "2.5.4.13",
}  # fmt: skip


def dotnet_name(name: "x509.Name") -> str:
    """A distinguished name as .NET prints it: most specific first, `, ` between, its own quoting.

    Source: X500DistinguishedName.Name, as seen in Exchange's TlsCertificateName.
    """
    parts = []
    for rdn in reversed(list(name.rdns)):
        attributes = [
            f"{_DOTNET_NAMES.get(a.oid.dotted_string, 'OID.' + a.oid.dotted_string)}={_dotnet_value(a.value)}" for a in rdn
        ]
        parts.append(" + ".join(attributes))
    return ", ".join(parts)


def _dotnet_value(value: str | bytes) -> str:
    text = value if isinstance(value, str) else "#" + value.hex().upper()
    # What Windows quotes, and how: CertNameToStr (wincrypt.h), CERT_NAME_STR_NO_QUOTING_FLAG.
    if any(character in text for character in ',+"\\<>;=\n#') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


# A name as sets of (attribute type, folded value), one set for each relative distinguished name (RFC 5280 section 4.1.2.4).
Name = tuple[frozenset[tuple[str, str]], ...]


def parsed_name(text: str) -> Name | None:
    """A distinguished name; None when it is none. The empty text is the empty name.

    Takes .NET's quoting ("" within quotes) and RFC 4514's (backslash), `,` or `;` between the relative names and `+` within one;
    and OpenSSL's form of old, `/C=US/CN=name`.
    """
    text = text.strip()
    if not text:
        return ()
    relative = _SLASHED.split(text)[1:] if text.startswith("/") else _split(text, ",;")
    sets = [[_part(part) for part in _split(each, "+")] for each in relative]
    if any(part is None for parts in sets for part in parts):
        return None
    return tuple(frozenset(part for part in parts if part) for parts in sets)


# A slash that begins a part; those in values have no `TYPE=` behind them.
_SLASHED = re.compile(r"/(?=[A-Za-z][A-Za-z0-9.]*=)")


def _split(text: str, at: str) -> list[str]:
    """At these characters outside of quotes; a backslash takes the next character as it is (RFC 4514 section 2.4)."""
    parts, part, quoted = [], "", False
    characters = iter(text)
    for character in characters:
        if character == "\\":
            part += character + next(characters, "")
        elif character in at and not quoted:
            parts.append(part)
            part = ""
        else:
            quoted ^= character == '"'
            part += character
    return [*parts, part]


def _part(text: str) -> tuple[str, str] | None:
    kind, equals, value = text.strip().partition("=")
    if not equals or not kind.strip():
        return None
    kind = kind.strip().upper().removeprefix("OID.")
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1].replace('""', '"')
    value = _ESCAPED.sub(_unescaped, value)
    return _DOTNET_NAMES.get(kind, _SAME_ATTRIBUTE.get(kind, kind)), " ".join(value.split()).casefold()


# RFC 4514 section 2.4: a special character as it is, or octets of UTF-8 in hex.
_ESCAPED = re.compile(r"(?:\\[0-9A-Fa-f]{2})+|\\(.)")


def _unescaped(found: re.Match[str]) -> str:
    return found[1] or bytes.fromhex(found[0].replace("\\", "")).decode("utf-8", "replace")
