"""A client certificate's end, and a token endpoint that says that a secret is over: real files, a real endpoint, a whole run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import probe
from probe.profile import ProfileError, load_mapping
from probe.profile.problem import SecretOver
from probe.sandbox import Sandbox
from probe.tasks.lasting import lasting
from probe.tasks.plan import make_plan, plugins
from tests.scenarios.test_oauth import SECRET, Provider, fetch, provider  # noqa: F401
from tests.servers.pki import Authority


def profile(sandbox: Sandbox, **more: Any) -> dict[str, Any]:
    return {
        "submission": {"host": "127.0.0.1", "port": sandbox.addresses["submission"].port},
        "account": {"username": sandbox.username, "password": {"env": "PW"}},
        "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "0s", "expires_critical": "0s"},
        **more,
    }


def refuses(described: str, error: str = "invalid_client") -> Callable[[Any], tuple[int, dict[str, str], dict[str, str]]]:
    return lambda form: (401, {}, {"error": error, "error_description": described})


def test_a_client_certificate_says_when_it_ends(authority: Authority, tmp_path: Path) -> None:
    own = authority.leaf("probe.contoso.test", file_stem="client-lasting")
    both = tmp_path / "client.pem"
    both.write_bytes(own.key_file.read_bytes() + own.cert_file.read_bytes())
    data = {
        "submission": {"host": "mail.contoso.test"},
        "account": {"username": "a@contoso.test", "mechanism": "EXTERNAL"},
        "tls": {"client_certificate": str(both)},
        "expect": {"secret_expires": "2030-01-02"},
    }
    loaded = load_mapping(data, plugins=plugins())
    first, second = lasting(make_plan(loaded), loaded)
    assert first.whose == f"tls.client_certificate ({both})" and first.begins is not None and first.begins < first.ends
    assert (second.whose, second.ends) == ("expect.secret_expires", "2030-01-02T00:00:00Z")


async def test_a_run_warns_ahead_of_a_secrets_day(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox() as sandbox:
        monkeypatch.setenv("PW", sandbox.password)
        report = await probe.run(profile(sandbox, expect={"secret_expires": "2020-01-01"}), raise_bugs=True)
        later = await probe.run(profile(sandbox, expect={"secret_expires": "2999-01-01"}), raise_bugs=True)
    assert [(one.id, one.severity) for one in report.findings] == [("auth.secret-expired", "warning")]
    assert "still taken" in report.findings[0].summary and report.exit_code == 1
    assert later.verdict == "ok"


@pytest.mark.parametrize(
    ("described", "error", "over"),
    [
        ("AADSTS7000222: The provided client secret keys for app are expired.", "invalid_client", True),
        ("AADSTS7000215: Invalid client secret provided.", "invalid_client", False),
        ("AADSTS700082: The refresh token has expired due to inactivity.", "invalid_grant", True),
        ("client secret has expired", "invalid_client", True),
        ("unknown client", "invalid_client", False),
    ],
)
def test_what_an_endpoint_says_is_over(provider: Provider, tmp_path: Path, described: str, error: str, over: bool) -> None:  # noqa: F811
    provider.answers["/token"] = refuses(described, error)
    with pytest.raises(ProfileError) as raised:
        fetch(tmp_path, token_endpoint=f"{provider.url}/token", client_secret={"env": "CLIENT_SECRET"})
    assert isinstance(raised.value, SecretOver) is over


async def test_an_expired_client_secret_is_a_critical_run_and_no_mistake_of_the_profile(
    provider: Provider,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    provider.answers["/token"] = refuses("AADSTS7000222: The provided client secret keys for app are expired.")
    async with Sandbox() as sandbox:
        token = {
            "oauth": {"token_endpoint": f"{provider.url}/token", "client_id": "app", "client_secret": {"env": "CLIENT_SECRET"}}
        }
        data = profile(sandbox) | {"account": {"username": sandbox.username, "token": token}}
        data["readback"] = {"imap": {"port": sandbox.addresses["imaps"].port}}
        report = await probe.run(data, raise_bugs=True)
        assert sandbox.logons == []
    assert report.verdict == "critical" and report.exit_code == 2 and report.failed_stage == "smtp.auth"
    told = [one for one in report.findings if one.id == "auth.secret-expired"]
    assert {one.stage for one in told} == {"smtp.auth", "imap.login"} and "AADSTS7000222" in told[0].summary
    assert {"ok"} == {stage.record.status for stage in report.stages if stage.name in ("smtp.starttls", "smtp.certificate")}
    assert SECRET not in repr(report)
