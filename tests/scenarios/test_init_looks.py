"""`probe init` looks at the servers: the parent that fits, one logon where it is asked for, and a profile that its schema takes."""

import asyncio
import os
import select
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from probe.cli._look import _PARENTS, recognised
from probe.profile import load
from probe.profile.find import shipped_folder
from probe.profile.schema import json_schema
from probe.sandbox import Sandbox
from probe.tasks.plan import plugins
from tests.servers.discovery import command
from tests.servers.mail import free_port

WRITTEN = "wrote "


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBMISSION_PROBE_PROFILES", str(tmp_path / "profiles"))
    monkeypatch.setenv("SUBMISSION_PROBE_STATE", str(tmp_path / "state"))


@asynccontextmanager
async def served(personality: str) -> AsyncIterator[tuple[Sandbox, list[str]]]:
    """A sandbox, and the options by which `probe init` reaches it."""
    async with Sandbox(personality=personality) as sandbox:
        words = [sandbox.username, "--host", sandbox.fqdn, "--port", str(sandbox.addresses["submission"].port)]
        words += ["--connect", "127.0.0.1", "--ca-file", str(sandbox.ca_file), "--password-file", str(sandbox.password_file)]
        yield sandbox, words


def written(path: Path) -> Any:
    return load(path, plugins=plugins(), environ={})


@pytest.mark.parametrize(("personality", "parent"), [("postfix", "postfix-dovecot"), ("exchange-2016", "exchange-2016")])
async def test_the_parent_is_the_one_that_fits_the_greeting(tmp_path: Path, personality: str, parent: str) -> None:
    path = tmp_path / "p.toml"
    async with served(personality) as (sandbox, words):
        status, out, err = await command("init", *words, "--yes", "--output", str(path))
        assert status == 0 and WRITTEN in out, err
        assert f"parent profile that fits: {parent}" in err and f"{sandbox.fqdn}: 220 " in err
        profile = written(path)
        assert profile.extends == parent and profile.submission.port == sandbox.addresses["submission"].port
        assert profile.submission.connect == profile.readers["imap"].connect == ("127.0.0.1",)
        # It looked, and did not log on.
        assert sandbox.logons == []


async def test_a_parent_that_is_named_and_no_look_ask_nobody(tmp_path: Path) -> None:
    async with served("exchange-2016") as (_, words):
        for more, parent in ((["--extends", "gmail"], "gmail"), (["--no-look"], "generic")):
            path = tmp_path / f"{parent}.toml"
            status, _, err = await command("init", *words, "--yes", "--output", str(path), *more)
            assert (status, err) == (0, "") and written(path).extends == parent


