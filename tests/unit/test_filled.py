"""Commands are complete: what a run saw stands in the place of SERVER, QUEUE-ID and the like, unless it could do harm in a shell."""

# ruff: noqa: E501 (a command is easier to compare in one line)
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.certificate.identifier import assignment
from probe.facts import Certified, Connected, Facts, Greeted, Resolved, Secured, Submitted
from probe.judge import findings, kinds
from probe.judge._filled import filled
from probe.judge._replies import entries
from probe.profile import Profile, load, load_mapping
from probe.record import Record, StageRecord, Target, Trouble
from probe.report import Finding
from probe.report.steps import pieces
from probe.tasks.plan import plugins

MARKER = "submission-probe-" + "a2" * 13
OLD, NEW = "A" * 40, "B" * 40
SETTINGS = {
    "submission": {"host": "mail.contoso.com", "port": 587},
    "account": {"username": "probe@contoso.com", "password": {"env": "X"}},
    "message": {"sender": "from@contoso.com", "recipient": "to@example.org"},
    "readback": {"imap": {"host": "imap.contoso.com", "port": 993, "account": {"username": "reader"}}, "pop3": {"port": 995}},
}
PROFILE = load_mapping(SETTINGS, plugins=plugins())


def certified(thumbprint: str, *, since: str = "2026-01-01T00:00:00Z", good: bool = True) -> Certified:
    link = {"subject": "CN=mail", "issuer": "CN=CA", "dns_names": ["mail.contoso.com"], "sha256": thumbprint}
    name = "<I>CN=CA<S>CN=mail"
    return Certified(trusted=good, thumbprint=thumbprint, chain=[link], not_before=since, certificate_name=name)  # type: ignore[list-item]


SEEN: dict[str, Facts] = {
    "smtp.resolve": Resolved(resolvers={"inside": {"server": "10.0.0.53:53"}}),  # type: ignore[dict-item]
    "smtp.connect": Connected(remote="[2001:db8::25]:587"),
    "smtp.greeting": Greeted(lines=["220 mail.contoso.com Microsoft ESMTP MAIL Service ready"], name="mail.contoso.com"),
    "smtp.submit": Submitted(marker=MARKER, queue_id="4WxYz12345", hostname="EX01.contoso.com"),
}


def record(seen: dict[str, Facts] | None = None) -> Record:
    stages = tuple(StageRecord(name, "ok", facts=facts) for name, facts in (SEEN if seen is None else seen).items())
    return Record("0" * 16, "p", Target("mail.contoso.com", 587, "starttls"), "2026-11-27T00:00:00Z", 1.0, stages)


def steps(
    step: str, stage: str = "smtp.submit", profile: Profile = PROFILE, seen: dict[str, Facts] | None = None, **more: str
) -> str:
    finding = replace(Finding("x.y", "critical", stage, "resolver inside (10.0.0.53) says no", remedy=(step,)), **more)  # type: ignore[arg-type]
    (one,) = filled(record(seen), profile, [finding])
    return "\n".join(one.remedy)


@pytest.mark.parametrize(
    ("step", "stage", "wanted"),
    [
        ("Exchange: Get-MessageTrackingLog -MessageSubject MARKER; Get-Queue", "imap.find", f"-MessageSubject {MARKER}; Get-Queue"),
        ("Postfix: postqueue -p; grep QUEUE-ID /var/log/mail.log", "pop3.find", "grep 4WxYz12345 /var"),
        ("Dovecot: doveadm auth test USER", "imap.login", "auth test reader"),
        ("Dovecot: doveadm auth test USER", "pop3.login", "auth test probe@contoso.com"),
        ("Add-RecipientPermission SENDER -Trustee ACCOUNT", "smtp.submit", "from@contoso.com -Trustee probe@contoso.com"),
        ("postmap -q RECIPIENT MAP", "smtp.submit", "-q to@example.org MAP"),
        ("Set-Mailbox R -AcceptMessagesOnlyFrom @{Add='SENDER'}", "smtp.submit", "@{Add='from@contoso.com'}"),
        ("nc -vz NAME PORT", "imap.connect", "nc -vz imap.contoso.com 993"),
        (
            "Test-NetConnection NAME -Port 587 (Windows), or nc -vz NAME 587",
            "pop3.connect",
            "mail.contoso.com -Port 995 (Windows), or",
        ),
        ("ip route get ADDRESS", "smtp.connect", "get 2001:db8::25"),
        ("setspn -Q SMTP/FQDN", "smtp.auth", "SMTP/mail.contoso.com"),
        (
            "delv NAME TLSA; dig +dnssec NAME TLSA",
            "imap.certificate",
            "delv _993._tcp.imap.contoso.com TLSA; dig +dnssec _993._tcp.im",
        ),
        (
            "Resolve-DnsName NAME -Server SERVER, or dig @SERVER NAME",
            "smtp.resolve",
            "mail.contoso.com -Server 10.0.0.53, or dig @10.0",
        ),
        (
            "Set-ReceiveConnector 'NAME\\Client Frontend NAME' -Fqdn NAME",
            "smtp.ehlo",
            "'EX01\\Client Frontend EX01' -Fqdn mail.contoso.com",
        ),
        ("Get-ServerComponentState NAME", "smtp.submit", "State EX01"),
        ("Set-ServerComponentState SERVER -Component X", "smtp.submit", "State EX01 -"),
        ("dig MX DOMAIN", "smtp.submit", "dig MX contoso.com"),
    ],
)
def test_a_command_is_filled_from_what_was_seen(step: str, stage: str, wanted: str) -> None:
    assert wanted in steps(step, stage)


