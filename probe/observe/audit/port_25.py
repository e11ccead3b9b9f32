"""Port 25 as a submission port for old clients: do 25 and 587 answer as one connector?

Microsoft's page on authenticated SMTP allows port 25 beside 587 and warns of the bindings that connectors share: which of
them answers is then decided by the client's address.
"""

from dataclasses import replace

from probe.observe.audit import Facts
from probe.observe.audit._scene import Scene
from probe.observe.trouble import Stopped
from probe.report import Kind

FINDINGS = {
    "audit.port-25-differs": Kind(
        "ports 25 and 587 answer as different connectors",
        "Port 25 is likely answered by the Default Frontend connector, which is for servers: old clients that submit there get "
        "other mechanisms, or none.",
        (
            "Exchange: Get-ReceiveConnector | fl Identity,Bindings,RemoteIPRanges,AuthMechanism,PermissionGroups,Fqdn",
            "Move such clients to 587, or give the Client Frontend connector a binding of its own on 25 with their RemoteIPRanges",
            "Postfix: compare the entries smtp and submission in master.cf",
        ),
    )
}
SEVERITY = "warning"
PROVES = "EHLO keywords after TLS are not the same on both ports"
DOES_NOT_PROVE = "that anybody submits on port 25"
# The other port of the pair.
PAIR = {25: 587, 587: 25}


async def observe(scene: Scene) -> Facts:
    other = PAIR.get(scene.submission.port)
    if other is None:
        return Facts("not-applicable", f"the profile's port is {scene.submission.port}, neither 25 nor 587")
    here = await _shown(scene, scene.submission.port)
    try:
        there = await _shown(scene, other)
    except Stopped as error:
        if error.trouble.id.startswith("connect."):
            return Facts("pass", f"port {other} does not answer from here: {error.trouble.text}")
        return Facts("fail", f"port {other}: {error.trouble.text}")
    alike = here == there
    gone, new = (" ".join(word for word in one if word not in another) for one, another in ((here, there), (there, here)))
    evidence = "the same keywords" if alike else f"only on {scene.submission.port}: {gone}; only on {other}: {new}"
    return Facts("pass" if alike else "fail", evidence)


async def _shown(scene: Scene, port: int) -> list[str]:
    """What EHLO offers after TLS."""
    side = replace(scene.submission, port=port, connect=tuple(_elsewhere(entry, port) for entry in scene.submission.connect))
    async with scene.smtp(tls=True, side=side) as conversation:
        return sorted(" ".join([word, *values]) for word, values in conversation.words.items())


def _elsewhere(entry: str, port: int) -> str:
    """A `connect` entry with another port."""
    host = entry.rpartition(":")[0] if entry.count(":") == 1 or "]:" in entry else entry
    return f"{host}:{port}"
