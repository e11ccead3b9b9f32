"""Access tokens fetched from an HTTPS server on loopback: client credentials, device code, redirects, refusals."""

import base64
import gzip
import json
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from probe.profile import ProfileError, TokenSource, resolve_token
from probe.state.tokens import Tokens
from tests.servers.pki import Authority

SECRET = "client-Horse7battery"
TOKEN = "access-Horse7battery"


class Provider:
    """Answers of an authorization server by path; `seen` has every request (path, headers, form)."""

    def __init__(self, authority: Authority) -> None:
        self.answers: dict[str, Callable[[dict[str, list[str]]], tuple[int, dict[str, str], Any]]] = {}
        self.seen: list[tuple[str, dict[str, str], dict[str, list[str]]]] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer({})

            def do_POST(self) -> None:
                self.answer(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))

            def answer(self, form: dict[str, list[str]]) -> None:
                provider.seen.append((self.path, dict(self.headers), form))
                status, headers, body = provider.answers.get(self.path, lambda _: (404, {}, {}))(form)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if callable(body):
                    body(self.wfile)
                else:
                    self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

            def log_message(self, *_: object) -> None: ...

        leaf = authority.leaf("localhost", "127.0.0.1", file_stem="oauth")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.cert_file, leaf.key_file)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def microsoft(self) -> None:
        """The discovery document of an authority, as msal reads it."""
        base = f"{self.url}/contoso"
        self.answers["/contoso/v2.0/.well-known/openid-configuration"] = lambda _: (
            200, {"Content-Type": "application/json"},
            {
                "issuer": f"{base}/v2.0", "authorization_endpoint": f"{base}/authorize", "token_endpoint": f"{base}/token",
                "device_authorization_endpoint": f"{base}/devicecode",
            },
        )  # fmt: skip


@pytest.fixture
def provider(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca_file))
    monkeypatch.setenv("CLIENT_SECRET", SECRET)
    monkeypatch.setenv("NO_PROXY", "*")
    made = Provider(authority)
    yield made
    made.server.shutdown()
    made.server.server_close()


def fetch(tmp_path: Path, **oauth: Any) -> str:
    source = TokenSource(oauth={"client_id": "probe-app", **oauth})
    return resolve_token(source, tmp_path, Tokens(tmp_path / "state"), key="account.token", username="probe@contoso.com")


def refusal(tmp_path: Path, **oauth: Any) -> str:
    with pytest.raises(ProfileError) as caught:
        fetch(tmp_path, **oauth)
    text = str(caught.value)
    assert SECRET not in text and "\n" not in text
    return text


WITH_SECRET = {"client_secret": {"env": "CLIENT_SECRET"}}


def test_a_token_endpoint(provider: Provider, tmp_path: Path) -> None:
    provider.answers["/token"] = lambda form: (200, {}, {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})
    assert fetch(tmp_path, token_endpoint=f"{provider.url}/token", scopes=["mail"], **WITH_SECRET) == TOKEN
    _, headers, form = provider.seen[0]
    assert form == {"grant_type": ["client_credentials"], "scope": ["mail"]}
    assert headers["Authorization"] == "Basic " + base64.b64encode(f"probe-app:{SECRET}".encode()).decode()


def test_a_token_endpoint_that_refuses(provider: Provider, tmp_path: Path) -> None:
    said = {"error": "invalid_client", "error_description": f"secret {SECRET} expired\nsecond line"}
    provider.answers["/token"] = lambda form: (401, {}, said)
    text = refusal(tmp_path, token_endpoint=f"{provider.url}/token", **WITH_SECRET)
    assert "account.token.oauth: no token" in text and "answers 401, invalid_client: secret [secret] expired" in text


