"""`probe show`: the effective settings, and where each came from."""

import typer

from probe.cli import _options as option
from probe.cli import _out


def register(app: typer.Typer) -> None:
    app.command("show")(show)


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
    from probe.output._safe import safe
    from probe.profile import effective
    from probe.profile.options import overlays
    from probe.tasks.plan import plugins

    settings = option.given(host=host, port=port, security=security, user=user, readback=readback, set=set)
    for key, value, origin in effective(profile, overlays(settings), plugins=plugins()):
        _out.say(f"{key} = {safe(value)}  # {safe(origin)}")
    return 0
