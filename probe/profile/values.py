"""The kinds of value a profile holds: durations, hosts, addresses, thumbprints.

Each parser takes what TOML gave and returns the clean value, or raises ValueError with a text for the
administrator. Nothing with a control character passes: a line break in a host or an address would be a
second SMTP command.
"""

import difflib
import ipaddress
import math
import re
import unicodedata
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import probe.profile.textfile as textfile
from probe.profile.kinds import Kind, Listed, shown, wanted, whole
from probe.profile.problem import Fault, KeyPath

DURATION = 'a duration such as "50s", "1m30s", "500ms", "2h" or "21d", or a number of seconds'
BACKSLASHES = r"a path with backslashes goes in single quotes: 'C:\Folder\file' (or \"C:/Folder/file\")"
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NUMBER = r"\d{1,12}(?:\.\d{1,9})?"
_PIECES = re.compile("".join(rf"(?:({_NUMBER}){unit})?" for unit in ("d", "h", "m(?!s)", "s", "ms")))
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_HEX = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")


def printable(value: str) -> str:
    """Refuse control characters, line separators and lone surrogates."""
    if value.isprintable():
        return value
    for character in value:
        if unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs"):
            hint = f"; {BACKSLASHES}" if re.match(r"[A-Za-z]:", value) else ""
            raise ValueError(f"holds a control character (U+{ord(character):04X}), which has no place here{hint}")
    return value


def text(value: object) -> str:
    """Printable text that is not empty."""
    if not isinstance(value, str):
        raise wanted("text in quotes", value)
    if not value.strip():
        raise ValueError("is empty; leave the key out instead")
    return printable(value)


