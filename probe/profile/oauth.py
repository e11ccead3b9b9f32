"""Access tokens: from the sources every secret has, or fetched by OAuth 2.0 (extra `oauth`).

Microsoft 365 by msal (client credentials, RFC 6749 section 4.4; device code, RFC 8628); any other provider's token endpoint by
requests-oauthlib. HTTPS only, one try, no redirects, bounded in time and memory
(https.py). No error text here holds a token or a client secret.
"""

import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import probe.profile.textfile as textfile
from probe.profile.bounded import MOST_BYTES, TooMuch, within
from probe.profile.private import problem
from probe.profile.problem import Problem, ProfileError, SecretOver
from probe.profile.secret import KINDS, SecretSource, resolve_secret
from probe.profile.table import Table, contradiction
from probe.profile.values import ExistingFile, Text
from probe.redact import Redactor

if TYPE_CHECKING:
    from probe.profile.https import Client

SECONDS = 10.0
SIGN_IN_SECONDS = 900.0
MICROSOFT = "https://login.microsoftonline.com"
# Microsoft: "Authenticate an IMAP, POP or SMTP connection using OAuth" (learn.microsoft.com/exchange/client-developer).
_SCOPES = {
    "client-credentials": ("https://outlook.office365.com/.default",),
    "device-code": (
        "https://outlook.office.com/SMTP.Send",
        "https://outlook.office.com/IMAP.AccessAsUser.All",
        "https://outlook.office.com/POP.AccessAsUser.All",
    ),
}
# How a token endpoint says that a client secret, a certificate, a sign-in or the user's password has ended. Microsoft's numbers
# (learn.microsoft.com/entra/identity-platform/reference-error-codes): client secret 7000222, client certificate 1000502, refresh
# token 700082, 700084, 70043 and 70008, grant 50173, password 50055. Others have no numbers (RFC 6749 section 5.2), only words.
_OVER = re.compile(
    r"\bAADSTS(7000222|1000502|700082|700084|70043|70008|50173|50055)\b"
    r"|\b(secret|certificate|refresh[ _]token|grant|password)s?\b.{0,40}\b(has |have |is |are )?expired\b",
    re.IGNORECASE,
)
# What is tried from where the probe runs is often not allowed out.
_FROM_HERE = "; the token is fetched over HTTPS, from this machine"
_EXTRA = "needs the extra: pip install 'submission-probe[oauth]'"


class OAuth(Table):
    """Where an access token is fetched: a tenant of Microsoft 365, or another provider's token endpoint."""

    tenant: Text | None = None
    """Microsoft 365: the tenant's id or domain."""
    authority: Text | None = None
    """Instead of tenant: the whole authority, such as https://login.microsoftonline.us/TENANT for a national cloud."""
    token_endpoint: Text | None = None
    """Any other provider: the https:// address of its token endpoint (client credentials only)."""
    client_id: Text
    client_secret: SecretSource | None = None
    client_certificate: ExistingFile | None = None
    """Microsoft 365, instead of a client secret: a PEM file with certificate and private key."""
    flow: Literal["client-credentials", "device-code"] = "client-credentials"
    """device-code: somebody signs in once, at a terminal; the refresh token is then kept in the state directory."""
    scopes: tuple[Text, ...] = ()
    """Default: Microsoft 365's scopes for mail."""

    def agree(self) -> None:
        places = [key for key in ("tenant", "authority", "token_endpoint") if getattr(self, key)]
        if len(places) != 1:
            got = " and ".join(places) or "none"
            raise contradiction("", f"expected exactly one of tenant, authority, token_endpoint, got {got}")
        for key in ("authority", "token_endpoint"):
            if not (getattr(self, key) or "https://").startswith("https://"):
                raise contradiction(key, "expected an https:// address: a client secret goes there")
        proof = [key for key in ("client_secret", "client_certificate") if getattr(self, key)]
        if self.flow == "client-credentials" and len(proof) != 1:
            raise contradiction("client_secret", "set exactly one of client_secret and client_certificate", missing=not proof)
        if self.flow == "device-code" and (proof or self.token_endpoint):
            raise contradiction("flow", "device-code goes with tenant or authority, and without a client's own secret")
        if self.token_endpoint and self.client_certificate:
            raise contradiction("client_certificate", "goes with tenant or authority; a token endpoint takes client_secret")


