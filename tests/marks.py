"""Marks of refused secrets are one octet each, so that one secret in 256 looks like another: what a test sets apart must differ."""

from probe.state.refusals import fingerprint


def unlike(key: bytes, secret: str, *words: str) -> str:
    """The first of these words whose mark by that key is another than the secret's."""
    return next(word for word in words if fingerprint(key, word) != fingerprint(key, secret))