async def test_a_server_that_does_not_answer_is_said_and_the_profile_is_written(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    words = ["probe@sandbox.test", "--host", "localhost", "--port", str(free_port()), "--yes", "--output", str(path)]
    status, _, err = await command("init", *words)
    assert status == 0 and "localhost: " in err and "the server was not recognised" in err
    assert written(path).extends == "generic"


async def test_a_name_without_an_address_is_named_once(tmp_path: Path) -> None:
    words = ["probe@sandbox.test", "--host", "mail.sandbox.test", "--yes", "--output", str(tmp_path / "p.toml")]
    _, _, err = await command("init", *words)
    (line,) = [line for line in err.splitlines() if "mail.sandbox.test: " in line]
    assert line.count("mail.sandbox.test") == 1, line


async def test_the_logon_is_tried_once_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    async with served("postfix") as (sandbox, words):
        status, out, err = await command("init", *words, "--yes", "--output", str(path), "--test")
        assert status == 0 and "smtp.auth" in out, out + err
        assert len(sandbox.logons) == 1
        assert not any(mailbox.folders["INBOX"].messages for mailbox in sandbox.mailboxes.values())
        sandbox.password_file.write_text("wrong-Horse7battery\n", encoding="utf-8")
        status, out, _ = await command("init", *words, "--yes", "--output", str(path), "--test", "--force")
        assert status == 2 and "auth.refused" in out and "wrong-Horse7battery" not in out
        assert len(sandbox.logons) == 2


MORE = [
    "",
    "--extends generic",
    "--readback imap",
    r"--user CONTOSO\probe",
    "--password-file x",
    "--extends exchange-online",
    "--connect [::1]:2587",
]


@pytest.mark.parametrize("more", MORE)
async def test_what_is_written_is_what_the_schema_takes(more: str) -> None:
    status, out, err = await command(
        "init", "probe@contoso.com", "--host", "mail.contoso.com", "--no-look", "--yes", "--output", "-", *more.split()
    )
    assert (status, err) == (0, "")
    jsonschema.Draft202012Validator(json_schema(plugins())).validate(tomllib.loads(out))


async def test_a_parent_that_takes_a_token_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    words = ["probe@contoso.com", "--host", "smtp.office365.com", "--extends", "exchange-online", "--yes", "--output", str(path)]
    status, out, _ = await command("init", *words)
    account = written(path).account
    assert status == 0 and account.password is None and account.token is not None and "account.token" in out
    status, _, _ = await command("init", *words, "--force", "--password-env", "MAIL_PW")
    assert status == 0 and written(path).account.password.env == "MAIL_PW"


def test_what_servers_say_of_themselves() -> None:
    said = {
        "220 mail.contoso.com Microsoft ESMTP MAIL Service ready at Fri, 27 Nov 2026 06:29:47 +0000": "exchange-2016",
        "* OK The Microsoft Exchange IMAP4 service is ready.": "exchange-2016",
        "220 mail.contoso.com hello SIZE X-ANONYMOUSTLS AUTH X-EXPS": "exchange-2016",
        "220 FR4P281CA0123.outlook.office365.com Microsoft ESMTP MAIL Service ready at Fri": "exchange-online",
        "220 smtp.gmail.com ESMTP 5b1f17b1804b1-38d5-gsmtp": "gmail",
        "220 mx.example.net ESMTP Postfix (Debian/GNU)": "postfix-dovecot",
        "+OK Dovecot ready.": "postfix-dovecot",
        "220 mx.example.net ESMTP Exim 4.96": None,
        "220 mail.gmail.com.example.net ESMTP": None,
    }
    assert {line: recognised(line) for line in said} == said
    assert all((shipped_folder() / f"{parent}.toml").exists() for parent, _ in _PARENTS)


@pytest.mark.not_on_windows("pseudo-terminals")
async def test_on_a_terminal_the_fitting_parent_is_the_default_and_the_logon_is_offered(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    async with served("exchange-2016") as (sandbox, words):
        dialogue = [("Parent profile", ""), ("Read back over", ""), ("Log on once", "y"), ("smtp.auth", None)]
        said = await asyncio.to_thread(
            _talk, ["init", *words, "--user", sandbox.username, "--no-discover", "--output", str(path)], dialogue
        )
        assert "[exchange-2016]" in said and "[y/N]" in said
        assert len(sandbox.logons) == 1 and written(path).extends == "exchange-2016"


def _talk(words: list[str], dialogue: list[tuple[str, str | None]]) -> str:
    """What came on a terminal where each question was answered so. Fails after 20 seconds of silence."""
    import pty

    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "dumb"}
    process = subprocess.Popen([sys.executable, "-m", "probe", *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    said, seen = "", 0
    try:
        for question, reply in dialogue:
            until = time.monotonic() + 20
            while question not in said[seen:]:
                ready, _, _ = select.select([ours], [], [], max(0.0, until - time.monotonic()))
                assert ready, f"no {question!r} in {said!r}"
                said += os.read(ours, 4096).decode()
            seen = len(said)
            if reply is not None:
                os.write(ours, f"{reply}\n".encode())
        assert process.wait(20) == 0, said
    finally:
        process.kill()
        os.close(ours)
    return said
