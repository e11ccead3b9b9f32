"""Fetching a secret: what is accepted, and that no error tells it."""

import sys

import pytest

from probe.profile import ProfileError, SecretSource, resolve_secret
from probe.profile import secret as secret_module


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


def test_a_file_is_relative_to_the_base_and_gives_its_first_line(tmp_path):
    path = tmp_path / "pw"
    path.write_bytes(b"\xef\xbb\xbfhunter2 \r\nsecond line\n")
    path.chmod(0o600)
    assert resolve_secret(SecretSource(file="pw"), tmp_path) == "hunter2 "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_is_refused(tmp_path, mode):
    path = tmp_path / "pw"
    path.write_text("hunter2")
    path.chmod(mode)
    assert f"chmod 600 {path}" in failure(SecretSource(file="pw"), tmp_path)


def test_files_that_hold_no_secret(tmp_path):
    path = tmp_path / "pw"
    assert "cannot be read: No such file" in failure(SecretSource(file="pw"), tmp_path)
    assert "is not a regular file" in failure(SecretSource(file="."), tmp_path)
    for content, text in ((b"\n", "is empty"), (b"\xff\xfeh\0u\0", "is not UTF-8"), (b"h\0u\0", "NUL")):
        path.write_bytes(content)
        path.chmod(0o600)
        assert text in failure(SecretSource(file="pw"), tmp_path)


def test_a_command(tmp_path, monkeypatch):
    assert resolve_secret(python("print('hunter2'); print('more')"), tmp_path) == "hunter2"
    assert "ended with status 3" in failure(python("print('hunter2'); raise SystemExit(3)"))
    assert "is empty" in failure(python("pass"))
    assert "cannot be run: No such file" in failure(SecretSource(command=("/no/such/program",)))
    monkeypatch.setattr(secret_module, "COMMAND_SECONDS", 0.2)
    assert "did not end within 0.2 seconds" in failure(
        python("import time; print('hunter2', flush=True); time.sleep(9)")
    )


def test_a_command_is_not_given_to_a_shell(tmp_path):
    source = SecretSource(command=(sys.executable, "-c", "import sys; print(sys.argv[1])", "$(echo x); `id`"))
    assert resolve_secret(source, tmp_path) == "$(echo x); `id`"
