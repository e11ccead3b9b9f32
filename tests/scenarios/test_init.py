"""`probe init`: what it writes loads and runs, and the real consumers of what it writes beside it accept that."""

import asyncio
import os
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from probe.profile import load
from probe.tasks.plan import plugins
from tests.servers import discovery
from tests.servers.discovery import ADDRESS, command, healthy

pty = pytest.importorskip("pty", reason="not_on_windows: pseudo-terminals")

BASE = ("init", "probe@contoso.com", "--host", "mail.contoso.com", "--no-look", "--yes")
_SYSTEMD = shutil.which("systemd-analyze")
_ICINGA = shutil.which("icinga2", path="/usr/sbin:/usr/bin")


@pytest.fixture(scope="module")
def certificate(authority: Any) -> Any:
    return authority.leaf("contoso.test", "*.contoso.test", file_stem="init")


@pytest.fixture(autouse=True)
def own_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "profiles"
    monkeypatch.setenv("SUBMISSION_PROBE_PROFILES", str(folder))
    return folder


def present(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def profile(path: Path) -> Any:
    return load(path, plugins=plugins(), environ={})


async def test_a_profile_by_options_lands_among_the_users_own_and_loads(own_profiles: Path) -> None:
    status, out, err = await command(*BASE)
    path = own_profiles / "mail.contoso.com.toml"
    assert (status, err) == (0, "") and f"wrote {path}" in out and "probe run --light mail.contoso.com" in out
    written = profile(path)
    assert (written.submission.host, written.submission.port, written.extends) == ("mail.contoso.com", 587, "generic")
    assert written.account.password.env == "PROBE_PASSWORD" and set(written.readers) == {"imap", "pop3"}
    status, out, err = await command("run", "mail.contoso.com", "--dry-run")
    assert status == 0 and "mail.contoso.com:587 starttls" in out


async def test_it_never_overwrites_without_force(tmp_path: Path) -> None:
    path, units = tmp_path / "p.toml", tmp_path / "units"
    path.write_text("precious")
    status, _, err = await command(*BASE, "--output", str(path), "--systemd", str(units))
    assert status == 3 and "is there already" in err and "--force" in err and err.count("\n") == 1
    assert path.read_text() == "precious" and not units.exists()
    status, _, _ = await command(*BASE, "--output", str(path), "--force")
    assert status == 0 and profile(path).submission.host == "mail.contoso.com"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("init", "probe@contoso.com", "--yes"), "--host is missing"),
        (("init", "--host", "mail.contoso.com"), "--user is missing"),
        (("init", "--host", "mail.contoso.com", "--user", "CONTOSO\\probe"), "ADDRESS is missing"),
        ((*BASE, "--extends", "exchnage-2016"), "did you mean exchange-2016"),
        ((*BASE, "--readback", "smtp"), "expected imap, pop3, both or none"),
        ((*BASE, "--extends", "generic", "--readback", "imap"), "cannot switch off a reader of its parent"),
        ((*BASE, "--password-env", "A", "--password-file", "b"), "not both"),
        ((*BASE, "--output", "-", "--cron"), "need a profile in a file"),
        (("init", "probe@contoso.com", "--host", "mail contoso", "--yes"), "mail contoso"),
    ],
)
async def test_a_mistake_is_one_plain_line_and_writes_nothing(arguments: tuple[str, ...], words: str, own_profiles: Path) -> None:
    status, out, err = await command(*arguments)
    assert (status, out) == (3, "") and words in err and "Traceback" not in err
    assert present(own_profiles.parent) == []


async def test_a_user_name_that_is_no_address_and_one_reader_only(tmp_path: Path) -> None:
    path, secret = tmp_path / "p.toml", tmp_path / "secret word"
    status, _, err = await command(
        *BASE, "--user", 'CONTOSO\\pro"be', "--readback", "imap", "--password-file", str(secret), "--output", str(path)
    )  # fmt: skip
    written = profile(path)
    assert (status, err) == (0, "") and written.account.username == 'CONTOSO\\pro"be'
    assert written.sender == written.recipient == "probe@contoso.com"
    assert set(written.readers) == {"imap"} and str(written.account.password.file) == str(secret)


async def test_to_stdout_it_is_the_profile_and_nothing_else(tmp_path: Path) -> None:
    status, out, err = await command(*BASE, "--output", "-")
    (tmp_path / "p.toml").write_text(out)
    assert (status, err) == (0, "") and profile(tmp_path / "p.toml").account.username == "probe@contoso.com"


