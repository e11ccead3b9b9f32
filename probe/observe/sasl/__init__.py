"""SASL mechanisms, one file a family: octets in, octets out, no protocol in it. The folder is the list.

A family file declares `MECHANISMS`: name → Mechanism. `respond` is a generator that first yields its initial response
(empty where the server speaks first), is then sent each challenge and yields the response to it.
"""

import base64
import binascii
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path

Responses = Generator[bytes, bytes, None]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs on. The secret is kept out of every representation."""

    username: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mechanism:
    """`strength` orders `auto`: higher is preferred. `secret_in_response`: the transcript never shows a response."""

    name: str
    strength: int
    initial: bool
    respond: Callable[[Credentials], Responses]


class ChallengeError(ValueError):
    """A challenge that this mechanism cannot answer; the text says why."""


class Answers:
    """One authentication under way: the initial response, then an answer to each challenge.

    Bounded: a server that never stops asking is cut off after MOST_CHALLENGES.
    """

    MOST_CHALLENGES = 10

    def __init__(self, mechanism: Mechanism, credentials: Credentials) -> None:
        self._responses = mechanism.respond(credentials)
        self._asked = 0
        self.initial = next(self._responses)

    def answer(self, challenge: bytes) -> bytes:
        """The response to a challenge. Raises ChallengeError when the mechanism has none: cancel with `*`."""
        self._asked += 1
        if self._asked > self.MOST_CHALLENGES:
            raise ChallengeError("the server keeps asking")
        try:
            return self._responses.send(challenge)
        except StopIteration:
            raise ChallengeError("the server asks once more after the last answer") from None


def encoded(response: bytes) -> str:
    """A response as it goes over the wire: base64, in all three protocols."""
    return base64.b64encode(response).decode()


def decoded(challenge: str) -> bytes:
    """A challenge's octets. Raises ChallengeError when it is not base64."""
    try:
        return base64.b64decode(challenge, validate=True)
    except (binascii.Error, ValueError):
        raise ChallengeError("the challenge is not base64") from None


def hidden(response: str) -> str:
    """What the transcript shows in a response's place: its length only."""
    return f"[{len(response)} octets hidden]"


@cache
def mechanisms() -> dict[str, Mechanism]:
    """Every mechanism this build speaks, by its upper-case name."""
    found: dict[str, Mechanism] = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        found |= import_module(f"{__name__}.{path.stem}").MECHANISMS
    return found


def choose(wanted: str, offered: list[str]) -> Mechanism | None:
    """The mechanism to use: the strongest offered for `auto`, else the one named when it is offered."""
    ours = mechanisms()
    if wanted != "AUTO":
        return ours.get(wanted) if wanted in offered else None
    usable = [ours[name] for name in offered if name in ours]
    return max(usable, key=lambda mechanism: mechanism.strength, default=None)
