"""TLS and basic authentication by a web-config file, as every Prometheus exporter has it.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md: the keys that are known here are those that an
exporter needs; an unknown one is an error, since a misspelt `basic_auth_users` would leave the door open.
"""

import hashlib
import os
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from probe.plain import dataclass
from probe.profile import textfile

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENTS = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_KEYS: Mapping[str, Sequence[str]] = {
    "tls_server_config": ("cert_file", "key_file", "client_ca_file", "client_auth_type", "min_version"),
    "http_server_config": ("headers",),
}
# Version, cost (4 to 31), 22 characters of salt and 31 of hash in bcrypt's own base64; another one raises only at a login.
_HASH = re.compile(r"\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")
_HEADERS = ("Strict-Transport-Security", "X-Frame-Options", "X-Content-Type-Options", "X-XSS-Protection", "Content-Security-Policy")


class WebConfigError(ValueError):
    """The file cannot be used; the message is one plain line that names file and key."""


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What the file asks for. `users`: name → bcrypt hash; no users, no authentication. `context` None: plain HTTP.

    `client_ca`: SHA-256 of the file of the authorities that clients' certificates are checked against; empty without one.
    """

    context: ssl.SSLContext | None = None
    users: Mapping[str, bytes] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    client_ca: bytes = b""

    @property
    def guarded(self) -> bool:
        """Whether everybody has to say who they are: by a password, or by a client's certificate."""
        return bool(self.users) or (self.context is not None and self.context.verify_mode == ssl.CERT_REQUIRED)


def refuse_change(before: WebConfig, after: WebConfig) -> None:
    """What a running server cannot change: TLS on or off, its lowest version, whether a client needs a certificate, and from whom.

    OpenSSL takes them from the context that a connection began with, and a client that comes back (a ticket of its last session)
    is not checked again. Raises WebConfigError: taken all the same, the door would stand open.
    """
    old, new = before.context, after.context
    if (old is None) != (new is None):
        raise WebConfigError(f"tls_server_config: TLS is turned {'off' if new is None else 'on'}: restart for that")
    for key, name in (("client_auth_type", "verify_mode"), ("min_version", "minimum_version")):
        if getattr(old, name, None) != getattr(new, name, None):
            raise WebConfigError(f"tls_server_config.{key} differs: restart for that")
    if before.client_ca != after.client_ca:
        raise WebConfigError("tls_server_config.client_ca_file: the authorities differ: restart for that")


def read(path: Path | None) -> WebConfig:
    """Read the file; without one, plain HTTP for everybody. Relative paths start at the file. Raises WebConfigError."""
    if path is None:
        return WebConfig()
    data = _mapping(path, _parsed(path), "", (*_KEYS, "basic_auth_users"))
    http = _mapping(path, data.get("http_server_config"), "http_server_config", _KEYS["http_server_config"])
    headers = _mapping(path, http.get("headers"), "http_server_config.headers", _HEADERS)
    users = _users(path, data.get("basic_auth_users"))
    return WebConfig(_context(path, data), users, {k: str(v) for k, v in headers.items()}, _client_ca(path, data))


def _parsed(path: Path) -> Any:
    import yaml

    try:
        data = yaml.safe_load(textfile.read(path))
    except OSError as error:
        raise WebConfigError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, textfile.NotText) as error:
        # Only the place: the line itself may hold a hash.
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        raise WebConfigError(f"{path}{where}: this is no YAML") from None
    if data is None:
        # A file that is being written, or a pipe that was read before: a reload of it would take all users away.
        raise WebConfigError(f"{path}: the file is empty; {{}} says plain HTTP without users")
    return data


def _mapping(path: Path, value: Any, where: str, known: Sequence[str]) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise WebConfigError(f"{path}: {where or 'the file'}: expected keys with values")
    for key in value:
        if key not in known:
            raise WebConfigError(f"{path}: {where + '.' if where else ''}{key}: unknown key (known: {', '.join(known)})")
    return value


def _context(path: Path, data: Mapping[str, Any]) -> ssl.SSLContext | None:
    table = _mapping(path, data.get("tls_server_config"), "tls_server_config", _KEYS["tls_server_config"])
    if not table:
        return None
    for key in ("cert_file", "key_file"):
        if not isinstance(table.get(key), str):
            raise WebConfigError(f"{path}: tls_server_config.{key}: missing; TLS needs a certificate and its key, as PEM files")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _chosen(path, table, "min_version", _VERSIONS, "TLS12")
    _refuse_open_key(path, path.parent / table["key_file"])
    try:
        context.load_cert_chain(path.parent / table["cert_file"], path.parent / table["key_file"])
        if table.get("client_ca_file"):
            context.load_verify_locations(path.parent / str(table["client_ca_file"]))
    except OSError as error:  # ssl.SSLError is one
        raise WebConfigError(f"{path}: tls_server_config: {error.strerror or error}") from None
    context.verify_mode = _chosen(path, table, "client_auth_type", _CLIENTS, "NoClientCert")
    if context.verify_mode != ssl.CERT_NONE and not table.get("client_ca_file"):
        raise WebConfigError(f"{path}: tls_server_config.client_ca_file: missing; client_auth_type needs it")
    return context


def _client_ca(path: Path, data: Mapping[str, Any]) -> bytes:
    """The authorities' file as it is now: `_context` has read it as certificates."""
    named = (data.get("tls_server_config") or {}).get("client_ca_file")
    if not named:
        return b""
    try:
        return hashlib.sha256((path.parent / str(named)).read_bytes()).digest()
    except OSError as error:
        raise WebConfigError(f"{path}: tls_server_config.client_ca_file: {error.strerror or error}") from None


def _refuse_open_key(path: Path, key: Path) -> None:
    """A key that everybody may read or replace is no secret. (A group may read it: so Kubernetes mounts secrets.)"""
    try:
        mode = key.stat().st_mode
    except OSError as error:
        raise WebConfigError(f"{path}: tls_server_config: {error.strerror or error}") from None
    if os.name == "posix" and mode & 0o027:
        raise WebConfigError(f"{path}: tls_server_config.key_file: others can read or change {key}; chmod 600 {key}")


def _chosen(path: Path, table: Mapping[str, Any], key: str, choices: Mapping[str, Any], default: str) -> Any:
    name = table.get(key) or default
    if name not in choices:
        raise WebConfigError(f"{path}: tls_server_config.{key}: expected {' or '.join(choices)}")
    return choices[name]


def _users(path: Path, value: Any) -> Mapping[str, bytes]:
    if value is not None and (not isinstance(value, dict) or not value):
        # A key without users would mean: nobody has to say who they are.
        raise WebConfigError(f"{path}: basic_auth_users: expected user names with bcrypt hashes (htpasswd -nBC 10 NAME)")
    users = {}
    for name, mark in (value or {}).items():
        if not isinstance(mark, str) or not _HASH.fullmatch(mark):
            raise WebConfigError(f"{path}: basic_auth_users.{name}: expected a bcrypt hash (htpasswd -nBC 10 NAME)")
        users[str(name)] = mark.encode()
    return users
