"""A sender that the account does not own: who judges it in the envelope, and who only when the message has come."""

import pytest

from probe.profile import Profile
from probe.sandbox import Sandbox
from probe.tasks.audit import audit
from probe.tasks.run import load_profile


def profile(sandbox: Sandbox) -> Profile:
    data = {
        "submission": {"host": sandbox.fqdn, "port": sandbox.addresses["submission"].port, "connect": ["127.0.0.1"]},
        "account": {"username": sandbox.username, "password": {"file": str(sandbox.password_file)}},
        "tls": {"ca_file": str(sandbox.ca_file)},
    }
    return load_profile(data, {})


@pytest.mark.parametrize(("personality", "outcome"), [("postfix", "fail"), ("exchange-2016", "undecided")])
async def test_an_acceptance_at_rcpt_says_nothing_of_exchange(personality: str, outcome: str) -> None:
    async with Sandbox(personality=personality) as sandbox:
        (done,) = await audit(profile(sandbox), ("audit.foreign-sender",))
    assert done.facts.outcome == outcome, done
    assert ("only after DATA" in done.facts.evidence) is (outcome == "undecided")
    assert [finding.severity for finding in done.findings] == ["warning" if outcome == "fail" else "info"]
