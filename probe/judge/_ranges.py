"""Thresholds as monitoring plugins take them (-w, -c), in the guidelines' range syntax.

https://www.monitoring-plugins.org/doc/guidelines.html#THRESHOLDFORMAT: `10` alerts below 0 or above 10, `10:` below 10,
`~:10` above 10, `10:20` outside of both, `@10:20` inside.
"""

import re
from math import inf

from probe.plain import dataclass
from probe.report import Severity

METRICS = ("delivery", "total", "certificate")
_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)"
_RANGE = re.compile(rf"(@?)(?:(~|{_NUMBER})?:)?({_NUMBER})?")


class NotARange(ValueError):
    """The text is no range; the message says what is."""


@dataclass(frozen=True, slots=True)
class Range:
    """`text` as it was given; alerts outside of low..high, or with `inside` within them, ends included."""

    text: str
    low: float
    high: float
    inside: bool

    def alerts(self, value: float) -> bool:
        return (self.low <= value <= self.high) == self.inside


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one metric."""

    warning: Range | None = None
    critical: Range | None = None

    @property
    def texts(self) -> tuple[str, str]:
        """Both as they were given, empty where none was."""
        return self.warning.text if self.warning else "", self.critical.text if self.critical else ""


def parse(text: str) -> Range:
    """Raises NotARange."""
    found = _RANGE.fullmatch(text.strip())
    if found is None or (found[2] is None and found[3] is None):
        raise NotARange(f"expected a range such as 10, 10:, ~:10, 10:20 or @10:20, got {text!r}")
    low = -inf if found[2] == "~" else float(found[2] or 0)
    high = inf if found[3] is None else float(found[3])
    if low > high:
        raise NotARange(f"the range {text!r} begins above its end")
    return Range(text.strip(), low, high, bool(found[1]))


def limits(warning: str | None, critical: str | None) -> dict[str, Limits]:
    """`delivery=10,total=30,certificate=21:`; a range alone is the delivery's, in seconds. Raises NotARange."""
    given = _named(warning), _named(critical)
    return {name: Limits(given[0].get(name), given[1].get(name)) for name in METRICS if name in given[0] or name in given[1]}


def _named(text: str | None) -> dict[str, Range]:
    found = {}
    for part in (text or "").split(",") if text is not None else ():
        name, equals, words = part.partition("=")
        name, words = (name.strip(), words) if equals else ("delivery", part)
        if name not in METRICS:
            raise NotARange(f"no metric {name!r}; there are {', '.join(METRICS)}")
        found[name] = parse(words)
    return found


def severity(limit: Limits, value: float) -> Severity | None:
    """How bad the value is; None where neither range alerts."""
    if limit.critical is not None and limit.critical.alerts(value):
        return "critical"
    return "warning" if limit.warning is not None and limit.warning.alerts(value) else None
