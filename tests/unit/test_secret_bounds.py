"""Fetching a secret: bounded in time and memory, leaving no process, giving one source's secret to no other."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from probe.profile import ProfileError, SecretSource, resolve_secret
from probe.profile import secret as secret_module
from probe.profile.private import others

resource = pytest.importorskip("resource", reason="not_on_windows: limits of a process")

pytestmark = pytest.mark.not_on_windows("process groups, pipes and modes of POSIX")


def failure(source: SecretSource, base: Path | None = None) -> str:
    with pytest.raises(ProfileError) as caught:
        resolve_secret(source, base)
    return str(caught.value)


def shell(line: str) -> SecretSource:
    return SecretSource(command=("sh", "-c", line))


def test_a_hanging_command_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "open while they live"
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    monkeypatch.setattr(secret_module, "COMMAND_SECONDS", 0.5)
    source = shell(f"exec 3>'{pipe}'; (sleep 600) & sleep 600 & wait")
    assert "did not end within 0.5 seconds" in failure(source)
    os.set_blocking(descriptor, True)
    ended = threading.Thread(target=lambda: os.read(descriptor, 1), daemon=True)
    ended.start()
    ended.join(20)
    assert not ended.is_alive(), "a process of the command's group is still there"


def test_an_endless_command_costs_no_memory(tmp_path: Path) -> None:
    """In a process that may have little more than it has: 200 MB of output end it, or are an error."""
    code = (
        "import resource, sys\n"
        "from probe.profile import SecretSource, resolve_secret, ProfileError\n"
        "source = SecretSource(command=('head', '-c', '400000000', '/dev/zero'))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: resolve_secret(source, None)\n"
        "except ProfileError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said, grown = done.stdout.splitlines()
    assert "prints more than 65536 octets" in said and int(grown) < 20_000


def test_complaints_cost_no_memory_and_stop_nothing() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert resolve_secret(shell("head -c 100000000 /dev/zero >&2; echo hunter2"), None) == "hunter2"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


def test_a_command_is_given_nobody_elses_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROBE_PASSWORD", "SUBMISSION_PROBE_ACCOUNT__PASSWORD", "OF_ANOTHER_PROFILE", "VAULT_ADDR"):
        monkeypatch.setenv(name, f"value-of-{name}")
    SecretSource(env="OF_ANOTHER_PROFILE")
    seen = resolve_secret(shell("env | tr '\\n' ' '"), None)
    assert "value-of-VAULT_ADDR" in seen and "PATH=" in seen
    assert not any(name in seen for name in ("PROBE_PASSWORD", "SUBMISSION_PROBE_ACCOUNT", "OF_ANOTHER_PROFILE"))


def test_a_pipe_instead_of_a_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pw", 0o600)
    assert "is not a regular file" in failure(SecretSource(file="pw"), tmp_path)


def test_a_keyring_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    locked = threading.Event()
    monkeypatch.setattr("keyring.get_password", lambda *_: locked.wait(60))
    monkeypatch.setattr(secret_module, "COMMAND_SECONDS", 0.2)
    assert "did not answer within 0.2 seconds" in failure(SecretSource(keyring="submission-probe"))
    locked.set()


def status(mode: int, owner: int, group: int) -> os.stat_result:
    return os.stat_result((0o100000 | mode, 0, 0, 1, owner, group, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "owner", "group", "taken"),
    [
        (0o600, 1000, 1000, True),
        (0o400, 0, 0, True),
        (0o440, 0, 2000, True),  # Kubernetes with fsGroup 2000
        (0o640, 0, 2000, True),
        (0o440, 0, 3000, False),  # a group that is not ours
        (0o640, 1000, 2000, False),  # ours to chmod
        (0o660, 0, 2000, False),
        (0o444, 0, 2000, False),
        (0o600, 1001, 1000, False),  # another user's, who knows it and can change it
    ],
)
def test_whose_files_are_taken(mode: int, owner: int, group: int, taken: bool) -> None:
    assert (others(status(mode, owner, group), me=1000, groups={1000, 2000}) == "") is taken


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="not_on_windows: groups of POSIX; elsewhere it needs root")
def test_a_secret_as_kubernetes_mounts_it(tmp_path: Path) -> None:
    data = tmp_path / "..2026_01_01"
    data.mkdir()
    (data / "password").write_text("hunter2\n")
    os.chown(data / "password", 0, os.getegid())
    (data / "password").chmod(0o440)
    (tmp_path / "..data").symlink_to(data.name)
    (tmp_path / "password").symlink_to("..data/password")
    assert resolve_secret(SecretSource(file="password"), tmp_path) == "hunter2"
