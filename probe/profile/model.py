"""The tables of a profile, frozen and checked. What each key means for the administrator stands in the contract
and, as comments, in the shipped profiles; the docstrings below go into the JSON Schema.

A new key is one annotated name here, such as `dkim: Literal["off", "pass"] = "off"`, its docstring under it. Its kind of value is
one of those of values.py, or a new `Annotated[TYPE, Kind(parse, SCHEMA)]` there. Where it contradicts another key, the table's
`agree` raises that."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, Self

from probe.profile.expect import Expect
from probe.profile.kinds import Kind, shown, wanted
from probe.profile.margin import CertificateMargin, margin
from probe.profile.message import Message
from probe.profile.oauth import TokenSource
from probe.profile.problem import Doubts, ProfileError
from probe.profile.reached import require_whole_proxy
from probe.profile.secret import SecretSource
from probe.profile.table import Table, contradiction
from probe.profile.values import (
    CaFile,
    CertificateName,
    Endpoint,
    ExistingFile,
    GreetingName,
    Host,
    Port,
    Seconds,
    Text,
    Thumbprint,
    Way,
    is_address,
    seconds,
    spell,
    up_to,
)
from probe.sasl import mechanisms

Security = Literal["starttls", "tls", "plaintext"]
Family = Literal["any", "ipv4", "ipv6"]
# Mechanism → what it takes, as each family's file says. APOP is POP3's own command, named like a mechanism.
NEEDS: Mapping[str, str] = {name: mechanism.needs[0] for name, mechanism in sorted(mechanisms().items())} | {"APOP": "password"}
KNOWN_MECHANISMS = tuple(NEEDS)
# Windows (SSPI) can log on as the user that the process runs as: then NTLM takes no password.
LOGGED_ON_USER = sys.platform == "win32"


def _mechanisms(value: object) -> str | tuple[str, ...]:
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError("expected at least one mechanism, got an empty list")
        return tuple(_mechanism(item, KNOWN_MECHANISMS) for item in value)
    return "auto" if value in ("auto", "AUTO") else _mechanism(value, ("auto", *KNOWN_MECHANISMS))


def _mechanism(value: object, accepted: tuple[str, ...]) -> str:
    name = value.upper() if isinstance(value, str) else ""
    if name in accepted:
        return name
    raise wanted("one of " + ", ".join(accepted), value)


_MECHANISM_SCHEMA = {
    "anyOf": [{"enum": ["auto", *KNOWN_MECHANISMS]}, {"type": "array", "items": {"enum": list(KNOWN_MECHANISMS)}, "minItems": 1}]
}
Mechanism = Annotated[str | tuple[str, ...], Kind(_mechanisms, _MECHANISM_SCHEMA)]


class Submission(Table):
    """The submission service under test."""

    host: Host
    """The FQDN users type: server name for TLS, name checked in the certificate, DNS name."""
    port: Port = 0
    """587, or 465 when security is tls."""
    security: Security = "starttls"
    connect: Way = ()
    """Nodes to reach instead of what DNS says: HOST, HOST:PORT, [IPv6]:PORT; and the proxy on the way: socks5://[USER@]HOST[:PORT]."""
    proxy_password: SecretSource | None = None
    """Of the user in that proxy's address; it goes to the proxy in clear (RFC 1929)."""
    family: Family = "any"
    ehlo: GreetingName | None = None
    """The name we give in EHLO."""
    every_address: Literal["off", "logon", "deliver"] = "off"
    """Probe each address (or `connect` entry) by itself: one whole run and a logon at every other, or a delivery at each."""

    @classmethod
    def whole(cls, given: object) -> object:
        return _with_port(given, "starttls", tls=465, plain=587)

    def agree(self) -> None:
        require_whole_proxy(self.connect, self.proxy_password)


class Dns(Table):
    """Resolvers asked besides the system's, by name: host or host:port."""

    resolvers: Mapping[Text, Endpoint] = MappingProxyType({})
    split: bool = False
    """Inside and outside answers differ on purpose."""
    addresses: Mapping[Text, tuple[Text, ...]] = MappingProxyType({})
    """What each resolver is to answer, by its name; anything else is a finding."""

    def agree(self) -> None:
        for name in self.addresses:
            if name not in self.resolvers:
                raise contradiction("addresses", f"{shown(name)} is none of the resolvers", ["resolvers"])


