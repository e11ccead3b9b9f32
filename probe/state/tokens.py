"""The cache of a device-code sign-in: refresh tokens, in a file of ours alone, also where other state is in PostgreSQL."""

import hashlib
from pathlib import Path

from probe.state.files import foreign, own_folder, write_private

MOST_OCTETS = 1024 * 1024


class Tokens:
    """One file an application and authority, in the state directory."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def read(self, whose: str) -> str | None:
        """What was stored; None where there is nothing, or somebody else could have put it there or read it."""
        path = self.path(whose)
        try:
            if path.is_symlink() or not path.is_file() or foreign(path):
                return None
            with path.open("rb") as stream:
                return stream.read(MOST_OCTETS).decode("utf-8", "replace")
        except OSError:
            return None

    def write(self, whose: str, text: str) -> None:
        """Store it whole, 0600. Raises OSError: also where the folder is another user's."""
        own_folder(self._state)
        write_private(self.path(whose), text)

    def path(self, whose: str) -> Path:
        return self._state / f"oauth-{hashlib.sha256(whose.encode()).hexdigest()[:16]}.json"
