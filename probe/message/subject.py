"""What stands in front of our Subject: a filter's tag, or the word by which a mailer marks an answer or a forward."""

import re

# [EXTERNAL], ***SPAM***, {Spam?}, (SPAM), <SPAM>; with a colon only the words that filters write, since mailers put words of their
# own there for an answer or a forward, each in its language (RES:, ENC:, WG:).
_BRACKETS = r"\[[^\]]{1,60}\]|\*+[^*]{1,60}\*+|\{[^}]{1,60}\}|\([^)]{1,60}\)|<[^>]{1,60}>"
_DEGREE = r"(?:(?:possible|probable|suspected|likely)[ _-]?)?"
_KIND = (
    "(?:spam|junk|bulk|virus|malware|phishing|external|extern|ext|caution|warning"
    "|suspect|suspicious|unsafe|unverified|newsletter|adv)"
)
_TAG = re.compile(rf"\s*(?:{_BRACKETS}|{_DEGREE}{_KIND}(?:[ _-][a-z0-9.]{{1,10}})?[?!]?:)\s*", re.IGNORECASE)
_WORD = re.compile(r"\s*[^\s:：]{1,24}\s*[:：]\s*")
_BRACKETED_WORD = re.compile(r"[\[({<*]\s*(?:re|fwd?|aw|wg|tr|rv)\b", re.IGNORECASE)


def state_of_subject(given: str, sent: str) -> str:
    """`intact`, `tagged` (a filter wrote in front of it) or `replaced`."""
    if given == sent:
        return "intact"
    return "tagged" if _without_tags(given) == sent else "replaced"


def is_prefixed(given: str, sent: str) -> bool:
    """Whether our Subject stands behind a word and a colon that no filter writes, or a bracketed one: an answer or a forward."""
    if not given.endswith(sent):
        return False
    front = _without_tags(given[: -len(sent)])
    while found := _WORD.match(front):
        front = _without_tags(front[found.end() :])
        if not front.strip():
            return True
    return bool(_BRACKETED_WORD.search(given))


def _without_tags(subject: str) -> str:
    while found := _TAG.match(subject):
        subject = subject[found.end() :]
    return subject
