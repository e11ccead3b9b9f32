"""Distinguished names, as .NET and so Exchange print them, and parsed from any of the ways in which people write them."""

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
    "STREETADDRESS": "STREET", "DOMAINCOMPONENT": "DC", "COMMONNAME": "CN",
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


def parsed_name(text: str) -> list[tuple[str, str]] | None:
    """A distinguished name's parts as (attribute type, folded value); None when it is none.

    Takes .NET's quoting ("" within quotes) and RFC 4514's (backslash), `,`, `;` or `+` between the parts.
    """
    parts = [_part(part) for part in _split(text)]
    return None if not parts or None in parts else [part for part in parts if part]


def _split(text: str) -> list[str]:
    """At `,`, `;` and `+` outside of quotes; a backslash takes the next character as it is (RFC 4514 section 2.4)."""
    parts, part, quoted = [], "", False
    characters = iter(text)
    for character in characters:
        if character == "\\":
            part += next(characters, "")
        elif character in ",;+" and not quoted:
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
    return _DOTNET_NAMES.get(kind, _SAME_ATTRIBUTE.get(kind, kind)), " ".join(value.split()).casefold()
