"""What runs apart is ended whole, and the machine sees nothing of it."""

import socket
from pathlib import Path

import pytest

from tests.servers.apart import Apart
from tests.servers.exim_cyrus import EximCyrus, why_not
from tests.servers.mail import free_port
from tests.servers.pki import Authority

ETC = ("/etc/passwd", "/etc/exim4", "/etc/imapd.conf", "/etc/sasldb2", "/run/saslauthd")


# They are told by the folder, which is in the environment of each.
def _processes(folder: Path) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            found += [int(path.parent.name)] if str(folder).encode() in path.read_bytes() else []
        except OSError:
            continue
    return found


def _seen() -> dict[str, bytes | bool]:
    return {name: Path(name).read_bytes() if Path(name).is_file() else Path(name).exists() for name in ETC}


def test_all_ends_with_the_first_process_and_nothing_is_left(authority: Authority) -> None:
    if reason := why_not():
        pytest.skip(reason)
    before = _seen()
    servers = EximCyrus(authority)
    with servers:
        servers.add_user("gone", "correct-Horse7battery")
        here = servers.programs.here
        assert len(_processes(here)) > 4 and _seen() == before
    assert _processes(here) == [] and not here.exists() and _seen() == before
    for port in servers.ports.values():
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), 1)
    servers.__exit__()


def test_what_does_not_start_says_why_and_leaves_nothing() -> None:
    if reason := why_not():
        pytest.skip(reason)
    programs = Apart("exim-cyrus", "saslauthd -d -a nonsense & wait $!\n")
    with pytest.raises(RuntimeError, match=r"(?s)nothing listens on port.*nonsense"):
        programs.start([free_port()])
    assert _processes(programs.here) == [] and not programs.here.exists()