@pytest.mark.parametrize(
    "step",
    [
        "Test-NetConnection MAILBOX-SERVER -Port 465",
        "nltest /sc_query:DOMAIN",
        "Mount-Database DATABASE",
        "Run it again with --password-env NAME",
        "certutil -verifystore My THUMBPRINT",
        "Publish: _587._tcp.NAME. IN TLSA 3 1 1 USER",
    ],
)
def test_what_no_run_can_see_stays_a_placeholder(step: str) -> None:
    assert steps(step) == step


def test_a_servers_words_are_no_placeholder() -> None:
    line = assignment("<I>CN=USER<S>CN=SERVER, OU=O'NAME")
    assert steps(line, "smtp.certificate").endswith("-TlsCertificateName '<I>CN=USER<S>CN=SERVER, OU=O''NAME'")


def test_the_profile_is_named_as_it_was_given(tmp_path: Path) -> None:
    file = tmp_path / "contoso.toml"
    file.write_text('[submission]\nhost = "mail.contoso.com"\n[message]\nsender = "a@b.test"\nrecipient = "a@b.test"\n')
    profile = load(file, plugins=plugins())
    # A backslash means something to sh.
    shown = "PROFILE" if "\\" in str(file) else file
    assert steps("probe sweep PROFILE --older-than 1d", profile=profile) == f"probe sweep {shown} --older-than 1d"
    assert steps("probe sweep PROFILE --older-than 1d") == "probe sweep PROFILE --older-than 1d"
    spaced = tmp_path / "my profile.toml"
    spaced.write_text(file.read_text())
    assert "PROFILE" in steps("probe sweep PROFILE", profile=load(spaced, plugins=plugins()))


def test_our_own_address_is_the_one_that_the_refusal_names() -> None:
    assert steps("dig -x ADDRESS", evidence="554 Client host [192.0.2.7] blocked using zen.spamhaus.org") == "dig -x 192.0.2.7"
    assert steps("dig -x ADDRESS", evidence="554 [a$(id)] [192.0.2.7] [192.0.2.8]") == "dig -x ADDRESS"


# Which certificate


ENABLE = "Fix: Enable-ExchangeCertificate -Thumbprint THUMBPRINT -Services SMTP,POP,IMAP"


def test_the_thumbprint_is_that_of_a_good_certificate_never_the_wrong_one() -> None:
    two = {"smtp.certificate": certified(OLD), "imap.certificate": certified(NEW)}
    assert NEW in steps(ENABLE, "smtp.certificate", seen=two)
    alone = {"smtp.certificate": certified(OLD)}
    assert "THUMBPRINT" in steps(ENABLE, "smtp.certificate", seen=alone)
    untrusted = {"smtp.certificate": certified(OLD), "imap.certificate": certified(NEW, good=False)}
    assert "THUMBPRINT" in steps(ENABLE, "smtp.certificate", seen=untrusted)


def test_the_pinned_thumbprint_is_the_one_to_enable() -> None:
    profile = load_mapping({**SETTINGS, "tls": {"thumbprint": "C" * 40}}, plugins=plugins())
    assert "C" * 40 in steps(
        ENABLE, "smtp.certificate", profile, {"smtp.certificate": certified(OLD), "imap.certificate": certified(NEW)}
    )


def test_the_service_that_was_not_reloaded_gets_the_newest() -> None:
    seen = {
        "smtp.certificate": certified(OLD, since="2026-01-01T00:00:00Z"),
        "imap.certificate": certified(NEW, since="2026-09-01T00:00:00Z"),
        "pop3.certificate": certified(OLD, since="2026-01-01T00:00:00Z"),
    }
    told = steps(ENABLE, "smtp.certificate", seen=seen, id="certificate.not-reloaded")
    assert told == f"Fix: Enable-ExchangeCertificate -Thumbprint {NEW} -Services SMTP,POP"
    wanted = "Set-ReceiveConnector 'SERVER\\Client Frontend SERVER' -TlsCertificateName '<I>issuer<S>subject'"
    assert steps(wanted, "smtp.certificate", seen=seen, id="certificate.not-reloaded").endswith("'<I>CN=CA<S>CN=mail'")


