"""Lines for a terminal: broken between words where it is too narrow, never within a name, a thumbprint or a command."""

from collections.abc import Iterator

from probe.report.steps import pieces

# Stands for a blank within a command while words are parted.
_WHOLE = "\0"


def flowed(begins: str, text: str, *, hang: int, width: int | None) -> Iterator[str]:
    """`begins` and the text in lines of at most `width` columns, all but the first indented by `hang`; one line where there is no
    terminal (None). A word that is longer than a line stays whole, for the terminal to break: so it is copied whole."""
    if width is None:
        yield begins + text.replace(_WHOLE, " ")
        return
    line, is_begun = begins, False
    for word in text.split():
        if is_begun and len(line) + 1 + len(word) > width:
            yield line.replace(_WHOLE, " ")
            line, is_begun = " " * hang, False
        line, is_begun = (f"{line} {word}" if is_begun else line + word), True
    yield line.replace(_WHOLE, " ")


def kept_whole(step: str) -> str:
    """A step for `flowed`: each command in it counts as one word."""
    return "".join(piece.text.replace(" ", _WHOLE) if piece.code else piece.text for piece in pieces(step))
