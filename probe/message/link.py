"""What became of the link that the message had: what stands behind its word, in the line behind our proof."""

import re

from probe.message.draft import LINK
from probe.plain import dataclass

_WORD = rf"\s+{LINK.strip()}"
# In plain text all of our line; mailers may break it behind the word, where only an address is taken for ours.
_BROKEN = r"[^\S\r\n]*\r?\n[^\S\r\n]*(\S*://\S*)"
_IN_PLAIN = re.compile(rf"{_WORD}(?:[^\S\r\n]+(\S[^\r\n]*)|{_BROKEN})?")
# In the text of HTML, where a line may go on, the one word.
_IN_HTML = re.compile(rf"{_WORD}(?:[^\S\r\n]+(\S+)|{_BROKEN})?")


@dataclass(frozen=True, slots=True)
class Texts:
    """The plain and the HTML text without our line of the link, and what that line says: empty where there is no such line, or
    nothing in it; None where our text is not there either."""

    plain: str
    html: str
    link: str | None


def without_link(plain: str, html: str, proof: str) -> Texts:
    """Take the line of the link out of both texts. Costs one pass over each."""
    (plain, in_plain), (html, in_html) = _cut(plain, proof, _IN_PLAIN), _cut(html, proof, _IN_HTML)
    return Texts(plain, html, next((said for said in (in_plain, in_html) if said is not None), None))


def _cut(text: str, proof: str, line: re.Pattern[str]) -> tuple[str, str | None]:
    at = text.find(proof)
    if at < 0:
        return text, None
    behind = at + len(proof)
    found = line.match(text, behind)
    if found is None:
        return text, ""
    return text[:behind] + text[found.end() :], (found[1] or found[2] or "").rstrip()
