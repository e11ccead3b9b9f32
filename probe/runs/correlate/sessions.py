"""Their side: a log's entries → sessions, with the signs that one was ours. Those without any are forgotten, the oldest first."""

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice

from probe.runs.correlate.lines import Entry
from probe.runs.correlate.values import Ours, Session

MOST_ENTRIES = 20_000
MOST_A_SESSION = 500
# Exchange's logs are in UTC; a syslog line may be in any zone.
WINDOW = timedelta(minutes=30)
ZONES = timedelta(hours=15)

WEIGHTS = {"marker": 10, "queue id": 10, "endpoint": 8, "EHLO name": 3, "user": 3, "server endpoint": 1, "client address": 1}
CERTAIN = frozenset({"marker", "queue id", "endpoint"})
# Many sessions are of the same two machines: a session with no more than that is the first to be forgotten.
_TELLING_SIGNS = frozenset(WEIGHTS) - {"server endpoint", "client address"}
ENOUGH = 5


class Sessions:
    """The sessions seen so far, the newest last."""

    def __init__(self, ours: Sequence[Ours]) -> None:
        self._ours = ours
        self._all: OrderedDict[tuple[str, str], Session] = OrderedDict()
        self._kept = 0
        self.forgotten = 0

    def __iter__(self) -> Iterator[Session]:
        return iter(self._all.values())

    def add(self, entry: Entry) -> None:
        key = (entry.source, entry.session)
        session = self._all.setdefault(key, Session(entry.session, entry.source))
        self._all.move_to_end(key)
        if len(session.entries) >= MOST_A_SESSION:
            session.cut += 1
        else:
            session.entries.append(entry)
            self._kept += 1
        for leg in self._ours:
            signs = set(_signs(entry, leg))
            if "other port" in signs:
                session.other_port = True
            if signs := signs & set(WEIGHTS):
                session.signs.setdefault(leg.leg, set()).update(signs)
        while self._kept > MOST_ENTRIES and len(self._all) > 1:
            self._forget()

    def _forget(self) -> None:
        oldest = islice(self._all.items(), 50)
        worthless = next((key for key, session in oldest if not _tells(session)), None)
        gone = self._all.pop(worthless) if worthless else self._all.popitem(last=False)[1]
        self._kept -= len(gone.entries)
        self.forgotten += len(gone.entries)


def _tells(session: Session) -> bool:
    return any(signs & _TELLING_SIGNS for signs in session.signs.values())


def _signs(entry: Entry, ours: Ours) -> Iterator[str]:
    """What in this line speaks for (or against) its being of that leg."""
    if entry.protocol not in ("", ours.leg):
        return
    said = f"{entry.text} {entry.context} {entry.user}".casefold()
    if ours.leg == "smtp":
        if ours.marker and ours.marker.casefold() in said:
            yield "marker"
        if ours.queue_id and _has_word(said, ours.queue_id.casefold()):
            yield "queue id"
        if ours.ehlo and f"ehlo {ours.ehlo.casefold()}" in said:
            yield "EHLO name"
    if entry.protocol and ours.user and _has_word(said, ours.user.casefold()):
        yield "user"
    yield from _endpoints(entry, ours, said)


def _has_word(text: str, word: str) -> bool:
    return word in text and re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", text) is not None


def _endpoints(entry: Entry, ours: Ours, said: str) -> Iterator[str]:
    address, _, port = ours.local.rpartition(":")
    bare = address.strip("[]")
    if entry.local and entry.local == ours.remote:
        yield "server endpoint"
    if entry.remote:
        theirs, _, their_port = entry.remote.rpartition(":")
        if theirs.strip("[]") == bare:
            yield "client address"
            yield "endpoint" if their_port == port else "other port"
        return
    if bare not in said:
        return
    # Postfix names the port only with smtpd_client_port_logging; Dovecot says rport only where log_login_elements has it.
    named = re.search(rf"\[{re.escape(bare)}\](?::(\d+))?|rip={re.escape(bare)}(?=,)(?:.*\brport=(\d+))?", said)
    if named is not None and entry.protocol == ours.leg:
        yield "client address"
        their_port = named[1] or named[2]
        if their_port:
            yield "endpoint" if their_port == port else "other port"
