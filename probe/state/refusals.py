"""Secrets that were refused: what keeps a scheduled probe from locking an account.

No run tries a refused secret again until it changes or the back-off has passed: 30 minutes after the first refusal, doubled with
each further one, 12 hours at most. That is longer than the window in which directories commonly count failed logons (Active
Directory's default: 10 to 30 minutes; Microsoft, "Reset account lockout counter after"). Somebody who looks on says
`--try-again`. Where the state was lost, one try is made and noted.

A secret that was good before is tried once more after a minute: a directory that hiccups for seconds says 535 as well.

Each secret has its own refusal. Two profiles may share an account, and one of them have a stale password: the other's success says
nothing of it.
"""

import contextlib
import hashlib
import hmac
import json
import re
import time
from dataclasses import asdict, replace
from pathlib import Path

from probe.plain import dataclass
from probe.state.files import foreign, own_folder, write_private

CONFIRM_SECONDS = 60.0
FIRST_SECONDS = 30 * 60.0
MOST_SECONDS = 12 * 3600.0
# Of one account. Each fits one word in 256, which a password that was corrected must not be.
MOST_SECRETS = 4
_MOST_OCTETS = 4096
# RFC 7914 section 2: for interactive logins. 16 MiB, some 50 ms.
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}
# What earlier versions wrote: a whole HMAC, by which guesses could be tested. Suspends any secret, and is written over at once.
_WHOLE_DIGEST = re.compile(r"[0-9a-f]{64}")
ANY = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused logon: one octet of a hash of the secret (or ANY), how often in a row, when last (seconds since 1970).

    `times` is 0 for a secret that was good before, until a second logon has confirmed that it is refused.
    """

    fingerprint: str
    times: int
    at: float

    @property
    def until(self) -> float:
        """When it may be tried again, seconds since 1970."""
        if self.times == 0:
            return self.at + CONFIRM_SECONDS
        return self.at + min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(self.times - 1, 20))


# Of one account: the newest first, each of another secret.
Refusals = tuple[Refusal, ...]


def fingerprint(key: bytes, secret: str) -> str:
    """A mark of the secret that shows whether it changed, and confirms no guess: one octet of scrypt (RFC 7914).

    Whoever reads the state has the key too, so a whole hash, however slow, would single out a word list's right word.
    One octet fits one word in 256: a change goes unnoticed once in 256 times (until the back-off has passed), a guess stays a
    guess. The salt is the installation's, not the entry's: over SMTP, IMAP4 and POP3, and again next month, a secret gives the
    same octet, where salts of their own would add up to a whole hash.
    """
    salt = hmac.digest(key, b"refused", "sha256")
    octet = hashlib.scrypt(secret.encode("utf-8", "surrogateescape"), salt=salt, dklen=1, **_SCRYPT)
    return f"scrypt-{octet.hex()}"


def without_digests(refusals: Refusals) -> Refusals:
    """The same without entries of an earlier version, whose digest confirms guesses."""
    return tuple(replace(one, fingerprint=ANY) if _WHOLE_DIGEST.fullmatch(one.fingerprint) else one for one in refusals)


def is_noted(directory: Path, host: str, username: str) -> bool:
    """Whether a refusal of this account is remembered, so that a fingerprint is worth its 50 ms."""
    try:
        return _path(directory, host, username).exists()
    except OSError:
        return False


def suspended_until(directory: Path, host: str, username: str, mark: str) -> float | None:
    """Until when this secret is not to be tried; None when it may be. A file that cannot be read says nothing."""
    path = _path(directory, host, username)
    found = _read(path)
    refusals = without_digests(found)
    if refusals != found:
        with contextlib.suppress(OSError):
            _keep(path, tuple(one for one in refusals if one.fingerprint != ANY or still_suspended((one,), mark)))
    return still_suspended(refusals, mark)


def still_suspended(refusals: Refusals, mark: str) -> float | None:
    """Until when one of the refusals suspends the secret of this mark; None when none does."""
    now = time.time()
    # A clock that was set back must not suspend for longer than the back-off itself.
    held = [one.until for one in refusals if one.fingerprint in (mark, ANY) and one.at <= now + 60 and now < one.until]
    return max(held, default=None)


def is_unconfirmed(refusals: Refusals, mark: str) -> bool:
    """Whether one more logon with the secret of this mark, which was good before, says if the refusal was meant."""
    return any(one.times == 0 and one.fingerprint == mark for one in refusals)


def once_more(before: Refusals, mark: str, good: str | None = None) -> Refusals:
    """The refusals after one more, newest first; `good` is the mark of the last secret that was accepted there."""
    same = [one.times for one in before if one.fingerprint in (mark, ANY)]
    times = max(same) + 1 if same else 0 if mark == good else 1
    others = [one for one in before if one.fingerprint not in (mark, ANY)]
    return (Refusal(mark, times, time.time()), *others)[:MOST_SECRETS]


def without(before: Refusals, mark: str) -> Refusals:
    """The refusals after a success: those of other secrets stay until they are long over, so that theirs go on doubling."""
    now = time.time()
    return tuple(one for one in before if one.fingerprint not in (mark, ANY) and now < one.until + MOST_SECONDS)


def to_text(refusals: Refusals) -> str:
    """As JSON: the newest as earlier versions read it, and the others in it."""
    newest, *others = map(asdict, refusals)
    return json.dumps({**newest, "others": others} if others else newest)


def from_text(text: str | bytes) -> Refusals:
    """What `to_text` gave; none of anything else."""
    try:
        found = json.loads(text)
        listed = [found, *found.get("others", ())][:MOST_SECRETS]
        return tuple(Refusal(str(one["fingerprint"]), int(one["times"]), float(one["at"])) for one in listed)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The secret that was last accepted: one octet of its hash, and when that was noted (seconds since 1970)."""

    fingerprint: str
    at: float