@pytest.mark.parametrize("before", [0, 380, 470, 490, 496])
@pytest.mark.parametrize("how", ["authorization", "secret", "form"])
def test_what_a_token_endpoint_quotes_of_us_is_masked(how: str, before: int, provider: Provider, tmp_path: Path) -> None:
    basic = base64.b64encode(f"probe-app:{SECRET}".encode()).decode()
    quoted = {"authorization": f"Basic {basic}", "secret": SECRET, "form": SECRET.replace("-", "%2d")}[how]
    said = {"error": "invalid_client", "error_description": f"{'.' * before} got {quoted}"}
    provider.answers["/token"] = lambda form: (401, {}, said)
    text = refusal(tmp_path, token_endpoint=f"{provider.url}/token", **WITH_SECRET)
    tail = text.rpartition("got ")[2] if "got " in text else ""
    # The client's name in the header is no secret.
    assert tail.removeprefix("Basic ").removeprefix(basic[: len("probe-app:") * 4 // 3]) in ("", "…", "[secret]", "[secret]…"), text


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"access_token": ""}', b'{"token_type": "Bearer"}'])
def test_an_endpoint_that_talks_nonsense(provider: Provider, tmp_path: Path, body: bytes) -> None:
    provider.answers["/token"] = lambda form: (200, {}, body)
    assert "no token" in refusal(tmp_path, token_endpoint=f"{provider.url}/token", **WITH_SECRET)


def test_a_redirect_is_not_followed(provider: Provider, tmp_path: Path) -> None:
    provider.answers["/token"] = lambda form: (307, {"Location": f"{provider.url}/elsewhere"}, {})
    assert "a secret is not sent on" in refusal(tmp_path, token_endpoint=f"{provider.url}/token", **WITH_SECRET)
    assert [path for path, *_ in provider.seen] == ["/token"]


FROM_HERE = "; the token is fetched over HTTPS, port {port}, from this machine"


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No provider: only what a fetch needs."""
    monkeypatch.setenv("CLIENT_SECRET", SECRET)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("where", [{"tenant": "contoso.com"}, {"token_endpoint": "https://login.microsoftonline.com/token"}])
def test_a_name_that_cannot_be_looked_up(where: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    plain = "login.microsoftonline.com: the name cannot be looked up" + FROM_HERE.format(port=443)
    assert refusal(tmp_path, **where, **WITH_SECRET) == f"account.token.oauth: no token: {plain}"


@pytest.mark.usefixtures("nobody")
def test_a_port_where_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    text = refusal(tmp_path, token_endpoint=f"https://127.0.0.1:{port}/token", **WITH_SECRET)
    assert ": 127.0.0.1: cannot be reached: " in text and text.endswith(FROM_HERE.format(port=port))


def test_an_endpoint_that_is_not_trusted(provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    text = refusal(tmp_path, token_endpoint=f"{provider.url}/token", **WITH_SECRET)
    assert ": localhost: TLS failed: unable to get local issuer certificate; the token" in text
    assert provider.seen == []


@pytest.mark.usefixtures("nobody")
def test_a_port_that_speaks_no_tls(tmp_path: Path) -> None:
    done = threading.Event()

    def speak(listening: socket.socket) -> None:
        with listening.accept()[0] as peer:
            peer.sendall(b"220 mail ready\r\n")
            done.wait(20)

    with socket.create_server(("127.0.0.1", 0)) as plain:
        speaking = threading.Thread(target=speak, args=[plain], daemon=True)
        speaking.start()
        text = refusal(tmp_path, token_endpoint=f"https://127.0.0.1:{plain.getsockname()[1]}/token", **WITH_SECRET)
        done.set()
        speaking.join()
    assert ": 127.0.0.1: TLS failed: " in text and not re.search(r"Pool|urllib3|Error\(|Max retries", text)


def test_a_compressed_answer_is_refused(provider: Provider, tmp_path: Path) -> None:
    """A gzip bomb: nothing is decompressed, and nothing was asked to be compressed."""
    bomb = gzip.compress(bytes(2_000_000))
    provider.answers["/token"] = lambda form: (200, {"Content-Encoding": "gzip"}, bomb)
    assert "compressed answer" in refusal(tmp_path, token_endpoint=f"{provider.url}/token", **WITH_SECRET)
    assert provider.seen[0][1]["Accept-Encoding"] == "identity"


def test_an_endless_answer_is_cut(provider: Provider, tmp_path: Path) -> None:
    provider.answers["/token"] = lambda form: (200, {}, bytes(10_000_000))
    assert "more than 65536 octets" in refusal(tmp_path, token_endpoint=f"{provider.url}/token", **WITH_SECRET)


@pytest.mark.parametrize("place", ["token_endpoint", "authority"])
def test_a_dripping_endpoint_is_given_up_and_cut_off(
    place: str, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An octet comes again and again: no wait of a single read would ever end."""
    monkeypatch.setattr("probe.profile.oauth.SECONDS", 1.0)
    hung_up = threading.Event()

    def drip(stream: Any) -> None:
        try:
            while True:
                stream.write(b" ")
                stream.flush()
                time.sleep(0.05)
        except OSError:
            hung_up.set()

    for path in ("/token", "/contoso/v2.0/.well-known/openid-configuration"):
        provider.answers[path] = lambda form: (200, {}, drip)
    where = {"token_endpoint": f"{provider.url}/token"} if place == "token_endpoint" else {"authority": f"{provider.url}/contoso"}
    assert "did not answer in full within" in refusal(tmp_path, **where, **WITH_SECRET)
    assert hung_up.wait(20) and len(provider.seen) == 1


@pytest.mark.not_on_windows("modes of POSIX")
def test_a_private_key_that_others_can_read_is_refused(provider: Provider, tmp_path: Path, authority: Authority) -> None:
    provider.microsoft()
    key = tmp_path / "app.pem"
    key.write_text(authority.leaf("localhost", file_stem="app").key_file.read_text())
    key.chmod(0o644)
    text = refusal(tmp_path, authority=f"{provider.url}/contoso", client_certificate=str(key))
    assert "can be read by other users; run: chmod 600" in text and provider.seen == []


def test_microsoft_client_credentials(provider: Provider, tmp_path: Path) -> None:
    provider.microsoft()
    provider.answers["/contoso/token"] = lambda form: (200, {}, {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})
    assert fetch(tmp_path, authority=f"{provider.url}/contoso", **WITH_SECRET) == TOKEN
    form = next(form for path, _, form in provider.seen if path == "/contoso/token")
    assert form["scope"] == ["https://outlook.office365.com/.default"] and form["grant_type"] == ["client_credentials"]


def test_microsoft_refuses(provider: Provider, tmp_path: Path) -> None:
    provider.microsoft()
    described = "AADSTS7000222: The provided client secret keys are expired.\nTrace ID: 1"
    said = {"error": "invalid_client", "error_description": described}
    provider.answers["/contoso/token"] = lambda form: (401, {}, said)
    text = refusal(tmp_path, authority=f"{provider.url}/contoso", **WITH_SECRET)
    assert "invalid_client: AADSTS7000222: The provided client secret keys are expired." in text and "Trace" not in text


def test_a_device_code_needs_a_terminal_once(provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider.microsoft()
    code: dict[str, Any] = {"device_code": "d", "user_code": "ABC", "verification_uri": "https://x", "message": "Go"}
    code |= {"expires_in": 60, "interval": 0}
    provider.answers["/contoso/devicecode"] = lambda form: (200, {}, code)
    info = base64.urlsafe_b64encode(json.dumps({"uid": "u", "utid": "t"}).encode()).decode().rstrip("=")
    token = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600, "refresh_token": "refresh", "client_info": info}
    token["scope"] = "https://outlook.office.com/SMTP.Send"
    provider.answers["/contoso/token"] = lambda form: (200, {}, token)
    flow = {"authority": f"{provider.url}/contoso", "flow": "device-code", "scopes": ["https://outlook.office.com/SMTP.Send"]}
    assert "run this profile once at a terminal" in refusal(tmp_path, **flow)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert fetch(tmp_path, **flow) == TOKEN
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    asked = len(provider.seen)
    # The second run finds the sign-in: no question, and no request as long as the token lives.
    assert fetch(tmp_path, **flow) == TOKEN
    assert [path for path, *_ in provider.seen[asked:] if "devicecode" in path or path.endswith("/token")] == []
    (kept,) = (tmp_path / "state").glob("oauth-*.json")
    assert os.name == "nt" or kept.stat().st_mode & 0o077 == 0


@pytest.mark.not_on_windows("links and owners of POSIX")
def test_a_planted_cache_is_not_used_and_not_written_through(provider: Provider, tmp_path: Path) -> None:
    elsewhere, state = tmp_path / "elsewhere", tmp_path / "state"
    state.mkdir()
    elsewhere.write_text('{"AccessToken": {"planted": {"secret": "x"}}}')
    path = Tokens(state).path("whose")
    path.symlink_to(elsewhere)
    assert Tokens(state).read("whose") is None
    Tokens(state).write("whose", "ours")
    assert Tokens(state).read("whose") == "ours"
    assert "planted" in elsewhere.read_text() and not path.is_symlink() and path.stat().st_mode & 0o077 == 0
    assert [file.name for file in state.iterdir()] == [path.name]