def seconds(value: object) -> float:
    """Seconds from "1m30s" or a bare number; finite and not negative."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value) if abs(value) < 1e15 else math.inf
    elif isinstance(value, str) and value and (pieces := _PIECES.fullmatch(value.strip())) and any(pieces.groups()):
        number = sum(float(piece) * unit for piece, unit in zip(pieces.groups(), _UNITS.values(), strict=True) if piece)
    elif isinstance(value, str) and re.fullmatch(_NUMBER, value.strip()):
        number = float(value)
    else:
        raise wanted(DURATION, value)
    if not math.isfinite(number) or number < 0:
        raise wanted(DURATION + ", not negative", value)
    return number


def spell(number: float) -> str:
    """Seconds as a profile writes them: 90.0 → "1m30s"."""
    rest, parts = round(number * 1000), []
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, round(size * 1000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _a_labels(name: str, value: object) -> str:
    """The name as DNS, TLS and certificates have it: IDNA 2008 (RFC 5891) by UTS 46, non-transitional: `ß` stays what it is."""
    if name.isascii() and not _A_LABEL.search(name):
        return name
    import idna  # names that are not ASCII are few

    try:
        return idna.encode(name, uts46=True, transitional=False).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError(f"expected a host name, got {shown(value)}: IDNA 2008 does not allow it ({error})") from None


_A_LABEL = re.compile(r"(?:^|\.)xn--", re.IGNORECASE)


def host(value: object) -> str:
    """A host name (IDN as A-labels, no final dot) or an IP address without brackets. An A-label in it is checked too."""
    name = text(value).removesuffix(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    name = _a_labels(name, value)
    if re.fullmatch(r"[^:]+:\d+", name):
        raise ValueError(f"expected a host name alone, got {shown(value)}; the port has a key of its own")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise wanted("a host name or an IP address", value)
    return name


def endpoint(value: object) -> str:
    """`HOST`, `HOST:PORT`, an IPv6 address, `[v6]` or `[v6]:PORT`, with the host checked."""
    match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(\d+))?|([^:\[\]]+)(?::(\d+))?", text(value))
    if match is None:
        return host(value) if text(value).count(":") > 1 else _no_endpoint(value)
    inner, port = match[1] or match[3], match[2] or match[4]
    if port and not (len(port) <= 5 and 1 <= int(port) <= 65535):
        raise ValueError(f"expected a port from 1 to 65535, got {shown(value)}")
    name = host(inner)
    if match[1]:
        name = f"[{name}]" if ":" in name else _no_endpoint(value)
    return f"{name}:{int(port)}" if port else name


def proxy(value: object) -> str:
    """`socks5://[USER@]HOST[:PORT]` with the port (1080) written out. No error shows the value, in which a password may stand."""
    scheme, _, rest = text(value).partition("://")
    user, _, place = rest.rstrip("/").rpartition("@")
    if ":" in user:
        raise ValueError('a proxy\'s password may not stand in a profile; set proxy_password = { env = "NAME" } beside connect')
    if scheme not in ("socks5", "socks5h"):
        raise ValueError("expected socks5://[USER@]HOST[:PORT]; there is no other kind of proxy here")
    if not user.isascii() or len(user) > 255:
        raise ValueError("expected a proxy's user name of 255 ASCII characters at most")
    try:
        name = endpoint(place)
    except ValueError:
        raise ValueError("expected socks5://[USER@]HOST[:PORT], with an IPv6 address in brackets") from None
    has_port = "]:" in name or name.count(":") == 1
    return f"socks5://{user + '@' if user else ''}{name}{'' if has_port else ':1080'}"


def node(value: object) -> str:
    """One entry of `connect`: an endpoint, or a proxy."""
    return proxy(value) if isinstance(value, str) and "://" in value else endpoint(value)


class _Way(Listed):
    """`connect`: nodes, and one proxy at most, which alone needs no list."""

    def __init__(self) -> None:
        super().__init__(Kind(node))
        self.schema = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string", "pattern": "^socks5h?://"}]}

    def take(self, value: object, at: KeyPath, faults: list[Fault]) -> object:
        given = (value,) if isinstance(value, str) and "://" in value else value
        if isinstance(given, (list, tuple)) and sum("://" in str(item) for item in given) > 1:
            faults.append(Fault(at, "expected one proxy at most"))
            return None
        return super().take(given, at, faults)


def nodes(connect: Sequence[str]) -> tuple[str, ...]:
    """The nodes of a checked `connect`."""
    return tuple(entry for entry in connect if "://" not in entry)


def proxy_of(connect: Sequence[str]) -> tuple[str | None, str, int] | None:
    """The proxy of a checked `connect`: user, host and port."""
    url = next((entry for entry in connect if "://" in entry), None)
    if url is None:
        return None
    user, _, place = url.partition("://")[2].rpartition("@")
    host, _, port = place.rpartition(":")
    return user or None, host.strip("[]"), int(port)


def _no_endpoint(value: Any) -> str:
    raise wanted("HOST, HOST:PORT or [IPv6]:PORT", value)


def greeting_name(value: object) -> str:
    """What EHLO says: a host name, or an address literal such as `[192.0.2.1]` or `[IPv6:2001:db8::1]`."""
    literal = re.fullmatch(r"\[(?:(IPv6):)?([0-9A-Fa-f:.]+)\]", text(value), re.IGNORECASE)
    if not literal:
        return host(value)
    ip = host(literal[2])
    return f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"


def is_address(value: str) -> bool:
    """True for `local@domain`: one @, both sides filled, no blanks, angle brackets or control characters."""
    local, at, domain = value.partition("@")
    plain = value.isprintable() and not any(character.isspace() or character in "<>" for character in value)
    return bool(local and at and domain) and "@" not in domain and len(value) <= 320 and plain


def address(value: object) -> str:
    """A mail address alone, without a display name or angle brackets."""
    if not is_address(text(value)):
        raise wanted('a mail address such as "probe@contoso.com"', value)
    return str(value)


def thumbprint(value: object) -> str:
    """SHA-1 or SHA-256 in upper hex. Windows' dialogue puts blanks and an invisible U+200E into what one copies."""
    if not isinstance(value, str):
        raise wanted("text in quotes", value)
    digits = re.sub(r"[\s:\u200e\u200f\ufeff]", "", value).upper()
    if not _HEX.fullmatch(digits):
        raise ValueError(f"expected 40 hex digits (SHA-1) or 64 (SHA-256), got {len(digits)} characters")
    return digits