async def test_what_is_told_goes_into_a_profile_that_runs(authority: Any, certificate: Any, tmp_path: Path) -> None:
    path = tmp_path / "told.toml"
    async with healthy(authority, certificate, tmp_path) as (domain, sandbox):
        status, out, err = await command(
            "init", ADDRESS, "--user", sandbox.username, "--password-file", str(sandbox.password_file), "--discover", "--yes",
            "--resolver", domain.resolver, "--connect-https", domain.site.address, "--ca-file", str(domain.ca_file),
            "--output", str(path),
        )  # fmt: skip
        assert status == 0, err
        text, written = path.read_text(), profile(path)
        assert "given by srv, autoconfig" in text
        assert written.submission.port == sandbox.addresses["submission"].port and written.submission.host == sandbox.fqdn
        here = '["127.0.0.1"]'
        changes = [f"submission.connect={here}", f"readback.imap.connect={here}", f"readback.pop3.connect={here}"]
        changes += ["tls.expires_warning=1h", "tls.expires_critical=1h"]
        options = [word for change in changes for word in ("--set", change)]
        status, out, err = await command("run", str(path), *options)
    assert status == 0, out + err
    assert sandbox.password not in text


async def test_a_domain_that_tells_nothing_leaves_the_question_open(authority: Any, certificate: Any) -> None:
    async with discovery.names({}) as resolver, discovery.https(certificate, {}) as site:
        options = ["--resolver", resolver, "--connect-https", site.address, "--ca-file", str(authority.ca_file)]
        status, _, err = await command("init", ADDRESS, "--discover", "--yes", *options)
    assert status == 3 and "nothing is published" in err and "--host is missing" in err


FOREIGN = {
    ("_submission._tcp.contoso.test.", "SRV"): ["0 1 587 mail.evil-contoso.test."],
    ("_imaps._tcp.contoso.test.", "SRV"): ["0 1 993 mail.contoso.test."],
    ("_pop3s._tcp.contoso.test.", "SRV"): ["0 1 995 contoso.test.evil.example."],
}


async def test_servers_of_another_domain_that_only_dns_names_are_refused(
    authority: Any, certificate: Any, tmp_path: Path, own_profiles: Path
) -> None:
    """RFC 6186 section 6: whoever forges an SRV answer would be sent the password, over a TLS that is in order."""
    path = tmp_path / "p.toml"
    async with discovery.names(FOREIGN) as resolver, discovery.https(certificate, {}) as site:
        way = ["--resolver", resolver, "--connect-https", site.address, "--ca-file", str(authority.ca_file)]
        ask = ["init", ADDRESS, "--discover", "--yes", "--output", str(path), *way]
        for more in ([], ["--host", "mail.contoso.test"]):
            status, _, err = await command(*ask, *more)
            assert status == 3 and "contoso.test.evil.example" in err and "--accept-other-domain" in err and not path.exists()
        assert "evil-contoso" not in err.splitlines()[-1]  # --host replaced that one
        status, _, err = await command(*ask, "--accept-other-domain")
        assert status == 0 and "warning: contoso.test.evil.example, mail.evil-contoso.test" in err
        assert profile(path).submission.host == "mail.evil-contoso.test"
        status, out, err = await command("discover", ADDRESS, *way)
        assert (
            status == 1
            and out.count("discover.other-domain") == 2
            and "publishes IMAP4 mail.contoso.test:993 (tls), outside" not in out
        )


@pytest.mark.parametrize("yes", [True, False])
def test_on_a_terminal_a_server_of_another_domain_is_asked_about(monkeypatch: pytest.MonkeyPatch, yes: bool) -> None:
    from probe.cli._asking import Asking
    from probe.cli._starter import Server

    asked: list[tuple[str, bool]] = []

    def confirm(question: str, default: bool) -> bool:
        asked.append((question, default))
        return yes

    monkeypatch.setattr("typer.confirm", confirm)
    told = {"smtp": Server("mail.evil.example"), "imap": Server("mail.contoso.test")}
    kept = Asking({}, terminal=True)._without_strangers(ADDRESS, told, {"mail.evil.example"})
    assert kept == (told if yes else {"imap": told["imap"]})
    assert len(asked) == 1 and "mail.evil.example" in asked[0][0] and asked[0][1] is False  # Enter alone accepts nothing


async def test_a_document_over_https_vouches_for_another_domain(authority: Any, certificate: Any, tmp_path: Path) -> None:
    """What the domain's own document names is no stranger; what it names comes before a stranger in DNS."""
    document = discovery.autoconfig(
        ("smtp", "mail.provider.example", 587, "STARTTLS"), ("imap", "mail.provider.example", 993, "SSL"),
        ("pop3", "mail.provider.example", 995, "SSL"),
    )  # fmt: skip
    path = tmp_path / "p.toml"
    both = {**FOREIGN, ("_submissions._tcp.contoso.test.", "SRV"): ["0 1 465 mail.provider.example."]}
    pages = {discovery.AUTOCONFIG: discovery.page(document)}
    async with discovery.names(both) as resolver, discovery.https(certificate, pages) as site:
        way = ["--resolver", resolver, "--connect-https", site.address, "--ca-file", str(authority.ca_file)]
        status, _, err = await command("init", ADDRESS, "--discover", "--yes", "--output", str(path), *way)
        assert status == 0, err
        written = profile(path)
        assert written.submission.host == "mail.provider.example"
        assert "evil" not in path.read_text()
        _, out, _ = await command("discover", ADDRESS, *way)
        assert "mail.provider.example" in out and not any(
            "other-domain" in line and "provider" in line for line in out.splitlines()
        )