class TokenSource(SecretSource):
    """Exactly one of the sources of a secret, or `oauth`: fetch the token."""

    kinds: ClassVar[tuple[str, ...]] = (*KINDS, "oauth")
    oauth: OAuth | None = None

    def __str__(self) -> str:
        return f"oauth {self.oauth.client_id}" if self.oauth else super().__str__()

    @property
    def is_slow(self) -> bool:
        return self.oauth is not None or super().is_slow

    @property
    def asks(self) -> bool:
        return super().asks or (self.oauth is not None and self.oauth.flow == "device-code")


class TokenCache(Protocol):
    """Where a sign-in is stored (state/tokens.py)."""

    def read(self, whose: str) -> str | None: ...

    def write(self, whose: str, text: str) -> None: ...


def resolve_token(
    source: TokenSource, base: Path | None, cache: TokenCache, *, key: str, username: str | None, seconds: float = SECONDS
) -> str:
    """The access token. `cache` is where a device-code sign-in is stored.

    Blocks while it is fetched: for `seconds`, 10 at most, and for a sign-in at a terminal 15 minutes. Raises ProfileError.
    """
    if source.oauth is None:
        return _given(source, base, key, username, seconds)
    began = time.monotonic()
    where = f"{key}.oauth"
    secret = None
    if source.oauth.client_secret:
        secret = resolve_secret(
            source.oauth.client_secret, base, key=f"{where}.client_secret", username=source.oauth.client_id, seconds=seconds
        )
    wrong, token = _in_time(source.oauth, secret, cache, min(seconds, SECONDS) - (time.monotonic() - began))
    if token:
        return token
    # A provider may quote what it was sent, in any encoding (the whole Authorization header, say).
    wrong = Redactor([secret] if secret else []).cut(wrong, 500)
    kind = SecretOver if _OVER.search(wrong) else ProfileError
    raise kind(Problem(None, None, where, f"no token: {_plain(wrong)}"))


def _given(source: SecretSource, base: Path | None, key: str, username: str | None, seconds: float) -> str:
    try:
        return resolve_secret(source, base, key=key, username=username, seconds=seconds)
    except ProfileError as error:
        if source.env is None or source.env in os.environ:
            raise
        hint = f"; or let the probe fetch one: [{key}.oauth], docs/authentication.md"
        raise ProfileError(replace(one, text=one.text + hint) for one in error.problems) from None


def _in_time(oauth: OAuth, secret: str | None, cache: TokenCache, seconds: float) -> tuple[str, str]:
    """(what is wrong or "", token): values, so that no traceback carries a secret."""
    try:
        from probe.profile.https import Client
    except ImportError:
        return _EXTRA, ""
    signing_in = oauth.flow == "device-code" and bool(sys.stdin and sys.stdin.isatty())
    client = Client(SECONDS)
    try:
        return within(SIGN_IN_SECONDS if signing_in else seconds, lambda: _fetch(oauth, secret, cache, client), client.shut)
    except TimeoutError:
        return (
            f"{oauth.token_endpoint or _authority(oauth)} did not answer in full within {max(0.0, seconds):g} seconds{_FROM_HERE}",
            "",
        )
    finally:
        client.close()


def _fetch(oauth: OAuth, secret: str | None, cache: TokenCache, client: "Client") -> tuple[str, str]:
    import requests

    try:
        if oauth.token_endpoint:
            return _from_endpoint(oauth, secret or "", client)
        return _device(oauth, cache, client) if oauth.flow == "device-code" else _application(oauth, secret, client)
    except ImportError:
        return _EXTRA, ""
    except TooMuch:
        return f"{oauth.token_endpoint or _authority(oauth)} answers with more than {MOST_BYTES} octets", ""
    except requests.RequestException as error:
        from probe.profile.https import why

        return why(error, oauth.token_endpoint or _authority(oauth)), ""
    except (ValueError, OSError) as error:
        return f"{type(error).__name__}: {error}", ""


