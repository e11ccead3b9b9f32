"""Is this our message, and what became of it on the way?

Ours is what carries a valid proof, by header field or in the text, with at least two of our own From, To, Subject and Message-ID
around it as they were sent. A gateway may rewrite some of them; a person who forwards our mail, or two of its header fields copied
onto other mail, has none. A report, an automatic answer or a forward is never ours, whatever it quotes.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from email.message import Message

from probe.message.bounce import Bounce, bounce, is_report
from probe.message.draft import (
    MARKER_HEADER,
    MARKER_PATTERN,
    PROOF_HEADER,
    SENT_HEADER,
    Sent,
    message_id_of,
    sign,
    subject_of,
    text_of,
)
from probe.message.link import Texts, without_link
from probe.message.parts import Letter, addresses, is_forwarded, read, value
from probe.message.received import Hop, hops
from probe.message.subject import is_prefixed, state_of_subject
from probe.plain import dataclass

_PROOF = re.compile(r"\bProof:\s+([0-9a-f]{64})\b")
_SENT = re.compile(r"\bSent:\s+(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")
_QUOTED = re.compile(r"(?m)^[ \t]*[>|].*$")
_FILTER = re.compile(
    r"x-(spam|amavis|virus|barracuda|quarantine|rspamd|bogosity|antispam|mailscanner|ironport|proofpoint)", re.IGNORECASE
)
# Fields such as X-Spam-Status stand on all mail of a server that scans; what they say decides.
_CAUGHT = re.compile(r"\s*(yes|true|spam|infected|virus|bad|alert)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Proof:
    """What reading a message showed.

    `what`: `ours`; `bounce` or `answer` (a mail system's report or answer about ours); `forged` (it carries our marker and claims
    our proof, and the proof is wrong); `mention` (anything else). `text`:
    `intact`, `rewrapped`, `added-to`, `html-only` or `changed`.
    `enclosed`: a filter wrapped it as an attachment. `subject`: `intact`, `tagged` or `replaced`.
    `sender_rewritten`: what stands in From or Return-Path instead of the sender. `link_rewritten`: what stands in the text in
    place of the link that was sent, whole; empty where the link is gone, None where it is as it was, or none was sent.
    """

    what: str
    proven_by: str | None
    text: str
    enclosed: bool
    subject: str
    message_id_changed: bool
    hops: tuple[Hop, ...]
    sender_rewritten: str | None = None
    link_rewritten: str | None = None
    bounce: Bounce | None = None

    @property
    def ours(self) -> bool:
        return self.what == "ours"

    @property
    def subject_changed(self) -> bool:
        return self.subject != "intact"


def carries_marker(raw: bytes, marker: str) -> bool:
    """Whether the marker stands anywhere in these octets, or in text that a gateway encoded."""
    if marker.encode() in raw:
        return True
    letter = read(raw)
    if marker in value(letter.header, "Subject"):
        return True
    return any(marker in part.text() for part in letter.parts if part.kind.startswith("text/"))


def may_quote(raw: bytes) -> bool:
    """Whether a header is that of a report or of a filter's wrapping: what such a message is about stands in its text only."""
    letter = read(raw)
    return is_report(letter, "") or _says_caught(letter.header)


def marker_claimed(letter: Letter) -> str | None:
    """The one marker that a message claims as its own, by header field, Subject or text; None where there is none."""
    headers = [letter.header, *(part.header for part in letter.enclosed())]
    for said in (*(value(header, MARKER_HEADER) for header in headers), *(value(header, "Subject") for header in headers)):
        if found := MARKER_PATTERN.search(said):
            return found[0]
    found = MARKER_PATTERN.search(_own_text(letter, 0))
    return found[0] if found else None


def prove(letter: Letter, *, key: bytes, expected: Sent) -> Proof:
    """Say whether this is our message of that marker, sender, recipient and instant, and what became of it. Never raises."""
    proof = sign(key, expected)
    header, inside, proven_by = _where_proven(letter, expected, proof)
    text, link = _state_of_text(letter, inside, expected, proof)
    what = _what(letter, header, inside, expected, proof, proven_by, text)
    return Proof(
        what=what,
        proven_by=proven_by if what == "ours" else None,
        text=text,
        enclosed=inside > 0,
        subject=state_of_subject(value(header, "Subject"), subject_of(expected.marker)),
        message_id_changed=value(header, "Message-ID") != message_id_of(expected.marker, expected.sender),
        hops=hops(letter.header),
        sender_rewritten=_rewritten(header, expected.sender),
        link_rewritten=None if link in (None, expected.link) else link,
        bounce=bounce(letter) if what == "bounce" else None,
    )


