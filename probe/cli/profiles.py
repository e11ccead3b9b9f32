"""`probe profiles`, `probe show`, `probe schema`: what can be set, what is set, and where it came from."""

import json

import typer

from probe.cli import _options as option


def register(app: typer.Typer) -> None:
    app.command("profiles")(profiles)
    app.command("show")(show)
    app.command("schema")(schema)


def profiles() -> int:
    """List the profiles: your own, then the shipped ones."""
    from probe.profile import names

    rows = names()
    width = max((len(name) for name, *_ in rows), default=0)
    for name, path, origin, description in rows:
        typer.echo(f"{name:<{width}}  {origin:<7}  {description or path}")
    return 0


def show(
    profile: option.OneProfile,
    host: option.Host = None,
    port: option.Port = None,
    security: option.Security = None,
    user: option.User = None,
    readback: option.Readback = None,
    set: option.Set = None,
) -> int:
    """Show the effective settings of PROFILE and where each came from; of a secret only its source."""
    from probe.options import overlays
    from probe.plan import plugins
    from probe.profile import effective
    from probe.tell.text import safe

    settings = option.given(host=host, port=port, security=security, user=user, readback=readback, set=set)
    for key, value, origin in effective(profile, overlays(settings), plugins=plugins()):
        typer.echo(f"{key} = {safe(value)}  # {safe(origin)}")
    return 0


def schema() -> int:
    """Print the JSON Schema of a profile, for editors (`#:schema FILE` in a profile's first line)."""
    from probe.plan import plugins
    from probe.profile import json_schema

    typer.echo(json.dumps(json_schema(plugins()), indent=2))
    return 0
