"""SASL mechanisms, one file a family: octets in, octets out, no protocol in it. The folder is the list.

A family file declares `MECHANISMS`: name → Mechanism. `respond` is a generator that first yields its initial response
(empty where the server speaks first), is then sent each challenge and yields the response to it.
"""

import base64
import binascii
import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from probe.plain import dataclass

Responses = Generator[bytes, bytes, None]
# What a mechanism proves who we are with: a password, an OAuth token, a TLS client certificate, a Kerberos ticket.
Need = Literal["password", "token", "certificate", "ticket"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs on, and with what. The secret is kept out of every representation; empty where `kind` needs none."""

    username: str
    secret: str = field(default="", repr=False)
    kind: Need = "password"


@dataclass(frozen=True, slots=True)
class Service:
    """The server, as mechanisms name it. `name` is the GSSAPI service name (`smtp`, `imap`, `pop`).

    `binding` is the `tls-server-end-point` channel binding (RFC 5929 section 4), None without TLS; `nonce` is ours, random.
    """

    name: str = ""
    host: str = ""
    port: int = 0
    binding: bytes | None = None
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One mechanism.

    `strength` orders `auto`: higher is preferred, 0 is used only when it is named. `reveals`: it sends the secret itself, as users'
    clients do over TLS. `needs`: first what `auto` uses it with.
    `initial`: it has an initial response; `words_first`: the first challenge is
    words for people and need not be base64; `prompts`: every one is, or
    asks for the initial response again. `says_why`: a challenge after the last response is the server's reason in JSON
    (RFC 7628 section 3.2.2). `slow`: making a response may wait for a network. `binds`: needs channel binding. `proof`: the
    number of the challenge in which the server proves itself, 0 where it does not. `asks`: what a challenge asks for, as facts that
    help nobody to try passwords (SCRAM's hash and iterations); the challenge itself is recorded nowhere.
    """

    name: str
    strength: int
    initial: bool
    respond: Callable[[Credentials, Service], Responses]
    needs: tuple[Need, ...] = ("password",)
    words_first: bool = False
    prompts: bool = False
    says_why: bool = False
    slow: bool = False
    reveals: bool = False
    binds: bool = False
    proof: int = 0
    asks: Callable[[bytes], Mapping[str, str | int]] | None = None


class ChallengeError(ValueError):
    """A challenge that cannot be answered, or a response that cannot be made; `finding` is the id of what is wrong."""

    def __init__(self, text: str, finding: str = "auth.exchange-failed") -> None:
        super().__init__(text)
        self.finding = finding


class Answers:
    """One authentication under way: the initial response, then an answer to each challenge.

    Bounded: a server that never stops asking is cut off after MOST_CHALLENGES. `gave_up` is why we cancelled; `reason`
    is what the server said in JSON. Raises ChallengeError when there is not even an initial response (no ticket).
    """

    # GSSAPI, the longest in use, asks two or three times (RFC 4752 section 3.1).
    MOST_CHALLENGES = 10

    def __init__(self, mechanism: Mechanism, credentials: Credentials, service: Service) -> None:
        self.mechanism = mechanism
        self.username = credentials.username
        self.gave_up: ChallengeError | None = None
        self.reason: dict[str, Any] | None = None
        self.asked_for: dict[str, str | int] = {}
        self._responses = mechanism.respond(credentials, service)
        self._asked = 0
        self._sent = 0
        self._pending: bytes | None = None
        self._given: bytes | None = None
        initial = next(self._responses)
        if mechanism.initial:
            self._pending = initial

    @property
    def initial(self) -> bytes | None:
        """The initial response, as long as it is not taken."""
        return self._pending

    def take_initial(self) -> bytes | None:
        """The initial response, for the command's own line; None where there is none. Not taken, it answers the first challenge."""
        initial, self._pending = self._pending, None
        self._given = initial
        return initial

    def answer(self, challenge: str) -> bytes:
        """The response to a challenge in base64. Raises ChallengeError when the mechanism has none: cancel with `*`."""
        self._asked += 1
        try:
            return self._answer(challenge)
        except ChallengeError as error:
            self.gave_up = error
            raise

    def _answer(self, challenge: str) -> bytes:
        if self._pending is not None:
            return self.take_initial() or b""
        if self._given is not None and self._asked == 1 and (self._prompts(challenge) or not challenge.strip("=")):
            # The server ignored the initial response and asks for it: the same attempt goes on.
            return self._given
        if self._asked > self.MOST_CHALLENGES:
            raise ChallengeError("the server keeps asking")
        octets = b"" if self._prompts(challenge) or (self.mechanism.words_first and self._asked == 1) else decoded(challenge)
        if self.mechanism.says_why:
            self.reason = _reason(octets)
        if self.mechanism.asks and not self.asked_for:
            self.asked_for = dict(self.mechanism.asks(octets))
        try:
            response = self._responses.send(octets)
        except StopIteration:
            raise ChallengeError("the server asks once more after the last answer") from None
        self._sent += 1
        return response

    def _prompts(self, challenge: str) -> bool:
        """LOGIN's prompts are any words, coded or in clear, and some servers ask for an initial response again in words."""
        return self.mechanism.prompts and (not challenge or any(character.isalpha() for character in challenge))

    @property
    def has_answered(self) -> bool:
        """Whether a challenge was answered: before that a mechanism that keeps the secret has shown nothing of it."""
        return self._sent > 0

    @property
    def server_is_proven(self) -> bool:
        """Whether the server proved itself, where the mechanism has it do so, by the time it says success."""
        return self._sent >= self.mechanism.proof


def _reason(octets: bytes) -> dict[str, Any] | None:
    """The server's JSON, as far as it is an object of plain values."""
    try:
        said = json.loads(octets)
    except (ValueError, RecursionError):
        return {"text": octets.decode("utf-8", "backslashreplace")}
    if not isinstance(said, dict):
        return {"text": str(said)}
    return {str(key): value if isinstance(value, (bool, int)) else str(value) for key, value in list(said.items())[:20]}


def encoded(response: bytes) -> str:
    """A response as it goes over the wire: base64, in all three protocols."""
    return base64.b64encode(response).decode()


def decoded(challenge: str) -> bytes:
    """A challenge's octets. Raises ChallengeError when it is not base64."""
    try:
        # Some servers leave the padding out; characters outside of the alphabet are refused, not skipped (RFC 4648 section 3.3).
        return base64.b64decode(challenge + "=" * (-len(challenge) % 4), validate=True)
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


def usable(offered: list[str], credentials: Credentials, service: Service, *, verified: bool = True) -> list[Mechanism]:
    """Those offered that `auto` may take with these credentials, in its order.

    Over a verified TLS first what users' clients take (PLAIN, LOGIN): servers list challenges that they cannot carry out over
    hashed passwords. Without it the strongest first.
    """
    ours = mechanisms()
    known = [ours[name] for name in dict.fromkeys(offered) if name in ours]
    fit = [item for item in known if item.strength and item.needs[0] == credentials.kind and _can_bind(item, service)]
    return sorted(fit, key=lambda item: (verified and item.reveals, item.strength), reverse=True)


def _can_bind(mechanism: Mechanism, service: Service) -> bool:
    return service.binding is not None or not mechanism.binds


def choose(
    wanted: str, offered: list[str], credentials: Credentials, service: Service, *, verified: bool = True
) -> Mechanism | None:
    """The mechanism to use: for `AUTO` the first that is `usable`, else the one named when it is offered and possible."""
    if wanted == "AUTO":
        return next(iter(usable(offered, credentials, service, verified=verified)), None)
    # Never one that was not offered: PLAIN sent all the same gives the password for a 504 (RFC 4954 section 4).
    mechanism = mechanisms().get(wanted) if wanted in offered else None
    return mechanism if mechanism and credentials.kind in mechanism.needs and _can_bind(mechanism, service) else None
