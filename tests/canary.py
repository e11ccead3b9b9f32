"""Looks for a secret in every form it may leak in. Written apart from probe's own redaction, so that no blind spot is shared."""

import base64
import binascii
import html
import json
import urllib.parse
from collections.abc import Iterable

from probe.output import Context, formats, output
from probe.report import Report


def forms(secret: str, username: str) -> dict[str, str]:
    """Each form by its name. Of base64, the part that does not depend on what stands around the secret."""
    octets = secret.encode()
    found = {
        "as it is": secret,
        "URL": urllib.parse.quote(secret, safe=""),
        "HTML": html.escape(secret),
        "JSON": json.dumps(secret)[1:-1],
        "hex": binascii.hexlify(octets).decode(),
        "reversed": secret[::-1],
        "UTF-16 in base64": base64.b64encode(secret.encode("utf-16-le")).decode().rstrip("="),
        "URL-safe base64": base64.urlsafe_b64encode(octets).decode().rstrip("="),
        "PLAIN": base64.b64encode(f"\0{username}\0{secret}".encode()).decode(),
        "XOAUTH2": base64.b64encode(f"user={username}\x01auth=Bearer {secret}\x01\x01".encode()).decode(),
    }
    for shift in range(3):
        # Whole groups of three octets only: the same whatever comes before and behind.
        inner = octets[(3 - shift) % 3 :]
        inner = inner[: len(inner) // 3 * 3]
        found[f"base64 shifted by {shift}"] = base64.b64encode(inner).decode()
    return found


def leaks(texts: Iterable[str], secret: str, username: str) -> list[str]:
    """The names of the forms in which the secret stands in any of the texts."""
    everything = "\n".join(texts)
    folded = everything.lower()
    return [name for name, form in forms(secret, username).items() if form in everything or form.lower() in folded]


def told(report: Report) -> list[str]:
    """The report in every output there is, transcript included."""
    context = Context("2026-01-01T00:00:00.000000Z", 1.0, transcript=True)
    return [output(name).write([report], context) for name in formats()]
