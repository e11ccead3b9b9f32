"""Messages of an IMAP4 mailbox by UID, each up to the limit that is looked at, whatever the server makes of parts of messages."""

from collections.abc import Callable, Iterable, Sequence

from probe.message import MESSAGE_OCTETS
from probe.observe.protocol import imap
from probe.observe.protocol.imap import Answer, Untagged
from probe.observe.protocol.imap_conversation import ImapTalk, Keep
from probe.observe.trouble import stop

# Of a message that is read in pieces: few round trips, and little memory.
PIECE_OCTETS = 524_288


async def fetch_whole(talk: ImapTalk, uids: Sequence[int], keep: Keep | None = None) -> Answer:
    """FETCH of these messages; where parts of messages are refused (RFC 3501 section 6.4.5), of those that are small.

    `keep` sees each as it arrives.
    """
    wanted = ",".join(map(str, uids))
    answer = await talk.command(f"UID FETCH {wanted} (UID BODY.PEEK[]<0.{MESSAGE_OCTETS}>)", keep=keep)
    if answer.ok:
        return answer
    sized = (await talk.command(f"UID FETCH {wanted} (UID RFC822.SIZE)")).of("FETCH")
    small = [uid for uid, octets in map(_uid_and_size, sized) if uid in uids and octets <= MESSAGE_OCTETS]
    return await talk.command(f"UID FETCH {','.join(map(str, small))} (UID BODY.PEEK[])", keep=keep) if small else answer


async def fetch_in_pieces(talk: ImapTalk, uid: int, take: Callable[[bytes], None], most: int) -> None:
    """A whole message, given to `take` piece by piece and kept nowhere; `most` octets of it. Raises Stopped."""
    start = 0
    while start < most:
        answer = await talk.command(f"UID FETCH {uid} (UID BODY.PEEK[]<{start}.{PIECE_OCTETS}>)")
        if not answer.ok:
            raise stop("imap.refused", f"FETCH of octets from {start} on: {answer.status} {answer.text}", answer.text)
        octets = merged(answer.of("FETCH")).get(uid, b"")
        if not octets:
            return
        take(octets)
        start += len(octets)


def wanted(judge: Callable[[bytes], bool]) -> Keep:
    """Keeps the FETCH responses whose message or header `judge` wants, and those without either: the other part may come apart."""
    return lambda item: (octets := uid_and_octets(item)[1]) is None or judge(octets)


def merged(items: Iterable[Untagged]) -> dict[int, bytes]:
    """Message or header octets by UID. A server may answer for one message in several responses, or twice (RFC 3501, 7.4.2)."""
    uids: dict[int | None, int] = {}
    texts: dict[int | None, bytes] = {}
    for item in items:
        uid, octets = uid_and_octets(item)
        if uid is not None:
            uids[item.number] = uid
        if octets is not None:
            texts.setdefault(item.number, octets)
    return {uid: texts[number] for number, uid in uids.items() if number in texts}


def hits(answer: Answer, most: int = 1000) -> list[int]:
    """The UIDs of a UID SEARCH, the newest `most`. Raises Stopped for an answer that cannot be read."""
    try:
        return imap.hits(answer, most)
    except imap.Malformed as error:
        raise stop("protocol.malformed", f"SEARCH: {error}", answer.text) from None


def _uid_and_size(item: Untagged) -> tuple[int | None, int]:
    attributes = _attributes(item)
    uid, octets = attributes.get("UID"), attributes.get("RFC822.SIZE")
    return uid if isinstance(uid, int) else None, octets if isinstance(octets, int) else 0


def uid_and_octets(item: Untagged) -> tuple[int | None, bytes | None]:
    """UID and message (or header) octets of a FETCH response. Raises Stopped for one that cannot be read."""
    attributes = _attributes(item)
    uid = attributes.get("UID")
    body = next((value for name, value in attributes.items() if name.startswith(_TEXTS) and name not in _NO_TEXTS), None)
    return uid if isinstance(uid, int) else None, imap.octets_of(body)


# As it was asked for (`BODY.PEEK[`, some servers), and as RFC 1730 had it.
_TEXTS = ("BODY[", "BODY.PEEK[", "RFC822")
_NO_TEXTS = ("RFC822.SIZE",)


def _attributes(item: Untagged) -> dict[str, object]:
    try:
        return imap.fetched(item)
    except imap.Malformed as error:
        raise stop("protocol.malformed", f"FETCH: {error}", item.text) from None
