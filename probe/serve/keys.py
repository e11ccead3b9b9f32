"""Basic authentication: who gives the right password. Hashes are bcrypt's, as in every exporter's web-config file."""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping
from weakref import WeakValueDictionary

import bcrypt

# bcrypt takes 72 octets and refuses more.
_MOST_OCTETS = 72


class Keys:
    """Checks passwords, one at a time: bcrypt is slow on purpose, and nobody shall keep every core busy with wrong ones.

    Each peer has one turn in the queue, so that one who gives many wrong passwords delays a right one of another by one check.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._peers: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._salt = secrets.token_bytes(16)
        # A scrape comes every few seconds with the same words: what was right is known by its digest.
        self._right: set[bytes] = set()

    async def fit(self, users: Mapping[str, bytes], user: str, password: bytes, peer: str = "") -> bool:
        """Whether this user has this password. `users`: name → bcrypt hash, not empty; `peer`: who asks."""
        mark = users.get(user) or self._anybody(users, user)
        digest = self._digest(user.encode(), mark, password)
        if digest in self._right:
            return True
        if len(password) > _MOST_OCTETS:
            return False
        lock = self._peers.setdefault(peer, asyncio.Lock())
        async with lock, self._turn:
            fits = await asyncio.to_thread(bcrypt.checkpw, password, mark)
        if fits and user in users:
            if len(self._right) > 100:
                self._right.clear()
            self._right.add(digest)
            return True
        return False

    def _anybody(self, users: Mapping[str, bytes], user: str) -> bytes:
        """For an unknown user, always the same known one's hash: its check takes as long, whatever costs the hashes have."""
        marks = sorted(users.values())
        return marks[int.from_bytes(self._digest(user.encode())[:8], "big") % len(marks)]

    def _digest(self, *parts: bytes) -> bytes:
        return hashlib.sha256(self._salt + b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()
