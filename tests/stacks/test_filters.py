"""Postfix + Dovecot whose milters enclose the message in a spam report, add a footer, put a banner in front, or two of these."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.test_round_trip import NEIGHBOUR, Bench
from tests.servers.filters import BANNER, FOOTER, FilteredMailServers, why_not
from tests.servers.pki import Authority
from tests.stacks import stories

ENCLOSED, ADDED = "a filter enclosed the message in one of its own", "text was added to the message"
# What docs/what-a-verdict-proves.md promises of the milters, in their order: each a warning `message.altered`.
FOUND = {
    "spam": {ENCLOSED},
    "footer": {ADDED},
    "banner": {ADDED},
    "footer+spam": {ENCLOSED, ADDED},
    # SpamAssassin's preview shows the banner, and is too short for our text.
    "banner+spam": {ENCLOSED, ADDED},
    # The footer is added to SpamAssassin's report.
    "spam+footer": {ENCLOSED},
}
# What each milter writes, to know that it was there.
WRITES = {"spam": b"Content preview:", "footer": FOOTER.encode(), "banner": BANNER.encode()}


@pytest.fixture(scope="module", params=sorted(FOUND))
def milters(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def stack(authority: Authority, tmp_path_factory: pytest.TempPathFactory, milters: str) -> Iterator[Bench]:
    if reason := why_not():
        pytest.skip(reason)
    with FilteredMailServers(authority, *milters.split("+")) as servers:
        yield stories.neighbour(Bench(tmp_path_factory.mktemp("filters"), servers, user="probe"))


@pytest.mark.parametrize("readers", sorted(stories.READERS))
@pytest.mark.parametrize("security", stories.SECURITIES)
def test_what_was_done_is_a_warning_and_nothing_of_ours_stays(stack: Bench, milters: str, security: str, readers: str) -> None:
    before = stack.mail.messages(stack.user)
    ran = stories.run(stack, "--readback", readers, security=security)
    assert (ran.code, ran.report["verdict"], ran.report["failed_stage"]) == (1, "warning", None), stories.said(ran)
    expected = {(f"{reader}.verify", what) for reader in stories.READERS[readers] for what in FOUND[milters]}
    assert _altered(ran.report["findings"]) == expected and ran.findings - {"spam.verdict"} == {"message.altered"}, stories.said(
        ran
    )
    for reader in stories.READERS[readers]:
        facts = ran.stage(f"{reader}.verify")["facts"]
        assert (facts["ours"], facts["proven_by"], facts["subject"]) == (True, "header", "intact"), facts
        assert ran.stage(f"{reader}.delete")["status"] == "ok"
    assert any(b"lunch?" in message for message in before)
    assert sorted(stack.mail.messages(stack.user)) == sorted(before)


def test_a_sweep_finds_what_a_run_left_and_nothing_else(stack: Bench, milters: str) -> None:
    own = Bench(stack.folder, stack.mail, user="swept")
    own.mail.deliver(own.user, NEIGHBOUR)
    marker = stories.run(own, "--no-delete").stage("smtp.submit")["facts"]["marker"]
    left = [message for message in own.mail.messages(own.user) if b"lunch?" not in message]
    assert len(left) == 1 and all(WRITES[name] in left[0] for name in milters.split("+"))
    code, swept = own.sweep(own.profile(), "--older-than", "0")
    assert (code, swept["deleted"]) == (0, [marker]), swept
    assert [b"lunch?" in message for message in own.mail.messages(own.user)] == [True]


def _altered(findings: list[dict[str, str]]) -> set[tuple[str, str]]:
    # That the filter takes it for spam is no more than a remark.
    ours = [finding for finding in findings if finding["id"] != "spam.verdict"]
    assert {finding["severity"] for finding in ours} == {"warning"}, findings
    assert all(finding["severity"] == "info" for finding in findings if finding not in ours), findings
    return {(finding["stage"], finding["summary"]) for finding in ours}


def test_a_link_that_a_filter_sends_elsewhere_is_named_and_a_collection_sees_it_too(authority: Authority, tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    link = "https://www.contoso.test/page"
    with FilteredMailServers(authority, "links") as servers:
        bench = Bench(tmp_path, servers, user="probe")
        ran = stories.run(bench, "--set", f"message.link={link}")
        plain = stories.run(bench)
        stories.run(bench, "--send-only", "--set", f"message.link={link}")
        collected = stories.run(bench, "--collect")
    written = "https://links.example.test/?to=www.contoso.test/page"
    for report in (ran, collected):
        found = [finding for finding in report.report["findings"] if finding["id"] == "message.altered"]
        assert {(one["severity"], one["summary"]) for one in found} == {("info", "the link in the message was rewritten")}, found
        assert all(written in one["evidence"] for one in found) and report.code == 0, stories.said(report)
    facts = ran.stage("imap.verify")["facts"]
    assert (facts["link_rewritten"], facts["text"], facts["proven_by"]) == (written, "intact", "header")
    assert plain.stage("imap.verify")["facts"]["link_rewritten"] is None and "message.altered" not in plain.findings