class Account(Table):
    """Who logs on, and where the password or token comes from."""

    username: Text | None = None
    password: SecretSource | None = None
    token: TokenSource | None = None
    mechanism: Mechanism = "auto"
    """auto: over TLS PLAIN, LOGIN, then the rest. A list: each is tried on its own connection, the message goes by the first."""

    def agree(self) -> None:
        if self.password and self.token:
            raise contradiction("token", "set password or token, not both", ["password"])

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """As a list, upper case."""
        return (self.mechanism.upper(),) if isinstance(self.mechanism, str) else self.mechanism

    @property
    def needs(self) -> frozenset[str]:
        """What the mechanisms that are named take: password, token, ticket, certificate."""
        return frozenset(self._need(name) or "" for name in self.mechanisms if name != "AUTO")

    def _need(self, name: str) -> str | None:
        alone = name == "NTLM" and LOGGED_ON_USER and not (self.password or self.token)
        return "ticket" if alone else NEEDS.get(name)

    def require_whole(self, path: str, tls: "Tls") -> None:
        """Raise a contradiction, placed under `path`, unless user name, secret and mechanism go together."""
        source = "token" if self.token else "password"
        if self.username is None and (self.password or self.token):
            text = f'missing; set the user name that belongs to the {source}, such as username = "probe@contoso.com"'
            raise contradiction(f"{path}.username", text, [path, "account.username"], missing=True)
        if self.username is None:
            return
        needs = self.needs
        own = needs <= {"ticket", "certificate"} and (needs or tls.client_certificate)
        if not (self.password or self.token or own):
            text = 'missing; say where it comes from: { env = "NAME" }, { file = "PATH" } or { command = ["PROGRAM"] }'
            raise contradiction(f"{path}.password", text, [path, "account.password"], missing=True)
        for name in self.mechanisms:
            if wrong := self._misfit(self._need(name), tls):
                raise contradiction(f"{path}.mechanism", f"{name} takes {wrong}")

    def _misfit(self, need: str | None, tls: "Tls") -> str | None:
        if need == "token" and not self.token:
            return "a token: set token instead of password"
        if need == "password" and not self.password:
            return "a password: set password instead of token"
        if need == "certificate" and not tls.client_certificate:
            return "a client certificate: set client_certificate in the table tls"
        return None


class Tls(Table):
    """What the certificate and the handshake must be like."""

    ca_file: CaFile | None = None
    """File with the root to trust: PEM, DER or PKCS#7; relative to the profile it stands in."""
    minimum_version: Literal["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"] = "TLSv1.2"
    thumbprint: Thumbprint | None = None
    """SHA-1 or SHA-256 of the certificate; blanks and colons may stand between the digits. No secret is sent to any other."""
    certificate_name: CertificateName | None = None
    """Exchange's <I>issuer<S>subject string."""
    expires_warning: CertificateMargin = margin("21d or 20%")
    """Before the certificate's end. Certificates that live for days are renewed days ahead, others weeks."""
    expires_critical: CertificateMargin = margin("7d or 8%")
    trust_any_certificate: bool = False
    client_certificate: ExistingFile | None = None
    """PEM file with our own certificate, for servers that ask for one (and for EXTERNAL); relative to the profile."""
    client_key: ExistingFile | None = None
    """PEM file with its private key, unencrypted, when that is not in the same file."""

    def agree(self) -> None:
        if self.client_key and not self.client_certificate:
            raise contradiction("client_certificate", "missing; client_key is the key of which certificate?", missing=True)
        if self.expires_critical.exceeds(self.expires_warning):
            key, other = _blamed(self, "expires_critical", "expires_warning")
            text = f"expires_critical ({self.expires_critical}) may not be greater than expires_warning ({self.expires_warning})"
            raise contradiction(key, text, [other])


class Limits(Table):
    """Deadlines, and when a delivery counts as late."""

    timeout: Annotated[Seconds, up_to(3600)] = seconds("50s")
    per_connection: Annotated[Seconds, up_to(120)] = seconds("20s")
    delivery_warning: Seconds = seconds("10s")
    delivery_critical: Seconds = seconds("60s")
    """How long the message may take. Longer than timeout is an error, but for --send-only: there a later --collect judges."""
    lost_after: Seconds = seconds("2d")
    """--collect: a message that is still not there after so long is given up as lost; until then it is critical each time."""

    def agree(self) -> None:
        if self.delivery_critical < self.delivery_warning:
            key, other = _blamed(self, "delivery_critical", "delivery_warning")
            critical, warning = spell(self.delivery_critical), spell(self.delivery_warning)
            text = f"delivery_critical ({critical}) may not be less than delivery_warning ({warning})"
            raise contradiction(key, text, [other])


class Reader(Table):
    """What every readback table takes; a reader's own Settings derive from it and name their ports."""

    tls_port: ClassVar[int] = 0
    plain_port: ClassVar[int] = 0

    host: Host | None = None
    """Default: submission.host."""
    port: Port = 0
    """Default: the protocol's port for the security chosen."""
    security: Security = "tls"
    connect: Way = ()
    proxy_password: SecretSource | None = None
    family: Family = "any"
    account: Account | None = None
    """Only what differs from the profile's account."""
    tls: Tls | None = None
    """Only what differs from the profile's tls table."""

    @classmethod
    def whole(cls, given: object) -> object:
        return _with_port(given, "tls", tls=cls.tls_port, plain=cls.plain_port)

    def agree(self) -> None:
        require_whole_proxy(self.connect, self.proxy_password)


