"""Whether a signature's domain belongs to the sender's: DMARC's alignment (RFC 7489 section 3.1, RFC 9989).

Relaxed alignment asks for the organisational domain. That needs a list of public suffixes, which grows old, or a walk through DNS;
where neither is needed the answer is certain, and elsewhere it is `unknown`.
"""

# What registries sell names below, by its usual words: enough not to take co.uk for an organisation.
_SECOND_LEVEL = {"ac", "co", "com", "edu", "gob", "gov", "gv", "mil", "ne", "net", "nom", "or", "org", "sch"}


def aligned(signer: str, author: str) -> str:
    """`strict` (the same), `relaxed` (one lies below the other), `no`, or `unknown` (below a domain that both share, which may be
    an organisation's or a registry's)."""
    if signer == author:
        return "strict"
    shared = _shared(signer, author)
    if len(shared) < 2 or _is_registry(shared):
        return "no"
    return "relaxed" if ".".join(shared) in (signer, author) else "unknown"


def same_house(name: str, other: str) -> bool:
    """Whether two host names likely belong to one organisation: the same, or below one domain that is no registry's."""
    shared = _shared(name.lower().rstrip("."), other.lower().rstrip("."))
    return bool(name) and (name.lower() == other.lower() or (len(shared) >= 2 and not _is_registry(shared)))


def _shared(name: str, other: str) -> list[str]:
    """The labels at the end that both have."""
    found: list[str] = []
    for ours, theirs in zip(reversed(name.split(".")), reversed(other.split(".")), strict=False):
        if ours != theirs:
            break
        found.insert(0, ours)
    return found


def _is_registry(labels: list[str]) -> bool:
    return len(labels) == 2 and len(labels[1]) == 2 and labels[0] in _SECOND_LEVEL
