"""What a refused logon means: the words of servers of the field, and the finding each is (contract, section 8)."""

# ruff: noqa: E501 (an answer is easier to compare in one line)
import pytest

from probe.facts import LoggedOn
from probe.judge._refused_logon import finding_of, reconsidered
from probe.record import StageRecord, Trouble

REFUSED, TEMPORARY, LIMIT = "auth.refused", "auth.temporary", "auth.login-delay"
IN_USE, POLICY, MECHANISM = "auth.mailbox-in-use", "auth.not-allowed", "auth.mechanism-failed"
STAGE = {"smtp": "smtp.auth", "imap": "imap.login", "pop3": "pop3.login"}

SAID = [
    # -- the name or the password
    ("smtp", "535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6", REFUSED),
    ("smtp", "535 5.7.8 Error: authentication failed: (reason unavailable)", REFUSED),
    ("smtp", "535 5.7.3 Authentication unsuccessful", REFUSED),
    ("smtp", "535 Incorrect authentication data", REFUSED),
    ("smtp", "535 Authentication failed: Bad username / password", REFUSED),
    ("smtp", "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.", REFUSED),
    ("smtp", "535-5.7.8 Username and Password not accepted. / 535 5.7.8  https://support.google.com/mail/?p=BadCredentials - gsmtp", REFUSED),
    ("smtp", "535 5.7.8 Error: authentication failed: An app-specific password is required", REFUSED),
    ("smtp", "535 something nobody ever said before", REFUSED),
    ("imap", "NO [AUTHENTICATIONFAILED] Authentication failed.", REFUSED),
    ("imap", "NO LOGIN failed.", REFUSED),
    ("imap", "NO Login failed: authentication failure", REFUSED),
    ("imap", "NO [EXPIRED] Your password has expired", REFUSED),
    ("pop3", "-ERR [AUTH] Username and password not accepted.", REFUSED),
    ("pop3", "-ERR Logon failure: unknown user name or bad password.", REFUSED),
    ("pop3", "-ERR", REFUSED),
    # -- not now
    ("smtp", "454 4.7.0 Temporary authentication failure: Connection lost to authentication server", TEMPORARY),
    ("smtp", "535 5.7.8 Error: authentication failed: Connection lost to authentication server", TEMPORARY),
    ("smtp", "535 5.7.0 Error: authentication failed: generic failure, try again later", TEMPORARY),
    ("smtp", "503 5.5.1 Error: authentication not enabled", TEMPORARY),
    ("smtp", "421 4.3.0 shutting down", TEMPORARY),
    ("smtp", "432 4.7.12 A password transition is needed", TEMPORARY),
    ("imap", "BAD User is authenticated but not connected.", TEMPORARY),
    ("imap", "BAD password expected", TEMPORARY),
    ("imap", "BYE Temporary problem, please try again later", TEMPORARY),
    ("imap", "NO Server Unavailable. 15", TEMPORARY),
    ("imap", "NO [UNAVAILABLE] Temporary authentication failure.", TEMPORARY),
    ("imap", "NO [SERVERBUG] Internal error occurred", TEMPORARY),
    ("imap", "NO Cannot connect to authdaemon socket", TEMPORARY),
    ("pop3", "-ERR [SYS/TEMP] Temporary system problem. Please try again later", TEMPORARY),
    ("pop3", "-ERR Server Unavailable. 21", TEMPORARY),
    # -- too often, too many
    ("smtp", "535 5.7.0 (#AUTH005) Too many bad auth attempts.", LIMIT),
    ("smtp", "550 5.7.1 Account is locked out temporarily, too many failed logins", LIMIT),
    ("smtp", "451 Authentication failed: Maximum credits exceeded", LIMIT),
    ("imap", "NO [LIMIT] LOGIN Rate limit hit.", LIMIT),
    ("imap", "BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds", LIMIT),
    ("imap", "NO [ALERT] Too many simultaneous connections. (Failure)", LIMIT),
    ("imap", "NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)", LIMIT),
    ("pop3", "-ERR login too frequently, please try again later", LIMIT),
    ("pop3", "-ERR Exceeded the login limit for a 15 minute period. Reduce the frequency of requests to the POP3 server.", LIMIT),
    ("pop3", "-ERR [LOGIN-DELAY] wait", LIMIT),
    # -- in use
    ("pop3", "-ERR [in-use] lock busy! Is another session active? (10)", IN_USE),
    ("pop3", "-ERR maildrop already locked", IN_USE),
    ("pop3", "-ERR Unable to lock mailbox, another POP3 session is open", IN_USE),
    ("imap", "NO [INUSE] mailbox in use", IN_USE),
    # -- not allowed
    ("smtp", "550 5.7.30 Basic authentication is not supported for Client Submission.", POLICY),
    ("smtp", "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.", POLICY),
    ("smtp", "534-5.7.9 Application-specific password required. / 534 5.7.9  https://support.google.com/mail/?p=InvalidSecondFactor", POLICY),
    ("smtp", "535 Login Fail. Please enter your authorization code to login.", POLICY),
    ("smtp", "538 5.7.11 Encryption required for requested authentication mechanism", POLICY),
    ("smtp", "550 User has no permission", POLICY),
    ("imap", "NO [ALERT] Your account is not enabled for IMAP use. (Failure)", POLICY),
    ("imap", "NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.", POLICY),
    ("imap", "NO [AUTHORIZATIONFAILED] no", POLICY),
    ("pop3", "-ERR [SYS/PERM] Your account is not enabled for POP access.", POLICY),
    # -- the mechanism
    ("smtp", "501 5.5.2 cannot decode AUTH parameter", MECHANISM),
    ("smtp", "504 5.7.4 Unrecognized authentication type", "auth.mechanism-not-offered"),
    ("pop3", "-ERR malformed command", MECHANISM),
    ("pop3", "-ERR Unsupported authentication mechanism", MECHANISM),
    ("pop3", "-ERR [SYS/PERM] broken for good", "auth.server-failure"),
]  # fmt: skip