class Plugins(Table):
    """One table per plug-in; the loader derives the model that has them as fields."""


class Profile(Table):
    """All settings of one target. Made by `load`, which also sees to `extends`, lines in errors and precedence."""

    _base: Path | None = None
    _given: str = ""
    _doubts: Doubts = Doubts()

    extends: Text | None = None
    """A parent: a profile's name, or a path relative to this file."""
    name: Text = ""
    """Default: the file's name without .toml."""
    description: Text | None = None
    blame: Literal["send", "read", "all"] = "all"
    """Whose failure is critical: the submission's, the readers', or either's. The other's is then unknown."""
    submission: Submission
    dns: Dns = Dns()
    account: Account = Account()
    message: Message = Message()
    readback: Plugins = Plugins()
    tls: Tls = Tls()
    expect: Expect = Expect()
    limits: Limits = Limits()

    @property
    def base(self) -> Path | None:
        """The folder of the profile's file; None for one made from a mapping."""
        return self._base

    @property
    def given(self) -> str:
        """The name or path by which it was loaded, as a command takes it again; empty for one made from a mapping."""
        return self._given

    def at(self, base: Path | None, given: str = "") -> Self:
        """The same profile, lying in the folder `base`, loaded as `given`."""
        return self._made({**self.__dict__, "_base": base, "_given": given})

    def doubting(self, doubts: Doubts) -> Self:
        """The same profile, with what was found to be doubtful while it was loaded."""
        return self._made({**self.__dict__, "_doubts": doubts})

    @property
    def unread(self) -> bool:
        """Whether an option took every reader away: `--readback none`."""
        return self._doubts.unread

    def require_real(self) -> None:
        """Raise ProfileError where names of a template stand in it: for whatever sends a packet."""
        if self._doubts.placeholders is not None:
            raise ProfileError(self._doubts.placeholders)

    def require_in_time(self) -> None:
        """Raise ProfileError where a delivery may take longer than the run: for runs that read their message back themselves."""
        if self._doubts.late is not None and self.readers:
            raise ProfileError(self._doubts.late)

    @property
    def readers(self) -> dict[str, Reader]:
        """The readers that are switched on, by name: each a `Reader`, of the type its own plug-in declares."""
        tables = {name: getattr(self.readback, name) for name in sorted(self.readback.known())}
        return {name: table for name, table in tables.items() if table is not None}

    def account_for(self, reader: Reader) -> Account:
        """The reader's account: the profile's, with what `[readback.NAME.account]` sets instead."""
        if reader.account is None:
            return self.account
        update = dict(reader.account.written)
        if "password" in update or "token" in update:
            update = {"password": None, "token": None} | update
        return self.account.replace(**update)

    def tls_for(self, reader: Reader) -> Tls:
        """The reader's trust: the profile's, with what `[readback.NAME.tls]` sets instead."""
        return self.tls if reader.tls is None else self.tls.replace(**reader.tls.written)

    def tls_of(self, stage: str) -> Tls:
        """The trust of a stage's leg, such as `imap.certificate`."""
        reader = self.readers.get(stage.partition(".")[0])
        return self.tls if reader is None else self.tls_for(reader)

    def host_for(self, reader: Reader) -> str:
        """The reader's host: its own, or submission.host."""
        return reader.host or self.submission.host

    @property
    def sender(self) -> str:
        """The envelope sender: message.sender, or the account's address."""
        return self.message.sender or self.account.username or ""

    @property
    def recipient(self) -> str:
        """The envelope recipient: message.recipient, or the account's address."""
        return self.message.recipient or self.account.username or ""

    def agree(self) -> None:
        self.account.require_whole("account", self.tls)
        for name, reader in self.readers.items():
            if reader.account is not None:
                self.account_for(reader).require_whole(f"readback.{name}.account", self.tls_for(reader))
        username = self.account.username
        for key in ("sender", "recipient"):
            if getattr(self.message, key) is None and not (username and is_address(username)):
                why = f"the user name {shown(username)} is no mail address" if username else "there is no user name"
                text = f'missing; {why}, so set it, such as {key} = "probe@contoso.com"'
                raise contradiction(f"message.{key}", text, ["account.username"], missing=True)


def _with_port(data: object, security: str, *, tls: int, plain: int) -> object:
    if isinstance(data, Mapping) and "port" not in data:
        return {**data, "port": tls if data.get("security", security) == "tls" else plain}
    return data


def _blamed(table: Table, first: str, second: str) -> tuple[str, str]:
    """Of two settings that contradict, blame the first unless only the second was written."""
    written = table.written
    return (second, first) if second in written and first not in written else (first, second)
