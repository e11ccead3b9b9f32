"""Where profiles lie, and which file a name means."""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import probe.profile.textfile as textfile
from probe.profile.kinds import shown
from probe.profile.problem import Problem, ProfileError
from probe.profile.values import at_home

# A folder in which nothing can ever lie.
NOWHERE = Path(os.devnull) / "profiles"
FOLDER_VARIABLE = "SUBMISSION_PROBE_PROFILES"


def user_folder(environ: Mapping[str, str]) -> Path:
    """The folder of the user's own profiles: `SUBMISSION_PROBE_PROFILES`, else the platform's place for settings
    (XDG; on Windows %APPDATA%, which moves with its user); NOWHERE for a user without a home directory."""
    if named := environ.get(FOLDER_VARIABLE):
        return Path(named)
    from platformdirs import user_config_path

    try:
        return user_config_path("submission-probe", appauthor=False, roaming=True) / "profiles"
    except RuntimeError:  # platformdirs: neither HOME nor an entry in passwd
        return NOWHERE


def shipped_folder(name: str = "profiles") -> Path:
    """What came with us: `profiles`, or `deploy` (files for schedulers and monitoring); inside the package in a wheel, beside it
    in a checkout."""
    import probe

    package = Path(probe.__file__).parent
    installed = package / f"_{name}"
    return installed if installed.is_dir() else package.parent / name


def names(environ: Mapping[str, str] | None = None) -> list[tuple[str, Path, str, str]]:
    """Every profile one can name, sorted: (name, path, "user" or "shipped", description). A user's hides a shipped."""
    found: dict[str, tuple[str, Path, str, str]] = {}
    for path, origin in _files(os.environ if environ is None else environ):
        found.setdefault(path.stem, (path.stem, path, origin, _description(path)))
    return [found[name] for name in sorted(found)]


def is_path(name: str) -> bool:
    """Whether it names a file, not a profile: it has a separator of this system (on Windows `\\` too), or ends in .toml."""
    return any(separator in name for separator in ("/", os.sep)) or name.endswith(".toml")


def find(
    name: str,
    environ: Mapping[str, str],
    *,
    folder: Path | None = None,
    child: Path | None = None,
    at: Problem | None = None,
) -> Path:
    """The file a name or path means.

    `folder` is where relative paths start (a child's folder; else the current one). `child` is the profile that
    extends the name: it is passed over, so that a user's `postfix-dovecot` can extend the shipped one.
    Raises ProfileError, placed at `at`, for an unknown name, with the nearest names and all of them.
    """
    place = at or Problem(None, None, "", "")
    if not name.isprintable() or not name:
        text = f"expected a profile's name or path, got {shown(name)}"
        raise ProfileError(Problem(place.file, place.line, place.key, text))
    if is_path(name):
        try:
            return Path(folder or "", at_home(name))
        except ValueError as error:
            raise ProfileError(Problem(place.file, place.line, place.key, str(error))) from None
    if (path := _at_once(name, environ, child)) is not None:
        return path
    candidates = [path for path, _ in _files(environ) if child is None or path.resolve() != child.resolve()]
    for path in candidates:
        if path.stem == name:
            return path
    known = sorted({path.stem for path in candidates})
    near = difflib.get_close_matches(name, known, n=2)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    text = f"no profile is named {shown(name)}{hint} (known: {', '.join(known) or 'none'})"
    text += _lying_here(name, folder) + _own_ones(environ)
    raise ProfileError(Problem(place.file, place.line, place.key, text))


def _at_once(name: str, environ: Mapping[str, str], child: Path | None) -> Path | None:
    """The file of that name, without a look at all others: each of 10 000 profiles extends one. None where that leaves a doubt."""
    for folder, _ in _folders(environ):
        path = folder / f"{name}.toml"
        if path.exists():
            # Not where the system takes upper case for lower; a link is left to the long way too.
            real = path.resolve()
            return path if real.name == path.name and (child is None or real != child.resolve()) else None
    return None


def _lying_here(name: str, folder: Path | None) -> str:
    """What to write for a file of that name, which a name alone does not mean."""
    if not Path(folder or "", f"{name}.toml").is_file():
        return ""
    if folder is not None:
        return f'; {name}.toml lies beside this file: extends = "{name}.toml"'
    return f"; {name}.toml lies in this directory: `probe run {name}.toml`"


def _own_ones(environ: Mapping[str, str]) -> str:
    folder = user_folder(environ)
    return "" if folder == NOWHERE else f". Own profiles are looked for in {folder}"


def _folders(environ: Mapping[str, str]) -> tuple[tuple[Path, str], ...]:
    return (user_folder(environ), "user"), (shipped_folder(), "shipped")


def _files(environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    for folder, origin in _folders(environ):
        if folder.is_dir():
            yield from ((path, origin) for path in sorted(folder.glob("*.toml")))


def _description(path: Path) -> str:
    try:
        said = tomllib.loads(textfile.read(path)).get("description", "")
    except (OSError, ValueError, RecursionError):
        return "(cannot be read)"
    return said if isinstance(said, str) and said.isprintable() else ""
