"""IMAP4 command syntax (RFC 3501 section 9): octets to words and nested lists."""

import re

MOST_DEPTH = 10
# A string argument keeps its type, so that "NIL" in quotes is no atom.
Argument = str | bytes | list["Argument"]

_ATOM = re.compile(rb'[^\s()"{\[]+(?:\[[^\]]*\](?:<[\d.]+>)?)?')
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_LITERAL = re.compile(rb"\{(\d{1,9})\+?\}\r\n")


class BadSyntax(ValueError):
    """The command cannot be parsed; it is answered BAD."""


def parse(octets: bytes) -> list[Argument]:
    """The words of a command: atoms as str, strings and literals as bytes, lists nested. Raises BadSyntax."""
    words, position = _words(octets, 0, 0)
    if position != len(octets):
        raise BadSyntax("a bracket too many")
    return words


def _words(octets: bytes, position: int, depth: int) -> tuple[list[Argument], int]:
    if depth > MOST_DEPTH:
        raise BadSyntax("nested too deep")
    words: list[Argument] = []
    while position < len(octets) and octets[position : position + 1] != b")":
        if octets[position : position + 1] == b" ":
            position += 1
        elif octets[position : position + 1] == b"(":
            inner, position = _words(octets, position + 1, depth + 1)
            if octets[position : position + 1] != b")":
                raise BadSyntax("a bracket is missing")
            words.append(inner)
            position += 1
        else:
            word, position = _word(octets, position)
            words.append(word)
    return words, position


def _word(octets: bytes, position: int) -> tuple[Argument, int]:
    if found := _LITERAL.match(octets, position):
        end = found.end() + int(found.group(1))
        return octets[found.end() : end], end
    if found := _QUOTED.match(octets, position):
        return re.sub(rb"\\(.)", rb"\1", found.group(1)), found.end()
    if found := _ATOM.match(octets, position):
        return found.group(0).decode("utf-8", "replace"), found.end()
    raise BadSyntax(f"cannot read {octets[position : position + 20]!r}")


def text_of(argument: Argument) -> str:
    """An atom or string as text. Raises BadSyntax for a list."""
    if isinstance(argument, list):
        raise BadSyntax("a list where a string belongs")
    return argument.decode("utf-8", "replace") if isinstance(argument, bytes) else argument


def numbers(text: str, greatest: int) -> list[tuple[int, int]]:
    """A sequence set (RFC 3501 section 9) as ranges; `*` is `greatest`. Raises BadSyntax."""
    ranges = []
    for part in text.split(","):
        ends = [greatest if end == "*" else int(end) if re.fullmatch(r"\d{1,10}", end) else -1 for end in part.split(":")]
        if len(ends) > 2 or -1 in ends:
            raise BadSyntax(f"not a sequence set: {text}")
        ranges.append((min(ends), max(ends)))
    return ranges


def within(number: int, ranges: list[tuple[int, int]]) -> bool:
    return any(low <= number <= high for low, high in ranges)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
