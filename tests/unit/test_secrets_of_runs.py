"""The secrets of several runs: each has its own time, and one that cannot be had is its own run's trouble."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from probe.cli._runs import Piece, Runs, side_by_side
from probe.profile import Profile, ProfileError, load_mapping
from probe.state.place import files
from probe.tasks.credentials import with_credentials
from probe.tasks.plan import Plan, make_plan, plugins
from probe.tasks.prepare import Session, prepare, prepare_all

READERS: dict[str, Any] = {"imap": {}, "pop3": {}}


def profile(password: dict[str, Any], name: str = "office", timeout: str = "50s") -> Profile:
    data = {
        "submission": {"host": "mail.example.test"},
        "account": {"username": "probe@example.test", "password": password},
        "readback": READERS,
        "limits": {"timeout": timeout},
    }
    made = load_mapping(data, (), plugins=plugins())
    return made.replace(name=name)


def planned(*profiles: Profile) -> tuple[list[Plan], list[Profile]]:
    return [make_plan(one) for one in profiles], list(profiles)


def test_a_source_that_fails_is_asked_once_a_run(tmp_path: Path) -> None:
    """However many protocols want it: a token endpoint is not given the client's secret three times."""
    asked = tmp_path / "asked"
    code = f"open({str(asked)!r}, 'a').write('x'); raise SystemExit(3)"
    one = profile({"command": [sys.executable, "-c", code]})
    with pytest.raises(ProfileError, match="ended with status 3"):
        with_credentials(make_plan(one), one)
    assert asked.read_text() == "x"


def test_the_runs_deadline_covers_the_fetching() -> None:
    quick = profile({"command": [sys.executable, "-c", "print('hunter2')"]})
    plan = make_plan(quick)
    assert 0 < with_credentials(plan, quick).timeout < plan.timeout
    slow = profile({"command": [sys.executable, "-c", "import time; time.sleep(60)"]}, timeout="500ms")
    with pytest.raises(ProfileError, match=r"did not end within 0\.\d+ seconds"):
        with_credentials(make_plan(slow), slow)


@pytest.mark.not_on_windows("named pipes")
async def test_sources_that_hang_hold_up_no_other_profile(tmp_path: Path) -> None:
    """More of them than the loop's pool has threads."""
    hanging = profile({"command": [sys.executable, "-c", "import time; time.sleep(60)"]}, timeout="20s")
    waiting = [asyncio.create_task(prepare(make_plan(hanging), hanging, files())) for _ in range((os.cpu_count() or 1) + 8)]
    await asyncio.sleep(0)
    quick = profile({"command": ["echo", "hunter2"]})
    plan = await prepare(make_plan(quick), quick, files())
    assert plan.submission.credentials is not None and not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_one_unreadable_secret_makes_only_its_own_profile_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "hunter2")
    monkeypatch.delenv("GONE", raising=False)
    plans, profiles = planned(profile({"env": "PW"}, "good"), profile({"env": "GONE"}, "bad"))
    good, bad = prepare_all(plans, profiles)
    assert good.submission.credentials is not None and good.unready == "" and "GONE is not set" in bad.unready
    (report,) = await side_by_side([Piece(bad, profiles[1])], Runs(), Session())
    assert report.verdict == "unknown" and report.profile == "bad" and "GONE is not set" in str(report)
    with pytest.raises(ProfileError, match="GONE is not set"):
        prepare_all(plans[1:], profiles[1:])


