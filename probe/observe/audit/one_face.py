"""Different certificates between ports, different certificates or EHLO between addresses."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from probe.observe import reach
from probe.observe.audit import Facts
from probe.observe.audit._scene import Scene
from probe.report import Kind

# The leaf that a place shows; empty where it shows none.
Face = tuple[bytes, ...]

FINDINGS = {
    "audit.faces-differ": Kind(
        "addresses or ports show different certificates or EHLO keywords",
        "A node was forgotten in a change, or a service still serves the old certificate.",
        ("Exchange: Get-ExchangeCertificate on each node; restart POP/IMAP services", "Postfix, Dovecot: reload both"),
    )
}
SEVERITY = "warning"
PROVES = "two doors of one service are not configured alike"
DOES_NOT_PROVE = "which of them is right"


async def observe(scene: Scene) -> Facts:
    faces = {leg: handshake.chain[:1] for leg, handshake in (await scene.handshakes()).items()}
    words: dict[str, Sequence[str]] = {}
    for address in (await reach.addresses(scene.job, scene.submission)).addresses:
        async with scene.smtp(tls=True, side=scene.at(address)) as conversation:
            handshake = conversation.connection.handshake
            faces[str(address)] = handshake.chain[:1] if handshake else ()
            words[str(address)] = sorted(conversation.words)
    said = "; ".join([*_by_thumbprint(faces), *_own_words(words)])
    alike = len(set(faces.values())) == 1 and len(set(map(tuple, words.values()))) <= 1
    more = {
        "leaves": {place: _sha256(face) for place, face in faces.items()},
        "thumbprints": {place: _thumbprint(face) for place, face in faces.items()},
        "keywords": {place: " ".join(shown) for place, shown in words.items()},
    }
    return Facts("pass" if alike else "fail", said, more)


def _by_thumbprint(faces: Mapping[str, Face]) -> Iterator[str]:
    """Each certificate once, with the places that show it."""
    for face in dict.fromkeys(faces.values()):
        places = ", ".join(place for place, shown in faces.items() if shown == face)
        yield f"SHA-1 {_thumbprint(face)}: {places}" if face else f"no certificate: {places}"


def _own_words(words: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for place, shown in words.items():
        if own := [word for word in shown if any(word not in others for others in words.values())]:
            yield (
                f"EHLO only at {place}: {' '.join(own)}" if len(words) < 3 else f"EHLO not everywhere, at {place}: {' '.join(own)}"
            )


def _sha256(face: Face) -> str:
    return hashlib.sha256(face[0]).hexdigest().upper() if face else ""


def _thumbprint(face: Face) -> str:
    """SHA-1, as everywhere else: it names a certificate here, and proves nothing."""
    return hashlib.sha1(face[0], usedforsecurity=False).hexdigest().upper() if face else ""
