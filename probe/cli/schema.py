"""`probe schema`: the JSON Schema of a profile."""

import json

import typer


def register(app: typer.Typer) -> None:
    app.command("schema")(schema)


def schema() -> int:
    """Print the JSON Schema of a profile, for editors (`#:schema FILE` in a profile's first line)."""
    from probe.plan import plugins
    from probe.profile import json_schema

    typer.echo(json.dumps(json_schema(plugins()), indent=2))
    return 0
