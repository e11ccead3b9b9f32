"""Take secrets out of text that came from outside: by value, and in every encoding they may come back in.

What we send is masked where it is sent; this is for what comes back: servers echo passwords in error texts. Text is not
searched for each encoding of each secret (there is no end to them): it is read in each way it may be meant (`readings.py`), and
every reading is searched for the secrets.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from probe.plain import dataclass
from probe.redact.readings import Reading, readings

MASK = "[secret]"
# A shorter value is masked only where it stands as a word of its own: masking each "a" would leave no report.
SHORT = 4
# Shorter values of one kind of character are words and numbers that our own sentences use too.
_TELLING = 8
# What one octet of a secret may take at most in a text: `%255Cu0041`, `&amp;#x000041;`.
_WIDEST = 16
_MOST_MARGIN = 65_536
# A fact's name. Whatever a server names (EHLO keywords, keys of its JSON) is masked before it becomes one.
_OUR_KEY = re.compile(r"[a-z][a-z0-9_]{0,40}\Z")

# Facts whose values are words, numbers and dates of our own making (or the profile's): masking one gives away that it is the
# secret, and takes from the judges what they read. Whatever is missing here is masked.
OURS = frozenset(
    """accepted_by address addresses alpn at checked_at cipher command extended_key_usage expires key key_usage local
    marker mechanism minimum_version name_checked not_after not_before openssl_text proven_by remote secret_allowed_by
    sha1 sha256 signature_hash sni source thumbprint tlsa_right trust_store uids username version""".split()  # noqa: SIM905
)
# Whole values that say the same whoever's they are, and that judges look for.
WORDS = frozenset(
    """intact altered lost header text failed no-record INBOX AUTH STARTTLS STLS SIZE PIPELINING 8BITMIME SMTPUTF8 CHUNKING DSN
    ENHANCEDSTATUSCODES IMAP4REV1 UIDPLUS LOGINDISABLED SASL-IR UIDL TOP USER PLAIN LOGIN CRAM-MD5 DIGEST-MD5 NTLM GSSAPI
    XOAUTH2 OAUTHBEARER SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-512""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class _Needle:
    """Octets to look for, ASCII letters in lower case. `word`: only as a word of its own; `ordinary`: our own texts may hold it."""

    octets: bytes
    word: bool
    ordinary: bool


class Redactor:
    """Replaces secrets in text and in nested plain data. Holds the only copies that the observing side keeps."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._needles: list[_Needle] = []
        self._spaced = False
        self._margin = 0
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Mask this secret, in all its encodings, from now on."""
        if not secret or secret in self._known:
            return
        self._known.add(secret)
        self._spaced = self._spaced or " " in secret
        word, ordinary = len(secret) < SHORT, _is_ordinary(secret)
        held = {needle.octets for needle in self._needles}
        self._needles += [_Needle(octets, word, ordinary) for octets in _spellings(secret) - held]
        self._needles.sort(key=lambda needle: len(needle.octets), reverse=True)
        self._margin = min(_MOST_MARGIN, _WIDEST * len(self._needles[0].octets))

    @property
    def has_secrets(self) -> bool:
        """Whether there is anything to replace."""
        return bool(self._needles)

    def text(self, text: str) -> str:
        """Text from outside, with every secret replaced by MASK."""
        return self._masked(text, self._spans(text))

    def cut(self, text: str, most: int) -> str:
        """Text from outside, first redacted, then cut to `most` characters of it: no part of a secret is left at the edge.

        Costs no more for an endless text than for one of `most` characters and a secret's length.
        """
        spans = self._spans(text[: most + self._margin])
        if len(text) <= most:
            return self._masked(text, spans)
        kept = [(start, end) for start, end in spans if start < most]
        return self._masked(text[: max([most, *(end for _, end in kept)])], kept) + "…"

    def ours(self, text: str, heard: str | None = None) -> str:
        """A text of our own: words and numbers that may well stand in it ("2026", "chain") are masked only where it quotes `heard`.

        Masking our own known words would give the secret away. `heard` None: nothing is quoted; empty or not in the text: anything
        may be.
        """
        quoted = None if heard is None else _places(text, heard)
        return self._masked(text, self._spans(text, quoted, everywhere=heard is not None and not quoted))

    def data(self, value: object) -> object:
        """Facts (dict, list, tuple, str): every string redacted but those that are ours by the name they stand under (OURS)."""
        if isinstance(value, str):
            return value if value in WORDS else self.text(value)
        if value is None or isinstance(value, (int, float)):
            return value
        if isinstance(value, Mapping):
            return self.mapping(value)
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return value

    def mapping(self, facts: Mapping[str, object]) -> dict[str, object]:
        """The same of a whole mapping."""
        return {self._key(key): item if key in OURS and _is_flat(item) else self.data(item) for key, item in facts.items()}

    def _key(self, key: Any) -> Any:
        return key if not isinstance(key, str) or key in WORDS or _OUR_KEY.match(key) else self.text(key)

    def _spans(self, text: str, quoted: list[tuple[int, int]] | None = None, *, everywhere: bool = True) -> list[tuple[int, int]]:
        if not self._needles or not text:
            return []
        read = list(readings(text, spaced=self._spaced))
        # Nearly always nothing is found: one search through all readings at once says so.
        whole = b"\n".join([reading.octets for reading in read])
        needles = [needle for needle in self._needles if needle.octets in whole]
        found: list[tuple[int, int]] = []
        for reading in read if needles else ():
            for needle in needles:
                for span in _found(reading, needle):
                    if everywhere or not needle.ordinary or _within(span, quoted):
                        found.append(span)
        return _merged(found)

    @staticmethod
    def _masked(text: str, spans: list[tuple[int, int]]) -> str:
        parts, at = [], 0
        for start, end in spans:
            parts += [text[at:start], MASK]
            at = end
        return "".join([*parts, text[at:]]) if parts else text


