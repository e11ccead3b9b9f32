"""An offline cracker: given everything a run left behind, can somebody with a word list find the password?

Written apart from probe's own masking. It rebuilds every exchange it can from the texts: SCRAM (RFC 5802 section 3), CRAM-MD5 (RFC
2195), DIGEST-MD5 (RFC 2831), APOP (RFC 1939), and passwords as they are; then it tries the words.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_HEX = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_TIMESTAMP = re.compile(r"<[^<>\s]{1,200}@[^<>\s]{1,200}>")


def crack(texts: Iterable[str], username: str, words: Iterable[str]) -> str | None:
    """The password, when the texts allow guesses to be tested and one of the words is it."""
    said = [*_decoded("\n".join(texts))]
    words = list(words)
    for test in (_scram, _cram, _digest_md5, _plain):
        for word in words:
            if test(said, username, word):
                return word
    return None


def crack_state(state: Path, words: Iterable[str]) -> str | None:
    """The password, when the fingerprints of refused ones in a state directory (its key beside them) confirm one of the words.

    Confirmed is what would fit by chance once in 2**32 times: all the different fingerprints that a word gives count together.
    """
    key = (state / "key").read_bytes()
    kept = {json.loads(path.read_text())["fingerprint"].rpartition("-")[2] for path in state.glob("refused-*.json")}
    salt = hmac.digest(key, b"refused", "sha256")
    for word in words:
        digest = hmac.digest(key, b"refused\0" + word.encode(), "sha256").hex()
        stretched = hashlib.scrypt(word.encode(), salt=salt, n=2**14, r=8, p=1, dklen=64).hex()
        if sum(4 * len(mark) for mark in kept if mark and (digest.startswith(mark) or stretched.startswith(mark))) >= 32:
            return word
    return None


def _decoded(text: str) -> Iterator[str]:
    """The text, and whatever in it is base64 of something readable."""
    yield text
    for found in dict.fromkeys(_BASE64.findall(text)):
        padded = found.replace("-", "+").replace("_", "/").rstrip("=")
        try:
            yield base64.b64decode(padded + "=" * (-len(padded) % 4)).decode("latin-1")
        except (binascii.Error, ValueError):
            continue


def _scram(said: list[str], username: str, word: str) -> bool:
    whole = "\n".join(said)
    firsts = set(re.findall(r"r=([^,\s\"]+),s=([A-Za-z0-9+/]+=*),i=(\d+)", whole))
    signatures = set(re.findall(r"\bv=([A-Za-z0-9+/]{20,}=*)", whole))
    proofs = set(re.findall(r"\bp=([A-Za-z0-9+/]{20,}=*)", whole))
    for nonce, salt, iterations in firsts:
        for name in ("sha1", "sha256"):
            salted = hashlib.pbkdf2_hmac(name, word.encode(), base64.b64decode(salt), int(iterations))
            for bare in _client_firsts(whole, username, nonce):
                for channel in set(re.findall(r"\bc=([A-Za-z0-9+/]+=*)", whole)) | {"biws"}:
                    auth = f"{bare},r={nonce},s={salt},i={iterations},c={channel},r={nonce}".encode()
                    signature = hmac.digest(hmac.digest(salted, b"Server Key", name), auth, name)
                    if base64.b64encode(signature).decode() in signatures:
                        return True
                    key = hmac.digest(salted, b"Client Key", name)
                    theirs = hmac.digest(hashlib.new(name, key).digest(), auth, name)
                    if base64.b64encode(bytes(a ^ b for a, b in zip(key, theirs, strict=True))).decode() in proofs:
                        return True
    return False


def _client_firsts(whole: str, username: str, nonce: str) -> set[str]:
    """`n=user,r=…`: as it was said, or with each part of the server's nonce that may be the client's."""
    said = set(re.findall(r"(n=[^,\s\"]+,r=[^,\s\"]+)", whole))
    return said | {f"n={username},r={nonce[:length]}" for length in range(8, len(nonce))}


def _cram(said: list[str], _: str, word: str) -> bool:
    whole = "\n".join(said)
    stamps, digests = set(_TIMESTAMP.findall(whole)), set(_HEX.findall(whole))
    for stamp in stamps if digests else ():
        if hmac.new(word.encode(), stamp.encode(), "md5").hexdigest() in digests:
            return True
        if hashlib.md5(stamp.encode() + word.encode()).hexdigest() in digests:  # APOP
            return True
    return False


def _digest_md5(said: list[str], username: str, word: str) -> bool:
    whole = "\n".join(said)
    found = {
        name: set(re.findall(rf'\b{name}="?([^",\s]+)', whole))
        for name in ("nonce", "cnonce", "digest-uri", "realm", "response", "rspauth")
    }
    for realm in found["realm"] | {""}:
        for nonce in found["nonce"]:
            for cnonce in found["cnonce"]:
                for uri in found["digest-uri"]:
                    inner = hashlib.md5(f"{username}:{realm}:{word}".encode()).digest() + f":{nonce}:{cnonce}".encode()
                    for verb, wanted in (("AUTHENTICATE:", found["response"]), (":", found["rspauth"])):
                        a1, a2 = hashlib.md5(inner).hexdigest(), hashlib.md5((verb + uri).encode()).hexdigest()
                        if hashlib.md5(f"{a1}:{nonce}:00000001:{cnonce}:auth:{a2}".encode()).hexdigest() in wanted:
                            return True
    return False


def _plain(said: list[str], _: str, word: str) -> bool:
    return any(word in text for text in said)
