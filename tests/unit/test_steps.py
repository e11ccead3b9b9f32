"""A remedy's step: what can be pasted stands apart from labels and words."""

# ruff: noqa: E501 (a step is easier to compare in one line)
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.judge import kinds
from probe.judge._replies import entries
from probe.observe.audit import checks
from probe.output import Context, output
from probe.output._flow import flowed, kept_whole
from probe.record import StageRecord, Target
from probe.report import Finding, Report, Stage
from probe.report.steps import parted, pieces

STEPS = sorted(
    {step for kind in kinds().values() for step in kind.remedy}
    | {step for entry in entries() for step in (*entry.steps, *entry.remedy)}
    | {step for name, module in checks().items() for step in module.FINDINGS[name].remedy}
)
# What a reader takes for a command wherever it stands.
COMMANDS = re.compile(
    r"\b(?:Get|Set|Enable|Restart|Test|Resolve)-[A-Z]\w+|\b(?:postconf|postqueue|doveadm|doveconf|openssl|certutil) [a-z-]"
)
PROSE = re.compile(
    r"(?<!\S)(?:Check|Fix|Exchange|Exchange Online|Postfix|Dovecot|Windows|Linux|More|Source): |, or |; then | in the profile|\(Windows"
)


def codes(step: str) -> list[str]:
    return [piece.text for piece in pieces(step) if piece.code]


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        ("Postfix: postfix reload   Dovecot: doveadm reload", ["postfix reload", "doveadm reload"]),
        (
            "Check: Test-NetConnection mail -Port 587 (Windows), or nc -vz mail 587; then the firewall",
            ["Test-NetConnection mail -Port 587", "nc -vz mail 587"],
        ),
        ("Check: dig +short A mail; dig +short AAAA mail (inside and outside)", ["dig +short A mail; dig +short AAAA mail"]),
        ("Exchange: Get-CASMailbox a@b | fl PopEnabled; use a test mailbox", ["Get-CASMailbox a@b | fl PopEnabled"]),
        ("Fix: certbot renew --deploy-hook 'postfix reload; doveadm reload', once", ["certbot renew --deploy-hook 'postfix reload; doveadm reload'"]),
        ("Work around: family = \"ipv4\" in the profile", ['family = "ipv4"']),
        ("Fix: $c = Get-ExchangeCertificate -Thumbprint A; Restart-Service B", ["$c = Get-ExchangeCertificate -Thumbprint A; Restart-Service B"]),
        ("Set-Mailbox a -AcceptMessagesOnlyFrom @{Add='b, or c'}, or else", ["Set-Mailbox a -AcceptMessagesOnlyFrom @{Add='b, or c'}"]),
        ("Fix: empty it (probe sweep p removes our own leftovers)", ["probe sweep p"]),
        ("Delete it by hand, or let `probe sweep` do so later", ["probe sweep"]),
        ("More: probe explain reply.x; https://example.org/a", ["probe explain reply.x", "https://example.org/a"]),
        ("Probe less often, and let the probe check postfix and its grep", []),
        ("Check: the server's log", []),
    ],
)  # fmt: skip
def test_what_can_be_pasted(step: str, wanted: list[str]) -> None:
    assert codes(step) == wanted


@pytest.mark.parametrize("step", STEPS)
def test_no_label_and_no_sentence_is_in_a_code_box_and_no_command_outside(step: str) -> None:
    assert not any(PROSE.search(code) for code in codes(step))
    outside = "".join(piece.text for piece in pieces(step) if not piece.code)
    assert not COMMANDS.search(outside), outside
    assert "".join(piece.text for piece in pieces(step)) == step.replace("`", "")


@given(st.text(alphabet="aG-' \";(){}[]`:,./|=$etpos\n", max_size=200))
def test_nothing_is_lost_whatever_the_text(text: str) -> None:
    assert "".join(piece.text for piece in pieces(text)).replace("`", "") == text.replace("`", "")
    assert "".join(parted(text)).replace(" ", "").replace(";", "") == text.replace(" ", "").replace(";", "")


@pytest.mark.parametrize("text", ["(" * 4000, "grep " * 800, "'" * 3999, "a = " * 1000, "x" * 2_000_000, "Get-A; " * 500])
def test_a_crafted_step_costs_little(text: str) -> None:
    """Counted, not timed: the pieces are few, and one that is too long is not looked at."""
    assert len(pieces(text)) <= len(text) // 2


def shown(format: str, step: str) -> str:
    finding = Finding("a.b", "critical", "smtp.connect", "s", remedy=(step,))
    stages = (Stage(StageRecord("smtp.connect", "failed"), "failed"),)
    made = Report("0", "p", Target("h", 587, "tls"), "2026-11-27T00:00:00Z", 1.0, "critical", None, None, stages, (finding,), ())
    return output(format).write([made], Context("2026-11-27T00:00:00Z", 1.0)).partition("<script")[0]


def test_labels_stand_outside_of_code_boxes() -> None:
    step = "Postfix: postfix reload   Dovecot: doveadm reload"
    assert "Postfix: <code>postfix reload</code>   Dovecot: <code>doveadm reload</code>" in shown("html", step)
    assert "- do: Postfix: `postfix reload`   Dovecot: `doveadm reload`\n" in shown("markdown", step)


# Lines


@given(st.text(alphabet="ab -", min_size=1, max_size=80), st.integers(20, 60))
def test_a_line_breaks_between_words_only(text: str, width: int) -> None:
    lines = list(flowed("  do:     ", text, hang=10, width=width))
    assert "".join(lines).split() == ["do:", *text.split()]
    assert all(len(line) <= width or len(line.split()) <= 2 for line in lines)


def test_a_command_is_one_word_and_a_pipe_one_line() -> None:
    step = "Check: Get-ReceiveConnector | fl Identity,Bindings; Get-Queue (Windows), or nc -vz mail.contoso.com 587 from elsewhere"
    narrow = list(flowed("  do:     ", kept_whole(step), hang=10, width=40))
    assert any("Get-ReceiveConnector | fl Identity,Bindings; Get-Queue" in line for line in narrow) and len(narrow) > 3
    assert list(flowed("  do:     ", kept_whole(step), hang=10, width=None)) == [f"  do:     {step}"]
