"""Authentication-Results (RFC 8601): what the receiving side found of SPF, DKIM, DMARC and ARC, and what only claims to be its
word."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from probe.message.evidence.arc import Chain
from probe.message.evidence.border import Border, border, is_trusted
from probe.message.evidence.header import Delivered, Field
from probe.plain import dataclass

# Of one message: fields that are read, and results that are kept.
MOST_FIELDS, MOST_RESULTS = 40, 60
_PAIR = re.compile(r'([A-Za-z0-9_.-]{1,60})(?:/[0-9]{1,4})?\s{0,4}=\s{0,4}("[^"]{0,255}"|[^\s;"]{1,255})')
# What a result is about, the most exact first.
_ABOUT = ("header.d", "header.from", "smtp.mailfrom", "smtp.mail", "header.i", "smtp.helo", "header.oldest-pass", "policy.iprev")
_WORD = re.compile(r"[A-Za-z0-9_-]{1,40}")
FROM_OUTSIDE = "it stands below the receiving side's own Received fields: it came from outside"
NOT_TRUSTED = "nobody on the receiving side is known by this name"
NOT_OF_PROFILE = "the profile trusts other names (expect.authserv_id)"
SAID_ABOVE = "a field above it has a result of its own"
NOT_PROVEN = "it is an earlier handler's word, by an ARC chain"


@dataclass(frozen=True, slots=True)
class Result:
    """One method's result. `by` is the authserv-id, empty where none was written; `ignored`: why it does not count; `instance`:
    of an ARC set."""

    by: str
    method: str
    result: str
    about: str
    reason: str
    ignored: str | None = None
    instance: int | None = None


def results(message: Delivered, trusted: Sequence[str], found: Chain | None = None, *, proven: bool = False) -> list[Result]:
    """Every result, from the top of the header; last those of an ARC chain, which count where it is `proven` and the profile
    names who wrote them."""
    edge = border(message, trusted)
    read = [each for field, inside in _fields(edge) for each in _judged(field, inside, edge, trusted)]
    for each in found.sets if found else ():
        for said in _of_field(each.results, instance=each.instance):
            counts = proven and said.by.lower() in {name.lower() for name in trusted}
            read.append(replace(said, ignored=None if counts else NOT_PROVEN))
    return list(_first_word(read))[:MOST_RESULTS]


def _fields(edge: Border) -> list[tuple[Field, bool]]:
    both = [(field, True) for field in edge.inside] + [(field, False) for field in edge.outside]
    return [(field, inside) for field, inside in both if field.name == "authentication-results"][:MOST_FIELDS]


def _judged(field: Field, inside: bool, edge: Border, trusted: Sequence[str]) -> Iterator[Result]:
    for said in _of_field(field):
        if not inside:
            yield replace(said, ignored=FROM_OUTSIDE)
        elif not is_trusted(said.by, edge, trusted):
            yield replace(said, ignored=NOT_OF_PROFILE if trusted else NOT_TRUSTED)
        else:
            yield said


def _first_word(read: Sequence[Result]) -> Iterator[Result]:
    """A method's word is that of the topmost field: a field that a sender put there under the same name lies below. DKIM has a
    result for each signature."""
    said: set[tuple[str, str]] = set()
    for each in read:
        key = (each.method, each.about if each.method == "dkim" else "")
        if each.ignored is None and key in said:
            yield replace(each, ignored=SAID_ABOVE)
            continue
        if each.ignored is None:
            said.add(key)
        yield each


def _of_field(field: Field, instance: int | None = None) -> Iterator[Result]:
    pieces = [piece.strip() for piece in _pieces(field.text)]
    if instance is not None and pieces and pieces[0].startswith("i="):
        pieces.pop(0)
    identity = pieces[0].split(" ")[0].strip('"')[:255] if pieces else ""
    if "=" in identity:
        # Exchange Online writes no authserv-id.
        identity = ""
    else:
        pieces = pieces[1:]
    for piece in pieces:
        pairs = [(name.lower(), value.strip('"')) for name, value in _PAIR.findall(piece)]
        if pairs and _WORD.fullmatch(pairs[0][1]):
            values = dict(reversed(pairs[1:]))
            about = next((values[name] for name in _ABOUT if name in values), "")
            yield Result(
                identity, pairs[0][0], pairs[0][1].lower(), about.rpartition("@")[2].lower(), values.get("reason", "")[:200]
            )


def _pieces(text: str) -> list[str]:
    """The field at its semicolons, comments left out (RFC 5322 section 3.2.2: they nest, and a backslash quotes)."""
    found, depth, quoted, escaped = [""], 0, False, False
    for sign in text:
        if escaped or (sign == "\\" and (depth or quoted)):
            escaped = not escaped
        elif quoted and not depth:
            quoted = sign != '"'
        elif sign == "(":
            depth += 1
            continue
        elif sign == ")":
            depth = max(0, depth - 1)
            continue
        elif sign == '"' and not depth:
            quoted = True
        elif sign == ";" and not depth:
            found.append("")
            continue
        if not depth:
            found[-1] += sign
    return found
