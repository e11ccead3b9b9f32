"""Where a secret comes from, and fetching it. A profile never holds the secret itself.

No error text here holds the secret, the output of a command or the content of a file.
"""

import os
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, ModelWrapValidatorHandler, model_validator

from probe.profile.problem import Problem, ProfileError
from probe.profile.table import Table, contradiction
from probe.profile.values import Text, text

KINDS = ("env", "file", "command")
COMMAND_SECONDS = 10.0
MOST_BYTES = 65536
INLINE = (
    'a password may not stand in a profile; use { env = "NAME" }, { file = "PATH" } or { command = ["PROGRAM", "ARGUMENT"] }'
)


def _path(value: Any) -> Path:
    return value if isinstance(value, Path) else Path(text(value)).expanduser()


class SecretSource(Table):
    """Exactly one of: an environment variable, a file, a command run without a shell."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [kind]} for kind in KINDS]}, hide_input_in_errors=True)

    env: Text | None = None
    """Name of the environment variable."""
    file: Annotated[Path, BeforeValidator(_path)] | None = None
    """A file only its owner may read; relative to the profile it stands in."""
    command: tuple[Text, ...] | None = None
    """Program and arguments; the first line it prints is the secret. Stopped after 10 seconds."""

    @model_validator(mode="wrap")
    @classmethod
    def _one_source(cls, value: Any, handler: ModelWrapValidatorHandler["SecretSource"]) -> "SecretSource":
        if not isinstance(value, (Mapping, SecretSource)):
            raise contradiction("", INLINE)
        source = handler(value)
        given = [kind for kind in KINDS if getattr(source, kind) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise contradiction("", f"expected exactly one of {', '.join(KINDS)}, got {got}")
        if source.command == ():
            raise contradiction("command", "expected a program and its arguments, got an empty list")
        return source

    def __str__(self) -> str:
        """The source in words; of a command only the program, since arguments may be confidential."""
        if self.command:
            return f"command {self.command[0]}" + (" …" if len(self.command) > 1 else "")
        return f"env {self.env}" if self.env else f"file {self.file}"

    def __repr__(self) -> str:
        return f"SecretSource({self})"


def resolve_secret(
    source: SecretSource,
    base: Path | None,
    *,
    key: str = "account.password",
    environ: Mapping[str, str] | None = None,
) -> str:
    """Fetch the secret: the first line, without its line end.

    `base` is the folder of the profile (commands run there, relative files are looked up there). Blocks for up to
    10 seconds when the source is a command. Raises ProfileError, whose problem names `key` and the source only.
    """
    wrong, found = _fetch(source, base, os.environ if environ is None else environ)
    if not wrong:
        secret = found.partition("\n")[0].rstrip("\r")
        if secret and "\0" not in secret:
            return secret
        wrong = "is empty" if not secret else "holds a NUL character; save it as UTF-8"
    raise ProfileError(Problem(None, None, key, f"{source} {wrong}"))


def _fetch(source: SecretSource, base: Path | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """(what is wrong or "", raw text): values and not exceptions, so that no traceback carries the secret."""
    if source.env is not None:
        return ("", environ[source.env]) if source.env in environ else ("is not set in the environment", "")
    if source.file is not None:
        return _decoded(*_read(Path(base or ".", source.file)))
    return _decoded(*_run(source.command or (), base))


def _decoded(wrong: str, raw: bytes) -> tuple[str, str]:
    try:
        return wrong, raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "is not UTF-8 text", ""


def _read(path: Path) -> tuple[str, bytes]:
    try:
        status = path.stat()
        # A pipe or device could block the run for ever.
        if not stat.S_ISREG(status.st_mode):
            return "is not a regular file", b""
        if os.name == "posix" and status.st_mode & 0o077:
            return f"can be read by other users; run: chmod 600 {path}", b""
        with path.open("rb") as stream:
            return "", stream.read(MOST_BYTES)
    except OSError as error:
        return f"cannot be read: {error.strerror}", b""


def _run(command: tuple[str, ...], base: Path | None) -> tuple[str, bytes]:
    try:
        done = subprocess.run(  # noqa: S603  the profile's owner chose the program; there is no shell
            command, cwd=base, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {COMMAND_SECONDS:g} seconds", b""
    except OSError as error:
        return f"cannot be run: {error.strerror}", b""
    if done.returncode:
        return f"ended with status {done.returncode}", b""
    return "", done.stdout[:MOST_BYTES]