# The server's name


def test_the_servers_name_comes_from_where_exchange_says_it_and_not_from_a_public_name() -> None:
    step = "Get-ReceiveConnector 'SERVER\\Client Frontend SERVER' | fl Fqdn"
    node = {"imap.tls": Secured(node="EX02")}
    assert "'EX02\\Client Frontend EX02'" in steps(step, "smtp.ehlo", seen=node)
    public = {
        "smtp.greeting": Greeted(lines=["220 autodiscover.contoso.com Microsoft ESMTP MAIL"], name="autodiscover.contoso.com")
    }
    # To be pasted on the server itself: PowerShell puts its name in, between double quotes only.
    assert (
        steps(step, "smtp.ehlo", seen=public)
        == r'Get-ReceiveConnector "$env:COMPUTERNAME\Client Frontend $env:COMPUTERNAME" | fl Fqdn'
    )
    assert steps("Get-ServerComponentState SERVER", seen=public) == "Get-ServerComponentState $env:COMPUTERNAME"


# Hostile values


NASTY = (
    "$(touch PWNED)", "`touch PWNED`", "x; touch PWNED", "x'; touch PWNED; '", 'x"; touch PWNED; "', "x|touch PWNED", "x\ntouch PWNED", "-rf",
    "--help", "x\u2019; Remove-Mailbox", "x&calc", "%PATH%", "x y", "~root", "*", "<x", "@{x}", "a\\b", "\x00", "x\u202ey", "\uff10", "",
)  # fmt: skip
SERVER_CHOSEN = [step for kind in kinds().values() for step in kind.remedy] + [step for entry in entries() for step in entry.remedy]


def hostile(text: str) -> dict[str, Facts]:
    return {
        "smtp.resolve": Resolved(resolvers={"inside": {"server": text}}),  # type: ignore[dict-item]
        "smtp.connect": Connected(remote=f"{text}:587", node=text),
        "smtp.greeting": Greeted(lines=[f"220 {text} Microsoft ESMTP"], name=text),
        "smtp.submit": Submitted(marker=text, queue_id=text, hostname=text),
        "imap.connect": Connected(node=text),
        "imap.certificate": replace(certified(text), certificate_name=f"<I>{text}<S>{text}"),
    }


def every_step(text: str, stage: str) -> list[str]:
    """All remedies there are, filled; the certificate's name aside, which is quoted as a whole (and tested below)."""
    finding = Finding(
        "x.y", "critical", stage, "resolver inside says no", f"550 [{text}]", remedy=tuple(dict.fromkeys(SERVER_CHOSEN))
    )
    (one,) = filled(record(hostile(text)), PROFILE, [finding])
    return [re.sub(r"(?<=-TlsCertificateName )'<I>[^']*'", "QUOTED", step) for step in one.remedy]


@pytest.mark.parametrize("text", NASTY)
def test_a_hostile_value_leaves_the_placeholder(text: str) -> None:
    for stage in ("smtp.submit", "smtp.certificate", "imap.find"):
        assert every_step(text, stage) == every_step("", stage)


@given(st.text(min_size=1, max_size=20))
def test_no_value_means_anything_to_a_shell(text: str) -> None:
    word = steps("grep QUEUE-ID /var/log/mail.log", seen=hostile(text)).split(" ", 1)[1].removesuffix(" /var/log/mail.log")
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", word)
    name = steps("Get-ReceiveConnector 'SERVER\\Client Frontend SERVER'", seen=hostile(text)).split(" ", 1)[1]
    assert re.fullmatch(
        r"'([A-Za-z0-9][A-Za-z0-9-]*)\\Client Frontend \1'|\"\$env:COMPUTERNAME\\Client Frontend \$env:COMPUTERNAME\"", name
    )


@pytest.mark.parametrize("quote", ["'", "\u2018", "\u2019", "\u201a", "\u201b"])
def test_no_certificates_name_ends_its_quotes(quote: str) -> None:
    """Each of them ends a single-quoted string of PowerShell unless it is doubled."""
    line = assignment(f"<I>CN=x{quote}; Remove-Mailbox x; {quote}<S>CN=y")
    inside = line.partition(" -TlsCertificateName '")[2].removesuffix("'")
    assert not re.search(r"['\u2018\u2019\u201a\u201b]", re.sub(r"(['\u2018\u2019\u201a\u201b])\1", "", inside))


