"""Fetching a secret: what is accepted, and that no error tells it."""

import os
import sys

import pytest

from probe.profile import ProfileError, SecretSource, TokenSource, resolve_secret, resolve_token
from probe.profile import secret as secret_module
from probe.state.tokens import Tokens

# What the operating system says; Windows has words of its own, in the language of the machine.
NO_SUCH_FILE = "No such file" if os.name == "posix" else ""


def failure(source, base=None, **options):
    with pytest.raises(ProfileError) as caught:
        resolve_secret(source, base, **options)
    error = caught.value
    assert "hunter2" not in f"{error} {error.__cause__} {error.__context__}"
    return str(error)


def python(code):
    return SecretSource(command=(sys.executable, "-c", code))


def test_the_environment():
    source = SecretSource(env="PW")
    assert resolve_secret(source, None, environ={"PW": "hunter2"}) == "hunter2"
    assert failure(source, environ={}) == "account.password: env PW is not set in the environment"
    assert failure(source, environ={"PW": ""}, key="account.token") == "account.token: env PW is empty"


def test_a_token_that_is_not_there_may_be_fetched(tmp_path, monkeypatch):
    monkeypatch.delenv("PROBE_TOKEN", raising=False)
    with pytest.raises(ProfileError) as caught:
        resolve_token(TokenSource(env="PROBE_TOKEN"), None, Tokens(tmp_path), key="account.token", username="u")
    hint = "; or let the probe fetch one: [account.token.oauth], docs/authentication.md"
    assert str(caught.value) == f"account.token: env PROBE_TOKEN is not set in the environment{hint}"


def test_a_file_is_relative_to_the_base_and_gives_its_first_line(tmp_path):
    path = tmp_path / "pw"
    path.write_bytes(b"\xef\xbb\xbfhunter2 \r\nsecond line\n")
    path.chmod(0o600)
    assert resolve_secret(SecretSource(file="pw"), tmp_path) == "hunter2 "


@pytest.mark.not_on_windows("modes of files: tests/unit/test_dacl.py has Windows' access lists")
@pytest.mark.parametrize("mode", [0o660, 0o604, 0o620])
def test_a_file_that_others_can_read_is_refused(tmp_path, mode):
    path = tmp_path / "pw"
    path.write_text("hunter2")
    path.chmod(mode)
    assert f"chmod 600 {path}" in failure(SecretSource(file="pw"), tmp_path)


def test_a_file_as_powershell_writes_it(tmp_path):
    path = tmp_path / "pw"
    path.write_bytes("hunter2ü\r\n".encode("utf-16"))
    path.chmod(0o600)
    assert resolve_secret(SecretSource(file="pw"), tmp_path) == "hunter2ü"


def test_files_that_hold_no_secret(tmp_path):
    path = tmp_path / "pw"
    assert f"cannot be read: {NO_SUCH_FILE}" in failure(SecretSource(file="pw"), tmp_path)
    assert "is not a regular file" in failure(SecretSource(file="."), tmp_path)
    for content, text in ((b"\n", "is empty"), (b"h\xfc", "Set-Content -Encoding utf8"), (b"h\0u\0", "NUL")):
        path.write_bytes(content)
        path.chmod(0o600)
        assert text in failure(SecretSource(file="pw"), tmp_path)


def test_a_command(tmp_path, monkeypatch):
    assert resolve_secret(python("print('hunter2'); print('more')"), tmp_path) == "hunter2"
    assert "ended with status 3" in failure(python("print('hunter2'); raise SystemExit(3)"))
    assert "is empty" in failure(python("pass"))
    assert f"cannot be run: {NO_SUCH_FILE}" in failure(SecretSource(command=("/no/such/program",)))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert '["cmd", "/c", "type …"]' in failure(SecretSource(command=("type", "pw.txt")))
    assert "chcp 65001" in failure(python("import sys; sys.stdout.buffer.write('hunter2ü'.encode('cp850'))"))
    monkeypatch.setattr(secret_module, "COMMAND_SECONDS", 0.2)
    assert "did not end within 0.2 seconds" in failure(python("import time; print('hunter2', flush=True); time.sleep(9)"))


def test_a_command_is_not_given_to_a_shell(tmp_path):
    source = SecretSource(command=(sys.executable, "-c", "import sys; print(sys.argv[1])", "$(echo x); `id`"))
    assert resolve_secret(source, tmp_path) == "$(echo x); `id`"


def test_a_file_that_others_may_read_when_the_profile_says_so(tmp_path):
    path = tmp_path / "pw"
    path.write_text("hunter2")
    path.chmod(0o644)
    assert resolve_secret(SecretSource(file="pw", readable_by_others=True), tmp_path) == "hunter2"


def test_a_systemd_credential(tmp_path):
    (tmp_path / "probe").write_text("hunter2\n")
    source = SecretSource(credential="probe")
    assert resolve_secret(source, None, environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "hunter2"
    assert "not run by systemd with LoadCredential=probe:FILE" in failure(source, environ={})
    elsewhere = SecretSource(credential="../probe")
    assert "no credential's name" in failure(elsewhere, environ={"CREDENTIALS_DIRECTORY": str(tmp_path / "x")})


def test_a_keyring(tmp_path, monkeypatch):
    """A real backend that keeps its entries in a file (keyrings.alt); a desktop's is asked the same way."""
    import keyring
    from keyrings.alt.file import PlaintextKeyring

    backend = PlaintextKeyring()
    backend.file_path = str(tmp_path / "keyring")
    monkeypatch.setattr("keyring.core._keyring_backend", backend)
    keyring.set_password("submission-probe", "probe@contoso.com", "hunter2")
    source = SecretSource(keyring="submission-probe")
    assert resolve_secret(source, None, username="probe@contoso.com") == "hunter2"
    assert "keyring set submission-probe other" in failure(source, username="other")


def test_a_prompt_wants_a_terminal():
    assert "needs a terminal; from cron or a service use file or credential" in failure(SecretSource(prompt=True))


@pytest.mark.not_on_windows("pseudo-terminals")
def test_a_prompt_on_a_terminal():
    """A real pseudo-terminal: the question goes to it, the answer is not echoed."""
    import pty

    code = "from probe.profile import *; print(len(resolve_secret(SecretSource(prompt=True), None, username='me')))"
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    shown = b""
    while b"Password of me:" not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, b"hunter2\n")
    try:
        while piece := os.read(terminal, 1024):
            shown += piece
    except OSError:
        pass  # Linux says so when the other side of the terminal is gone
    assert os.waitpid(child, 0)[1] == 0
    assert b"7" in shown and b"hunter2" not in shown
