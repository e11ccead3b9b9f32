"""The allow-list: the profiles that may be run, and no other. A probe holds passwords; nobody names a server in a request."""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import field
from pathlib import Path

from probe.plain import dataclass
from probe.profile import Overlay, Problem, Profile, ProfileError, load_with_files, names
from probe.profile.find import is_path, user_folder
from probe.tasks.plan import Plan, make_plan, plugins

# A file that was changed so shortly before it was read may change once more within one tick of the file system's clock.
FRESH_SECONDS = 2.0
# Path, device, inode, size, times of last change (ns).
Stamp = tuple[tuple[str, int, int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Target:
    """A profile that may be run. `given` is how it was named; `plan` holds no secret yet; `mailboxes` are those it reads (host and
    user), sorted. `stamp`: what its files were when it was read, None where that is not certain."""

    name: str
    given: str
    profile: Profile
    plan: Plan
    mailboxes: tuple[str, ...]
    stamp: Stamp | None = field(default=None, compare=False)


def load_targets(wanted: Sequence[str], overlays: Sequence[Overlay] = ()) -> dict[str, Target]:
    """By name, the profiles that were named; with none named, all of the user's own (never the shipped ones, which name no server).

    Raises ProfileError with every mistake of every profile.
    """
    problems: list[Problem] = []
    found: dict[str, Target] = {}
    for name in wanted or _users_own():
        try:
            target = _read(name, overlays)
        except ProfileError as error:
            problems += error.problems
            continue
        if target.name in found:
            problems.append(Problem(name, None, "", f"there are two profiles named {target.name}; rename one file"))
        found[target.name] = target
    if not found and not problems:
        problems.append(
            Problem(None, None, "", "no profile to serve: name one, or put some into the folder `probe profiles` shows")
        )
    if problems:
        raise ProfileError(problems)
    return found


class Faults:
    """Which profiles' files, as they are now, are no profiles any more. Those that have not changed since they were last read well
    are not read again: that would take a process with 10 000 profiles more CPU than all their runs."""

    def __init__(self, overlays: Sequence[Overlay] = ()) -> None:
        self._overlays = overlays
        # By name: as what it was served when it was last read well, and what its files were then.
        self._seen: dict[str, tuple[Target, Stamp | None]] = {}

    def look(self, targets: Sequence[Target]) -> dict[str, str | None]:
        """By name, why the file is no profile; None where it is one. May take its time: for a thread."""
        before, now, faults = self._seen, {}, {}
        for target in targets:
            served, stamp = before.get(target.name, (None, None))
            fault, stamp = self._look_at(target, stamp if served is target else target.stamp)
            now[target.name], faults[target.name] = (target, stamp), fault
        self._seen = now
        return faults

    def _look_at(self, target: Target, stamp: Stamp | None) -> tuple[str | None, Stamp | None]:
        if stamp is not None and stamp == _stamp(Path(path) for path, *_ in stamp):
            return None, stamp
        try:
            return None, _read(target.given, self._overlays).stamp
        except ProfileError as error:
            return str(error), None


def _read(given: str, overlays: Sequence[Overlay]) -> Target:
    """The profile, and what its files are. Raises ProfileError."""
    begun = time.time()
    profile, files = load_with_files(given, list(overlays), plugins=plugins())
    plan = make_plan(profile)
    # What is found by its name is found in a folder: another file of that name may come.
    folders = () if is_path(given) and len(files) == 1 else (user_folder(os.environ),)
    stamp = _stamp([*files, *folders, *_certificates(profile, plan)])
    is_certain = max(max(one[-2:]) for one in stamp) / 1e9 < begun - FRESH_SECONDS
    return Target(profile.name, given, profile, plan, mailboxes(profile), stamp if is_certain else None)


def _certificates(profile: Profile, plan: Plan) -> list[Path]:
    """The other files without which the profile is none."""
    tokens = [account.token for account in (profile.account, *map(profile.account_for, profile.readers.values()))]
    own = [token.oauth.client_certificate for token in tokens if token and token.oauth]
    sides = [name for side in plan.sides for name in (side.ca_file, side.client_certificate, side.client_key)]
    return [Path(name) for name in dict.fromkeys((*own, *sides)) if name]


def _stamp(paths: Iterable[Path]) -> Stamp:
    """What the files and folders are now; zeros for one that is not there."""
    found = []
    for path in paths:
        try:
            seen = path.stat()
            # ctime too: `cp -p` may leave a file with its size and another file's time.
            found.append((str(path), seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns))
        except OSError:
            found.append((str(path), 0, 0, 0, 0, 0))
    return tuple(found)


def _users_own() -> list[str]:
    return [str(path) for _, path, origin, _ in names(os.environ) if origin == "user"]


def mailboxes(profile: Profile) -> tuple[str, ...]:
    """Host and user of each mailbox that the profile reads, sorted, so that whoever needs two takes them in the same order."""
    readers = profile.readers.values()
    return tuple(sorted({f"{profile.host_for(reader)} {profile.account_for(reader).username}".lower() for reader in readers}))
