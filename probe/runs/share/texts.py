"""Free text, as servers and our own findings have it: what is not known to name nobody is replaced.

Not a list of what must go, which always lacks one thing, but of what may stay (words.txt): so base64, punycode, a name cut in two
by a line's end and whatever else a name may hide in are gone without being understood.
"""

import re
from collections.abc import Iterable
from functools import cache

from probe.runs.share.stand_ins import StandIns, listed

_WORD = re.compile(r"[^\W_]+")
_FORMS = r"""
  (?P<instant>\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)
| (?P<marker>submission-probe-[a-z2-7]{26})
| (?P<code>(?<![\w.-])\d{3}-(?=\w))
| (?P<uuid>(?<!\w)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?!\w))
| (?P<mail>[^\s<>()\[\],;:"'=\\/@]+@(?:\[[^\]\s]*\]|[^\W_](?:[\w-]*\w)?(?:\.[\w-]*\w)*))
| (?P<octets>(?<!\w)(?:[0-9a-f]{2}[ :-]){5,}[0-9a-f]{2}(?!\w))
| (?P<reverse>(?<![\w.])(?:[0-9a-f]{1,3}\.)+(?:in-addr|ip6)\.arpa(?!\w))
| (?P<v6>(?:(?<=IPv6:)|(?<![\w:.]))(?:[0-9a-f]{0,4}:){2,7}(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9a-f]{1,4})?(?:%\w+)?(?![\w:]))
| (?P<v4>(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\w))
| (?P<dotted>(?:\*\.)?\w(?:[\w-]*\w)?(?:\.\w(?:[\w-]*\w)?)+)
| (?P<dashed>(?<!\d)\d{1,3}(?:[-_]\d{1,3}){3}(?!\d))
| (?P<size>(?<=SIZE[ =])\d{1,12}(?!\w))
| (?P<word>[^\W_]+)
"""
_NAME = re.compile(r"\*?[\w-]*(?:\.[\w-]+)*\.?")
_NUMBER = re.compile(r"\d{1,6}(?:ms|s|min|m|h|d|w|k|kb|mb|gb|bit|px)?\Z", re.IGNORECASE)
_VERSION = re.compile(r"v?\d{1,5}(?:\.\d{1,5})+\Z", re.IGNORECASE)
# An organisation's own object identifiers, but Microsoft's and Google's (IANA, private enterprise numbers).
_OWN_OID = re.compile(r"1\.3\.6\.1\.4\.1\.(?!(?:311|11129)\.)")
_LONG = re.compile(r"[0-9a-f]{8,}|\d{7,}", re.IGNORECASE)
# Before the @ of a message id stand digits and long runs; before that of a person's address hardly ever.
_ID = re.compile(r"(?=.{16})(?=.*\d)|(?=.{8})[0-9A-F.-]*\d[0-9A-F.-]*\Z")


@cache
def words() -> frozenset[str]:
    """What stays, in lower case: words, and names with dots in them."""
    return frozenset(listed("words.txt"))


