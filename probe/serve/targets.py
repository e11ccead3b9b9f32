"""The allow-list: the profiles that may be run, and no other. A probe holds passwords; nobody names a server in a request."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from probe.profile import Overlay, Problem, Profile, ProfileError, load, names
from probe.tasks.plan import Plan, make_plan, plugins


@dataclass(frozen=True, slots=True)
class Target:
    """A profile that may be run. `given` is how it was named; `plan` holds no secret yet; `mailboxes` are those it reads (host and
    user), sorted."""

    name: str
    given: str
    profile: Profile
    plan: Plan
    mailboxes: tuple[str, ...]


def load_targets(wanted: Sequence[str], overlays: Sequence[Overlay] = ()) -> dict[str, Target]:
    """By name, the profiles that were named; with none named, all of the user's own (never the shipped ones, which name no server).

    Raises ProfileError with every mistake of every profile.
    """
    problems: list[Problem] = []
    found: dict[str, Target] = {}
    for name in wanted or _users_own():
        try:
            target = _target(name, load(name, list(overlays), plugins=plugins()))
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


def fault_of(target: Target, overlays: Sequence[Overlay] = ()) -> str | None:
    """Why the target's file, as it is now, is no profile any more; None where it is one."""
    try:
        load(target.given, list(overlays), plugins=plugins())
    except ProfileError as error:
        return str(error)
    return None


def _users_own() -> list[str]:
    return [str(path) for _, path, origin, _ in names(os.environ) if origin == "user"]


def _target(given: str, profile: Profile) -> Target:
    return Target(profile.name, given, profile, make_plan(profile), mailboxes(profile))


def mailboxes(profile: Profile) -> tuple[str, ...]:
    """Host and user of each mailbox that the profile reads, sorted, so that whoever needs two takes them in the same order."""
    readers = profile.readers.values()
    return tuple(sorted({f"{profile.host_for(reader)} {profile.account_for(reader).username}".lower() for reader in readers}))
