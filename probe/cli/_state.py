"""What is said where nothing can be kept: once, on stderr, and the verdict stands."""

import sys


def can_keep() -> bool:
    """Whether the state directory can be written; where it cannot, one line says what that costs, and what to do."""
    from probe.state.directory import state_directory, unusable

    why = unusable(state_directory())
    if why:
        lost = "no history, no back-off after a refused password, no trace of a message on its way"
        remedy = "set SUBMISSION_PROBE_STATE to a folder that can be written"
        print(f"probe: nothing can be kept ({why}): {lost}; the verdict stands; {remedy}", file=sys.stderr, flush=True)
    return not why
