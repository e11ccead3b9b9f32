"""What a refused logon means: which finding it is, and with it whether the next run may log on again (contract, section 8).

The reply entries decide by the server's words (`means`), within what its code leaves open; what no entry knows follows from the
code alone. Only "this name or password is wrong" is `auth.refused`: it keeps later runs from trying, so that nobody's account is
locked, and it must not be said of a server that merely cannot answer.
"""

import re

from probe.judge._replies import FINDING_OF, Means, Said, means_of

# Codes that say "password" in so many words: RFC 4954 (5.7.8), Exchange (5.7.3), RFC 5530, RFC 3206.
_SAYS_PASSWORD = re.compile(r"^535[ -]5\.7\.[38]\b|^NO \[AUTHENTICATIONFAILED\]|^-ERR \[AUTH\]", re.IGNORECASE)
# Even with such a code "too many" and "not now" are no verdict on the password (Postfix passes on what its SASL server says).
_BESIDE_PASSWORD: tuple[Means, ...] = ("limit", "temporary", "in-use", "policy", "mechanism")
# By the beginning of the answer, what it means where no entry knows its words. RFC 5321, RFC 4954, RFC 3501, RFC 5530, RFC 3206.
_CODES: tuple[tuple[str, Means], ...] = (
    (r"4\d\d|503", "temporary"),
    (r"535", "password"),
    (r"534", "other-password"),
    (r"504", "unknown-mechanism"),
    (r"50\d", "mechanism"),
    (r"5\d\d", "policy"),
    (r"BAD|BYE|NO \[(UNAVAILABLE|SERVERBUG)\]|-ERR \[SYS/TEMP\]", "temporary"),
    (r"NO \[INUSE\]|-ERR \[IN-USE\]", "in-use"),
    (r"NO \[(LIMIT|OVERQUOTA)\]|-ERR \[LOGIN-DELAY\]", "limit"),
    (r"NO \[(PRIVACYREQUIRED|AUTHORIZATIONFAILED|CONTACTADMIN|NOPERM)\]", "policy"),
    (r"-ERR \[SYS/PERM\]", "failure"),
    (r"NO|-ERR", "password"),
)
# A code that says "not now", or nothing about logons at all, leaves no room for a wrong password, whatever words come with it.
_NEVER_PASSWORD = re.compile(
    r"4\d\d|50\d|53[048]|BAD|BYE|NO \[(UNAVAILABLE|SERVERBUG|LIMIT|OVERQUOTA|INUSE)\]|-ERR \[SYS/", re.IGNORECASE
)
_TRANSIENT = re.compile(r"4\d\d|503|BAD|BYE|NO \[(UNAVAILABLE|SERVERBUG)\]|-ERR \[SYS/TEMP\]", re.IGNORECASE)


def finding_of(stage: str, answer: str, greeting: str = "") -> str:
    """The finding of a refused logon. `answer` as the server gave it (`535 5.7.8 …`, `NO [CODE] …`, `-ERR …`), `greeting` all that
    this server said of itself."""
    return FINDING_OF[_means(stage, answer.strip(), greeting)]


def _means(stage: str, answer: str, greeting: str) -> Means:
    by_code: Means = next((means for pattern, means in _CODES if re.match(pattern, answer, re.IGNORECASE)), "password")
    said = means_of(Said(answer, ".".join(stage.split(".")[:2])), greeting, _allowed(answer))
    return said or by_code


def _allowed(answer: str) -> tuple[Means, ...]:
    """What words may make of an answer with this code."""
    if _SAYS_PASSWORD.match(answer):
        return _BESIDE_PASSWORD
    if _TRANSIENT.match(answer):
        return ("limit", "temporary", "in-use", "policy", "mechanism")
    if answer.startswith("504"):
        return ()
    if _NEVER_PASSWORD.match(answer):
        return tuple(means for means in FINDING_OF if means != "password")
    return tuple(FINDING_OF)
