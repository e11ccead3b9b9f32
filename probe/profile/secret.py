"""Where a secret comes from, and fetching it. A profile never holds the secret itself.

No error text here holds the secret, the output of a command or the content of a file.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import probe.profile.textfile as textfile
from probe.profile.bounded import MOST_BYTES, TooMuch, hide_from_commands, printed, within
from probe.profile.private import read
from probe.profile.problem import Problem, ProfileError
from probe.profile.table import Table, contradiction
from probe.profile.values import AnyFile, Text

KINDS = ("env", "file", "command", "keyring", "credential", "prompt")
COMMAND_SECONDS = 10.0
INLINE = 'a password may not stand in a profile; use { env = "NAME" }, { file = "PATH" } or { command = ["PROGRAM", "ARGUMENT"] }'


class SecretSource(Table):
    """Exactly one of: an environment variable, a file, a command run without a shell, the desktop's or system's keyring,
    a systemd credential, a question on the terminal."""

    kinds: ClassVar[tuple[str, ...]] = KINDS

    env: Text | None = None
    """Name of the environment variable."""
    file: AnyFile | None = None
    """A file only its owner may read (or root's, which our group may read too); relative to the profile it stands in."""
    readable_by_others: bool = False
    """Take `file` even when others can read it, or own it."""
    command: tuple[Text, ...] | None = None
    """Program and arguments; the first line it prints is the secret. Killed after 10 seconds, or at the run's deadline."""
    keyring: Text | None = None
    """Service name in the keyring (extra `keyring`); the entry is the account's user name."""
    credential: Text | None = None
    """Name of a systemd credential (LoadCredential=, SetCredentialEncrypted=) of the unit we run in."""
    prompt: bool | None = None
    """true: ask on the terminal. Without one this is an error."""

    @classmethod
    def whole(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            raise contradiction("", INLINE)
        return given

    def agree(self) -> None:
        given = [kind for kind in self.kinds if getattr(self, kind) not in (None, False)]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise contradiction("", f"expected exactly one of {', '.join(self.kinds)}, got {got}")
        if self.readable_by_others and self.file is None:
            raise contradiction("readable_by_others", "goes with file only")
        if self.command == ():
            raise contradiction("command", "expected a program and its arguments, got an empty list")
        if self.env:
            hide_from_commands(self.env)

    def __str__(self) -> str:
        """The source in words; of a command only the program, since arguments may be confidential."""
        if self.command:
            return f"command {self.command[0]}" + (" …" if len(self.command) > 1 else "")
        if self.prompt:
            return "prompt"
        name = next(kind for kind in ("env", "file", "keyring", "credential") if getattr(self, kind) is not None)
        return f"{name} {getattr(self, name)}"

    @property
    def is_slow(self) -> bool:
        """Whether fetching it may take long enough to be kept off the event loop."""
        return self.command is not None or self.keyring is not None or bool(self.prompt)

    @property
    def asks(self) -> bool:
        """Whether somebody at the terminal may be asked."""
        return bool(self.prompt)

    def __repr__(self) -> str:
        return f"SecretSource({self})"


def resolve_secret(
    source: SecretSource,
    base: Path | None,
    *,
    key: str = "account.password",
    username: str | None = None,
    environ: Mapping[str, str] | None = None,
    seconds: float = COMMAND_SECONDS,
) -> str:
    """Fetch the secret: the first line, without its line end.

    `base` is the folder of the profile (commands run there, relative files are looked up there); `username` is the
    keyring's entry. A command or a keyring is waited for `seconds`, 10 at most; somebody who types into a prompt, for as long as
    it takes. Raises ProfileError, whose problem names `key` and the source only.
    """
    wrong, found = _fetch(source, base, username or "", os.environ if environ is None else environ, min(seconds, COMMAND_SECONDS))
    if not wrong:
        secret = found.partition("\n")[0].rstrip("\r")
        if secret and "\0" not in secret:
            return secret
        wrong = "is empty" if not secret else "holds a NUL character; save it as UTF-8"
    raise ProfileError(Problem(None, None, key, f"{source} {wrong}"))


def _fetch(source: SecretSource, base: Path | None, username: str, environ: Mapping[str, str], seconds: float) -> tuple[str, str]:
    """(what is wrong or "", raw text): values and not exceptions, so that no traceback carries the secret."""
    if source.env is not None:
        return ("", environ[source.env]) if source.env in environ else ("is not set in the environment", "")
    if source.file is not None:
        return _decoded(*read(Path(base or ".", source.file), private=not source.readable_by_others))
    if source.command is not None:
        wrong, shown = _decoded(*_run(source.command, base, seconds))
        return wrong.replace(textfile.NOT_TEXT, "prints no UTF-8 text (in cmd.exe: chcp 65001 before it)"), shown
    if source.keyring is not None:
        return _from_keyring(source.keyring, username, seconds)
    if source.credential is not None:
        return _from_systemd(source.credential, environ)
    return _asked(username)


def _decoded(wrong: str, raw: bytes) -> tuple[str, str]:
    try:
        return wrong, textfile.decoded(raw)
    except textfile.NotText as error:
        return str(error), ""


def _run(command: tuple[str, ...], base: Path | None, seconds: float) -> tuple[str, bytes]:
    try:
        status, octets = printed(command, base, seconds)
    except TimeoutError:
        return f"did not end within {seconds:g} seconds", b""
    except TooMuch:
        return f"prints more than {MOST_BYTES} octets; its first line is to be the secret, and all of it", b""
    except OSError as error:
        return f"cannot be run: {error.strerror}{_of_the_shell(command[0])}", b""
    return (f"ended with status {status}", b"") if status else ("", octets)


# Commands that are no programs but cmd.exe's own: https://learn.microsoft.com/windows-server/administration/windows-commands
_SHELLS_OWN = ("type", "echo", "set", "more", "dir", "call")


def _of_the_shell(program: str) -> str:
    return f'; it is the shell\'s own: ["cmd", "/c", "{program} …"]' if program.lower() in _SHELLS_OWN else ""


def _from_keyring(service: str, username: str, seconds: float) -> tuple[str, str]:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return "needs the extra: pip install 'submission-probe[keyring]'", ""
    try:
        secret = within(seconds, lambda: keyring.get_password(service, username))
    except TimeoutError:
        return f"did not answer within {seconds:g} seconds; is it locked?", ""
    except KeyringError as error:
        return f"cannot be asked: {type(error).__name__}; is a keyring set up for this user (keyring diagnose)?", ""
    if secret is None:
        return f"has no entry for {username}; run: keyring set {service} {username}", ""
    return "", secret


def _from_systemd(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """systemd.exec(5): credentials are files in a folder only this unit may read."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return f"is not there: not run by systemd with LoadCredential={name}:FILE", ""
    if "/" in name or name in (".", ".."):
        return "is no credential's name", ""
    # systemd gives mode 0440 with ACLs in some versions: who may read the folder is its business.
    return _decoded(*read(Path(folder, name), private=False))


def _asked(username: str) -> tuple[str, str]:
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
        return "needs a terminal; from cron or a service use file or credential", ""
    from getpass import getpass

    try:
        return "", getpass(f"Password of {username}: ", stream=sys.stderr)
    except (EOFError, KeyboardInterrupt):
        return "was not answered", ""