def _from_endpoint(oauth: OAuth, secret: str, client: "Client") -> tuple[str, str]:
    from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error

    form = BackendApplicationClient(client_id=oauth.client_id)
    body = form.prepare_request_body(scope=list(oauth.scopes) or None)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    answer = client.post(oauth.token_endpoint or "", data=body, headers=headers, auth=(oauth.client_id, secret))
    if answer.is_redirect:
        return f"{oauth.token_endpoint} redirects to {answer.headers.get('location')}, and a secret is not sent on", ""
    try:
        found = form.parse_request_body_response(answer.text, scope=list(oauth.scopes) or None)
        return "", str(found["access_token"])
    except OAuth2Error as error:
        said = f"{error.error}: {error.description or ''}" if answer.status_code < 500 else "not an answer of OAuth 2.0"
    except (AttributeError, TypeError, KeyError):
        # JSON, but not an object of the shape RFC 6749 section 5.1 gives it.
        said = "not an answer of OAuth 2.0"
    return f"{oauth.token_endpoint} answers {answer.status_code}, {said}", ""


def _authority(oauth: OAuth) -> str:
    return oauth.authority or f"{MICROSOFT}/{oauth.tenant}"


def _scopes(oauth: OAuth) -> list[str]:
    return list(oauth.scopes or _SCOPES[oauth.flow])


def _settings(oauth: OAuth, client: "Client") -> dict[str, Any]:
    # Instance discovery asks login.microsoftonline.com about every authority it does not know.
    return {"authority": _authority(oauth), "http_client": client, "instance_discovery": None if oauth.tenant else False}


def _application(oauth: OAuth, secret: str | None, client: "Client") -> tuple[str, str]:
    import msal

    proof: Any = secret
    if oauth.client_certificate:
        if why := problem(oauth.client_certificate):
            return f"{oauth.client_certificate} holds a private key and {why}; run: chmod 600 {oauth.client_certificate}", ""
        pem = textfile.read(oauth.client_certificate)
        proof = {"private_key": pem, "public_certificate": pem}
    app = msal.ConfidentialClientApplication(oauth.client_id, client_credential=proof, **_settings(oauth, client))
    return _told(app.acquire_token_for_client(scopes=_scopes(oauth)))


def _device(oauth: OAuth, cache: TokenCache, client: "Client") -> tuple[str, str]:
    import msal

    whose, tokens = f"{_authority(oauth)} {oauth.client_id}", msal.SerializableTokenCache()
    if stored := cache.read(whose):
        tokens.deserialize(stored)
    app = msal.PublicClientApplication(oauth.client_id, token_cache=tokens, **_settings(oauth, client))
    stored_for = app.get_accounts()
    found = next((app.acquire_token_silent_with_error(_scopes(oauth), account=account) for account in stored_for), None)
    if not found or "access_token" not in found:
        if not (sys.stdin and sys.stdin.isatty()):
            refused = f" (the sign-in that is stored was refused: {_told(found)[0]})" if found else ""
            return f"nobody has signed in; run this profile once at a terminal{refused}", ""
        flow = app.initiate_device_flow(scopes=_scopes(oauth))
        if "message" not in flow:
            return _told(flow)
        print(_plain(flow["message"]), file=sys.stderr, flush=True)
        found = app.acquire_token_by_device_flow(flow)
    if tokens.has_state_changed:
        cache.write(whose, tokens.serialize())
    return _told(found)


def _told(answer: dict[str, Any] | None) -> tuple[str, str]:
    answer = answer or {}
    if "access_token" in answer:
        return "", str(answer["access_token"])
    # Microsoft's description has trace ids on lines of their own; the first line is the sentence.
    described = str(answer.get("error_description", "")).partition("\n")[0]
    return f"{answer.get('error')}: {described}", ""


def _plain(text: str) -> str:
    """A provider's words on one line, without control characters."""
    return "".join(character if character.isprintable() else " " for character in str(text))
