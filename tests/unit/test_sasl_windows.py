"""NTLM and GSSAPI: whose library answers, and whose fault it is when none does."""

from typing import Any

import pytest
import spnego
from spnego.exceptions import InvalidTokenError, NoCredentialError

from probe.profile import Account, ProfileError, load_mapping, model
from probe.sasl import Answers, ChallengeError, Credentials, Service, choose, encoded, mechanisms, usable

SERVICE = Service("smtp", "mail.contoso.com", 587)
WITH = Credentials("probe", "hunter2")
WITHOUT = Credentials("probe", kind="ticket")
NTLM = mechanisms()["NTLM"]
NONE = spnego.NegotiateOptions.none


class Client:
    """A library's context that fails where it is told."""

    protocol = "ntlm"
    complete = False

    def __init__(self, *steps: bytes | Exception) -> None:
        self.steps = list(steps)

    def step(self, challenge: bytes | None) -> bytes:
        made = self.steps.pop(0)
        if isinstance(made, Exception):
            raise made
        return made


def asked(monkeypatch: pytest.MonkeyPatch, client: Any) -> list[tuple[Any, Any, Any]]:
    calls: list[tuple[Any, Any, Any]] = []

    def make(user: Any, password: Any, *_: Any, options: Any, **__: Any) -> Any:
        calls.append((user, password, options))
        if isinstance(client, Exception):
            raise client
        return client

    monkeypatch.setattr(spnego, "client", make)
    return calls


def test_with_a_password_ntlm_is_the_same_on_every_system(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = asked(monkeypatch, Client(b"NEGOTIATE"))
    answers = Answers(NTLM, WITH, SERVICE)
    answers.take_initial()
    assert answers.answer("ntlm supported") == b"NEGOTIATE"
    assert calls[-1] == ("probe", "hunter2", spnego.NegotiateOptions.use_ntlm)


def test_without_one_the_system_logs_on_as_whoever_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = asked(monkeypatch, Client(b"NEGOTIATE"))
    answers = Answers(NTLM, WITHOUT, SERVICE)
    answers.take_initial()
    answers.answer("")
    assert calls == [(None, None, NONE)]


@pytest.mark.parametrize(
    ("client", "finding"),
    [
        (NoCredentialError(), "auth.client-failed"),
        (ImportError("sspilib"), "auth.library-missing"),
        (Client(NoCredentialError()), "auth.client-failed"),
        (Client(OSError("no policy")), "auth.client-failed"),
        (Client(b"1", NoCredentialError()), "auth.client-failed"),
        (Client(b"1", InvalidTokenError()), "auth.exchange-failed"),
        (Client(b"1", ValueError("bad octets")), "auth.exchange-failed"),
    ],
    ids=["no credentials", "no library", "first step", "first step, any", "refused by policy", "bad token", "rubbish"],
)
def test_whose_fault_it_is(monkeypatch: pytest.MonkeyPatch, client: Any, finding: str) -> None:
    asked(monkeypatch, client)
    with pytest.raises(ChallengeError) as caught:
        answers = Answers(NTLM, WITHOUT, SERVICE)
        answers.take_initial()
        answers.answer("")
        answers.answer(encoded(b"challenge"))
    assert caught.value.finding == finding and "hunter2" not in str(caught.value)


def test_auto_takes_ntlm_with_a_password_only() -> None:
    assert usable(["NTLM"], WITH, SERVICE) == [NTLM] and usable(["NTLM"], WITHOUT, SERVICE) == []
    assert choose("NTLM", ["NTLM"], WITHOUT, SERVICE) is NTLM


@pytest.mark.parametrize("windows", [True, False])
def test_a_profile_without_a_password_is_one_on_windows_only(windows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "LOGGED_ON_USER", windows)
    data = {"submission": {"host": "mail.contoso.com"}, "account": {"username": "probe@contoso.com", "mechanism": "NTLM"}}
    if windows:
        profile = load_mapping(data, plugins={})
        assert profile.account.needs == {"ticket"}
        assert Account(username="a", mechanism="NTLM", password={"env": "X"}).needs == {"password"}
    else:
        with pytest.raises(ProfileError, match=r"account\.password: missing"):
            load_mapping(data, plugins={})


def test_a_server_that_can_do_ntlmv1_only_gets_no_answer() -> None:
    """Exim's `spa`: no TargetInfo in the challenge."""
    answers = Answers(NTLM, WITH, SERVICE)
    answers.answer(encoded(b"ntlm supported"))
    challenge = b"NTLMSSP\0\x02\0\0\0" + bytes(8) + (0x8201).to_bytes(4, "little") + bytes(24)
    with pytest.raises(ChallengeError, match="NTLMv1 only") as raised:
        answers.answer(encoded(challenge))
    assert raised.value.finding == "auth.mechanism-failed"


PASSWORD_MECHANISMS = ["CRAM-MD5", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "NTLM", "LOGIN", "PLAIN"]
BOUND = Service("smtp", "mail.contoso.com", 587, binding=b"x")


def test_over_a_verified_tls_auto_takes_what_mail_programs_take() -> None:
    names = [item.name for item in usable(PASSWORD_MECHANISMS, WITH, BOUND)]
    assert names == ["PLAIN", "LOGIN", "SCRAM-SHA-256", "CRAM-MD5", "NTLM"]


def test_without_it_the_strongest_challenge_comes_first() -> None:
    names = [item.name for item in usable(PASSWORD_MECHANISMS, WITH, BOUND, verified=False)]
    assert names == ["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN", "NTLM"]


def test_a_plus_mechanism_is_taken_when_it_is_named() -> None:
    chosen = choose("SCRAM-SHA-256-PLUS", PASSWORD_MECHANISMS, WITH, BOUND)
    assert chosen is not None and chosen.name == "SCRAM-SHA-256-PLUS"


@pytest.mark.parametrize("challenge", ["", "=", "go ahead", "Username:"])
def test_an_initial_response_that_was_ignored_is_given_again(challenge: str) -> None:
    answers = Answers(mechanisms()["PLAIN"], WITH, SERVICE)
    given = answers.take_initial()
    assert answers.answer(challenge) == given
    with pytest.raises(ChallengeError):
        answers.answer(challenge)


@pytest.mark.parametrize("prompt", ["Username:", "VXNlcm5hbWU6", "VXNlcm5hbWU", "", "User Name\0"])
def test_prompts_of_login_are_not_read(prompt: str) -> None:
    answers = Answers(mechanisms()["LOGIN"], WITH, SERVICE)
    assert [answers.answer(prompt), answers.answer(prompt)] == [b"probe", b"hunter2"]
