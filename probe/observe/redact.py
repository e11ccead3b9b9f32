"""Take secrets out of text: by value, and in every encoding they may come back in.

What we send is masked where it is sent; this is for what comes back: servers echo passwords in error texts.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

MASK = "[secret]"
# A shorter value is masked only where it stands as a word of its own: masking each "a" would leave no report.
SHORT = 4


class Redactor:
    """Replaces secrets in text and in nested plain data. Holds the only copies that the observing side keeps."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # Longest first, so that no part of a form is taken for the whole. Plain replacement: building one pattern of all
        # forms anew with each secret was a tenth of a run's CPU.
        self._forms: list[str] = []
        self._short: list[re.Pattern[str]] = []
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Mask this secret, in all its encodings, from now on."""
        fresh = _forms(secret) - set(self._forms)
        self._short += [re.compile(_bounded(form)) for form in fresh if len(form) < SHORT]
        self._forms = sorted({*self._forms, *(form for form in fresh if len(form) >= SHORT)}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text with every secret replaced by MASK."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        for pattern in self._short:
            text = pattern.sub(MASK, text)
        return text

    def data(self, value: Any) -> Any:
        """Plain data (dict, list, tuple, str) with every string in it, keys included, redacted."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, Mapping):
            return {self.data(key): self.data(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return value


def _bounded(form: str) -> str:
    return rf"(?<![A-Za-z0-9]){re.escape(form)}(?![A-Za-z0-9])"


def _forms(secret: str) -> set[str]:
    if not secret:
        return set()
    octets = secret.encode("utf-8", "surrogateescape")
    forms = {secret, quote(secret, safe=""), octets.hex(), octets.hex().upper(), repr(secret)[1:-1]}
    forms.add(secret.replace("\\", "\\\\").replace('"', '\\"'))
    forms |= _base64_forms(octets) | _base64_forms(secret.encode("utf-16-le", "surrogateescape"))
    return {form for form in forms if form}


def _base64_forms(octets: bytes) -> set[str]:
    """The parts of base64 text that depend on these octets alone, at each of the three alignments, and the whole.

    Inside a longer text (`\\0user\\0password`) the octets may begin at any of three positions of a base64 group.
    """
    forms = {base64.b64encode(octets).decode()}
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + octets).decode().rstrip("=")
        start = -(-shift * 8 // 6)
        whole = (shift + len(octets)) * 8 // 6
        inner = encoded[start:whole]
        if len(inner) >= SHORT + 2:
            forms.add(inner)
    return forms