def recognise(letter: Letter, *, key: bytes, known: Mapping[str, Sent]) -> tuple[Sent, Proof] | None:
    """A message of this installation's, whichever run sent it; None for any other.

    `known`, by marker: what was sent and not yet seen to be gone. Of others, sender and recipient are read from the message.
    """
    marker = marker_claimed(letter)
    if marker is None:
        return None
    headers = [letter.header, *(part.header for part in letter.enclosed())][:2]
    sent = _claimed_instant(letter)
    pairs = [(sender, recipient) for each in headers for sender in addresses(each, "From") for recipient in addresses(each, "To")]
    tried = [known[marker]] if marker in known else []
    for expected in [*tried, *(Sent(marker, sender, recipient, sent, "") for sender, recipient in pairs[:4])]:
        found = prove(letter, key=key, expected=expected)
        if found.ours:
            return expected, found
    return None


def _claimed_instant(letter: Letter) -> str:
    """When it says it was sent; empty where it does not say."""
    for header in (letter.header, *(part.header for part in letter.enclosed())):
        if value(header, SENT_HEADER):
            return value(header, SENT_HEADER)[:40]
    found = _SENT.search(_own_text(letter, 0)) or _SENT.search(_own_text(letter, 1))
    return found[1] if found else ""


def _rewritten(header: Message, sender: str) -> str | None:
    """Canonical maps and SRS change From or the envelope sender, which the last server writes into Return-Path."""
    found = ((name, addresses(header, name)) for name in ("From", "Return-Path"))
    return next((f"{name}: {' '.join(sorted(given))}" for name, given in found if given and sender.lower() not in given), None)


def _where_proven(letter: Letter, expected: Sent, proof: str) -> tuple[Message, int, str | None]:
    """(our header, how deep it lies, what proves it): at the top, or in the one message that a filter enclosed. There first where
    the filter's own mail is marked as ours: it may keep all our fields and quote our text too (SpamAssassin's preview)."""
    places = [(letter.header, 0)]
    if (enclosed := next((part.header for part in letter.enclosed() if part.inside == 0), None)) is not None:
        own_id = message_id_of(expected.marker, expected.sender)
        first = _own_fields(letter.header, expected) >= 3 and _wrapped_by_a_filter(letter, enclosed, own_id)
        places.insert(0 if first else 1, (enclosed, 1))
    for header, inside in places:
        if proven_by := _proven_by(letter, header, inside, expected, proof):
            return header, inside, proven_by
    return letter.header, 0, None


def _what(letter: Letter, header: Message, inside: int, expected: Sent, proof: str, proven_by: str | None, text: str) -> str:
    if is_report(letter, expected.sender):
        return "bounce" if bounce(letter) else "answer"
    own_id = message_id_of(expected.marker, expected.sender)
    # An answer or a forward has a Message-ID of its own; some gateways add References to ours.
    answered = is_forwarded(letter.header) or is_prefixed(value(letter.header, "Subject"), subject_of(expected.marker))
    if answered and value(letter.header, "Message-ID") != own_id:
        return "mention"
    if inside and not _wrapped_by_a_filter(letter, header, own_id):
        return "mention"
    if proven_by == "text" and _stands_within(letter, header, inside, expected, proof):
        return "mention"
    if proven_by:
        return "ours" if _is_own_around(header, expected, text) else "mention"
    return "forged" if _claims_proof(letter, expected) else "mention"


def _is_own_around(header: Message, expected: Sent, text: str) -> bool:
    """Whether enough of our own fields stand around the proof. From and To alone are on any mail from the account to itself:
    without Subject and Message-ID the text has to be ours and nothing else."""
    own_id = message_id_of(expected.marker, expected.sender)
    marked = (
        state_of_subject(value(header, "Subject"), subject_of(expected.marker)) != "replaced"
        or value(header, "Message-ID") == own_id
    )
    return _own_fields(header, expected) >= 2 and (marked or text in ("intact", "rewrapped"))


