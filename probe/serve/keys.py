"""Basic authentication: who gives the right password. Hashes are bcrypt's, as in every exporter's web-config file."""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping

import bcrypt

# bcrypt takes 72 octets and refuses more.
_MOST_OCTETS = 72


class Keys:
    """Checks passwords, one at a time: bcrypt is slow on purpose, and nobody shall keep every core busy with wrong ones."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._salt = secrets.token_bytes(16)
        # A scrape comes every few seconds with the same words: what was right is known by its digest.
        self._right: set[bytes] = set()
        self._nobody = bcrypt.hashpw(secrets.token_bytes(16), bcrypt.gensalt(10))

    async def fit(self, users: Mapping[str, bytes], user: str, password: bytes) -> bool:
        """Whether this user has this password. `users`: name → bcrypt hash."""
        # An unknown user takes as long as a wrong password.
        mark = users.get(user, self._nobody)
        digest = hashlib.sha256(b"\0".join((self._salt, mark, password))).digest()
        if digest in self._right:
            return True
        if len(password) > _MOST_OCTETS:
            return False
        async with self._turn:
            fits = await asyncio.to_thread(bcrypt.checkpw, password, mark)
        if fits and user in users:
            if len(self._right) > 100:
                self._right.clear()
            self._right.add(digest)
            return True
        return False
