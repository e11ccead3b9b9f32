"""The ends of certificates as a calendar (iCalendar, RFC 5545), with alarms; made by icalendar (extra `calendar`)."""

from collections.abc import Container
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from probe.output._certificates import issuer_of, ports_of, several
from probe.output._safe import safe
from probe.report.fleet import Certificate, Fleet

if TYPE_CHECKING:
    from icalendar import Alarm, Event

_MOST_PORTS = 40
# Where no profile says when it warns.
_DAYS = (21.0, 7.0)


def calendar(fleet: Fleet) -> str:
    """One event a certificate, at the instant at which it ends, with an alarm where the profile warns and where that is critical.

    A certificate's event has the same UID each time, so that a calendar that reads the file again has it once. One whose end cannot
    be read has none.
    """
    from icalendar import Calendar

    made = Calendar()
    made.add("prodid", "-//submission-probe//certificates//EN")
    made.add("version", "2.0")
    made.add("x-wr-calname", "Certificates of mail servers")
    stamp = _instant(fleet.started) or datetime(1970, 1, 1, tzinfo=UTC)
    for one in fleet.certificates:
        ends = _instant(one.not_after)
        if ends is not None:
            made.add_component(_event(one, ends, stamp, several(fleet)))
    octets: bytes = made.to_ical()
    return octets.decode("utf-8")


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        return None


def _event(one: Certificate, ends: datetime, stamp: datetime, apart: Container[str]) -> "Event":
    from icalendar import Event

    event = Event()
    event.add("uid", f"{(one.sha256 or one.sha1).lower()}@submission-probe")
    event.add("dtstamp", stamp)
    # Without an end: an instant, which needs no arithmetic near the last year that a calendar has.
    event.add("dtstart", ends)
    event.add("summary", f"Certificate of {safe(one.name)} ends")
    event.add("description", _description(one, apart))
    event.add("categories", ["certificate"])
    event.add("transp", "TRANSPARENT")
    for days in sorted({one.warning_days or _DAYS[0], one.critical_days or _DAYS[1]}, reverse=True):
        event.add_component(_alarm(one, days))
    return event


def _description(one: Certificate, apart: Container[str]) -> str:
    lines = [
        f"Shown at: {ports_of(one.ports, apart, _MOST_PORTS)}",
        *(f"Still the old one at {safe(port.label)}: renewed as {port.renewed_as}" for port in one.ports if port.renewed_as),
        f"Issuer: {safe(issuer_of(one))}", f"Serial: {one.serial}", f"SHA-1: {one.sha1}",
    ]  # fmt: skip
    return "\n".join(lines[:_MOST_PORTS])


def _alarm(one: Certificate, days: float) -> "Alarm":
    from icalendar import Alarm

    alarm = Alarm()
    alarm.add("action", "DISPLAY")
    alarm.add("description", f"Renew the certificate of {safe(one.name)}: it ends in {days:.0f} days")
    alarm.add("trigger", -timedelta(minutes=round(days * 1440)))
    return alarm
