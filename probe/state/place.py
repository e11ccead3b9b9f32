"""Where an installation's state is: one small interface, and the one of files, which is the default everywhere.

Runs that share a mailbox must share its state: the key that proves a message to be ours, the lease on a maildrop, the traces of
messages on their way, and which passwords were refused. state/postgres.py is the one for many machines.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from probe.state import outbox, refusals
from probe.state.directory import installation_key, state_directory
from probe.state.lease import lease
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

    def is_refused(self, whose: str, username: str) -> bool:
        """Whether a refusal is remembered: only then is a mark needed to ask more. Never raises."""
        ...

    def suspended_until(self, whose: str, username: str, mark: str) -> float | None:
        """Until when (Unix time) this refused secret is not to be tried; None when it may be."""
        ...

    def note_refused(self, whose: str, username: str, mark: str) -> None:
        """One more refusal. Raises OSError."""
        ...

    def forget_refused(self, whose: str, username: str) -> None:
        """A logon succeeded. Raises OSError."""
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

    def is_refused(self, whose: str, username: str) -> bool:
        return refusals.is_noted(self._directory, whose, username)

    def suspended_until(self, whose: str, username: str, mark: str) -> float | None:
        return refusals.suspended_until(self._directory, whose, username, mark)

    def note_refused(self, whose: str, username: str, mark: str) -> None:
        refusals.note_refused(self._directory, whose, username, mark)

    def forget_refused(self, whose: str, username: str) -> None:
        refusals.forget(self._directory, whose, username)

    def is_unconfirmed(self, whose: str, username: str, mark: str) -> bool:
        return refusals.unconfirmed(self._directory, whose, username, mark)

    def accepted_at(self, whose: str, username: str) -> float | None:
        found = refusals.read_accepted(self._directory, whose, username)
        return found.at if found else None

    def note_accepted(self, whose: str, username: str, mark: str) -> None:
        refusals.note_accepted(self._directory, whose, username, mark)

    def tokens(self) -> Tokens:
        return Tokens(self._directory)


def files(environ: Mapping[str, str] | None = None) -> Files:
    """The files of this user's state directory."""
    return Files(state_directory(environ))