@pytest.mark.parametrize(("leg", "answer", "finding"), SAID)
def test_words_of_the_field(leg: str, answer: str, finding: str) -> None:
    assert finding_of(STAGE[leg], answer) == finding


@pytest.mark.parametrize("words", ["", "Password wrong", "Invalid credentials", "Login failed", "unknown user"])
@pytest.mark.parametrize(
    ("leg", "code"),
    [("imap", "BAD"), ("imap", "BYE"), ("imap", "NO [UNAVAILABLE]"), ("smtp", "454 4.7.0"), ("smtp", "421"), ("pop3", "-ERR [SYS/TEMP]")],
)  # fmt: skip
def test_a_code_that_says_not_now_is_no_verdict_on_the_password(leg: str, code: str, words: str) -> None:
    assert finding_of(STAGE[leg], f"{code} {words}".strip()) != REFUSED


def test_a_further_mechanisms_stage_is_read_the_same() -> None:
    assert finding_of("imap.login.cram-md5", "NO [UNAVAILABLE] later") == TEMPORARY


def _failed(name: str, finding: str, evidence: str, username: str = "u@example.test") -> StageRecord:
    return StageRecord(name, "failed", trouble=Trouble(finding, evidence, evidence), facts=LoggedOn(username=username, attempts=1))


NO_REASON = "535 5.7.8 Error: authentication failed: (reason unavailable)"


@pytest.mark.parametrize(
    ("said", "reader", "username", "expected"),
    [
        (NO_REASON, TEMPORARY, "u@example.test", TEMPORARY),  # Dovecot's "not now" behind both, through Postfix 3.7
        (NO_REASON, REFUSED, "u@example.test", REFUSED),
        (NO_REASON, POLICY, "u@example.test", REFUSED),
        (NO_REASON, TEMPORARY, "other@example.test", REFUSED),
        ("535 5.7.3 Authentication unsuccessful", TEMPORARY, "u@example.test", REFUSED),  # Exchange does say "not now" where it is
    ],
)
def test_postfix_gives_no_reason_and_a_reader_of_the_run_has_one(said: str, reader: str, username: str, expected: str) -> None:
    stages = (_failed("smtp.auth", REFUSED, said), _failed("imap.login", reader, "NO …", username))
    assert [stage.trouble.id for stage in reconsidered(stages) if stage.trouble] == [expected, reader]