@pytest.mark.not_on_windows("there is no sh")
def test_a_filled_command_is_pasted_as_it_stands(tmp_path: Path) -> None:
    """What the report shows as code goes to a real shell: the queue id is one argument, and nothing else is run."""
    step = steps("Postfix: postqueue -p; grep QUEUE-ID /var/log/mail.log", "imap.find")
    (code,) = [piece.text for piece in pieces(step) if piece.code]
    shell = 'postqueue() { :; }; grep() { printf "%s\\n" "$@"; }\n' + code
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.splitlines() == ["4WxYz12345", "/var/log/mail.log"] and not list(tmp_path.iterdir())


# Only what is concerned


@pytest.mark.parametrize(
    ("step", "stage", "wanted"),
    [
        (ENABLE, "pop3.certificate", "-Services POP"),
        (
            "Exchange: Set-PopSettings -X509CertificateName a; Set-ImapSettings -X509CertificateName a",
            "pop3.certificate",
            "Exchange: Set-PopS",
        ),
        (
            "Exchange: Set-PopSettings -X509CertificateName a; Set-ImapSettings -X509CertificateName a",
            "imap.certificate",
            "Exchange: Set-Im",
        ),
        ("Get-CASMailbox x | fl PopEnabled,ImapEnabled,SmtpClientAuthenticationDisabled", "pop3.login", "fl PopEnabled"),
        ("Set-CASMailbox x -PopEnabled $true -ImapEnabled $true", "imap.login", "Set-CASMailbox x -ImapEnabled $true"),
        (
            "Start-Service MSExchangeIMAP4BE,MSExchangePOP3BE; Mount-Database X",
            "imap.login",
            "Start-Service MSExchangeIMAP4BE; Mount-Data",
        ),
        ("Check: openssl s_client -connect a:1 -starttls smtp", "imap.tls", "Check: openssl s_client -connect a:1"),
        ("Check: openssl s_client -connect a:1 -starttls smtp", "smtp.starttls", "-starttls smtp"),
        ("Postfix: postfix reload   Dovecot: doveadm reload", "pop3.certificate", "Dovecot: doveadm reload"),
        (
            "Fix: TLS 1.2 (Postfix: smtpd_tls_protocols = a; Dovecot: ssl_min_protocol = b)",
            "imap.tls",
            "Fix: TLS 1.2 (Dovecot: ssl_min_protocol = b)",
        ),
        ("Postfix: postfix reload   Dovecot: doveadm reload", "smtp.certificate", "Postfix: postfix reload"),
    ],
)
def test_one_failed_service_gets_no_commands_of_others(step: str, stage: str, wanted: str) -> None:
    told = steps(step, stage)
    others = {
        "smtp": "Imap|Pop|imap|pop|Dovecot",
        "imap": "Pop|POP|Smtp|SMTP|smtp|Postfix",
        "pop3": "Imap|IMAP|Smtp|SMTP|smtp|Postfix",
    }
    assert wanted in told and not re.search(others[stage.partition(".")[0]], told)


def test_a_step_that_is_for_others_alone_is_left_out() -> None:
    told = steps("Exchange: Set-ImapSettings -X509CertificateName NAME; Restart-Service MSExchangeIMAP4", "pop3.certificate")
    assert told == "Check: this service's own settings and log on the server"
    # Who has both has the commands for both.
    pair = [Finding("c.d", "critical", f"{leg}.certificate", "s", remedy=(ENABLE,)) for leg in ("imap", "pop3")]
    assert {one.remedy[0][-8:] for one in filled(record(), PROFILE, pair)} == {"POP,IMAP"}


def test_a_pop3_fault_prints_neither_imap_nor_smtp_commands() -> None:
    for trouble in ("certificate.not-trusted", "connect.refused", "tls.handshake-failed", "auth.refused"):
        stage = {"connect.refused": "pop3.connect", "auth.refused": "pop3.login"}.get(trouble, "pop3.tls")
        failed = StageRecord(stage, "failed", trouble=Trouble(trouble, "it failed", "it failed"))
        seen = record({name: facts for name, facts in SEEN.items() if name != "smtp.resolve"})
        for finding in findings(replace(seen, stages=(*seen.stages, failed)), PROFILE):
            parts = [piece for step in finding.remedy for piece in pieces(step)]
            code = " ".join(part.text for part in parts if part.code and not part.text.startswith(("https:", "probe explain")))
            assert not re.search(
                r"imap(?!s?\.contoso)|smtpd?[_ ]|ReceiveConnector|FrontEndTransport|587|postfix", code, re.IGNORECASE
            ), code
