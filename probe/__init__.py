"""submission-probe: prove that users can submit mail on port 587 and read it back.

The library's face is three names, each loaded when first used so that `import probe` costs nothing
but the standard library:

    report = await probe.run("exchange-2016", host="mail.contoso.com", user="probe@contoso.com")

`run(profile, **options) -> Report`, `Profile`, `Report`, and `ProfileError`, which is the one exception a
caller's own mistake raises.
"""

from typing import TYPE_CHECKING, Any

from probe.version import __version__

if TYPE_CHECKING:
    from probe.profile import Profile, ProfileError
    from probe.report import Report
    from probe.tasks.run import run

__all__ = ["Profile", "ProfileError", "Report", "__version__", "run"]

_HOMES = {
    "run": "probe.tasks.run",
    "Report": "probe.report",
    "Profile": "probe.profile",
    "ProfileError": "probe.profile",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'probe' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