@pytest.mark.not_on_windows("modes of POSIX")
@pytest.mark.parametrize("key", ["client_key", "client_certificate"])
def test_a_client_key_that_others_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("PW", "hunter2")
    issued = trustme.CA().issue_cert("probe.example.test")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "certificate.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    files = {"client_certificate": tmp_path / "certificate.pem"}
    files |= {"client_key": tmp_path / "key.pem"} if key == "client_key" else {}
    one = profile({"env": "PW"})
    one = one.replace(tls=one.tls.replace(**files))
    files[key].chmod(0o666)
    with pytest.raises(ProfileError, match="holds a private key and can be read by other users; run: chmod 600"):
        with_credentials(make_plan(one), one)
    files[key].chmod(0o600)
    assert with_credentials(make_plan(one), one).submission.credentials is not None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda key: key.write_text(""), "no PEM certificate and its key can be read there"),
        (
            lambda key: key.write_bytes(trustme.CA().issue_cert("x.test").private_key_pem.bytes()),
            "key belongs to another certificate",
        ),
    ],
)
def test_a_client_certificate_that_cannot_be_used_is_the_users_mistake(
    spoil: Callable[[Path], object], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found before the first packet; the handshake would blame the server for it."""
    monkeypatch.setenv("PW", "hunter2")
    issued, key = trustme.CA().issue_cert("probe.example.test"), tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "certificate.pem"))
    key.touch(mode=0o600)
    spoil(key)
    one = profile({"env": "PW"})
    files = {"client_certificate": tmp_path / "certificate.pem", "client_key": key}
    one = one.replace(tls=one.tls.replace(**files))
    with pytest.raises(ProfileError, match=words) as caught:
        with_credentials(make_plan(one), one)
    assert [problem.key for problem in caught.value.problems] == ["tls.client_certificate"] and str(key) in str(caught.value)


def test_profiles_of_one_name_have_each_their_own_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two folders may each have an office.toml; only one of these asks at the terminal, where nobody is."""
    monkeypatch.setenv("PW", "hunter2")
    monkeypatch.setattr("sys.stdin", None)
    plans, profiles = planned(profile({"prompt": True}), profile({"env": "PW"}))
    asking, other = prepare_all(plans, profiles)
    assert "prompt" in asking.unready and other.unready == "" and other.submission.credentials is not None


def test_every_missing_secret_of_every_profile_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GONE", "GONE_TOO"):
        monkeypatch.delenv(name, raising=False)
    plans, profiles = planned(profile({"env": "GONE"}), profile({"env": "GONE_TOO"}))
    with pytest.raises(ProfileError) as caught:
        prepare_all(plans, profiles)
    assert "GONE is not set" in str(caught.value) and "GONE_TOO is not set" in str(caught.value)


def test_commands_with_other_arguments_are_other_secrets() -> None:
    """A reader's own account may ask the same program for another entry."""

    def printed(secret: str) -> dict[str, Any]:
        return {"command": [sys.executable, "-c", f"print({secret!r})"]}

    data = {
        "submission": {"host": "mail.example.test"},
        "account": {"username": "probe@example.test", "password": printed("smtp-secret")},
        "readback": {"imap": {"account": {"password": printed("imap-secret")}}},
    }
    one = load_mapping(data, (), plugins=plugins())
    plan = with_credentials(make_plan(one), one)
    sides = [plan.submission, plan.readers[0].side]
    assert [side.credentials and side.credentials.secret for side in sides] == ["smtp-secret", "imap-secret"]


def test_clients_of_other_tenants_are_other_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their ids may be alike."""
    asked = []

    def resolved(source: Any, *_: object, **__: object) -> str:
        asked.append(source.oauth.tenant)
        return f"token of {source.oauth.tenant}"

    def at(tenant: str) -> dict[str, Any]:
        oauth = {
            "client_id": "x",
            "client_secret": {"env": "S"},
            "tenant": tenant,
            "scopes": ["https://outlook.office365.com/.default"],
        }
        return {"token": {"oauth": oauth}}

    monkeypatch.setattr("probe.tasks.credentials.resolve_token", resolved)
    data = {
        "submission": {"host": "mail.example.test"},
        "account": {"username": "a@example.test", **at("contoso.com")},
        "readback": {"imap": {"account": at("fabrikam.com")}, "pop3": {"account": at("contoso.com")}},
    }
    one = load_mapping(data, (), plugins=plugins())
    plan = with_credentials(make_plan(one), one)
    secrets = [side.credentials and side.credentials.secret for side in plan.sides]
    assert secrets == ["token of contoso.com", "token of fabrikam.com", "token of contoso.com"]
    # One source is asked once.
    assert sorted(asked) == ["contoso.com", "fabrikam.com"]
