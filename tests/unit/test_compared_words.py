"""What a comparison says: a finding in words, one line for all that a failure hid, and a new certificate only where it is good."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probe.output import Context, output
from probe.output._compared import hint, summary
from probe.output.text import comparison_lines
from probe.report.comparison import comparison_to_json
from probe.runs.compare import compare

RUN: dict[str, Any] = json.loads((Path(__file__).parent.parent / "recorded" / "ok-exchange.json").read_text(encoding="ascii"))
NEW = "434AC224C8459924B26521298CE8834C514856AB"


def changed(*changes: Callable[[dict[str, Any]], None], run: dict[str, Any] = RUN) -> dict[str, Any]:
    """The run with each change made to its report."""
    run = copy.deepcopy(run)
    for change in changes:
        change(run["reports"][0])
    return run


def serves(*legs: str, thumbprint: str = NEW, **facts: Any) -> Callable[[dict[str, Any]], None]:
    """These ports serve another certificate."""

    def change(report: dict[str, Any]) -> None:
        for stage in report["stages"]:
            if stage["name"] in [f"{leg}.certificate" for leg in legs]:
                stage["facts"] |= {"thumbprint": thumbprint, "sha256": "5F" * 32, **facts}

    return change


def fails(name: str, *also: str, because: str | None = None) -> Callable[[dict[str, Any]], None]:
    """A stage fails, and those behind it in its leg, and what `also` begins with, are skipped."""

    def change(report: dict[str, Any]) -> None:
        names = [stage["name"] for stage in report["stages"]]
        for number, stage in enumerate(report["stages"]):
            behind = number > names.index(name) and stage["name"].partition(".")[0] == name.partition(".")[0]
            if stage["name"] == name:
                stage["status"] = "failed"
            elif behind or stage["name"].startswith(also or ("\0",)):
                reason = f"because {name} failed" if behind else because
                stage |= {"status": "skipped", "reason": reason, "facts": {}}

    return change


def found(stage: str, id: str, severity: str = "critical") -> Callable[[dict[str, Any]], None]:
    finding = {"id": id, "severity": severity, "stage": stage, "summary": "", "evidence": "", "cause": "", "remedy": []}
    return lambda report: report["findings"].append(finding)


EXPIRED = changed(serves("pop3", trusted=False), fails("pop3.certificate"), found("pop3.certificate", "certificate.expired"))


def text(before: dict[str, Any], after: dict[str, Any], *expected: tuple[str, str]) -> str:
    return "\n".join(comparison_lines(compare(before, after, expected)))


def test_a_finding_is_told_in_words() -> None:
    assert "  critical  new finding in pop3.certificate: certificate.expired (critical)\n" in text(RUN, EXPIRED)
    everywhere = changed(*(found(f"{leg}.certificate", "certificate.expires-soon", "warning") for leg in ("smtp", "imap", "pop3")))
    said = text(RUN, everywhere)
    assert "new finding in smtp.certificate, imap.certificate, pop3.certificate: certificate.expires-soon (warning)" in said
    assert "better    no longer found in smtp.certificate" in text(everywhere, RUN)
    worse = changed(found("imap.find", "delivery.late", "critical"))
    milder = changed(found("imap.find", "delivery.late", "warning"))
    assert "critical  finding in imap.find: delivery.late: warning → critical" in text(milder, worse)


def test_what_a_failure_hid_is_one_line() -> None:
    told = compare(RUN, EXPIRED)
    hidden = [change.key for change in told.changes if change.because == "pop3.certificate"]
    assert {"pop3.login.status", "pop3.find.status", "pop3.mechanism", "pop3.folder"} <= set(hidden)
    assert not any(key.startswith(("pop3.certificate", "finding.", "imap.")) for key in hidden)
    line = f"not seen, because pop3.certificate failed: {len(hidden)} facts"
    said = text(RUN, EXPIRED)
    assert said.count(line) == 1 and "pop3.capabilities" not in said and f"{len(hidden)} facts not seen" in summary(told)
    for format in ("markdown", "html"):
        page = output(format).write([], Context(told.after, 0.0, comparison=told)).partition("<script")[0].replace("\\", "")
        assert page.count(line) == 1 and "pop3.mechanism" not in page.replace("<wbr>", ""), format
    # Programs get each.
    listed: Any = comparison_to_json(told)["changes"]
    assert {change["key"] for change in listed if change["because"]} == set(hidden)


def test_what_a_stage_that_ran_shows_no_longer_is_a_change() -> None:
    """A keyword was taken away, and the logon fails too: the keyword is no consequence."""

    def without_size(report: dict[str, Any]) -> None:
        for stage in report["stages"]:
            if stage["name"] == "smtp.ehlo":
                del stage["facts"]["keywords"]["SIZE"]

    told = compare(RUN, changed(without_size, fails("smtp.starttls")))
    because = {change.key: change.because for change in told.changes}
    assert because["ehlo.SIZE"] is None and because["ehlo_tls.SIZE"] == because["certificate.names"] == "smtp.starttls"
    assert "ehlo.SIZE: offered" in text(RUN, changed(without_size, fails("smtp.starttls")))


def test_the_readers_follow_from_a_failed_submission_and_not_from_another_reader() -> None:
    nothing = "no message was submitted, and the maildrop is a snapshot taken at logon"
    told = compare(RUN, changed(fails("smtp.auth", "pop3.login", "pop3.find", because=nothing), fails("imap.login")))
    because = {change.key: change.because for change in told.changes}
    assert because["pop3.mechanism"] == because["pop3.find.status"] == because["smtp.submit.status"] == "smtp.auth"
    assert because["imap.find.status"] == "imap.login" and because["imap.login.status"] is None


def test_a_finding_of_a_stage_that_was_not_reached_is_not_better() -> None:
    before = changed(found("pop3.login", "auth.login-delay", "warning"))
    assert "better" not in text(before, EXPIRED)


def test_what_was_announced_is_shown_although_it_follows() -> None:
    said = text(RUN, EXPIRED, ("pop3.mechanism", "LOGIN"), ("pop3.folder", "None"))
    assert "warning   pop3.mechanism:" in said and "expected  pop3.folder:" in said


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (changed(serves("smtp", "imap", "pop3")), f"--expect-change certificate={NEW}"),
        (changed(serves("pop3")), f"--expect-change pop3.certificate={NEW}"),
        (changed(serves("smtp")), f"--expect-change smtp.certificate={NEW}"),
        (changed(serves("smtp", "pop3")), f"--expect-change smtp.certificate={NEW} --expect-change pop3.certificate={NEW}"),
        (changed(serves("pop3"), found("pop3.certificate", "certificate.expires-soon", "warning")), f"pop3.certificate={NEW}"),
        # IMAP4 failed before its certificate was seen.
        (changed(serves("smtp", "pop3"), fails("imap.connect")), f"smtp.certificate={NEW} --expect-change pop3.certificate={NEW}"),
        # Expired, for another name, not trusted; or several: which one is meant?
        (EXPIRED, ""),
        (changed(serves("smtp", "imap", "pop3"), found("imap.certificate", "certificate.name-mismatch")), ""),
        (changed(serves("pop3", trusted=False)), ""),
        (changed(serves("pop3"), serves("imap", thumbprint="AB" * 20)), ""),
        (changed(fails("smtp.starttls")), ""),
    ],
)
def test_a_new_certificate_is_suggested_for_the_ports_that_have_it(after: dict[str, Any], said: str) -> None:
    suggested = hint(compare(RUN, after))
    assert suggested.endswith(said) and bool(suggested) == bool(said)
    # What is suggested is right: nothing of the certificates is left to worry about.
    words = [tuple(word.split("=")) for word in suggested.split() if "=" in word]
    told = compare(RUN, after, [(key, value) for key, value in words])
    assert not words or not [change.key for change in told.changes if change.key.endswith("thumbprint") and change.wanted]


def test_an_old_bad_certificate_that_is_still_bad_is_not_suggested() -> None:
    bad = found("pop3.certificate", "certificate.unknown-issuer")
    assert hint(compare(changed(bad), changed(bad, serves("pop3")))) == ""


def test_nothing_is_suggested_where_one_of_two_nodes_has_it() -> None:
    def nodes(*reports: dict[str, Any]) -> dict[str, Any]:
        run = copy.deepcopy(RUN)
        run["reports"] = [copy.deepcopy(report["reports"][0]) | {"kind": "node"} for report in reports]
        for number, report in enumerate(run["reports"], 1):
            report["target"] |= {"address": f"192.0.2.{number}"}
        return run

    assert hint(compare(nodes(RUN, RUN), nodes(RUN, changed(serves("pop3"))))) == ""
    both = changed(serves("pop3"))
    assert hint(compare(nodes(RUN, RUN), nodes(both, both))).endswith(f"--expect-change pop3.certificate={NEW}")
