"""What a sweep is after: messages whose keyed proof this installation made, as far as they are claimed.

Another installation's messages, and anything whose proof does not hold, are counted and left alone.
"""

from collections.abc import Callable
from dataclasses import field
from datetime import datetime, timedelta

from probe.facts import Swept
from probe.facts.parts import Collected, Leftover
from probe.message import MARKER_PATTERN, Letter, Proof, Sent, prove, read, recognise
from probe.observe import find
from probe.observe.job import Claim, Job
from probe.observe.journal import Journal
from probe.plain import dataclass

MOST_QUOTED = 10
# Messages that are held in memory until what came back on them is read.
MOST_DELIVERED = 50
# Of all messages that a sweep reads.
MOST_OCTETS = 64 * 1024 * 1024


@dataclass(slots=True)
class Leftovers:
    """What a sweep saw: markers of ours by what became of them, and how many messages were not ours."""

    deleted: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    too_young: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    foreign: int = 0
    octets: int = 0
    # Messages over which our own code stumbled: whoever wrote them, ours behind them are still looked for.
    stumbled: int = 0
    # When set, every other message is left alone.
    only: str | None = None
    # The folders that were looked into.
    folders: list[str] = field(default_factory=list)
    # By marker, what became of it on its way. Only of what the outbox expects: an old message that somebody sends again is no
    # delivery.
    messages: dict[str, Collected] = field(default_factory=dict)
    # By marker, such a message itself, for what came back on it (evidence.py); the first few.
    delivered: dict[str, bytes] = field(default_factory=dict)
    # By marker, why a report says that the message will not come.
    returned: dict[str, str] = field(default_factory=dict)
    # Where there were more messages than were looked at: what was not seen may be there.
    in_part: bool = False
    # Each message that is claimed, copies too, as it was found.
    earlier: list[Leftover] = field(default_factory=list)

    @property
    def seen(self) -> set[str]:
        """Every marker of ours that was found."""
        return {*self.deleted, *self.kept, *self.too_young, *self.left, *self.messages}

    @property
    def delays(self) -> dict[str, float]:
        """By marker, seconds from the Date we gave the message to its last Received header: its true delay, however late we look;
        0 where the servers' clocks say nothing, or are behind ours."""
        return {marker: message["seconds"] or 0.0 for marker, message in self.messages.items()}

    def facts(self) -> Swept:
        """What a stage records of it."""
        return Swept(
            deleted=self.deleted,
            kept=self.kept,
            too_young=self.too_young,
            left=self.left,
            foreign=self.foreign,
            stumbled=self.stumbled,
            delays=self.delays,
            folders=self.folders,
            messages=list(self.messages.values()),
            returned=self.returned,
        )

    def note(self, folder: str, sent: Sent, proof: Proof, octets: bytes, link: str | None) -> None:
        """A message that was awaited is there; a second one is a copy."""
        if (first := self.messages.get(sent.marker)) is not None:
            first["copies"] += 1
            return
        if len(self.delivered) < MOST_DELIVERED:
            self.delivered[sent.marker] = octets
        self.messages[sent.marker] = Collected(
            marker=sent.marker, folder=folder, copies=1, seconds=_delay(sent, proof), proven_by=proof.proven_by, text=proof.text,
            enclosed=proof.enclosed, subject=proof.subject, message_id_changed=proof.message_id_changed,
            sender_rewritten=proof.sender_rewritten,
            link_rewritten=link,
            hops=find.way(proof),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hunt:
    """A sweep under way: on whose behalf, what is claimed of a message that is proven to be ours, and what was found."""

    job: Job
    journal: Journal
    claim: Callable[[Sent], Claim]
    found: Leftovers = field(default_factory=Leftovers)


def due(hunt: Hunt, octets: bytes, folder: str | None) -> str | None:
    """The marker of a message that is to be deleted; any other is counted. `folder`: None where it says nothing of the delivery."""
    found = hunt.found
    found.octets += len(octets)
    ours = _recognised(hunt, octets)
    if ours is None or found.only not in (None, ours[0].marker):
        found.foreign += 1
        return None
    sent, proof = ours
    claim = hunt.claim(sent)
    if claim != "ours":
        into = found.too_young if claim == "young" else found.left
        into += [marker for marker in (sent.marker,) if marker not in into]
        return None
    found.earlier.append(
        Leftover(
            marker=sent.marker, folder=folder, sent=sent.sent, seconds=_delay(sent, proof), run=None, ended=None, deleted=False
        )
    )
    if sent.marker in hunt.job.known and folder is not None:
        found.note(folder, sent, proof, octets, find.link_of(hunt.journal, proof))
    return sent.marker


def _recognised(hunt: Hunt, octets: bytes) -> tuple[Sent, Proof] | None:
    job = hunt.job
    try:
        letter = read(octets)
        ours = recognise(letter, key=job.prove_key, known=job.known)
        if ours is None:
            _note_report(hunt, letter, octets)
        return ours
    except Exception:
        hunt.found.stumbled += 1
        return None


def _note_report(hunt: Hunt, letter: Letter, octets: bytes) -> None:
    """A mail system may report that a message which is awaited will not come."""
    named = dict.fromkeys(MARKER_PATTERN.findall(octets.decode("latin-1")))
    for marker in [marker for marker in named if marker in hunt.job.known][:MOST_QUOTED]:
        report = prove(letter, key=hunt.job.prove_key, expected=hunt.job.known[marker]).bounce
        if report is not None and report.is_final:
            hunt.found.returned.setdefault(marker, find.reason(hunt.journal, report))


def _delay(sent: Sent, proof: Proof) -> float | None:
    """How long the message was on its way, by the servers' clocks; 0 where they are behind ours."""
    made, last = instant(sent.sent), instant(proof.hops[-1].at) if proof.hops else None
    return round(max(0.0, (last - made).total_seconds()), 3) if made and last else None


def is_older(sent: Sent, now: datetime, age: timedelta) -> bool:
    """By the instant that the proof signs; a message without one is not old."""
    made = instant(sent.sent)
    return made is not None and now - made >= age


def instant(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
    except ValueError:
        return None
