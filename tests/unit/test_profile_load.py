"""Precedence, parents, defaults, the shipped profiles, the schema and the effective settings."""

import json
from typing import ClassVar

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from probe.profile import REMOVE, Overlay, ProfileError, Reader, Table, effective, load, load_mapping, names
from probe.profile.margin import Margin
from probe.profile.named import secret_of
from probe.profile.schema import json_schema
from probe.profile.secret import KINDS
from probe.profile.values import seconds, spell, thumbprint


class Imap(Reader):
    tls_port: ClassVar[int] = 993
    plain_port: ClassVar[int] = 143
    folders: tuple[str, ...] = ("INBOX", "Junk")


class Pop3(Reader):
    tls_port: ClassVar[int] = 995
    plain_port: ClassVar[int] = 110


class Jmap(Table):
    """No Reader: what somebody's own reader may declare."""

    path: str = "/jmap"
    account: ClassVar[None] = None
    tls: ClassVar[None] = None


PLUGINS = {"readback": {"imap": Imap, "pop3": Pop3, "jmap": Jmap}}
MINE = [
    Overlay("--host", ("submission", "host"), "mail.contoso.com"),
    Overlay("--user", ("account", "username"), "probe@contoso.com"),
]
GOOD = {
    "submission": {"host": "mail.contoso.com"},
    "account": {"username": "probe@contoso.com", "password": {"env": "PROBE_PASSWORD"}},
}


def write(folder, name, text):
    path = folder / f"{name}.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("name", ["exchange-2016", "exchange-online", "generic", "gmail", "postfix-dovecot"])
def test_each_shipped_profile_is_loaded(name):
    profile = load(name, MINE, plugins=PLUGINS, environ={})
    assert profile.name == name
    assert (profile.submission.host, profile.sender, profile.recipient) == (
        "mail.contoso.com", "probe@contoso.com", "probe@contoso.com",
    )  # fmt: skip
    assert {reader: table.port for reader, table in profile.readers.items()} == {"imap": 993, "pop3": 995}
    assert profile.submission.port == 587
    assert profile.limits.timeout < 60
    assert profile.description


@pytest.mark.parametrize("name", [name for name, _, origin, _ in names({}) if origin == "shipped"])
def test_a_shipped_profile_unedited_says_what_to_set_and_is_still_shown(name):
    with pytest.raises(ProfileError, match=r"account\.username: missing; set"):
        load(name, plugins=PLUGINS, environ={})
    assert {key: value for key, value, _ in effective(name, plugins=PLUGINS, environ={})}["account.username"] == "missing"


def test_each_source_wins_over_the_one_below(tmp_path):
    write(tmp_path, "parent", "[limits]\ntimeout='1s'\nper_connection='1s'\ndelivery_warning='1s'\ndelivery_critical='9s'")
    file = write(tmp_path, "child", "extends='parent.toml'\n[limits]\ntimeout='2s'\nper_connection='2s'\ndelivery_warning='2s'")
    environ = {"SUBMISSION_PROBE_LIMITS__TIMEOUT": "3s", "SUBMISSION_PROBE_LIMITS__PER_CONNECTION": "3"}
    overlays = [
        *MINE,
        Overlay("--password-env", ("account", "password"), {"env": "X"}),
        Overlay("--timeout", ("limits", "timeout"), "4s"),
    ]
    limits = load(str(file), overlays, plugins=PLUGINS, environ=environ).limits
    assert (limits.timeout, limits.per_connection, limits.delivery_warning, limits.delivery_critical) == (4, 3, 2, 9)
    origins = {key: origin for key, _, origin in effective(str(file), overlays, plugins=PLUGINS, environ=environ)}
    assert origins["limits.timeout"] == "--timeout"
    assert origins["limits.per_connection"] == "SUBMISSION_PROBE_LIMITS__PER_CONNECTION"
    assert origins["limits.delivery_warning"] == f"{file}:5"
    assert origins["limits.delivery_critical"] == f"{tmp_path / 'parent.toml'}:5"
    assert origins["tls.expires_warning"] == "default"