def certificate_name(value: object) -> str:
    """Exchange's `<I>issuer<S>subject`, or distinguished names marked in another way. Raises ValueError for a host name."""
    name = text(value)
    if not re.search(r"[A-Za-z0-9.]+\s*=", name):
        raise wanted(
            "issuer and subject as Exchange's TlsCertificateName has them, such as <I>CN=Contoso CA<S>CN=mail.contoso.com", name
        )
    return name


def at_home(name: str) -> Path:
    """The path, with `~` as the home directory. Raises ValueError where none is known, or there is no such user."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise ValueError(f"no home directory is known for {name.partition('/')[0]}; write the whole path") from None


def path(value: object) -> Path:
    """A path, `~` for the home directory."""
    return value if isinstance(value, Path) else at_home(text(value))


def existing_file(value: object) -> Path:
    """An absolute path to a file that exists."""
    file = path(value)
    if not file.is_file():
        raise ValueError(f"no such file: {file.absolute()}")
    return file.absolute()


def ca_file(value: object) -> Path:
    """An absolute path to a file that holds a certificate: PEM (UTF-8 or UTF-16), DER or PKCS#7."""
    file = existing_file(value)
    try:
        textfile.certificates(file.read_bytes())
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror or error}") from None
    except textfile.NoCertificate as error:
        raise ValueError(f"{file} {error}") from None
    return file


def score(value: object) -> float:
    """A number in a spam filter's own unit."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < 1e6:
        raise wanted("a number such as 5 or 6.31", value)
    return float(value)


def mail_program(value: object) -> str:
    """The id of a mail program of probe/clients."""
    from probe.clients import clients  # a file of 50 KB: only where a profile names one

    name = text(value)
    if name not in clients():
        near = difflib.get_close_matches(name, clients(), 3, 0.4)
        raise wanted(f"a mail program such as {' or '.join(near or list(clients())[:2])} (probe audit --clients --list)", value)
    return name


_DURATION_SCHEMA = {
    "description": DURATION[0].upper() + DURATION[1:] + ".",
    "anyOf": [
        {"type": "string", "pattern": r"^(?=\d)((\d+(\.\d+)?)(d|h|ms|m|s))*(\d+(\.\d+)?)?$"},
        {"type": "number", "minimum": 0},
    ],
}


def day(value: object) -> str:
    """A day, as TOML writes a date or as text, in ISO form."""
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", str(value)):
            return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        pass
    raise wanted("a day such as 2027-03-01", value)


def up_to(greatest: float) -> Kind:
    """A duration with a bound; 0 stands for the greatest allowed, as in Exchange's Test-*Connectivity."""

    def bounded(value: object) -> float:
        number = seconds(value)
        if number > greatest:
            raise ValueError(f"expected at most {spell(greatest)} (0 means that), got {spell(number)}")
        return number or greatest

    return Kind(bounded, _DURATION_SCHEMA, spell)


_PATH = {"format": "path", "type": "string"}
Seconds = Annotated[float, Kind(seconds, _DURATION_SCHEMA, spell)]
Port = Annotated[int, whole(1, 65535)]
HopCount = Annotated[int, whole(1, 50)]
Text = Annotated[str, Kind(text)]
Score = Annotated[float, Kind(score, {"type": "number"})]
Host = Annotated[str, Kind(host)]
Endpoint = Annotated[str, Kind(endpoint)]
Way = Annotated[tuple[str, ...], _Way()]
GreetingName = Annotated[str, Kind(greeting_name)]
Address = Annotated[str, Kind(address)]
Thumbprint = Annotated[str, Kind(thumbprint)]
CertificateName = Annotated[str, Kind(certificate_name)]
MailProgram = Annotated[str, Kind(mail_program)]
AnyFile = Annotated[Path, Kind(path, _PATH, str)]
ExistingFile = Annotated[Path, Kind(existing_file, _PATH, str)]
CaFile = Annotated[Path, Kind(ca_file, _PATH, str)]
Day = Annotated[str, Kind(day, {"format": "date", "type": "string"})]
