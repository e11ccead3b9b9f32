"""Who would keep others out of the exporter, or make it run for them: silence, haste, foreign pages, names that point here."""

import asyncio
import contextlib
import errno
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from probe.sandbox import Sandbox
from probe.serve.origin import is_foreign, is_loopback, knows
from tests.serve.serving import Serving, values
from tests.serve.test_serve import messages, profile, submissions
from tests.servers.pki import Authority

resource = pytest.importorskip("resource", reason="not_on_windows: limits of a process")

SILENT = 1100
PROBE = "/probe?target=office"


def windows(number: int) -> OSError:
    """As Python raises it there: the number stands in `winerror`."""
    error = OSError(0, f"windows error {number:#x}")
    error.winerror = number
    return error


@pytest.fixture
def files_of_a_service() -> Iterator[None]:
    """1024 descriptors for the exporter, as most services have; enough for us who open the connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("this user may not open 4096 files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Limited(Serving):
    """The exporter under `ulimit -n 1024`."""

    async def __aenter__(self) -> Serving:
        entered = await super().__aenter__()
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (1024, 1024))
        return entered


@contextlib.asynccontextmanager
async def crowd(url: str, first: bytes = b""):  # type: ignore[no-untyped-def]
    """Many connections that say nothing, or begin and never end."""
    address = httpx2.URL(url)
    sockets: list[socket.socket] = []
    try:
        for _ in range(SILENT):
            guest = socket.create_connection((address.host, address.port or 0), timeout=10)
            sockets.append(guest)
            with contextlib.suppress(OSError):
                guest.sendall(first)
            await asyncio.sleep(0)
        yield sockets
    finally:
        for guest in sockets:
            guest.close()


@pytest.mark.parametrize("first", [b"", b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "])
async def test_silent_connections_shut_nobody_out(tmp_path: Path, files_of_a_service: None, first: bytes) -> None:
    async with (
        Sandbox() as sandbox,
        Limited(tmp_path, profile(tmp_path, sandbox), "--interval", "1s") as serving,
        crowd(serving.url, first),
        httpx2.AsyncClient(timeout=20) as fresh,
    ):
        before = values((await fresh.get(f"{serving.url}/metrics")).text)
        runs = before["submission_probe_runs_total"].get(("office", "ok"), 0)
        await serving.until_metric("submission_probe_runs_total", runs + 3, "office", "ok")
        told = await serving.metrics()
        assert told["submission_probe_runs_total"].get(("office", "unknown"), 0) == 0
        assert len(list(Path(f"/proc/{serving.process.pid}/fd").iterdir())) < 300


async def test_silence_before_the_handshake_of_tls_shuts_nobody_out(
    tmp_path: Path, authority: Authority, files_of_a_service: None
) -> None:
    leaf = authority.leaf("localhost", "127.0.0.1")
    config = tmp_path / "web.yml"
    config.write_text(f"tls_server_config:\n  cert_file: {leaf.cert_file}\n  key_file: {leaf.key_file}\n")
    arguments = ("--interval", "none", "--web-config", str(config))
    async with Sandbox() as sandbox, Limited(tmp_path, profile(tmp_path, sandbox), *arguments) as serving:
        address = httpx2.URL(serving.url)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        idle = [
            context.wrap_socket(socket.create_connection((address.host, address.port or 0))) for _ in range(20)
        ]  # through the handshake, then silent
        async with crowd(serving.url):
            assert (await serving.get("/metrics")).status_code == 200
            assert len(list(Path(f"/proc/{serving.process.pid}/fd").iterdir())) < 300
        for one in idle:
            one.close()


async def test_a_head_that_never_ends_is_given_up(tmp_path: Path) -> None:
    """Ten seconds (probe.serve.door.HEAD_SECONDS), however much of it trickles in."""
    async with Sandbox() as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "none") as serving:
        address = httpx2.URL(serving.url)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /metrics HTTP/1.1\r\nX: ")
        await writer.drain()

        async def trickle() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.2)

        trickling = asyncio.create_task(trickle())
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(-1), 30)
        trickling.cancel()


async def test_a_scrape_without_time_is_refused_and_blames_nobody(tmp_path: Path) -> None:
    """The server is well, only slow: 503, a whole run goes on, and nothing is left behind."""
    async with Sandbox(fault="late") as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "none") as serving:
        hasty = await serving.get(PROBE, headers={"X-Prometheus-Scrape-Timeout-Seconds": "2"})
        assert hasty.status_code == 503 and "scrape_timeout" in hasty.text and "probe_success" not in hasty.text
        await serving.until_metric("submission_probe_runs_total", 1, "office", "ok")
        told = await serving.metrics()
        assert set(told["submission_probe_runs_total"]) >= {("office", "ok")}
        assert not any(count for labels, count in told["submission_probe_runs_total"].items() if "critical" in labels)
        assert submissions(sandbox) == 1 and messages(sandbox) == 0 and not list((serving.state / "outbox").glob("*"))


async def test_a_name_that_was_rebound_to_us_is_not_answered(tmp_path: Path) -> None:
    arguments = ("--interval", "none", "--allow-host", "Probe.contoso.com")
    async with Sandbox() as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), *arguments) as serving:
        port = httpx2.URL(serving.url).port
        for path in ("/", "/metrics", PROBE, "/run/0", "/-/healthy"):
            for host in (
                "rebound.example",
                f"rebound.example:{port}",
                "127.0.0.1.rebound.example",
                "localhost.example",
                "10.0.0.1",
            ):
                assert (await serving.get(path, headers={"Host": host})).status_code == 421, (path, host)
        assert submissions(sandbox) == 0
        for host in (f"127.0.0.1:{port}", "localhost", "LOCALHOST.:9", "[::1]:1", "probe.contoso.com:9587"):
            assert (await serving.get("/metrics", headers={"Host": host})).status_code == 200, host


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
async def test_a_foreign_page_starts_nothing(tmp_path: Path, headers: dict[str, str]) -> None:
    async with Sandbox() as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "none") as serving:
        assert (await serving.get(PROBE, headers=headers)).status_code == 403
        assert (await serving.client.post("/-/reload", headers=headers)).status_code == 403
        assert submissions(sandbox) == 0 and "reloaded" not in serving.said
        own = {"Sec-Fetch-Site": "same-origin", "Origin": serving.url}
        assert (await serving.client.post("/-/reload", headers=own)).status_code == 200
        assert (await serving.get(PROBE, headers={"Sec-Fetch-Site": "none"})).status_code == 200
        assert (await serving.get("/", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 200  # a dashboard's link


async def test_off_loopback_somebody_has_to_say_who_may_come_in(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        path = profile(tmp_path, sandbox)
        for host in ("0.0.0.0:0", "[::]:0"):
            command = [sys.executable, "-m", "probe", "serve", path, "--listen", host]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
            assert done.returncode == 3 and "--allow-anyone" in done.stderr and done.stderr.count("\n") == 1, done.stderr
        config = tmp_path / "web.yml"
        config.write_text("basic_auth_users:\n  a: $2b$10$abcdefghijklmnopqrstuuJlS7nLJuF0kEoyr2E7sUCyvhSfxCFo2\n")
        async with Serving(tmp_path, path, "--interval", "none", "--web-config", str(config), listen="0.0.0.0:0") as serving:
            config.write_text("{}\n")
            serving.process.send_signal(1)
            await serving.until(lambda: "reload failed" in serving.said)  # a file without users opens no door
        async with Serving(tmp_path, path, "--interval", "none", "--allow-anyone", listen="0.0.0.0:0") as serving:
            assert "warning: everybody" in serving.said
            assert (await serving.get("/metrics", headers={"Host": "10.1.2.3:9587"})).status_code == 200
            assert (await serving.get("/metrics", headers={"Host": "rebound.example"})).status_code == 421


TRANSITIONS = {
    # from, to: whether a reload may take it
    ("plain", "tls"): False,
    ("tls", "plain"): False,
    ("tls", "certificate"): False,
    ("certificate", "tls"): False,
    ("certificate and users", "users over tls"): False,
    ("tls", "tls 1.3"): False,
    ("users", "certificate"): False,
    ("certificate", "other authority"): False,
    ("certificate and users", "certificate"): True,
    ("users", "other users"): True,
    ("users over tls", "tls"): True,
}


def _web_configs(authority: Authority) -> dict[str, str]:
    leaf = authority.leaf("localhost")
    tls = f"tls_server_config:\n  cert_file: {leaf.cert_file}\n  key_file: {leaf.key_file}\n"
    certificate = f"{tls}  client_ca_file: {authority.ca_file}\n  client_auth_type: RequireAndVerifyClientCert\n"
    (authority.directory / "other.pem").write_bytes(authority.leaf("other").leaf_pem)
    other = certificate.replace(str(authority.ca_file), str(authority.directory / "other.pem"))
    users = "basic_auth_users:\n  a: $2b$10$abcdefghijklmnopqrstuuJlS7nLJuF0kEoyr2E7sUCyvhSfxCFo2\n"
    return {
        "plain": "{}\n", "tls": tls, "tls 1.3": f"{tls}  min_version: TLS13\n", "certificate": certificate, "users": users,
        "certificate and users": certificate + users, "users over tls": tls + users, "other users": users.replace("  a:", "  b:"),
        "other authority": other,
    }  # fmt: skip


@pytest.mark.parametrize(("before", "after"), TRANSITIONS)
def test_a_reload_takes_nothing_that_would_leave_the_door_open(
    before: str, after: str, tmp_path: Path, authority: Authority
) -> None:
    from probe.serve.webconfig import WebConfigError, read, refuse_change

    made = {}
    for name, text in _web_configs(authority).items():
        (tmp_path / f"{name}.yml").write_text(text)
        made[name] = read(tmp_path / f"{name}.yml")
    if TRANSITIONS[before, after]:
        refuse_change(made[before], made[after])
        return
    with pytest.raises(WebConfigError, match="restart"):
        refuse_change(made[before], made[after])


async def test_a_reload_to_client_certificates_leaves_the_users_in_force(tmp_path: Path, authority: Authority) -> None:
    """The certificate cannot be asked for without a restart; taken, the file would have opened the exporter to everybody."""
    configs = _web_configs(authority)
    config = tmp_path / "web.yml"
    config.write_text(configs["users over tls"])
    async with Sandbox() as sandbox:
        arguments = (profile(tmp_path, sandbox), "--interval", "none", "--web-config", str(config))
        async with Serving(tmp_path, *arguments) as serving:
            config.write_text(configs["certificate"])
            serving.process.send_signal(1)
            await serving.until(lambda: "reload failed" in serving.said)
            assert "client_auth_type differs: restart" in serving.said
            assert (await serving.get("/metrics")).status_code == 401


def test_a_hash_that_only_looks_like_one_is_refused(tmp_path: Path) -> None:
    from probe.serve.webconfig import WebConfigError, read

    config = tmp_path / "web.yml"
    for mark in ("$2b$99$" + "a" * 53, "$2b$10$" + "!" * 53, "$2b$1$" + "a" * 54, "$2b$10$" + "a" * 52 + "é"):
        config.write_text(f"basic_auth_users:\n  a: '{mark}'\n", encoding="utf-8")
        with pytest.raises(WebConfigError, match="expected a bcrypt hash"):
            read(config)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path, authority: Authority) -> None:
    leaf = authority.leaf("localhost")
    key = tmp_path / "key.pem"
    key.write_bytes(Path(leaf.key_file).read_bytes())
    config = tmp_path / "web.yml"
    config.write_text(f"tls_server_config:\n  cert_file: {leaf.cert_file}\n  key_file: {key}\n")
    from probe.serve.webconfig import WebConfigError, read

    for mode in (0o666, 0o644, 0o660):
        key.chmod(mode)
        with pytest.raises(WebConfigError, match="others can read or change"):
            read(config)
    for mode in (0o600, 0o440):
        key.chmod(mode)
        assert read(config).context is not None


def test_names_and_origins() -> None:
    assert knows("::1", (), "[::1]:9") and knows("0.0.0.0", (), "192.0.2.1:9") and knows("mail.example", (), "Mail.Example.")
    assert not knows("0.0.0.0", (), "name.example") and not knows("192.0.2.1", (), "192.0.2.2") and not knows("127.0.0.1", (), "")
    assert is_loopback("localhost") and is_loopback("127.9.9.9") and not is_loopback("::") and not is_loopback("localhost.example")
    assert not is_foreign({"host": "a:1"}) and not is_foreign({"host": "A:1", "origin": "http://a:1"})


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EADDRINUSE, "Address already in use"), "address already in use"),
        (windows(10048), "address already in use"),
        (windows(10013), "another program"),
        (windows(10049), "no address of this machine"),
        (PermissionError(errno.EACCES, "Permission denied"), "permission denied"),
        (socket.gaierror(-2, "Name or service not known"), "name or service not known"),
    ],
)
def test_why_a_port_cannot_be_had_is_said_in_words_of_ours(error: OSError, words: str) -> None:
    """Python's words for an error of Windows' sockets are the system's, in its language; under Wine a bare number."""
    from probe.serve.http import why_not

    assert words in why_not(error)
