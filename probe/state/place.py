"""Where an installation's state is: one small interface, and the one of files, which is the default everywhere.

Runs that share a mailbox must share its state: the key that proves a message to be ours, the lease on a maildrop, the traces of
messages on their way, and which passwords were refused. state/postgres.py is the one for many machines.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from probe.report import Verdict
from probe.state import outbox, refusals, streaks
from probe.state.directory import HISTORY, installation_key, state_directory
from probe.state.lease import lease
from probe.state.streaks import Streak
from probe.state.tokens import Tokens


class Place(Protocol):
    """An installation's state. `put` raises OSError; nothing else does but what its own docstring says."""

    def key(self) -> tuple[bytes, str | None]:
        """The 32-octet key, and a remark when it cannot be kept."""
        ...

    def lease(self, mailbox: str, holder: str, until: float) -> AbstractAsyncContextManager[None]:
        """Hold the mailbox, waiting until the loop's instant `until`. Raises state.lease.Held."""
        ...

    def put(self, entry: outbox.Entry) -> None:
        """Remember a message that is about to leave. Raises OSError."""
        ...

    def remove(self, marker: str) -> None:
        """Forget a message that is gone. Never raises."""
        ...

    def entries(self) -> list[outbox.Entry]:
        """Messages on their way, oldest first."""
        ...

    def end(self, marker: str) -> None:
        """The run is over, its message not known to be gone: others may look for it. Never raises."""
        ...

    def mark_seen(self, marker: str, now: datetime) -> None:
        """The run has read its message, and is about to delete it. Never raises."""
        ...

    def past_run(self, profile: str, marker: str, sent: str) -> tuple[str, str | None] | None:
        """Of the profile's run that sent this message at that instant, as far as runs are kept here: its id, and how it ended
        (`read`, `missing`; None: it was to stay). Never raises."""
        ...

    def is_under_way(self, marker: str, now: datetime) -> bool:
        """Whether the run that sends this message may still look for it; True where that cannot be known. Never raises."""
        ...

    def give_up(self, entry: outbox.Entry) -> None:
        """The message is lost: it is on its way no more, and known for a while. Raises OSError."""
        ...

    def lost(self) -> list[outbox.Entry]:
        """Messages that were given up, oldest first."""
        ...

    def is_refused(self, whose: str, username: str) -> bool:
        """Whether a refusal is remembered: only then is a mark needed to ask more. Never raises."""
        ...

    def suspended_until(self, whose: str, username: str, mark: str) -> float | None:
        """Until when (Unix time) this refused secret is not to be tried; None when it may be."""
        ...

    def note_refused(self, whose: str, username: str, mark: str) -> None:
        """One more refusal. Raises OSError."""
        ...

    def forget_refused(self, whose: str, username: str, mark: str) -> None:
        """A logon with this secret succeeded. Raises OSError."""
        ...

    def is_unconfirmed(self, whose: str, username: str, mark: str) -> bool:
        """Whether this secret was good before, and refused once since. Never raises."""
        ...

    def accepted_at(self, whose: str, username: str) -> float | None:
        """When a secret was last noted as good (Unix time); None where none was. Never raises."""
        ...

    def note_accepted(self, whose: str, username: str, mark: str) -> None:
        """This secret is good. Raises OSError."""
        ...

    def count_run(self, probed: str, verdict: Verdict) -> Streak:
        """One run more of this thing that is probed: how many in a row were not well. Raises OSError."""
        ...

    def tokens(self) -> Tokens:
        """The cache of device-code sign-ins."""
        ...


class Files:
    """The state directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def key(self) -> tuple[bytes, str | None]:
        return installation_key(self._directory)

    def lease(self, mailbox: str, holder: str, until: float) -> AbstractAsyncContextManager[None]:
        return lease(self._directory, mailbox, holder, until)

    def put(self, entry: outbox.Entry) -> None:
        outbox.put(self._directory, entry)

    def remove(self, marker: str) -> None:
        outbox.remove(self._directory, marker)

    def entries(self) -> list[outbox.Entry]:
        return outbox.entries(self._directory)

    def end(self, marker: str) -> None:
        outbox.end(self._directory, marker)

    def mark_seen(self, marker: str, now: datetime) -> None:
        outbox.mark_seen(self._directory, marker, now)

    def past_run(self, profile: str, marker: str, sent: str) -> tuple[str, str | None] | None:
        from probe.state import history  # sqlite3: only where a message of an earlier run was found

        return history.run_of(self._directory / HISTORY, profile, marker, sent)

    def is_under_way(self, marker: str, now: datetime) -> bool:
        entry = outbox.entry_of(self._directory, marker)
        return entry is not None and entry.is_under_way(now)

    def give_up(self, entry: outbox.Entry) -> None:
        outbox.give_up(self._directory, entry)

    def lost(self) -> list[outbox.Entry]:
        return outbox.lost(self._directory)

    def is_refused(self, whose: str, username: str) -> bool:
        return refusals.is_noted(self._directory, whose, username)

    def suspended_until(self, whose: str, username: str, mark: str) -> float | None:
        return refusals.suspended_until(self._directory, whose, username, mark)

    def note_refused(self, whose: str, username: str, mark: str) -> None:
        refusals.note_refused(self._directory, whose, username, mark)

    def forget_refused(self, whose: str, username: str, mark: str) -> None:
        refusals.forget(self._directory, whose, username, mark)

    def is_unconfirmed(self, whose: str, username: str, mark: str) -> bool:
        return refusals.unconfirmed(self._directory, whose, username, mark)

    def accepted_at(self, whose: str, username: str) -> float | None:
        found = refusals.read_accepted(self._directory, whose, username)
        return found.at if found else None

    def note_accepted(self, whose: str, username: str, mark: str) -> None:
        refusals.note_accepted(self._directory, whose, username, mark)

    def count_run(self, probed: str, verdict: Verdict) -> Streak:
        return streaks.count(self._directory, probed, verdict)

    def tokens(self) -> Tokens:
        return Tokens(self._directory)


def files(environ: Mapping[str, str] | None = None) -> Files:
    """The files of this user's state directory."""
    return Files(state_directory(environ))
