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
| (?P<phone>\+\d{1,3}[ ()/.\d-]{6,24}\d(?!\w)|(?<![\w.])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w.]))
| (?P<mail>[^\s<>()\[\],;:"'=\\/@]{1,64}@(?:\[[^\]\s]*\]|[^\W_](?:[\w-]*\w)?(?:\.[\w-]*\w)*))
| (?P<octets>(?<!\w)(?:[0-9a-f]{2}[ :-]){5,}[0-9a-f]{2}(?!\w))
| (?P<reverse>(?<![\w.])(?:[0-9a-f]{1,3}\.)+(?:in-addr|ip6)\.arpa(?!\w))
| (?P<v6>(?<![\w.])(?:[0-9a-f]{0,4}:){2,7}(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9a-f]{1,4})?(?:%\w+)?(?![\w:]))
| (?P<v4>(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\w))
| (?P<dotted>(?:\*\.)?\w(?:[\w-]{0,61}\w)?(?:\.\w(?:[\w-]{0,61}\w)?)+)
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
        # What is known to name somebody, in lower case, and what kind of stand-in it gets.
        self._known: dict[str, str] = {}
        self._tags: set[str] = set()
        self._days: dict[str, str] = {}
        self._forms: re.Pattern[str] | None = None

    def learn_user(self, name: str) -> None:
        """A user's name: `user@host`, `DOMAIN\\user` or as it is."""
        for part in (name, name.rpartition("\\")[2].partition("@")[0]):
            self._learn(part, "user")
        if "@" in name:
            self.learn_host(name.rpartition("@")[2])
        if "\\" in name:
            self.learn_host(name.partition("\\")[0])

    def learn_host(self, name: str) -> None:
        """A host's name, with or without a domain; nothing else, such as an address."""
        if _NAME.fullmatch(name):
            self._learn(name.strip("."), "host")

    def learn_id(self, name: str) -> None:
        """A queue's name for the message."""
        self._learn(name, "id")

    def learn_numbers(self, name: str) -> None:
        """Of a certificate's names the numbers: a postal code, a register's entry; a year is none."""
        for number in re.findall(r"(?<![\w.])\d{3,6}(?![\w.])", name):
            if not re.fullmatch(r"(?:19|20)\d\d", number):
                self._learn(number, "number")

    def _learn(self, name: str, kind: str) -> None:
        if name and name.casefold() not in words():
            self._known.setdefault(name.casefold(), kind)
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
        return "." not in name and all(map(self._stays, _WORD.findall(name))) and name.casefold() not in self._known

    def text(self, text: str) -> str:
        """Any text."""
        if self._forms is None:
            # Names with dots are found by their form.
            known = sorted((name for name, kind in self._known.items() if kind != "host" or "." not in name), key=len, reverse=True)
            first = f"(?P<known>(?<![^\\W_])(?:{'|'.join(map(re.escape, known))})(?![^\\W_]))|" if known else ""
            if self._tags:
                first = f"(?P<tag>(?<!\\w)(?:{'|'.join(self._tags)})(?=\\d))|" + first
            self._forms = re.compile(first + _FORMS, re.IGNORECASE | re.VERBOSE)
        return self._forms.sub(self._stand_in, text)

    def _stand_in(self, found: re.Match[str]) -> str:
        text, kind = found.group(), found.lastgroup
        if kind == "known":
            return self._of_known(text, self._known[text.casefold()])
        if kind == "word" or kind is None:
            return self._word(text)
        made: str | None = getattr(self, f"_of_{kind}")(text)
        return _WORD.sub(lambda word: self._word(word.group()), text) if made is None else made

    def _of_known(self, text: str, kind: str) -> str:
        if kind == "user":
            return self.user(text)
        return self._given.host(text) if kind == "host" else self._given.one(kind, text)

    def _of_phone(self, text: str) -> str:
        return self._given.one("phone", re.sub(r"\D", "", text))

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
        if self._known.get(local.casefold()) != "user" and _ID.match(local):
            local = self._given.one("id", local)
        else:
            local = self._given.one("user", local)
        return f"{local}@[{self.text(host[1:-1])}]" if host.startswith("[") else f"{local}@{self._given.host(host)}"

    def _of_reverse(self, text: str) -> str:
        return self._given.reverse(text)

    def _of_v6(self, text: str) -> str | None:
        try:
            # A colon behind it is the sentence's: `2001:db8::1: refused`.
            return self._given.address(text)
        except ValueError:
            if text.endswith(":") and not text.endswith("::"):
                made = self._of_v6(text[:-1])
                return None if made is None else f"{made}:"
            # A time of day has two.
            return self._of_octets(text) if text.count(":") > 3 else None

    def _of_v4(self, text: str) -> str | None:
        try:
            return self._given.address(".".join(str(int(part)) for part in text.split(".")))
        except ValueError:
            return self._of_dotted(text)

    def _of_octets(self, text: str) -> str:
        return self._given.hexadecimal(text)

    def _of_dashed(self, text: str) -> str | None:
        try:
            return self._given.address(".".join(str(int(part)) for part in re.split("[-_]", text))).replace(".", "-")
        except ValueError:
            return None

    def _of_size(self, text: str) -> str:
        return text

    def _of_dotted(self, text: str) -> str | None:
        plain = text.casefold()
        if plain not in self._known and (plain in words() or plain in self._ours):
            return text
        if re.fullmatch(r"v?\d{1,3}(?:\.\d{1,3}){3}", plain):
            return self._of_v4(text[1:]) if plain[0] == "v" else text
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
