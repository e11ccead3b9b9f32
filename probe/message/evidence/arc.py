"""The chain of ARC sets (RFC 8617): who passed the message on, and whether the chain holds."""

from collections.abc import Mapping, Sequence

from probe.message.evidence import dkim
from probe.message.evidence.dkim import Signature
from probe.message.evidence.header import Delivered, Field
from probe.message.evidence.signed import MOST_SIGNATURE, Bodies, Key, Outcome, header, held, signed_text, tags
from probe.plain import dataclass

# Sets of one chain that are verified; each costs a look-up in DNS. RFC 8617 section 4.2.1 allows 50.
MOST_SETS = 10
RESULTS, MESSAGE, SEAL = "arc-authentication-results", "arc-message-signature", "arc-seal"
_SEAL_NEEDS = ("a", "b", "cv", "d", "i", "s")


@dataclass(frozen=True, slots=True)
class ArcSet:
    """One handler's three fields. `validation` is its word for the chain before it (cv=)."""

    instance: int
    results: Field
    message: Signature
    seal: Signature
    validation: str


@dataclass(frozen=True, slots=True)
class Chain:
    """The sets, oldest first; `wrong`: why they are no chain."""

    sets: tuple[ArcSet, ...]
    wrong: str | None = None

    @property
    def signatures(self) -> list[Signature]:
        """All that a verdict on the chain needs keys for."""
        return [*(each.seal for each in self.sets), *(each.message for each in self.sets[-1:])]


def chain(message: Delivered) -> Chain | None:
    """The chain of a message; None where there is none."""
    by_instance: dict[int, dict[str, list[Field]]] = {}
    for field in message.named(RESULTS, MESSAGE, SEAL):
        by_instance.setdefault(_instance(field), {}).setdefault(field.name, []).append(field)
    if not by_instance:
        return None
    numbers = sorted(by_instance)
    if len(numbers) > MOST_SETS:
        return Chain((), f"the chain is longer than is verified ({MOST_SETS} sets)")
    each_once = all(len(found.get(name, ())) == 1 for found in by_instance.values() for name in (RESULTS, MESSAGE, SEAL))
    if numbers != list(range(1, len(numbers) + 1)) or not each_once:
        return Chain((), "the chain is broken: sets are missing, or stand there twice")
    return Chain(tuple(_set(number, {name: fields[0] for name, fields in by_instance[number].items()}) for number in numbers))


def _set(number: int, fields: Mapping[str, Field]) -> ArcSet:
    seal = dkim.read(fields[SEAL], needed=_SEAL_NEEDS, version=None)
    given = tags(fields[SEAL].value[:MOST_SIGNATURE].decode("utf-8", "replace")) or {}
    return ArcSet(number, fields[RESULTS], dkim.read(fields[MESSAGE], version=None), seal, given.get("cv", "").lower()[:10])


def _instance(field: Field) -> int:
    """The number in i=; 0 where there is none, which no chain begins with."""
    for piece in field.text.split(";")[:20]:
        name, _, value = piece.partition("=")
        if name.strip() == "i":
            number = value.strip()
            return int(number) if number.isascii() and number.isdigit() and len(number) <= 2 else 0
    return 0


def verified(found: Chain, message: Delivered, bodies: Bodies, keys: Mapping[str, Key], now: float) -> Outcome:
    """Whether the chain holds (RFC 8617 section 5.2). `keys` by the DNS name of each signature's record."""
    if found.wrong:
        return Outcome("unknown" if "than is verified" in found.wrong else "fail", found.wrong)
    claims = [each.validation for each in found.sets]
    if claims != ["none", *["pass"] * (len(claims) - 1)]:
        return Outcome("fail", "a handler on the way had found the chain broken")
    newest = found.sets[-1]
    outcome = dkim.verified(
        newest.message, message, bodies, keys.get(newest.message.place, Key(None, "the key was not asked for")), now
    )
    if outcome.result != "pass":
        return outcome
    for at in range(len(found.sets), 0, -1):
        sealed = _sealed(found.sets[:at], keys)
        if sealed.result != "pass":
            return sealed
    return Outcome("pass")


def _sealed(sets: Sequence[ArcSet], keys: Mapping[str, Key]) -> Outcome:
    """The newest seal of these: over every set up to its own, in order (section 5.1.1)."""
    last = sets[-1].seal
    if last.wrong:
        return Outcome("fail", last.wrong)
    fields = [field for each in sets for field in (each.results, each.message.field, each.seal.field)][:-1]
    data = b"".join(header(field, relaxed=True) for field in fields) + signed_text(last.field, relaxed=True)
    return held(keys.get(last.place, Key(None, "the key was not asked for")), last.algorithm, data, last.signature)
