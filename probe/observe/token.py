"""What an access token says of itself (JWT, RFC 7519): audience, expiry, scopes. Never the token; nothing is verified here.

Whether the signature holds is for the server to say; we only read what an administrator has to compare.
"""

import base64
import binascii
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

_LISTS = {"aud": "audience", "scp": "scopes", "scope": "scopes", "roles": "roles"}
_TEXTS = {"iss": "issuer", "appid": "client", "azp": "client", "client_id": "client", "tid": "tenant"}
_LONGEST = 200
_USERS = ("preferred_username", "upn", "unique_name", "email", "sub")


def claims(token: str, brief: Callable[[str, int], str]) -> dict[str, object]:
    """`{"opaque": True}` for a token that is no JWT, else audience, scopes, roles (lists), issuer, client, tenant, user,
    expires (RFC 3339 UTC), expires_at (seconds since 1970), each where the token has it.

    `brief` takes secrets out of a text, then cuts it."""
    said = _payload(token)
    if said is None:
        return {"opaque": True}
    found: dict[str, Any] = {"opaque": False}
    for claim, name in _LISTS.items():
        if claim in said:
            found[name] = _words(said[claim], brief)
    for claim, name in _TEXTS.items():
        if isinstance(said.get(claim), str):
            found.setdefault(name, brief(said[claim], _LONGEST))
    user = next((said[claim] for claim in _USERS if isinstance(said.get(claim), str)), None)
    if user is not None:
        found["user"] = brief(user, _LONGEST)
    return found | _times(said)


def _times(said: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for claim, name in (("exp", "expires"), ("nbf", "not_before")):
        value = said.get(claim)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 253_402_300_800:
            found[name] = datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            found[f"{name}_at"] = value
    return found


def _words(value: Any, brief: Callable[[str, int], str]) -> list[str]:
    items = value if isinstance(value, list) else str(value).split(" ")
    return [brief(str(item), _LONGEST) for item in items[:50]]


def _payload(token: str) -> dict[str, Any] | None:
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        said = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return said if isinstance(said, dict) else None
