"""Every bad profile in tests/bad_profiles stands beside the exact text of its error."""

import os
from pathlib import Path
from typing import ClassVar

import pytest

from probe.profile import Overlay, ProfileError, Reader, load, load_mapping
from probe.profile.lines import key_lines

BAD = Path(__file__).parent.parent / "bad_profiles"


class Imap(Reader):
    tls_port: ClassVar[int] = 993
    plain_port: ClassVar[int] = 143
    folders: tuple[str, ...] = ("INBOX", "Junk")


class Pop3(Reader):
    tls_port: ClassVar[int] = 995
    plain_port: ClassVar[int] = 110


PLUGINS = {"readback": {"imap": Imap, "pop3": Pop3}}
GOOD = {
    "submission": {"host": "mail.contoso.com"},
    "account": {"username": "probe@contoso.com", "password": {"env": "PROBE_PASSWORD"}},
}


def errors(**tables):
    with pytest.raises(ProfileError) as caught:
        load_mapping(GOOD | tables, plugins=PLUGINS)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("file", sorted(BAD.glob("*.toml")), ids=lambda path: path.stem)
def test_a_bad_profile_gives_exactly_its_error_text(file, monkeypatch):
    monkeypatch.chdir(BAD)
    with pytest.raises(ProfileError) as caught:
        load(file.name, plugins=PLUGINS, environ={})
    # Windows names the same files with its own separator.
    said = str(caught.value).replace(f"parents{os.sep}", "parents/").replace(f"/..{os.sep}", "/../")
    assert said == file.with_suffix(".txt").read_text("utf-8").rstrip("\n")


def test_a_password_in_a_profile_is_in_no_part_of_the_error(monkeypatch):
    monkeypatch.chdir(BAD)
    with pytest.raises(ProfileError) as caught:
        load("inline_password.toml", plugins=PLUGINS, environ={})
    chain, seen = caught.value, []
    while chain is not None:
        seen.append(f"{chain} {chain!r} {chain.args}")
        chain = chain.__cause__ or chain.__context__
    assert "hunter2" not in "".join(seen)


@pytest.mark.parametrize("value", ["hunter2", ["hunter2"], {"env": ["hunter2"]}, {"command": "hunter2"}, "hunter2\r\n"])
def test_a_misplaced_secret_is_never_echoed(value):
    found = errors(account={"username": "probe@contoso.com", "password": value})
    assert found
    assert "hunter2" not in "\n".join(found)


def test_a_password_in_the_environment_variable_itself_is_refused_and_not_echoed():
    with pytest.raises(ProfileError) as caught:
        load_mapping(GOOD, plugins=PLUGINS, environ={"SUBMISSION_PROBE_ACCOUNT__PASSWORD": "hunter2"})
    assert str(caught.value).startswith("SUBMISSION_PROBE_ACCOUNT__PASSWORD: a password may not stand")
    assert "hunter2" not in str(caught.value)


def test_problems_from_options_and_variables_name_them():
    overlays = [Overlay("--port", ("submission", "port"), 70000)]
    environ = {"SUBMISSION_PROBE_LIMITS__TIMOUT": "5s"}
    with pytest.raises(ProfileError) as caught:
        load_mapping(GOOD, overlays, plugins=PLUGINS, environ=environ)
    assert [str(problem) for problem in caught.value.problems] == [
        "--port: expected at most 65535, got 70000",
        "SUBMISSION_PROBE_LIMITS__TIMOUT: unknown key 'timout'; did you mean 'timeout'?",
    ]


def test_a_key_in_the_wrong_table_is_sent_home():
    assert errors(limits={"sender": "a@b.example"}) == ["limits.sender: unknown key 'sender'; it belongs in [message]"]


def test_a_table_misspelt_gives_one_error_and_not_a_second_about_what_it_holds():
    with pytest.raises(ProfileError) as caught:
        load_mapping({"submision": GOOD["submission"], "account": GOOD["account"]}, plugins=PLUGINS)
    assert str(caught.value) == "submision: unknown key 'submision'; did you mean 'submission'?"


@pytest.mark.parametrize("control", ["\r", "\n", "\0", "\x1b", "\x85", "\u2028"])
@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("submission", "host"),
        ("submission", "ehlo"),
        ("account", "username"),
        ("message", "sender"),
        ("expect", "fqdn"),
    ],
)
def test_control_characters_are_refused(table, key, control):
    (found,) = errors(**{table: {**GOOD.get(table, {}), key: f"a@{control}b" if key == "sender" else f"a{control}b"}})
    assert found.startswith(f"{table}.{key}: holds a control character")


@pytest.mark.parametrize(
    "host",
    ["", "a..b", "-a.b", "x" * 64 + ".example", "a." * 127 + "example", "1.2.3", "mail:587", "http://mail", "a b"],
)
def test_implausible_hosts_are_refused(host):
    assert len(errors(submission={"host": host})) == 1


def test_lines_are_found_in_every_shape_toml_has():
    toml = '''a.b = 1
"quoted.key" = """
three
lines""" # and a comment ] with brackets
[t . u]
list = [
  1, # one
  { x = 1, y = "}" },
]
[[many]]
k = 1
[[many]]
k = 2
'''
    assert key_lines(toml) | {("x",): 0} == {
        ("a",): 1, ("a", "b"): 1, ("quoted.key",): 2, ("t",): 5, ("t", "u"): 5, ("t", "u", "list"): 6,
        ("t", "u", "list", 0): 7, ("t", "u", "list", 1): 8, ("t", "u", "list", 1, "x"): 8,
        ("t", "u", "list", 1, "y"): 8, ("many",): 10, ("many", 0): 10, ("many", 0, "k"): 11,
        ("many", 1): 12, ("many", 1, "k"): 13, ("x",): 0,
    }  # fmt: skip
