"""Where things lie and what this machine calls itself, on each system; files that somebody has open."""

import os
import platform
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import platformdirs.windows
import pytest

from probe.observe.connection import ourselves
from probe.observe.connection.recorded import address_literal
from probe.profile.find import find, is_path, user_folder
from probe.state import outbox
from probe.state.directory import state_directory
from probe.state.files import patiently, write_atomically
from probe.tasks.plan import own_name


@pytest.fixture
def windows_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {"CSIDL_LOCAL_APPDATA": "LOCAL", "CSIDL_APPDATA": "ROAMING"}
    monkeypatch.setattr(platformdirs.windows, "get_win_folder", lambda name: folders[name])
    monkeypatch.setattr(platformdirs, "PlatformDirs", platformdirs.windows.Windows)


@pytest.mark.usefixtures("windows_folders")
def test_windows_state_is_local_and_its_profiles_roam() -> None:
    assert [*state_directory({}).parts] == ["LOCAL", "submission-probe"]
    assert [*user_folder({}).parts] == ["ROAMING", "submission-probe", "profiles"]


def test_the_environment_says_otherwise() -> None:
    assert state_directory({"SUBMISSION_PROBE_STATE": "elsewhere"}) == Path("elsewhere")
    assert user_folder({"SUBMISSION_PROBE_PROFILES": "mine"}) == Path("mine")


@pytest.mark.parametrize(
    ("ip", "literal"),
    [
        ("192.0.2.7", "[192.0.2.7]"),
        ("2001:db8::7", "[IPv6:2001:db8::7]"),
        ("fe80::1%eth0", "[IPv6:fe80::1]"),
        ("::1", "[IPv6:::1]"),
    ],
)
def test_an_address_as_ehlo_gives_it(ip: str, literal: str) -> None:
    assert address_literal(ip) == literal


@pytest.mark.parametrize(
    ("system", "given"), [("probe.Contoso.com", "probe.contoso.com"), ("PROBE", ""), ("büro.x", ""), ("a_b.x", "")]
)
def test_our_own_name_is_a_full_one_or_none(system: str, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: system)
    monkeypatch.setattr(ourselves, "_windows_name", lambda: system)
    assert own_name() == given


def test_our_own_name_needs_neither_dns_nor_windows_management(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object) -> str:
        raise AssertionError("this may take seconds")

    for module, name in (
        (platform, "node"),
        (platform, "uname"),
        (socket, "getfqdn"),
        (socket, "getaddrinfo"),
        (socket, "gethostbyaddr"),
    ):
        monkeypatch.setattr(module, name, slow)
    own_name()
    assert ourselves.machine_name()


def in_use(times: int, winerror: int | None) -> tuple[Callable[[], None], list[int]]:
    """An act that Windows refuses so many times, because somebody has the file open."""
    tries: list[int] = []

    def act() -> None:
        tries.append(1)
        if len(tries) <= times:
            error = PermissionError(13, "Access is denied")
            error.winerror = winerror  # type: ignore[attr-defined,unused-ignore]
            raise error

    return act, tries


@pytest.mark.parametrize("winerror", [5, 32, 33])
def test_a_file_that_a_reader_has_open_is_waited_for(winerror: int) -> None:
    act, tries = in_use(3, winerror)
    slept: list[float] = []
    patiently(act, sleep=slept.append)
    assert len(tries) == 4 and len(slept) == 3


def test_it_is_waited_for_about_a_second_and_no_longer() -> None:
    act, _ = in_use(1000, 32)
    slept: list[float] = []
    with pytest.raises(PermissionError):
        patiently(act, sleep=slept.append)
    assert 0.9 <= sum(slept) <= 1.2


def test_elsewhere_a_refusal_is_final() -> None:
    act, tries = in_use(1, None)
    with pytest.raises(PermissionError):
        patiently(act, sleep=lambda _: None)
    assert len(tries) == 1


def refused_once(real: Callable[..., Any]) -> Callable[..., Any]:
    state = {"tries": 0}

    def act(*arguments: Any, **named: Any) -> Any:
        state["tries"] += 1
        if state["tries"] == 1:
            error = PermissionError(13, "in use")
            error.winerror = 32  # type: ignore[attr-defined,unused-ignore]
            raise error
        return real(*arguments, **named)

    return act


def test_reports_and_the_outbox_wait_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "replace", refused_once(Path.replace))
    write_atomically(tmp_path / "report.json", "{}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    marker = "submission-probe-" + "a" * 26
    outbox.put(tmp_path, outbox.Entry(marker, "p", "2026-01-01T00:00:00Z", "a@b", "h"))
    monkeypatch.setattr(Path, "unlink", refused_once(Path.unlink))
    outbox.remove(tmp_path, marker)
    assert outbox.entries(tmp_path) == []


@pytest.mark.parametrize("name", [r"..\base.toml", r"C:\profiles\base", r"..\base", "a/b"])
def test_a_path_of_windows_is_a_path_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sep", "\\")
    assert is_path(name) and not is_path("generic")
    find(name, {})