def _stands_within(letter: Letter, header: Message, inside: int, expected: Sent, proof: str) -> bool:
    """Whether words stand in front of our text, in a mail with a Message-ID of its own: so looks an answer or forward whose mailer
    sets neither In-Reply-To nor a word in the Subject. A gateway that writes in front leaves our X- fields or our Message-ID."""
    if value(header, "Message-ID") == message_id_of(expected.marker, expected.sender):
        return False
    wanted = "".join(_text_of(expected, proof).split())
    return not any("".join(letter.texts(kind, inside).split()).startswith(wanted) for kind in ("text/plain", "text/html"))


def _claims_proof(letter: Letter, expected: Sent) -> bool:
    """Whether an unproven message says that it is ours, by our two fields, or as a whole where they were removed."""
    if value(letter.header, MARKER_HEADER) == expected.marker and value(letter.header, PROOF_HEADER):
        return True
    text = _own_text(letter, 0)
    return expected.marker in text and bool(_PROOF.search(text)) and _own_fields(letter.header, expected) >= 3


def _own_fields(header: Message, expected: Sent) -> int:
    """How many of From, To, Subject and Message-ID are as they were sent; a filter's tag in front of the Subject does not count."""
    return sum((
        expected.sender.lower() in addresses(header, "From"),
        expected.recipient.lower() in addresses(header, "To"),
        state_of_subject(value(header, "Subject"), subject_of(expected.marker)) != "replaced",
        value(header, "Message-ID") == message_id_of(expected.marker, expected.sender),
    ))  # fmt: skip


def _wrapped_by_a_filter(letter: Letter, enclosed: Message, own_id: str) -> bool:
    """Whether the message around ours stands in its place: a filter keeps its From and says that it found something, or keeps its
    Message-ID too. A person who forwards it, or a quarantine that reports it, writes a mail of their own."""
    outer = letter.header
    if not addresses(outer, "From") & addresses(enclosed, "From"):
        return False
    return _says_caught(outer) or value(outer, "Message-ID") == own_id


def _says_caught(header: Message) -> bool:
    return any(_FILTER.match(name) and _CAUGHT.match(str(said)) for name, said in header.raw_items())


def _proven_by(letter: Letter, header: Message, inside: int, expected: Sent, proof: str) -> str | None:
    if value(header, MARKER_HEADER) == expected.marker and _same(value(header, PROOF_HEADER), proof):
        return "header"
    text = _own_text(letter, inside)
    if expected.marker in text and any(_same(found, proof) for found in _PROOF.findall(text)[:10]):
        return "text"
    return None


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _own_text(letter: Letter, inside: int) -> str:
    """The text without quoted lines: the plain one, or the HTML where that is all there is."""
    plain = letter.texts("text/plain", inside)
    if not MARKER_PATTERN.search(plain):
        plain = letter.texts("text/html", inside) or plain
    return _QUOTED.sub("", plain)


def _text_of(expected: Sent, proof: str) -> str:
    """Our text without its last line, that of the link: of what became of it is said apart."""
    return text_of(replace(expected, link=""), proof)


def _state_of_text(letter: Letter, inside: int, expected: Sent, proof: str) -> tuple[str, str | None]:
    """What became of the text, and what it has as its link where one was sent."""
    texts = Texts(letter.texts("text/plain", inside), letter.texts("text/html", inside), None)
    if expected.link:
        texts = without_link(texts.plain, texts.html, proof)
    return _compared(texts.plain, texts.html, _text_of(expected, proof)), texts.link


def _compared(plain: str, html: str, sent: str) -> str:
    """Words are compared, not blanks: mailers break lines anew."""
    if _lines(plain) == _lines(sent):
        return "intact"
    wanted = sent.split()
    if plain.split() == wanted:
        return "rewrapped"
    if _within(wanted, plain.split()):
        return "added-to"
    # The blanks between tags are the markup's, so that glued words are no loss.
    glued = "".join(html.split())
    return "html-only" if "".join(wanted) in glued else "changed"


def _lines(text: str) -> list[str]:
    """Without what transport may rightly change: line ends, trailing white space."""
    return [line.rstrip() for line in text.replace("\r\n", "\n").strip().split("\n")]


def _within(wanted: list[str], words: list[str]) -> bool:
    first, length = wanted[0], len(wanted)
    starts = (index for index, word in enumerate(words) if word == first)
    return any(words[start : start + length] == wanted for start in starts)
