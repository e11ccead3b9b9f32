"""Marks for tests that cannot hold on Windows for Windows' own reasons, or under wine for wine's: each with its reason.

`not_on_windows("fork: …")` is skipped on every Windows; `not_under_wine("wine's SSPI has no NTLM")` on wine alone, so that it runs
on a real Windows; `only_on_windows("its access lists")` everywhere else. No product code that a Windows user would use may be
hidden behind the first.
"""

import sys

import pytest


def _is_wine() -> bool:
    if sys.platform != "win32":
        return False
    import ctypes

    return hasattr(ctypes.windll.ntdll, "wine_get_version")


_MARKS = {
    "not_on_windows": sys.platform == "win32",
    "not_under_wine": _is_wine(),
    "only_on_windows": sys.platform != "win32",
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "not_on_windows(reason): cannot hold on Windows, for Windows' own reasons")
    config.addinivalue_line("markers", "only_on_windows(reason): asks Windows itself")
    config.addinivalue_line("markers", "not_under_wine(reason): holds on Windows, but wine lacks what it needs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name, is_here in _MARKS.items():
            mark = item.get_closest_marker(name)
            if mark and is_here:
                item.add_marker(pytest.mark.skip(reason=f"{name}: {mark.args[0]}"))
