"""`probe schema`: the JSON Schema of a profile, or of the run object."""

import json
from typing import Annotated

import typer

from probe.cli import _out


def register(app: typer.Typer) -> None:
    app.command("schema")(schema)


def schema(what: Annotated[str, typer.Argument(metavar="profile|run", help="Which schema.")] = "profile") -> int:
    """Print the JSON Schema of a profile, for editors (`#:schema FILE` in a profile's first line), or of `-o json`."""
    if what == "run":
        from probe.runs import saved

        _out.data(json.dumps(saved.schema(), indent=2) + "\n")
        return 0
    if what != "profile":
        raise typer.BadParameter(f"no schema {what!r}; there are profile, run")
    from probe.profile.schema import json_schema
    from probe.tasks.plan import plugins

    _out.data(json.dumps(json_schema(plugins()), indent=2) + "\n")
    return 0