def test_what_a_reader_inherits_is_shown_as_the_run_has_it(tmp_path):
    lines = [
        "[submission]", "host='a.example'", "[account]", "username='u@a.example'", "password={env='P'}", "mechanism='auto'",
        "[tls]", f"thumbprint='{'0' * 40}'", "minimum_version='TLSv1.3'", "expires_warning='30d'", "[readback.imap]",
        "host='imap.a.example'", "account={token={env='T'}}", "[readback.pop3.tls]", "trust_any_certificate=true",
    ]  # fmt: skip
    file = write(tmp_path, "p", "\n".join(lines))
    rows = {key: (value, origin) for key, value, origin in effective(str(file), plugins=PLUGINS, environ={})}
    profile = load(str(file), plugins=PLUGINS, environ={})
    assert profile.tls_for(profile.readers["pop3"]).thumbprint == "0" * 40
    for key, line in (("thumbprint", 8), ("minimum_version", 9), ("expires_warning", 10)):
        assert rows[f"readback.pop3.tls.{key}"] == (rows[f"tls.{key}"][0], f"{file}:{line} (tls.{key})")
    assert rows["readback.pop3.tls.trust_any_certificate"] == ("true", f"{file}:15")
    assert rows["readback.pop3.tls.expires_critical"] == (rows["tls.expires_critical"][0], "default")
    assert rows["readback.pop3.account"] == ("as account", "default") and rows["readback.imap.tls"] == ("as tls", "default")
    assert rows["readback.imap.account.username"] == ('"u@a.example"', f"{file}:4 (account.username)")
    # A reader's own token takes the place of the account's password.
    assert rows["readback.imap.account.token"] == ("env T", f"{file}:13")
    assert rows["readback.imap.account.password"] == ("not set", "default")
    assert rows["readback.imap.account.mechanism"] == ('"auto"', f"{file}:6 (account.mechanism)")
    assert rows["readback.pop3.host"] == ('"a.example"', f"{file}:2 (submission.host)")
    assert rows["readback.imap.host"] == ('"imap.a.example"', f"{file}:12")
    assert rows["message.sender"] == rows["message.recipient"] == ('"u@a.example"', f"{file}:4 (account.username)")


def test_a_user_profile_may_extend_the_shipped_one_of_its_name(tmp_path):
    text = "extends='generic'\n[submission]\nhost='a.example'\n[account]\nusername='u@a.example'"
    write(tmp_path, "generic", text)
    profile = load("generic", plugins=PLUGINS, environ={"SUBMISSION_PROBE_PROFILES": str(tmp_path)})
    assert (profile.submission.host, sorted(profile.readers), profile.base) == ("a.example", ["imap", "pop3"], tmp_path)


def test_naming_a_secret_replaces_the_parents_and_files_are_relative_to_where_they_stand(tmp_path):
    (tmp_path / "parents").mkdir()
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "parents" / "root.pem"))
    write(tmp_path / "parents", "p", "[account]\npassword={env='A'}\n[tls]\nca_file='root.pem'")
    file = write(tmp_path, "c", "extends='parents/p.toml'\n[account]\npassword={file='secret'}")
    profile = load(str(file), MINE, plugins=PLUGINS, environ={})
    assert (profile.account.password.env, profile.account.password.file) == (None, tmp_path / "secret")
    assert profile.tls.ca_file == tmp_path / "parents" / "root.pem"
    token = Overlay("--set account.token", ("account", "token"), {"env": "T"})
    assert load(str(file), [*MINE, token], plugins=PLUGINS, environ={}).account.password is None


def test_overlays_switch_readers_on_and_off():
    off = load("generic", [*MINE, Overlay("--readback", ("readback",), REMOVE)], plugins=PLUGINS, environ={})
    assert off.readers == {}
    overlay = Overlay("--readback", ("readback", "pop3"), {})
    assert list(load_mapping(GOOD, [overlay], plugins=PLUGINS).readers) == ["pop3"]


def test_ports_follow_from_security_unless_given():
    tables = {
        "submission": {"host": "a", "security": "tls"},
        "readback": {"imap": {"security": "starttls"}, "pop3": {"port": 1}},
    }
    profile = load_mapping(GOOD | tables, plugins=PLUGINS)
    assert (profile.submission.port, profile.readback.imap.port, profile.readback.pop3.port) == (465, 143, 1)


def test_a_reader_sets_only_what_differs_from_the_profiles_account_and_tls():
    reader = {"account": {"username": r"CONTOSO\probe"}, "tls": {"thumbprint": "ab" * 20}}
    profile = load_mapping(GOOD | {"tls": {"expires_warning": "9d"}, "readback": {"imap": reader}}, plugins=PLUGINS)
    account, tls = profile.account_for(profile.readback.imap), profile.tls_for(profile.readback.imap)
    assert (account.username, account.password.env) == (r"CONTOSO\probe", "PROBE_PASSWORD")
    assert (tls.thumbprint, tls.expires_warning) == ("AB" * 20, Margin(seconds=9 * 86400))


def test_a_plug_in_that_is_no_reader_is_as_strict():
    with pytest.raises(ProfileError, match=r"readback\.jmap\.pathe: unknown key 'pathe'; did you mean 'path'\?"):
        load_mapping(GOOD | {"readback": {"jmap": {"pathe": "x"}}}, plugins=PLUGINS)
    assert load_mapping(GOOD | {"readback": {"jmap": {"path": "x"}}}, plugins=PLUGINS).readback.jmap.path == "x"


def test_an_unknown_name_lists_the_nearest_and_all():
    with pytest.raises(ProfileError, match=r"'gmial'; did you mean gmail\? \(known: exchange-2016, .*postfix-dovecot\)"):
        load("gmial", plugins=PLUGINS, environ={})


