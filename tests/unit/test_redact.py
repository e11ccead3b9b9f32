"""No encoding of a secret survives the redactor."""

import base64
import string
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from probe.observe.redact import MASK, Redactor

SECRET = "c0rrect horse+batt/ery=stäple"
passwords = st.text(st.sampled_from(string.printable.strip() + "äß€ "), min_size=6, max_size=40)


def test_every_form_of_one_secret() -> None:
    redactor = Redactor([SECRET])
    octets = SECRET.encode()
    forms = [
        SECRET,
        quote(SECRET, safe=""),
        octets.hex(),
        base64.b64encode(octets).decode(),
        base64.b64encode(SECRET.encode("utf-16-le")).decode(),
    ]
    for form in forms:
        assert redactor.text(f"535 no: {form}!") == f"535 no: {MASK}!"


@given(passwords, st.text(max_size=20))
def test_base64_at_every_alignment(secret: str, user: str) -> None:
    prefix = f"\0{user}\0".encode()
    blob = base64.b64encode(prefix + secret.encode()).decode()
    shown = Redactor([secret]).text(f"334 {blob}")
    assert MASK in shown
    # What is left encodes the octets before the secret, and at each edge the few that share a base64 group with it.
    left = shown.removeprefix("334 ").replace(MASK, "")
    assert len(left) <= -(-len(prefix) * 4 // 3) + 8


@given(passwords)
def test_nested_data(secret: str) -> None:
    data = {"a": [secret, {"b": f"x{secret}y"}], secret: 1, "n": 3}
    assert secret not in str(Redactor([secret]).data(data)) or secret in str({"a": [MASK, {"b": f"x{MASK}y"}], "n": 3})


def test_a_short_secret_is_masked_as_a_word_only() -> None:
    redactor = Redactor(["ab"])
    assert redactor.text("password ab, not about") == f"password {MASK}, not about"


def test_without_secrets_nothing_changes() -> None:
    assert Redactor().text("as it is") == "as it is"
    assert Redactor([""]).text("as it is") == "as it is"
