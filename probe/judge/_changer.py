"""Which hop most likely changed the message, and why one may think so; said only where something points at one."""

import re
from collections.abc import Sequence

from probe.facts.parts import HopSeen

_MOST_NAMES = 4
# At the beginning, or in the brackets that some put behind what was there.
_HOST = re.compile(r"(?:^|<)https?://([A-Za-z0-9.-]{1,253})(?::[0-9]{1,5})?(?=[/?#>]|$)", re.IGNORECASE)
# The hosts to which services send what they rewrote, by their vendors' pages.
_REWRITERS = {
    "safelinks.protection.outlook.com": "Safe Links of Microsoft Defender for Office 365",
    "urldefense.com": "URL Defense of Proofpoint",
    "urldefense.proofpoint.com": "URL Defense of Proofpoint",
    "mimecast.com": "URL Protect of Mimecast",
    "mimecastprotect.com": "URL Protect of Mimecast",
    "linkprotect.cudasvc.com": "Link Protection of Barracuda",
    "secure-web.cisco.com": "URL rewriting of Cisco Secure Email",
}


def changer(hops: Sequence[HopSeen]) -> str:
    """Such as `likely mx1.contoso.com: it takes the message back from a filter on its own machine`; empty without any hop."""
    names = list(dict.fromkeys(hop["by"] for hop in hops if hop["by"]))
    if not names:
        return ""
    if len(names) == 1:
        return f"likely {names[0]}: no other server had the message"
    # A filter that gives the message back writes no field of its own always, but the server behind it takes it from loopback.
    filtered = [hop["by"] for hop in hops[1:] if hop["by"] and hop.get("transport") == "local" and _is_smtp(hop)]
    if filtered:
        return f"likely {filtered[0]}: it takes the message back from a filter on its own machine"
    more = ", …" if len(names) > _MOST_NAMES else ""
    return f"by one of {', '.join(names[:_MOST_NAMES])}{more}: nothing in the message says which"


def _is_smtp(hop: HopSeen) -> bool:
    return hop.get("protocol", "").upper().startswith(("SMTP", "ESMTP", "UTF8SMTP"))


def rewriter(rewritten: str, hops: Sequence[HopSeen]) -> str:
    """Who put another sender there: the hop of that address's own domain, as SRS and masquerading do it."""
    domain = rewritten.rpartition("@")[2].lower()
    for hop in hops:
        name = hop["by"].lower()
        if domain and (name == domain or name.endswith(f".{domain}") or domain.endswith(f".{name}")):
            how = "SRS, " if "srs" in rewritten.partition("@")[0].lower() else ""
            return f"likely {hop['by']}: {how}the address is of its domain"
    return changer(hops)


def link_rewriter(written: str, hops: Sequence[HopSeen]) -> str:
    """Whose service an address leads to that stands in place of ours, else the hop that most likely put it there."""
    hosts = [f".{host.lower()}" for host in _HOST.findall(written)]
    service = next((name for domain, name in _REWRITERS.items() if any(host.endswith(f".{domain}") for host in hosts)), "")
    return f"likely {service}" if service else changer(hops)
