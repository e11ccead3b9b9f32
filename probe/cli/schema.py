"""`probe schema`: the JSON Schema of a profile, or of what commands write as JSON."""

import json
from typing import Annotated

import typer

from probe.cli import _out

WHAT = ("profile", "run", "certificates", "changes")


def register(app: typer.Typer) -> None:
    app.command("schema")(schema)


def schema(what: Annotated[str, typer.Argument(metavar="|".join(WHAT), help="Which schema.")] = "profile") -> int:
    """Print the JSON Schema of a profile, for editors (`#:schema FILE` in a profile's first line), or of `-o json` of a run, of
    `certificates` and of `history --changes`."""
    if what not in WHAT:
        raise typer.BadParameter(f"no schema {what!r}; there are {', '.join(WHAT)}")
    _out.data(json.dumps(_made(what), indent=2) + "\n")
    return 0


def _made(what: str) -> dict[str, object]:
    if what == "run":
        from probe.runs import saved

        return saved.schema()
    if what == "profile":
        from probe.profile.schema import json_schema
        from probe.tasks.plan import plugins

        return json_schema(plugins())
    from probe.report.changes import CHANGES, Changes
    from probe.report.fleet import SCHEMA, Fleet
    from probe.runs.described import listed_schema

    if what == "changes":
        return listed_schema(Changes, CHANGES, "What changed on servers, and when: instants in RFC 3339 UTC")
    code: dict[str, object] = {"type": "integer"}
    return listed_schema(Fleet, SCHEMA, "The certificates of many servers: instants in RFC 3339 UTC", exit_code=code)
