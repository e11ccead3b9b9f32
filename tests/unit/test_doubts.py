"""What a profile may say and no run can begin with: a template's placeholders, a delivery that outlasts the run; and its schema."""

import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from probe.cli import entry
from probe.profile import Overlay, Profile, ProfileError, load, load_mapping
from probe.profile.doubts import _is_placeholder
from probe.profile.schema import json_schema
from probe.tasks.plan import make_plan, plugins
from probe.tasks.prepare import prepared
from probe.tasks.run import run

ROOT = Path(__file__).parent.parent.parent
MINE: dict[str, Any] = {
    "submission": {"host": "mail.mycompany.net"},
    "account": {"username": "probe@mycompany.net", "password": {"env": "NOT_THERE"}},
}


SERVED = '[submission]\nhost = "a.test"\n[account]\nusername = "p@a.test"\n'


def profile(**tables: Any) -> Profile:
    return load_mapping({**MINE, **tables}, plugins=plugins())


def refused(one: Profile) -> str:
    """The one plain line, before a secret is asked for: NOT_THERE does not exist."""
    with pytest.raises(ProfileError) as caught:
        prepared(make_plan(one), one, None)  # type: ignore[arg-type]
    said = str(caught.value)
    assert "\n" not in said
    return said


# -- placeholders ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["mail.example.com", "mail.example.org", "CHANGE-ME", "mail.changeme.net"])
def test_a_host_that_is_a_templates_is_refused_before_the_first_packet(host: str) -> None:
    said = refused(profile(submission={"host": host}))
    assert said.startswith("submission.host: ") and "placeholder" in said and "the name your users type" in said


@pytest.mark.parametrize(
    "user", ["probe@example.com", "probe@example.org", "probe@contoso.com", "CHANGE-ME", "change-me@mycompany.net"]
)
def test_a_user_name_that_is_a_templates_is_refused(user: str) -> None:
    tables = {
        "account": {**MINE["account"], "username": user},
        "message": {"sender": "p@mycompany.net", "recipient": "p@mycompany.net"},
    }
    said = refused(profile(**tables))
    assert said.startswith(f"account.username: {user} is a placeholder") and "user name of the probe's own mailbox" in said


def test_several_are_one_line_at_the_place_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "first.toml"
    path.write_text(
        'extends = "generic"\n[submission]\nhost = "mail.example.org"\n[account]\nusername = "probe@example.org"\n',
        encoding="utf-8",
    )
    said = refused(load(path, plugins=plugins(), environ={}))
    assert said.startswith(f"{path}:3: submission.host: mail.example.org and probe@example.org (account.username) are placeholders")


def test_every_placeholder_that_we_ship_is_known() -> None:
    """Whoever copies a line of ours, and sets nothing, hears of it."""
    kubernetes = next(yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "serve.yaml").read_text(encoding="utf-8")))
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "profiles").glob("*.toml")]
    texts += [*kubernetes["data"].values(), (ROOT / "README.md").read_text(encoding="utf-8")]
    shown = [
        name for text in texts for name in re.findall(r'^[# ]*(?:host|username|sender|recipient) = "([^"]+)"', text, re.MULTILINE)
    ]
    services = {"smtp.office365.com", "outlook.office365.com", "smtp.gmail.com", "imap.gmail.com", "pop.gmail.com"}
    assert len(set(shown) - services) >= 6
    assert [name for name in shown if name not in services and not _is_placeholder(name)] == []


@pytest.mark.parametrize(
    "submission",
    [
        {"host": "mail.example.com", "connect": ["127.0.0.1:2587"]},
        {"host": "localhost"},
        {"host": "127.0.0.1"},
        {"host": "mail.sandbox.test"},
        {"host": "mail.contoso.com", "connect": ["10.0.0.11"]},
    ],
    ids=lambda table: table["host"],
)
def test_a_test_of_ones_own_uses_any_name(submission: dict[str, Any]) -> None:
    profile(submission=submission, account={**MINE["account"], "username": "probe@example.com"}).require_real()


def test_a_laboratory_may_serve_the_company_of_the_examples() -> None:
    """Host and users belong together; with another host, or an example's other domain, the user was forgotten."""
    account = {**MINE["account"], "username": "probe@contoso.com"}
    profile(submission={"host": "mail.contoso.com"}, account=account).require_real()
    profile(submission={"host": "mail.contoso.com"}, account={**account, "username": "contoso\\probe"},
            message={"sender": "probe@contoso.com", "recipient": "probe@contoso.com"}).require_real()  # fmt: skip
    assert "probe@contoso.com is a placeholder" in refused(profile(submission={"host": "smtp.office365.com"}, account=account))
    assert "probe@example.com" in refused(
        profile(submission={"host": "mail.contoso.com"}, account={**account, "username": "probe@example.com"})
    )


@pytest.mark.parametrize("user", ["probe@example.net", "anna@contoso.com", "probe@mail.example.com", "probe"])
def test_what_no_template_has_is_nobodys_placeholder(user: str) -> None:
    message = {"sender": "anna@example.com", "recipient": "anna@example.com"}
    profile(account={**MINE["account"], "username": user}, message=message).require_real()