def test_a_parents_name_with_a_control_character_is_an_error_with_its_line(tmp_path):
    file = write(tmp_path, "c", '# one\nextends = "a\\u0000/b"')
    with pytest.raises(ProfileError, match=r"c\.toml:2: extends: expected a profile's name or path, got 'a\\x00/b'"):
        load(str(file), plugins=PLUGINS, environ={})


def test_variables_that_are_no_settings_are_left_alone():
    environ = {"SUBMISSION_PROBE_STATE": "/x", "SUBMISSION_PROBE_PROFILES": "/none", "SUBMISSION_PROBE_X__Y": "1"}
    assert load_mapping(GOOD, plugins=PLUGINS, environ=environ).submission.host == "mail.contoso.com"


def test_the_effective_settings_show_sources_and_no_arguments():
    password = Overlay("--set", ("account", "password"), {"command": ["pass", "hunter2"]})
    rows = {key: value for key, value, _ in effective("generic", [*MINE, password], plugins=PLUGINS, environ={})}
    assert rows["account.password"] == "command pass …"
    assert (rows["limits.timeout"], rows["readback.imap.folders"]) == ('"50s"', '["INBOX", "Junk"]')
    assert rows["readback.jmap"] == "off"


def test_the_schema_has_a_table_for_each_plug_in():
    schema = json_schema(PLUGINS)
    tables = schema["$defs"]["Readback"]["properties"]
    assert schema["$schema"].endswith("2020-12/schema")
    assert {"imap", "pop3", "jmap"} == set(tables)
    assert "folders" in schema["$defs"][tables["imap"]["$ref"].rsplit("/", 1)[1]]["properties"]
    assert schema["$defs"]["SecretSource"]["oneOf"] == [{"required": [kind]} for kind in KINDS]
    assert {"required": ["oauth"]} in schema["$defs"]["TokenSource"]["oneOf"]
    assert schema["$defs"]["Limits"]["properties"]["timeout"]["default"] == "50s"
    assert "null" not in json.dumps(schema)


def test_repr_and_frozen():
    profile = load_mapping(GOOD | {"account": {**GOOD["account"], "password": {"command": ["x", "hunter2"]}}}, plugins=PLUGINS)
    assert "hunter2" not in repr(profile)
    with pytest.raises(AttributeError, match="frozen"):
        profile.submission.port = 25


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("50s", 50),
        ("1m30s", 90),
        ("500ms", 0.5),
        ("21d", 1814400),
        ("2h", 7200),
        (3, 3),
        (0.5, 0.5),
        ("7", 7),
        ("0s", 0),
    ],
)
def test_durations(text, number):
    assert seconds(text) == number


@pytest.mark.parametrize("wrong", ["", "s", "5 apples", "30s1m", -1, "-1s", True, None, float("nan"), float("inf"), "nan", []])
def test_what_is_no_duration_says_what_is(wrong):
    with pytest.raises(ValueError, match=r"expected a duration such as \"50s\""):
        seconds(wrong)


@given(st.integers(min_value=0, max_value=10**12))
def test_a_spelt_duration_reads_back(milliseconds):
    assert round(seconds(spell(milliseconds / 1000)) * 1000) == milliseconds


def test_zero_means_the_greatest_allowed():
    limits = load_mapping(GOOD | {"limits": {"timeout": 0, "per_connection": "0s"}}, plugins=PLUGINS).limits
    assert (limits.timeout, limits.per_connection) == (3600, 120)


def test_a_thumbprint_copied_from_windows_is_cleaned():
    assert thumbprint("\u200e43 4a c2 24:c8459924b26521298ce8834c514856ab") == "434AC224C8459924B26521298CE8834C514856AB"


def test_where_a_secret_was_named_is_said(tmp_path):
    text = "[submission]\nhost='a.example'\n[account]\nusername='u@a.example'\npassword={env='P'}\n"
    file = write(tmp_path, "p", f"{text}[readback.imap]\naccount={{token={{env='T'}}}}\n[readback.pop3]\n")
    profile = load(str(file), plugins=PLUGINS, environ={})
    assert secret_of(profile, "smtp") == secret_of(profile, "pop3") == f"password came from env P ({file}:5)"
    assert secret_of(profile, "imap") == f"token came from env T ({file}:7)"
    option = Overlay("--password-file", ("account", "password"), {"file": "/etc/pw"})
    words = secret_of(load(str(file), [option], plugins=PLUGINS, environ={}), "smtp")
    assert words.startswith("password came from file ") and words.endswith("pw (--password-file)")
    mapping = {"submission": {"host": "a.example"}, "account": {"username": "u@a.example", "password": {"env": "P"}}}
    assert secret_of(load_mapping(mapping, plugins=PLUGINS), "smtp") == "password came from env P (account.password)"


def test_a_parent_that_lies_beside_its_child_is_pointed_at(tmp_path):
    write(tmp_path, "mine", "")
    with pytest.raises(ProfileError, match=r'; mine\.toml lies beside this file: extends = "mine\.toml"'):
        load(str(write(tmp_path, "child", "extends='mine'")), plugins=PLUGINS, environ={})
