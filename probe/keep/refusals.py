"""Secrets that were refused: what keeps a scheduled probe from locking an account.

No run tries a refused secret again until it changes or the back-off has passed: 30 minutes after the first refusal, doubled with
each further one, 12 hours at most. That is longer than the window in which directories commonly count failed logons (Active
Directory's default: 10 to 30 minutes). Somebody who looks on says `--try-again`. Where the state was lost, one try is made and
noted.
"""

import hashlib
import hmac
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from probe.keep.files import write_atomically

FIRST_SECONDS = 30 * 60.0
MOST_SECONDS = 12 * 3600.0
_MOST_OCTETS = 4096


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused logon: keyed fingerprint of the secret, how often in a row, when last (seconds since 1970)."""

    fingerprint: str
    times: int
    at: float

    @property
    def until(self) -> float:
        """When it may be tried again, seconds since 1970."""
        return self.at + min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(self.times - 1, 20))


def fingerprint(key: bytes, secret: str) -> str:
    """A mark of the secret that tells whether it changed, and from which it cannot be had without this installation's key."""
    return hmac.new(key, b"refused\0" + secret.encode("utf-8", "surrogateescape"), "sha256").hexdigest()


def suspended_until(directory: Path, host: str, username: str, mark: str) -> float | None:
    """Until when this secret is not to be tried; None when it may be. A file that cannot be read says nothing."""
    return still_suspended(_read(_path(directory, host, username)), mark)


def still_suspended(refusal: Refusal | None, mark: str) -> float | None:
    """Until when the refusal suspends the secret of this mark; None when it does not."""
    if refusal is None or refusal.fingerprint != mark:
        return None
    # A clock that was set back must not suspend for longer than the back-off itself.
    return refusal.until if refusal.at <= time.time() + 60 and time.time() < refusal.until else None


def once_more(before: Refusal | None, mark: str) -> Refusal:
    """The refusal after one more."""
    times = before.times + 1 if before is not None and before.fingerprint == mark else 1
    return Refusal(mark, times, time.time())


def note_refused(directory: Path, host: str, username: str, mark: str) -> None:
    """Remember one more refusal. Raises OSError when it cannot be written."""
    path = _path(directory, host, username)
    refusal = once_more(_read(path), mark)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, json.dumps(asdict(refusal)), mode=0o600)


def forget(directory: Path, host: str, username: str) -> None:
    """A logon succeeded."""
    _path(directory, host, username).unlink(missing_ok=True)


def _path(directory: Path, host: str, username: str) -> Path:
    # A name that any file system takes, and that tells a reader of the directory no user's name.
    name = hashlib.sha256(f"{host.lower()}\0{username.lower()}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return directory / f"refused-{name}.json"


def _read(path: Path) -> Refusal | None:
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.read(_MOST_OCTETS))
        return Refusal(str(found["fingerprint"]), int(found["times"]), float(found["at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
