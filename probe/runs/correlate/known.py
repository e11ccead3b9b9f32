"""What only the server knew: delays, relays, where the message was delivered."""

import re
from collections.abc import Iterator, Sequence

from probe.runs.correlate.values import Matched

_TELLING = (
    ("proxy", re.compile(r"\bprox(?:y|ied|ying)\b", re.IGNORECASE), True),
    ("result", re.compile(r"\bR=(?!\"?(?:ok|\+OK)\b)(?:\"[^\"]*\"|[^;]+)", re.IGNORECASE), False),
    ("error", re.compile(r"\b(?:ErrMsg|Msg|Error|Excpt)=(?:\"[^\"]*\"|[^;]+)", re.IGNORECASE), False),
    ("delivery", re.compile(r"\brelay=.*\bstatus=|\bsaved mail to "), True),
    ("refusal", re.compile(r"\breject(?:ed)?: |auth(?:entication)? failed|password mismatch", re.IGNORECASE), True),
    ("trouble", re.compile(r"\bwarning: |\blost connection |\btimeout after "), True),
    ("logon", re.compile(r"\bsasl_username=|\bmethod=|SMTPSubmit\b|\bauthenticated$"), True),
    ("end", re.compile(r"\bdisconnect from |\bDisconnected"), True),
)


def known(matched: Sequence[Matched]) -> Iterator[tuple[str, str]]:
    for item in matched:
        first = item.session.entries[0]
        yield f"{item.leg}: session", f"{item.session.key} in {item.session.source}"
        if first.connector:
            yield f"{item.leg}: connector", first.connector
        for entry in item.session.entries:
            # What was said aloud we know: only the server's own remarks are news.
            for text in (entry.text if entry.event in ("*", "+", "-") else "", entry.context):
                for label, pattern, whole in _TELLING:
                    if text and (found := pattern.search(text)) is not None:
                        yield f"{item.leg}: {label}", text if whole else found[0]