class Texts:
    """Replaces in text, by the stand-ins of one run. Learn every name that the run is known to hold first."""

    def __init__(self, given: StandIns, ours: Iterable[str] = ()) -> None:
        self._given = given
        self._ours = frozenset(name.casefold() for name in ours)
        self._users: set[str] = set()
        self._hosts: set[str] = set()
        self._tags: set[str] = set()
        self._days: dict[str, str] = {}
        self._forms: re.Pattern[str] | None = None

    def learn_user(self, name: str) -> None:
        """A user's name: `user@host`, `DOMAIN\\user` or as it is."""
        for part in (name, name.rpartition("\\")[2].partition("@")[0]):
            if not self._stays(part):
                self._users.add(part.casefold())
        if "@" in name:
            self.learn_host(name.rpartition("@")[2])
        if "\\" in name:
            self.learn_host(name.partition("\\")[0])
        self._forms = None

    def learn_host(self, name: str) -> None:
        """A host's name, with or without a domain; nothing else, such as an address."""
        if _NAME.fullmatch(name) and ("." in name or not self._stays(name)):
            self._hosts.add(name.strip(".").casefold())
        self._forms = None

    def learn_tag(self, line: str) -> None:
        """An IMAP4 command of ours begins with a tag of four letters, drawn for each connection, and a number."""
        if found := re.match(r"([A-Z]{4})\d+ ", line):
            self._tags.add(found[1].casefold())
            self._forms = None

    def learn_day(self, instant: str) -> str:
        """Of an instant that a certificate is known by, the day alone."""
        day = f"{instant[:10]}T00:00:00Z" if re.match(r"\d{4}-\d\d-\d\dT", instant) else self.text(instant)
        self._days[instant] = day
        return day

    def user(self, name: str) -> str:
        domain, backslash, rest = name.rpartition("\\")
        local, at, host = rest.partition("@")
        before = f"{self._given.host(domain)}\\" if backslash else ""
        return before + self._given.one("user", local) + (f"@{self._given.host(host)}" if at else "")

    def host(self, name: str) -> str:
        """A host name, an address, each with or without a port; else any text."""
        if re.fullmatch(r"[\w-]+", name) and not self._stays(name):
            return self._given.host(name)
        if re.fullmatch(r"\*?[\w-]*(\.[\w-]+)+\.?", name) and not re.fullmatch(r"[\d.]+", name):
            return self._reverse_or_host(name)
        return self.text(name)

    def says_nothing(self, name: str) -> bool:
        """Whether a name is made of words that stay, and is no host's."""
        return "." not in name and all(map(self._stays, _WORD.findall(name))) and name.casefold() not in self._hosts

    def text(self, text: str) -> str:
        """Any text."""
        if self._forms is None:
            known = sorted(self._users | {host for host in self._hosts if "." not in host}, key=len, reverse=True)
            first = f"(?P<known>(?<![^\\W_])(?:{'|'.join(map(re.escape, known))})(?![^\\W_]))|" if known else ""
            if self._tags:
                first = f"(?P<tag>(?<!\\w)(?:{'|'.join(self._tags)})(?=\\d))|" + first
            self._forms = re.compile(first + _FORMS, re.IGNORECASE | re.VERBOSE)
        return self._forms.sub(self._stand_in, text)

    def _stand_in(self, found: re.Match[str]) -> str:
        text, kind = found.group(), found.lastgroup
        if kind == "known":
            return self.user(text) if text.casefold() in self._users else self._given.host(text)
        if kind == "word" or kind is None:
            return self._word(text)
        made: str | None = getattr(self, f"_of_{kind}")(text)
        return _WORD.sub(lambda word: self._word(word.group()), text) if made is None else made

    def _of_instant(self, text: str) -> str:
        return self._days.get(text, text)

    def _of_tag(self, _: str) -> str:
        return "TAG"

    def _of_code(self, text: str) -> str:
        return text

    def _of_marker(self, text: str) -> str:
        return self._given.one("marker", text)

    def _of_uuid(self, text: str) -> str:
        return f"00000000-0000-0000-0000-{self._given.number('uuid', text):012d}"

    def _of_mail(self, text: str) -> str | None:
        local, _, host = text.rpartition("@")
        if local.casefold() not in self._users and _ID.match(local):
            local = self._given.one("id", local)
        else:
            local = self._given.one("user", local)
        return f"{local}@[{self.text(host[1:-1])}]" if host.startswith("[") else f"{local}@{self._given.host(host)}"

    def _of_reverse(self, text: str) -> str:
        return self._given.reverse(text)

    def _of_v6(self, text: str) -> str | None:
        try:
            return self._given.address(text)
        except ValueError:  # a time of day
            return self._of_octets(text) if text.count(":") > 3 else None

    def _of_v4(self, text: str) -> str | None:
        try:
            return self._given.address(text)
        except ValueError:
            return self._of_dotted(text)

    def _of_octets(self, text: str) -> str:
        return self._given.hexadecimal(text)

    def _of_dashed(self, text: str) -> str | None:
        try:
            return self._given.address(re.sub("[-_]", ".", text)).replace(".", "-")
        except ValueError:
            return None

    def _of_size(self, text: str) -> str:
        return text

    def _of_dotted(self, text: str) -> str | None:
        plain = text.casefold()
        if plain not in self._hosts and (plain in words() or plain in self._ours):
            return text
        if _VERSION.match(text):
            return self._given.one("oid", text) if _OWN_OID.match(text) else text
        return self._reverse_or_host(text)

    def _reverse_or_host(self, name: str) -> str:
        reverse = re.fullmatch(r"(?:[0-9a-f]{1,3}\.)+(?:in-addr|ip6)\.arpa\.?", name, re.IGNORECASE)
        return self._given.reverse(name) if reverse else self._given.host(name)

    def _word(self, word: str) -> str:
        if self._stays(word):
            return word
        return self._given.hexadecimal(word) if _LONG.fullmatch(word) else self._given.one("word", word)

    def _stays(self, word: str) -> bool:
        return word.casefold() in words() or _NUMBER.match(word) is not None