def _found(reading: Reading, needle: _Needle) -> list[tuple[int, int]]:
    octets, found = reading.octets, []
    at = octets.find(needle.octets)
    while at >= 0:
        end = at + len(needle.octets)
        if not needle.word or (reading.is_text and not _in_a_word(octets, at, end)):
            found.append(reading.place(at, end))
        at = octets.find(needle.octets, end)
    return found


def _in_a_word(octets: bytes, start: int, end: int) -> bool:
    return octets[max(start - 1, 0) : start].isalnum() or octets[end : end + 1].isalnum()


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _places(text: str, part: str) -> list[tuple[int, int]]:
    return [(found.start(), found.end()) for found in re.finditer(re.escape(part), text)] if part else []


def _within(span: tuple[int, int], places: list[tuple[int, int]] | None) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in places or ())


def _is_flat(value: Any) -> bool:
    """A word, or a list of words: under a name of ours, but with names of its own, it is looked into."""
    return isinstance(value, str) or (isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value))


def _is_ordinary(secret: str) -> bool:
    return secret.isalpha() or secret.isdigit() or (len(secret) < _TELLING and secret.isalnum())


def _spellings(secret: str) -> set[bytes]:
    """The secret's octets in every charset, composition and case that a server may hold it in."""
    words = {secret}
    if not secret.isascii():
        words |= {change(secret) for change in (str.lower, str.upper, str.title)}
        # Servers normalise passwords before they compare (NFC: RFC 8265 section 4.2): what they quote may not be what was sent.
        words |= {unicodedata.normalize(form, word) for word in set(words) for form in ("NFC", "NFD")}
    found: set[bytes] = set()
    for word in words:
        octets = word.encode("utf-8", "surrogateescape")
        wide = [word.encode(name, "surrogatepass") for name in ("utf-16-le", "utf-16-be")]
        # Without the outer NUL: the same for either order of ASCII's octets.
        found |= {octets, *(item.strip(b"\0") for item in wide)}
        if not word.isascii():
            found |= _of_not_ascii(word, octets)
    return {octets.lower() for octets in found if octets}


def _of_not_ascii(word: str, octets: bytes) -> set[bytes]:
    """Latin-1, UTF-8 taken for Latin-1, and what is left where a charset has no such character."""
    found = {octets.decode("latin-1").encode(), word.encode("ascii", "replace")}
    found.add("".join(one if one.isascii() else "\ufffd" for one in word).encode())
    for charset in ("latin-1", "cp1252"):
        try:
            found.add(word.encode(charset))
        except UnicodeEncodeError:
            continue
    # A lone `?` is no spelling of a secret.
    return {octets for octets in found if len(octets.strip(b"?\xef\xbf\xbd")) >= SHORT or octets.isalnum()}