def test_on_a_terminal_it_asks(own_profiles: Path) -> None:
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "dumb"}
    process = subprocess.Popen([sys.executable, "-m", "probe", "init"], stdin=theirs, stdout=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    said = ""
    dialogue = [
        ("User name", "probe@contoso.com"), ("Ask what users", "n"), ("Submission server", "mail.contoso.com"),
        ("Parent profile", "exchange-2016"), ("Read back over", ""), ("Environment variable", "MAIL_PW"),
    ]  # fmt: skip
    try:
        for question, reply in dialogue:
            said += _until(ours, question)
            os.write(ours, f"{reply}\n".encode())
        said += _until(ours, "probe run --light")
        assert process.wait(20) == 0
    finally:
        process.kill()
        os.close(ours)
    written = profile(own_profiles / "mail.contoso.com.toml")
    assert written.extends == "exchange-2016" and written.account.password.env == "MAIL_PW", said


def _until(end: int, words: str) -> str:
    """What came until these words and the rest of their line's start did. Fails after 20 seconds."""
    said, until = "", time.monotonic() + 20
    while words not in said:
        ready, _, _ = select.select([end], [], [], max(0.0, until - time.monotonic()))
        assert ready, f"no {words!r} in {said!r}"
        said += os.read(end, 4096).decode()
    return said


async def test_the_crontab_line_calls_this_very_program(tmp_path: Path) -> None:
    path = tmp_path / "50% o'clock.toml"
    status, out, _ = await command(*BASE, "--output", str(path), "--cron")
    assert status == 0
    (line,) = [line for line in out.splitlines() if not line.startswith("#")]
    times, shell = line.split(" ", 5)[:5], line.split(" ", 5)[5]
    assert times == ["*/5", "*", "*", "*", "*"] and "%" not in shell.replace("\\%", "")
    called = shlex.split(shell.replace("\\%", "%"))
    assert called[-3:] == ["run", "-q", str(path)] and Path(called[0]).is_absolute() and os.access(called[0], os.X_OK)


@pytest.mark.skipif(_SYSTEMD is None, reason="needs systemd-analyze (apt-get install systemd)")
async def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    path, units = tmp_path / "50% $HOME 'n so.toml", tmp_path / "units"
    status, _, err = await command(*BASE, "--output", str(path), "--systemd", str(units))
    assert (status, err) == (0, "")
    made = sorted(units.iterdir())
    assert [unit.suffix for unit in made] == [".service", ".timer"]
    process = await asyncio.create_subprocess_exec(
        str(_SYSTEMD), "verify", *map(str, made), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said, _ = await process.communicate()
    ours = [line for line in said.decode().splitlines() if "submission-probe-" in line]
    assert process.returncode == 0 and ours == [], said.decode()


@pytest.mark.skipif(_ICINGA is None, reason="needs icinga2 (apt-get install icinga2-bin)")
async def test_icinga_accepts_the_command_and_the_service_to_copy(tmp_path: Path) -> None:
    path, target = tmp_path / 'p "$x.toml', tmp_path / "command.conf"
    status, _, err = await command(*BASE, "--output", str(path), "--icinga", str(target))
    assert (status, err) == (0, "")
    copied = target.read_text().partition("// To copy:\n")[2].replace("// ", "")
    (tmp_path / "main.conf").write_text(
        f'include "{target}"\ntemplate Service "generic-service" {{ max_check_attempts = 3 }}\n'
        'object CheckCommand "up" { command = [ "/bin/true" ] }\n'
        f'object Host "mail" {{ check_command = "up"\n  vars.submission_probe = true }}\n{copied}'
    )
    # Debian's icinga2 would give up its rights and could not read pytest's folder.
    environ = {**os.environ, "ICINGA2_USER": "root", "ICINGA2_GROUP": "root"}
    process = await asyncio.create_subprocess_exec(
        str(_ICINGA),
        "daemon",
        "-C",
        "-c",
        str(tmp_path / "main.conf"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environ,
    )
    said, _ = await process.communicate()
    # It goes through every expression of the service that is there to be copied, the macros too.
    assert process.returncode == 0 and b"1 Service" in said and b"2 CheckCommands" in said, said.decode()
