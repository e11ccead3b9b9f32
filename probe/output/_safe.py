"""Text that may be shown: by itself, so that a command that shows one line loads no output for it."""


def safe(text: str) -> str:
    """Text without any character that a terminal would act on or that would reorder what is read (bidi controls)."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
