"""How far each server's clock is off, and both sides on one timeline, by our clock."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from probe.runs.correlate.lines import Entry
from probe.runs.correlate.values import Clock, Matched, Moment, Ours

# Seconds that a stamp of whole seconds may be older than its line: time(2) reads a clock that moves in ticks of up to 10 ms.
_TICK = 0.02


def clocks_of(matched: Sequence[Matched], ours: Mapping[str, Ours], started: datetime) -> Iterator[Clock]:
    """Bounds instead of guesses: the server logs a command after we sent it, and its reply before we have it."""
    for source in dict.fromkeys(item.session.source for item in matched):
        least, most = float("-inf"), float("inf")
        for item in (item for item in matched if item.session.source == source):
            for entry in item.session.entries:
                cause, effect = _between(entry, ours[item.leg])
                at = (entry.at - started).total_seconds()
                if cause is not None:
                    most = min(most, at + _step(entry) - cause)
                if effect is not None:
                    least = max(least, at - effect)
        if least > float("-inf") and most < float("inf"):
            yield Clock(source, (least + most) / 2, abs(most - least) / 2, least <= most)


def _step(entry: Entry) -> float:
    """How long after its stamp a line may have been written, in seconds."""
    return entry.resolution + (_TICK if entry.resolution >= 1 else 0)


_STAGE_OF = (("Login: ", "login"), (": client=", "submit"))
_LAST_WORDS = ("disconnect from", "Disconnected: Logged out")


def _between(entry: Entry, ours: Ours) -> tuple[float | None, float | None]:
    """When on our clock this line was written at the earliest and at the latest."""
    text = entry.text.strip().casefold()
    if entry.event == "<" and text:
        at = next((at for at, way, said in ours.lines if way == ">" and said.strip().casefold() == text), None)
        return at, next((later for later, way, _ in ours.lines if way == "<" and at is not None and later >= at), None)
    if entry.event == ">" and text:
        at = next((at for at, way, said in ours.lines if way == "<" and said.strip().casefold() == text), None)
        earlier = [before for before, way, _ in ours.lines if way == ">" and at is not None and before <= at]
        return max(earlier, default=None), at
    if entry.text.startswith("smtpd: connect from"):
        return ours.begin, ours.stages.get("greeting", (0.0, None))[1]
    for words, stage in _STAGE_OF:
        if words in entry.text and entry.protocol and stage in ours.stages:
            return ours.stages[stage]
    if any(words in entry.text for words in _LAST_WORDS):
        return max((at for at, way, _ in ours.lines if way == ">"), default=None), None
    if not entry.protocol and "submit" in ours.stages:
        # What became of the message: behind the server that took it.
        return ours.stages["submit"][0], None
    return None, None


def timeline(ours: Sequence[Ours], matched: Sequence[Matched], clocks: Sequence[Clock], started: datetime) -> Iterator[Moment]:
    ahead = {clock.source: clock.seconds for clock in clocks}
    moments = [Moment(at, "probe", leg.leg, way, text) for leg in ours for at, way, text in leg.lines]
    legs = {leg.leg: leg for leg in ours}
    sessions = {id(item.session): item for item in matched}
    for item in sessions.values():
        challenged, before = False, float("-inf")
        for entry in item.session.entries:
            earliest = (entry.at - started).total_seconds() - ahead.get(entry.source, 0.0)
            # Within the step of a coarse clock: not before what caused the line, nor before the line above it.
            cause = _between(entry, legs[item.leg])[0]
            before = at = min(max(earliest, before, earliest if cause is None else cause), earliest + _step(entry))
            said = _without_secret(entry, challenged)
            challenged = entry.event == ">" and entry.text.startswith("334")
            text = "  ".join(part for part in (said, f"[{entry.context}]" if entry.context else "") if part)
            moments.append(Moment(round(at, 6), "server", entry.source, entry.event, text))
    yield from sorted(moments, key=lambda moment: moment.at)


_SECRET = re.compile(r"(?i)^((?:\S+ )?(?:AUTH(?:ENTICATE)? \S+|PASS|LOGIN (?:\"[^\"]*\"|\S+))) \S.*")


def _without_secret(entry: Entry, challenged: bool) -> str:
    """A log may hold what a client sent to log on: the answer to a challenge, a password behind its command."""
    if entry.event != "<":
        return entry.text
    return "[hidden]" if challenged else _SECRET.sub(r"\1 [hidden]", entry.text)
