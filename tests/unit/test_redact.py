"""No encoding of a secret survives the redactor, nothing is cut before it, and our own words stay."""

import base64
import html
import json
import quopri
import string
import unicodedata
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from probe.redact import MASK, WORDS, Redactor

SECRET = "c0rrect horse+batt/ery=stäple<&'\">"
ASCII = "c0rrect horse+batt/ery=%41<&'\"\\>"
passwords = st.text(st.sampled_from(string.printable.strip() + "äß€ "), min_size=6, max_size=40)

Form = Callable[[str], str]
FORMS: dict[str, Form] = {
    "as it is": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "URL": lambda s: quote(s, safe=""),
    "URL, lower case": lambda s: quote(s, safe="").lower(),
    "URL, some characters only": lambda s: quote(s, safe=" +<&"),
    "URL, every character": lambda s: "".join(f"%{octet:02x}" for octet in s.encode()),
    "URL of a form": quote_plus,
    "URL twice": lambda s: quote(quote(s, safe=""), safe=""),
    "%u": lambda s: "".join(f"%u{ord(one):04x}" for one in s),
    "HTML": html.escape,
    "HTML, decimal": lambda s: "".join(f"&#{ord(one)};" for one in s),
    "HTML, hexadecimal": lambda s: "".join(f"&#x{ord(one):X};" for one in s),
    "HTML of a URL": lambda s: html.escape(quote(s, safe="/ ='\"")),
    "JSON": lambda s: json.dumps(s)[1:-1],
    "JSON, not ASCII": lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
    "JSON, every character": lambda s: "".join(f"\\u{ord(one):04X}" for one in s),
    "repr": lambda s: repr(s)[1:-1],
    "repr of octets": lambda s: repr(s.encode())[2:-1],
    "quoted-printable": lambda s: quopri.encodestring(s.encode(), quotetabs=True).decode(),
    "hexadecimal": lambda s: s.encode().hex(),
    "hexadecimal, upper case": lambda s: s.encode().hex().upper(),
    "hexadecimal with colons": lambda s: s.encode().hex(":"),
    "NFC": lambda s: unicodedata.normalize("NFC", s),
    "NFD": lambda s: unicodedata.normalize("NFD", s),
    "Latin-1": lambda s: s.encode("latin-1").decode("utf-8", "backslashreplace"),
    "Latin-1 in a URL": lambda s: quote(s, safe="", encoding="latin-1"),
    "UTF-8 read wrongly": lambda s: s.encode().decode("latin-1"),
    "UTF-16": lambda s: s.encode("utf-16-le").decode("utf-8", "backslashreplace"),
    "UTF-16, big end first": lambda s: s.encode("utf-16-be").decode("utf-8", "backslashreplace"),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64, URL-safe": lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
    "base64, URL-safe, unpadded": lambda s: base64.urlsafe_b64encode(s.encode()).decode().rstrip("="),
    "base64 in a URL": lambda s: quote(base64.b64encode(s.encode()).decode(), safe=""),
    "base64 of UTF-16": lambda s: base64.b64encode(s.encode("utf-16-le")).decode(),
    "base64 of Latin-1": lambda s: base64.b64encode(s.encode("latin-1")).decode(),
}


NOT_LATIN = "Пароль-№ 7"
FORMED = [(name, secret) for name in FORMS for secret in (SECRET, ASCII, "hunter2-hunter2", NOT_LATIN)]


@pytest.mark.parametrize(
    ("name", "secret"), [(name, secret) for name, secret in FORMED if secret != NOT_LATIN or "Latin-1" not in name]
)
def test_every_form_of_one_secret(name: str, secret: str) -> None:
    form = FORMS[name](secret)
    shown = Redactor([secret]).text(f"535 no: {form} !")
    left = shown.removeprefix("535 no: ").removesuffix(" !").strip("=\\x0\0A%3D")
    assert left == MASK, shown


