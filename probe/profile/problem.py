"""What is wrong with a profile, said to the person who wrote it."""

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import NamedTuple

from probe.plain import dataclass

KeyPath = tuple[str | int, ...]
SECRETS = ("password", "token", "proxy_password")


class Fault(NamedTuple):
    """One mistake, before its place is known: the key's path and the text. `missing`: the key is absent. `unknown`: there is no
    such key, and the text is still to be found. `about`: the keys the verdict rests on; empty when it rests on the key's own
    value alone. `meant`: the key that an unknown one was probably meant to be."""

    path: KeyPath
    text: str
    missing: bool = False
    unknown: bool = False
    about: tuple[KeyPath, ...] = ()
    meant: KeyPath | None = None


@dataclass(frozen=True)
class Problem:
    """One mistake in a profile.

    `file` and `line` (from 1) say where the key stands; both are None when it came from the command line or the
    environment, and `key` is then the option or variable. `column` is known for TOML syntax errors only.
    `text` never holds a secret.
    """

    file: str | None
    line: int | None
    key: str
    text: str
    column: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return ": ".join(part for part in (place, self.key, self.text) if part)


class ProfileError(Exception):
    """The user's mistake, with every problem found; raised before the first packet, exit status 3."""

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SecretOver(ProfileError):
    """No mistake in the profile: what we identify ourselves with at a token endpoint has ended, and the endpoint says so. A run
    goes on without the token, and its logon fails for that reason."""


@dataclass(frozen=True)
class Doubts:
    """What a profile may say, and a run cannot begin with. `late`: a delivery may take longer than the run. `placeholders`: names
    that a template has where one's own belong. `unread`: an option took every reader away (--readback none), which is only said."""

    late: Problem | None = None
    placeholders: Problem | None = None
    unread: bool = False
    # Where each password and token was named, by its path: FILE:LINE, an option, a variable.
    named: Mapping[tuple[str | int, ...], str] = field(default_factory=dict)
