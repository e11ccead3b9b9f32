"""How long before its end a certificate is to be renewed: a duration, a share of its lifetime, or whichever of both is less."""

import math
import re
from typing import Annotated

from probe.plain import dataclass
from probe.profile.kinds import Kind, shown, wanted
from probe.profile.values import seconds, spell

MARGIN = 'a duration with its unit, or a share of the certificate\'s lifetime: "21d", "20%", or whichever is less: "21d or 20%"'
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?) ?%")
_BARE = re.compile(r"[\d.]+")


@dataclass(frozen=True, slots=True)
class Margin:
    """Seconds before the end, and a share (0 to 1) of the whole lifetime; None where only the other counts."""

    seconds: float | None = None
    share: float | None = None

    def of(self, lifetime: float) -> float:
        """Seconds before the end of a certificate that is valid for `lifetime` seconds in all."""
        return min(
            self.seconds if self.seconds is not None else math.inf,
            self.share * max(0.0, lifetime) if self.share is not None else math.inf,
        )

    def exceeds(self, other: "Margin") -> bool:
        """Whether it is surely the greater one, for a certificate of any lifetime."""
        return any(
            mine is not None and theirs is not None and mine > theirs
            for mine, theirs in ((self.seconds, other.seconds), (self.share, other.share))
        )

    def __str__(self) -> str:
        shares = [] if self.share is None else [f"{self.share * 100:.6g}%"]
        return " or ".join([*([] if self.seconds is None else [spell(self.seconds)]), *shares])


def margin(value: object) -> Margin:
    """A margin as a profile writes it. Raises ValueError, for a bare number too: whether it means days or seconds nobody knows."""
    if isinstance(value, Margin):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError(_unit_missing(value))
    if not isinstance(value, str):
        raise wanted(MARGIN, value)
    parts = [_part(part.strip(), value) for part in value.split(" or ")]
    lasting = [part.seconds for part in parts if part.seconds is not None]
    shares = [part.share for part in parts if part.share is not None]
    if len(lasting) > 1 or len(shares) > 1:
        raise wanted(MARGIN, value)
    return Margin(lasting[0] if lasting else None, shares[0] if shares else None)


def _part(text: str, whole: str) -> Margin:
    if found := _SHARE.fullmatch(text):
        share = float(found[1]) / 100
        if share > 1:
            raise ValueError(f"expected a share of at most 100%, got {text}")
        return Margin(share=share)
    if _BARE.fullmatch(text):
        raise ValueError(_unit_missing(text))
    try:
        return Margin(seconds=seconds(text))
    except ValueError:
        raise wanted(MARGIN, whole) from None


def _unit_missing(number: object) -> str:
    said = shown(number) if isinstance(number, int) else number
    return f'expected {MARGIN}; got {said} without a unit: for days write "{said}d"'


_PIECE = r"(?:\d+(?:\.\d+)?(?:d|h|ms|m|s))+|\d{1,3}(?:\.\d+)? ?%"
_SCHEMA = {
    "type": "string",
    "description": MARGIN[0].upper() + MARGIN[1:] + ".",
    "pattern": f"^({_PIECE})( or ({_PIECE}))?$",
}
CertificateMargin = Annotated[Margin, Kind(margin, _SCHEMA, str)]