@pytest.mark.parametrize("shift", range(3))
@pytest.mark.parametrize("alphabet", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_in_the_midst_of_other_octets(shift: int, alphabet: Callable[[bytes], bytes]) -> None:
    around = b"clientid:"[: 6 + shift]
    shown = Redactor(["s3cr3t!pass"]).text(f"Authorization: Basic {alphabet(around + b's3cr3t!pass' + b'@tail').decode()}")
    left = shown.removeprefix("Authorization: Basic ")
    before, _, behind = left.partition(MASK)
    # No character is left that holds even a bit of the secret.
    assert MASK in left and len(before) <= len(around) * 4 // 3 and len(behind) <= 9


@given(passwords, st.text(max_size=20))
def test_base64_at_every_alignment(secret: str, user: str) -> None:
    prefix = f"\0{user}\0".encode()
    blob = base64.b64encode(prefix + secret.encode()).decode()
    shown = Redactor([secret]).text(f"334 {blob}")
    assert MASK in shown
    left = shown.removeprefix("334 ").replace(MASK, "").rstrip("=")
    assert len(left) <= len(prefix) * 4 // 3


@given(passwords, st.integers(0, 60), st.integers(1, 50))
def test_nothing_of_a_secret_is_left_where_a_text_is_cut(secret: str, before: int, most: int) -> None:
    shown = Redactor([secret]).cut("." * before + secret + "." * 100, most)
    assert shown.replace(MASK, "").strip(".…") == "" or secret.strip(".") != secret


@pytest.mark.parametrize("name", ["as it is", "URL, every character", "JSON, every character", "base64", "HTML, decimal"])
def test_a_cut_through_any_form_leaves_none_of_it(name: str) -> None:
    form = FORMS[name]("hunter2-hunter2")
    redactor = Redactor(["hunter2-hunter2"])
    for most in range(1, len(form) + 8):
        shown = redactor.cut(f"535 no {form} " + "x " * 100, most)
        kept = shown.removesuffix("…").replace(MASK, "").replace("x ", "").replace("x", "")
        assert "535 no ".startswith(kept.strip() and kept), (most, shown)


@given(passwords)
def test_nested_data(secret: str) -> None:
    # A word of the protocols stays whole: hypothesis reads such words out of the sources.
    assume(secret not in WORDS)
    data = {"a": [secret, {"b": f"x{secret}y"}], f"KEY {secret}": 1, "n": 3}
    assert secret not in str(Redactor([secret]).data(data)) or secret in str({"a": [MASK, {"b": f"x{MASK}y"}], "n": 3, "KEY ": 1})


@pytest.mark.parametrize("secret", ["chain", "2026", "a", "not_after", "mechanism", "trusted", "PLAIN", "verified"])
def test_our_own_names_dates_and_numbers_stay(secret: str) -> None:
    facts = {
        "chain": [{"subject": "CN=mail", "not_after": "2026-12-01T00:00:00Z"}],
        "mechanism": "PLAIN", "attempts": 1, "trusted": True, "accepted_by": "verified", "year": 2026,
    }  # fmt: skip
    assert Redactor([secret]).data(facts) == facts


def test_what_a_server_names_is_masked() -> None:
    assert Redactor(["hunter2"]).data({"keywords": {"X-HUNTER2": ["hunter2"]}}) == {"keywords": {f"X-{MASK}": [MASK]}}


def test_ordinary_words_are_masked_only_in_what_was_heard() -> None:
    redactor = Redactor(["chain"])
    said = "log on, with the whole chain: refused: 535 chain"
    assert redactor.ours(said) == said
    assert redactor.ours(said, "535 chain") == f"log on, with the whole chain: refused: 535 {MASK}"
    assert redactor.ours("refused: chain", "") == f"refused: {MASK}"
    assert Redactor(["hunter2-hunter2"]).ours("no hunter2-hunter2") == f"no {MASK}"


def test_a_short_secret_is_masked_as_a_word_only() -> None:
    redactor = Redactor(["ab"])
    assert redactor.text("password ab, not about") == f"password {MASK}, not about"
    assert redactor.text("250-ENHANCEDSTATUSCODES AUTH=LOGIN") == "250-ENHANCEDSTATUSCODES AUTH=LOGIN"
    assert MASK in redactor.text(base64.b64encode(b"\0user\0ab").decode())


def test_without_secrets_nothing_changes() -> None:
    assert Redactor().text("as it is") == "as it is"
    assert Redactor([""]).text("as it is") == "as it is"


@pytest.mark.parametrize("unit", ["%41", "&amp;", "\\u0041", "=3D", "%2541", "QUJD", "\\x", "ä", "hunter2", "00"])
def test_the_work_is_bounded(unit: str) -> None:
    """However a text is made, it has so many readings, and their octets are a small multiple of its own."""
    from probe.redact.readings import readings

    text = (unit * 65_536)[:65_536]
    read = list(readings(text, spaced=True))
    assert sum(len(reading.octets) for reading in read) <= 60 * len(text)
    assert len(Redactor(["hunter2"]).cut(text, 2000)) <= 2000 * len(MASK)
