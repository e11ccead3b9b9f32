"""Stand-ins: the same real value always gets the same one. Nothing is derived from the value (a hash of it could be guessed at)."""

import re
from collections.abc import Iterator
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

# RFC 5737 and, when those are used up, RFC 2544; RFC 3849.
_DOCUMENTATION = ("192.0.2.0", "198.51.100.0", "203.0.113.0")
_MORE = int(IPv4Address("198.18.0.0"))
_SIX = int(IPv6Address("2001:db8::"))
# Second-level labels under which countries' registries give out names.
_REGISTRIES = frozenset(["ac", "co", "com", "edu", "go", "gob", "gov", "ltd", "me", "ne", "net", "nhs", "or", "org", "plc", "sch"])
_SERVICE_LABELS = frozenset(
    """_tcp _udp _tls _submission _submissions _smtp _smtps _imap _imaps _pop3 _pop3s _autodiscover _mta-sts _dmarc
    _domainkey""".split()  # noqa: SIM905
)
# No host has a longer name (RFC 1035 section 2.3.4).
_MOST = 255
_LIST = "providers.txt"


def listed(name: str) -> Iterator[str]:
    """The lines of a list beside this file, without its remarks."""
    for line in (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line


@cache
def providers() -> tuple[frozenset[str], frozenset[str]]:
    """Public mail services' hosts, and their domains under which a name may be a customer's."""
    names = list(listed(_LIST))
    hosts = frozenset(name for name in names if not name.startswith("."))
    return hosts, frozenset(name[1:] for name in names if name.startswith("."))


class StandIns:
    """Gives stand-ins out, in the order of asking, and keeps which is whose. Holds the real values: never shown, never stored."""

    def __init__(self) -> None:
        self._given: dict[str, dict[str, int]] = {}

    def number(self, kind: str, value: str) -> int:
        """How many values of this kind came before, plus one; the case of letters makes no other value."""
        given = self._given.setdefault(kind, {})
        return given.setdefault(value.casefold(), len(given) + 1)

    def one(self, kind: str, value: str) -> str:
        return f"{kind}{self.number(kind, value)}"

    def address(self, text: str) -> str:
        """For an IP address one of those kept for documentation. Raises ValueError for what is none."""
        plain = text.partition("%")[0]
        found = ip_address(plain)
        found = getattr(found, "ipv4_mapped", None) or found
        if found.is_loopback or found.is_unspecified:
            return text
        number = self.number(f"address{found.version}", str(found))
        if isinstance(found, IPv6Address):
            return str(IPv6Address(_SIX + number))
        block, last = divmod(number - 1, 254)
        if block < len(_DOCUMENTATION):
            return str(IPv4Address(_DOCUMENTATION[block]) + last + 1)
        return str(IPv4Address(_MORE + number))

    def reverse(self, text: str) -> str:
        """For a name under in-addr.arpa or ip6.arpa that of its address's stand-in (RFC 1035 section 3.5, RFC 3596 section 2.5)."""
        labels = text.lower().rstrip(".").split(".")[:-2][::-1]
        try:
            whole = ".".join(labels) if len(labels) == 4 else ":".join(re.findall("....", "".join(labels)))
            return ip_address(self.address(whole)).reverse_pointer
        except ValueError:  # a zone of several addresses
            return f"{self.one('zone', text)}.{'.'.join(text.rstrip('.').split('.')[-2:])}"

    def host(self, name: str) -> str:
        """For a host name, as U-label or A-label, one under `.example`; its domain's first, then of each label before that.

        What a public mail service is called stays.
        """
        if len(name) > _MOST:
            return self.one("name", name)
        labels = _ascii(name.strip(".")).split(".")
        plain, (hosts, domains) = ".".join(labels), providers()
        if plain in hosts or plain in domains or plain == "localhost":
            return plain
        for length in range(1, len(labels)):
            if ".".join(labels[length:]) in hosts | domains:
                return ".".join([*map(self._label, labels[:length]), *labels[length:]])
        if len(labels) == 1:
            return self._label(plain)
        own = _domain(labels)
        return ".".join([*map(self._label, labels[: len(labels) - own]), self._domain(".".join(labels[len(labels) - own :]))])

    def _label(self, label: str) -> str:
        if label == "*" or label in _SERVICE_LABELS or re.fullmatch(r"_\d{1,5}", label):
            return label
        return self.one("host", label)

    def _domain(self, name: str) -> str:
        number = self.number("domain", name)
        return "example" if number == 1 else f"domain{number}.example"

    def hexadecimal(self, text: str) -> str:
        """For a thumbprint, a serial number, any long number: digits of the same length, however the octets were set apart."""
        digits = re.sub(r"[^0-9a-f]", "", text.lower())
        return f"{self.number('number', digits):0{max(8, len(digits))}d}"


def _domain(labels: list[str]) -> int:
    """How many labels at the end are the organisation's own domain: two, or three under a country's registry."""
    return 3 if len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _REGISTRIES else min(2, len(labels))


def _ascii(name: str) -> str:
    if name.isascii():
        return name.lower()
    import idna

    try:
        return idna.encode(name, uts46=True).decode().lower()
    except idna.IDNAError:
        return name.casefold()