def test_on_the_command_line_it_is_exit_3_and_a_dry_run_still_shows_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "generic", "--host", "mail.example.com", "--user", "probe@example.com"]
    assert entry([*words, "--dry-run"]) == 0
    assert "mail.example.com:587" in capsys.readouterr().out
    assert entry([*words, "-o", "nagios"]) == 3
    said = capsys.readouterr()
    assert said.out.startswith("SUBMISSION UNKNOWN") and said.err.count("\n") == 1
    assert "--host: mail.example.com and probe@example.com (account.username) are placeholders" in said.err


# -- delivery_critical and timeout -------------------------------------------------------------------------------------


def late(**limits: str) -> Profile:
    return profile(limits=limits, readback={"imap": {}})


@pytest.mark.parametrize(
    "limits",
    [
        {"delivery_critical": "2m"},
        {"timeout": "30s", "delivery_critical": "60s"},
        {"timeout": "55s", "delivery_critical": "61s"},
        {"timeout": "20s", "delivery_critical": "21s"},
    ],
)
def test_a_delivery_that_outlasts_the_run_is_an_error_that_explains_both(limits: dict[str, str]) -> None:
    with pytest.raises(ProfileError) as caught:
        late(**limits).require_in_time()
    (problem,) = caught.value.problems
    assert problem.key == "limits.delivery_critical" and "limits.timeout (" in problem.text and "--send-only" in problem.text
    assert "timeout ends the whole run" in problem.text and "may take" in problem.text


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"timeout": "20s"},
        {"timeout": "50s", "delivery_critical": "60s"},  # the defaults, written out
        {"delivery_critical": "60s"},
        {"timeout": "3m", "delivery_critical": "2m"},
        {"timeout": "0s", "delivery_critical": "2m"},  # no limit
    ],
)
def test_the_defaults_and_what_fits_are_no_error(limits: dict[str, str]) -> None:
    late(**limits).require_in_time()


def test_shipped_profiles_take_any_timeout() -> None:
    for path in (ROOT / "profiles").glob("*.toml"):
        overlays = [Overlay("a", ("submission", "host"), "a.test"), Overlay("b", ("account", "username"), "p@a.test")]
        load(path, [*overlays, Overlay("--timeout", ("limits", "timeout"), "5s")], plugins=plugins(), environ={}).require_in_time()


def test_a_parents_timeout_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('extends = "generic"\n[limits]\ntimeout = "30s"\n', encoding="utf-8")
    child = tmp_path / "child.toml"
    child.write_text(
        f'extends = "base.toml"\n{SERVED}[limits]\ndelivery_critical = "40s"\n',
        encoding="utf-8",
    )
    with pytest.raises(ProfileError) as caught:
        load(child, plugins=plugins(), environ={}).require_in_time()
    assert str(caught.value).startswith(f"{child}:7: limits.delivery_critical: 40s")
    assert f"limits.timeout (30s, {tmp_path / 'base.toml'}:3)" in str(caught.value)
    # For once, on the command line: the run is cut short, and that is what was asked for.
    child.write_text(child.read_text(encoding="utf-8").replace("40s", "25s"), encoding="utf-8")
    overlay = Overlay("--timeout", ("limits", "timeout"), "5s")
    load(child, [overlay], plugins=plugins(), environ={}).require_in_time()


def test_only_runs_that_read_back_at_once_mind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "slow.toml"
    path.write_text(
        f'extends = "generic"\n{SERVED}[limits]\ndelivery_critical = "1h"\n',
        encoding="utf-8",
    )
    assert entry(["run", str(path), "--dry-run"]) == 3
    assert f"{path}:7: limits.delivery_critical: 1h is longer than limits.timeout (50s, " in capsys.readouterr().err
    for way in ("--send-only", "--collect", "--light", "--readback=none"):
        assert entry(["run", str(path), "--dry-run", way]) == 0, way
    assert entry(["show", str(path)]) == 0


async def test_the_librarys_run_minds_too() -> None:
    with pytest.raises(ProfileError, match="delivery_critical"):
        await run({**MINE, "readback": {"imap": {}}, "limits": {"delivery_critical": "2m"}})


# -- the schema --------------------------------------------------------------------------------------------------------


def valid(text: str) -> bool:
    return not list(jsonschema.Draft202012Validator(json_schema(plugins())).iter_errors(tomllib.loads(text)))


def test_the_schema_takes_a_child_that_inherits_its_host() -> None:
    assert valid('extends = "exchange-online"\n[account]\nusername = "probe@contoso.com"\n')
    assert valid('extends = "generic"\n[submission]\nport = 2587\n')
    assert valid('extends = "generic"\n')


def test_the_schema_asks_a_profile_without_a_parent_for_its_host() -> None:
    assert not valid('[account]\nusername = "probe@contoso.com"\n')
    assert not valid("[submission]\nport = 587\n")
    assert valid('[submission]\nhost = "mail.contoso.com"\n')


def test_the_schema_still_refuses_what_a_child_gets_wrong() -> None:
    assert not valid('extends = "generic"\n[submission]\nsecurity = "ssl"\n')
    assert not valid('extends = "generic"\n[submisson]\nhost = "a.b"\n')