def read_accepted(directory: Path, host: str, username: str) -> Accepted | None:
    """What `note_accepted` wrote; None where there is nothing that can be read."""
    found = _read(_path(directory, host, username, "accepted"))
    return Accepted(found[0].fingerprint, found[0].at) if found else None


def note_accepted(directory: Path, host: str, username: str, mark: str) -> None:
    """The secret of this mark was accepted. Raises OSError when that cannot be written."""
    own_folder(directory)
    _write(_path(directory, host, username, "accepted"), (Refusal(mark, 0, time.time()),))


def unconfirmed(directory: Path, host: str, username: str, mark: str) -> bool:
    """`is_unconfirmed` of what is stored."""
    return is_unconfirmed(_read(_path(directory, host, username)), mark)


def note_refused(directory: Path, host: str, username: str, mark: str) -> None:
    """Remember one more refusal. Raises OSError when it cannot be written."""
    path = _path(directory, host, username)
    own_folder(directory)
    good = read_accepted(directory, host, username)
    _write(path, once_more(_read(path), mark, good.fingerprint if good else None))


def forget(directory: Path, host: str, username: str, mark: str) -> None:
    """A logon with the secret of this mark succeeded. Raises OSError when that cannot be written."""
    path = _path(directory, host, username)
    before = _read(path)
    after = without(before, mark)
    if after != before or not after:
        _keep(path, after)


def _path(directory: Path, host: str, username: str, kind: str = "refused") -> Path:
    # A name that any file system takes, and that gives a reader of the directory no user's name.
    name = hashlib.sha256(f"{host.lower()}\0{username.lower()}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return directory / f"{kind}-{name}.json"


def _keep(path: Path, refusals: Refusals) -> None:
    _write(path, refusals) if refusals else path.unlink(missing_ok=True)


def _write(path: Path, refusals: Refusals) -> None:
    write_private(path, to_text(refusals))


def _read(path: Path) -> Refusals:
    try:
        if foreign(path):
            return ()
        with path.open("rb") as stream:
            return from_text(stream.read(_MOST_OCTETS))
    except OSError:
        return ()
