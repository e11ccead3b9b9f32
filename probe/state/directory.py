"""The state directory, and the key in it by which this installation knows its own messages."""

import errno
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from probe.state.files import own_folder, write_private

# As much as an entry of the outbox: a full disk may still take an empty file.
_TRIAL = 300
# Where a user without a home directory keeps state: nothing can ever lie there, so that all of it "cannot be kept".
NOWHERE = Path(os.devnull) / "submission-probe"
# Where past runs are kept in the state directory, unless an option says otherwise.
HISTORY = "history.sqlite"
KEY_OCTETS = 32  # HMAC-SHA-256's own size: fewer weaken it, more add nothing (RFC 2104 section 3)


def state_directory(environ: Mapping[str, str] | None = None) -> Path:
    """Where state is kept: SUBMISSION_PROBE_STATE, or the user's state directory (XDG, %LOCALAPPDATA%; by platformdirs); NOWHERE
    for a user without a home directory (no HOME, and no entry in passwd either)."""
    environ = os.environ if environ is None else environ
    if environ.get("SUBMISSION_PROBE_STATE"):
        return Path(environ["SUBMISSION_PROBE_STATE"])
    from platformdirs import user_state_path

    try:
        return user_state_path("submission-probe", appauthor=False)
    except RuntimeError:  # platformdirs: no home directory
        return NOWHERE


def unusable(directory: Path) -> str | None:
    """Why nothing can be kept in the directory, as a file that is written there and removed shows; None when it can."""
    if directory == NOWHERE:
        return "no home directory is known for this user"
    try:
        own_folder(directory)
        trial = directory / f".trial-{secrets.token_hex(8)}"
        write_private(trial, "x" * _TRIAL)
        trial.unlink()
    except OSError as error:
        return f"{directory}: {error.strerror or error}"
    return None


def installation_key(directory: Path) -> tuple[bytes, str | None]:
    """The 32-octet key of this installation, made (mode 0600) when there is none, and a remark when it cannot be kept.

    Never raises: with a key that lives only as long as this run, the run still proves its own message; only a later
    `sweep` cannot know that it was ours.
    """
    path = directory / "key"
    try:
        own_folder(directory)
        key = _read(path)
        return (key, None) if key else (_make(path), None)
    except OSError as error:
        remark = f"the key in {path} cannot be kept ({error.strerror}): this run's message is known to this run only"
        return secrets.token_bytes(KEY_OCTETS), remark


def _read(path: Path) -> bytes | None:
    """The key, or None when there is none that is ours alone and whole."""
    try:
        # A pipe to which nobody writes would block the opening.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file; remove it")
        if os.name == "posix" and (status.st_mode & 0o077 or status.st_uid != os.geteuid()):
            raise PermissionError(1, "others can read it, or it is not ours; remove it")
        key = stream.read(KEY_OCTETS + 1)
    return key if len(key) == KEY_OCTETS else None


def _make(path: Path) -> bytes:
    """Write a new key beside and move it into place without overwriting one that another run made meanwhile."""
    fresh = path.with_name(f".key-{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(KEY_OCTETS))
        if path.exists():
            _keep_aside(path)
        # A link, not a rename: rename(2) would replace the key that another run made, link(2) fails with EEXIST.
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink(missing_ok=True)
    key = _read(path)
    if key is None:
        raise OSError(5, "it was not written whole")
    return key


def _keep_aside(path: Path) -> None:
    """A key file that is not whole is moved aside, not deleted: somebody may want to look at it."""
    if _read(path) is None:
        path.replace(path.with_name("key.damaged"))
