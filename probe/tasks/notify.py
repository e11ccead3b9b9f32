"""`--notify-after N`: a failure that passes by itself alarms nobody; the Nth in a row does. What was seen is reported as it was."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from probe.report import Report, worst_verdict
from probe.state.place import Place


def counted(
    reports: Sequence[Report], probed: Callable[[Report], str], notify_after: int, place: Place
) -> tuple[list[Report], str | None]:
    """The reports with how many runs in a row were not well, and what to alarm with; and a remark where that cannot be kept: then
    each failure alarms. All reports of one thing that is probed (its nodes, a collection and the run after it) are one run. What
    we ended ourselves says nothing."""
    done = list(reports)
    remark = None
    for whose in dict.fromkeys(probed(report) for report in reports if not report.interrupted):
        group = [index for index, report in enumerate(done) if probed(report) == whose and not report.interrupted]
        verdict = worst_verdict(done[index].verdict for index in group)
        try:
            streak = place.count_run(whose, verdict)
        except OSError as error:
            remark = f"failures in a row cannot be counted ({error.strerror or error}): each one alarms"
            continue
        in_a_row = streak.failed or streak.not_ok
        for index in group:
            alarm = streak.alarm(done[index].verdict, notify_after)
            done[index] = replace(done[index], failures_in_a_row=in_a_row, notify_after=notify_after, alarm=alarm)
    return done, remark
