"""What a refused logon means: which finding it is, and with it whether the next run may log on again (contract, section 8).

The reply entries decide by the server's words (`means`), within what its code leaves open; what no entry knows follows from the
code alone. Only "this name or password is wrong" is `auth.refused`: it keeps later runs from trying, so that nobody's account is
locked, and it must not be said of a server that merely cannot answer.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from probe.facts import LoggedOn
from probe.judge._replies import FINDING_OF, Means, Said, means_of
from probe.record import StageRecord, Trouble

# What words may make of a code. "Too many" and "not now" are no verdict on a password, even beside a code that says "password"
# (Postfix passes on what its SASL server says); an app password that is wanted there leaves the one that was sent wrong.
_ANY = tuple(FINDING_OF)
_NOT_PASSWORD: tuple[Means, ...] = tuple(means for means in FINDING_OF if means != "password")
_BESIDE: tuple[Means, ...] = ("limit", "temporary", "in-use", "policy", "mechanism")
_CODES: tuple[tuple[str, Means, tuple[Means, ...]], ...] = (
    # How an answer begins, what it means where no entry knows its words, what words may make of it; the first that holds counts.
    # RFC 5321, RFC 4954, Exchange (5.7.3), RFC 3501, RFC 5530, RFC 2449, RFC 3206.
    (r"535[ -]5\.7\.[38]\b|NO \[AUTHENTICATIONFAILED\]|-ERR \[AUTH\]", "password", _BESIDE),
    (r"4\d\d|503|BAD|BYE|NO \[(UNAVAILABLE|SERVERBUG)\]|-ERR \[SYS/TEMP\]", "temporary", _BESIDE),
    (r"504", "unknown-mechanism", ()),
    (r"50\d", "mechanism", _NOT_PASSWORD),
    (r"534", "other-password", _NOT_PASSWORD),
    (r"53[08]", "policy", _NOT_PASSWORD),
    (r"535", "password", _ANY),
    (r"5\d\d", "policy", _ANY),
    (r"NO \[INUSE\]", "in-use", _NOT_PASSWORD),
    (r"-ERR \[IN-USE\]", "in-use", _ANY),
    (r"NO \[(LIMIT|OVERQUOTA)\]", "limit", _NOT_PASSWORD),
    (r"-ERR \[LOGIN-DELAY\]", "limit", _ANY),
    (r"NO \[(PRIVACYREQUIRED|AUTHORIZATIONFAILED|CONTACTADMIN|NOPERM)\]", "policy", _ANY),
    (r"-ERR \[SYS/PERM\]", "failure", _NOT_PASSWORD),
    (r"-ERR \[SYS/", "password", _NOT_PASSWORD),
    (r"", "password", _ANY),
)


def finding_of(stage: str, answer: str, greeting: str = "") -> str:
    """The finding of a refused logon. `answer` as the server gave it (`535 5.7.8 …`, `NO [CODE] …`, `-ERR …`), `greeting` all that
    this server said of itself."""
    return FINDING_OF[_means(stage, answer.strip(), greeting)]


def _means(stage: str, answer: str, greeting: str) -> Means:
    by_code, allowed = next((means, allowed) for pattern, means, allowed in _CODES if re.match(pattern, answer, re.IGNORECASE))
    # A further mechanism's stage has its name behind it.
    return means_of(Said(answer, ".".join(stage.split(".")[:2])), greeting, allowed) or by_code


# Postfix before 3.9 gives it for whatever Dovecot's authentication says, "not now" included.
_SAYS_NO_REASON = re.compile(r"535 5\.7\.8 Error: authentication failed")


def reconsidered(stages: Sequence[StageRecord]) -> tuple[StageRecord, ...]:
    """The stages, with a refusal by Postfix that gives no reason as a temporary one, where another server of the run says of the
    same user that no logon is possible now: both ask one Dovecot."""
    later = {stage.seen(LoggedOn).username for stage in stages if stage.trouble and stage.trouble.id == "auth.temporary"}
    return tuple(_not_now(stage) if _in_doubt(stage, later) else stage for stage in stages)


def _in_doubt(stage: StageRecord, later: set[str | None]) -> bool:
    trouble = stage.trouble
    said = trouble is not None and trouble.id == "auth.refused" and _SAYS_NO_REASON.match(trouble.evidence)
    return bool(said) and stage.seen(LoggedOn).username in later


def _not_now(stage: StageRecord) -> StageRecord:
    assert stage.trouble is not None
    text = f"{stage.trouble.text} (a reader of this run says to the same user that no logon is possible now)"
    return replace(stage, trouble=Trouble("auth.temporary", text, stage.trouble.evidence))
