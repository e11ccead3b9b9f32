"""One block a cause: which findings are one, what is said once of them, and that machines still get each."""

import json

import pytest

from probe.cli._show import _brief
from probe.output import Context, output
from probe.record import StageRecord, Target
from probe.report import Finding, Report, Stage
from probe.report.causes import Advice, causes

LEGS = ("smtp", "imap", "pop3")
WRONG = "the certificate is not valid for mail.contoso.com; its names: other"


def found(stage: str, summary: str = WRONG, cause: str = "Likely this.", **more: object) -> Finding:
    values: dict[str, object] = {
        "id": "certificate.name-mismatch",
        "severity": "critical",
        "evidence": "other: another name",
        **more,
    }
    return Finding(stage=stage, summary=summary, cause=cause, **values)  # type: ignore[arg-type]


def report(*findings: Finding) -> Report:
    stages = tuple(Stage(StageRecord(name, "ok"), "ok") for name in dict.fromkeys(one.stage for one in findings))
    return Report(
        "0" * 16, "p", Target("mail.contoso.com", 587, "starttls"), "2026-11-27T00:00:00Z", 1.0, "critical", None, None,
        stages, findings, (),
    )  # fmt: skip


THREE = [found(f"{leg}.certificate", remedy=("Check: certutil -dump", f"Exchange: Get-{leg}Settings")) for leg in LEGS]


def test_what_three_ports_show_is_one_cause_with_three_places() -> None:
    (cause,) = causes(THREE)
    assert cause.stages == ["smtp.certificate", "imap.certificate", "pop3.certificate"] and not cause.others
    assert cause.likely == [Advice("Likely this.")] and cause.evidence == [Advice("other: another name")]
    assert cause.steps[0] == Advice("Check: certutil -dump")
    assert cause.steps[1:] == [Advice(f"Exchange: Get-{leg}Settings", (leg,)) for leg in LEGS]


def test_the_worst_comes_first_and_two_things_at_one_stage_stay_two() -> None:
    many = [
        found("imap.certificate", "b", severity="warning"),
        found("smtp.certificate", "a"),
        found("smtp.certificate", "b"),
        found("imap.certificate", "b"),
        found("imap.certificate", "a"),
    ]
    assert [(cause.finding.severity, cause.finding.summary, len(cause.places)) for cause in causes(many)] == [
        ("critical", "a", 2),
        ("critical", "b", 2),
        ("warning", "b", 1),
    ]


def test_the_same_step_with_the_same_likely_cause_is_one_each_in_its_own_words() -> None:
    (cause,) = causes([found("smtp.auth", "535 no", id="auth.x"), found("imap.login", "NO no", id="auth.x", evidence="NO no")])
    assert [other.summary for other in cause.others] == ["NO no"]
    assert cause.evidence == [Advice("other: another name", ("smtp.auth",))]


@pytest.mark.parametrize(
    "other",
    [
        found("imap.certificate", id="certificate.expired"),
        found("imap.certificate", severity="warning"),
        found("imap.certificate", "else", cause="Another."),
        found("imap.login", "else"),
        found("imap.certificate", "else", cause=""),
    ],
)
def test_what_is_not_the_same_stays_apart(other: Finding) -> None:
    assert len(causes([found("smtp.certificate"), other])) == 2


def test_a_refused_password_is_one_cause_though_two_products_refuse_it() -> None:
    places = [
        found(stage, stage, cause=f"{stage} likely.", id="auth.refused") for stage in ("smtp.auth", "imap.login", "pop3.login")
    ]
    (cause,) = causes(places)
    assert [advice.where for advice in cause.likely] == [("smtp",), ("imap",), ("pop3",)]


def test_the_sentences_with_which_all_begin_and_end_are_said_once() -> None:
    text = "It is old. See v1.2 of it. {} has its own. All say so."
    (cause,) = causes([found(f"{leg}.certificate", cause=text.format(leg.upper())) for leg in LEGS])
    assert cause.likely[:2] == [Advice("It is old. See v1.2 of it."), Advice("All say so.")]
    assert cause.likely[2:] == [Advice(f"{leg.upper()} has its own.", (leg,)) for leg in LEGS]


@pytest.mark.parametrize(
    ("format", "heading"),
    [
        ("text", "CRITICAL  smtp.certificate"),
        ("markdown", "### critical"),
        ("github", "::error title=p smtp"),
        ("html", '<section class="cause'),
    ],
)
def test_people_read_one_block(format: str, heading: str) -> None:
    text = output(format).write([report(*THREE)], Context("2026-11-27T00:00:00Z", 1.0))
    text = text.partition("<script")[0]  # HTML carries the run as JSON behind the page
    assert text.count(WRONG) == text.count(heading) == 1 and all(f"{leg}.certificate" in text for leg in LEGS)


def test_the_mail_of_cron_has_one_line_for_it() -> None:
    lines = _brief([report(*THREE)], None).splitlines()
    assert lines[1:] == [
        f"  critical smtp.certificate, imap.certificate, pop3.certificate certificate.name-mismatch: {WRONG}",
        "    do: Check: certutil -dump",
    ]


@pytest.mark.parametrize("format", ["json", "jsonl", "junit", "tap"])
def test_machines_get_each_finding(format: str) -> None:
    text = output(format).write([report(*THREE)], Context("2026-11-27T00:00:00Z", 1.0))
    assert text.count(WRONG) >= 3
    if format == "json":
        assert [one["stage"] for one in json.loads(text)["reports"][0]["findings"]] == [one.stage for one in THREE]
