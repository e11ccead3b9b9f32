"""Different certificates between ports, different certificates or EHLO between addresses."""

import hashlib

from probe.observe import reach
from probe.observe.audit import Facts
from probe.observe.audit._scene import Scene
from probe.report import Kind

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
    leaves = {leg: _leaf(handshake.chain) for leg, handshake in (await scene.handshakes()).items()}
    words: dict[str, str] = {}
    for address in (await reach.addresses(scene.job, scene.submission)).addresses:
        async with scene.smtp(tls=True, side=scene.at(address)) as conversation:
            handshake = conversation.connection.handshake
            leaves[str(address)] = _leaf(handshake.chain) if handshake else ""
            words[str(address)] = " ".join(sorted(conversation.words))
    alike = len(set(leaves.values())) == 1 and len(set(words.values())) <= 1
    evidence = "; ".join(f"{place} {leaf[:16]}" for place, leaf in leaves.items())
    return Facts("pass" if alike else "fail", evidence, {"leaves": leaves, "keywords": words})


def _leaf(chain: tuple[bytes, ...]) -> str:
    return hashlib.sha256(chain[0]).hexdigest().upper() if chain else ""
