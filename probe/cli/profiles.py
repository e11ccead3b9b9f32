"""`probe profiles`: what profiles there are."""

import typer

from probe.cli import _out


def register(app: typer.Typer) -> None:
    app.command("profiles")(profiles)


def profiles() -> int:
    """List the profiles: your own, then the shipped ones."""
    from probe.profile import names

    rows = names()
    width = max((len(name) for name, *_ in rows), default=0)
    for name, path, origin, description in rows:
        _out.say(f"{name:<{width}}  {origin:<7}  {description or path}")
    return 0
