"""The text of a first profile: commented, no secret in it, only what differs from its parent."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from probe.cli._shell import WINDOWS, owner_only
from probe.plain import dataclass

_NAMES = {"smtp": "submission", "imap": "readback.imap", "pop3": "readback.pop3"}
_USUAL = {
    ("smtp", "starttls"): 587,
    ("smtp", "tls"): 465,
    ("imap", "starttls"): 143,
    ("imap", "tls"): 993,
    ("pop3", "starttls"): 110,
    ("pop3", "tls"): 995,
}
# What is written where nothing else was given: RFC 6409 for the submission, RFC 8314 for the readers.
_SECURITY = {"smtp": "starttls", "imap": "tls", "pop3": "tls"}


@dataclass(frozen=True, slots=True)
class Server:
    """Where one protocol is spoken. `port` None is the protocol's own; `source` says who gave it."""

    host: str
    port: int | None = None
    security: str | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Answers:
    """What was asked, or given as options. `servers` by protocol: smtp, and each reader wanted."""

    user: str
    servers: Mapping[str, Server]
    extends: str | None = None
    address: str | None = None
    password_env: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    connect: tuple[str, ...] = ()
    date: str = ""
    not_read: tuple[str, ...] = field(default=())


def profile_text(answers: Answers, called: str) -> str:
    """The profile in TOML; `called` is how a command line names it."""
    return "".join(f"{line}\n" if line else "\n" for line in _lines(answers, called))


def _lines(answers: Answers, called: str) -> Iterator[str]:
    submission = answers.servers["smtp"]
    yield f"# A profile of submission-probe, written by `probe init`{' on ' + answers.date if answers.date else ''}."
    yield f"#   probe run --light {called}     logs on everywhere, sends nothing"
    yield f"#   probe run {called}             sends a message, reads it back, deletes it"
    yield f"#   probe show {called}            every setting, those of the parent too, and where each comes from"
    yield "# It holds no secret: it only says where the password comes from."
    yield ""
    if answers.extends:
        yield f"extends = {quoted(answers.extends)}{_behind('what is not set here comes from there')}"
    yield f"description = {quoted(f'Submission at {submission.host}')}"
    yield ""
    yield "[submission]"
    yield f"host = {quoted(submission.host)}{_behind('the name users type; it must be in DNS and in the certificate', submission)}"
    yield from _reach("smtp", submission)
    yield from _nodes(answers.connect) or ['# connect = ["10.0.0.11"]        # reach a single node instead of what DNS says']
    yield ""
    yield from _account(answers)
    for name in ("imap", "pop3"):
        if name in answers.servers:
            yield from _reader(name, answers.servers[name], submission)
            yield from _nodes(without_ports(answers.connect))
    for name in answers.not_read:
        yield ""
        yield f"# [readback.{name}]              # not read back over this protocol"
    yield ""
    yield "[tls]"
    if answers.ca_file:
        yield f"ca_file = {quoted(answers.ca_file)}{_behind('the root that is trusted, instead of the system store')}"
    else:
        yield '# ca_file = "corporate-root.pem"  # a private CA, where the system does not trust it; relative to this file'
    yield '# thumbprint = "…"               # the certificate you expect, SHA-1 or SHA-256'
    yield ""
    yield "[limits]"
    yield 'delivery_warning = "10s"         # from the final 250 until the message is seen'
    yield '# delivery_critical = "60s"      # how long it may take; not longer than timeout'


def _nodes(connect: tuple[str, ...]) -> list[str]:
    return [f"connect = [{', '.join(map(quoted, connect))}]  # instead of what DNS says"] if connect else []


def without_ports(connect: Sequence[str]) -> tuple[str, ...]:
    """The same nodes for a reader, which has a port of its own."""
    return tuple(re.sub(r"^([^:\[]+|\[.*\]):\d+$", r"\1", node) for node in connect)


def _account(answers: Answers) -> Iterator[str]:
    yield "[account]"
    yield f"username = {quoted(answers.user)}{_behind('a mailbox that is used for nothing else')}"
    if answers.password_file:
        private = owner_only("FILE") if WINDOWS else "chmod 600"
        yield f"password = {{ file = {quoted(answers.password_file)} }}{_behind(f'its first line; {private}')}"
    elif answers.password_env is None:
        yield '# token = { env = "PROBE_TOKEN" }  # as in the parent; [account.token.oauth] has the probe fetch one'
    else:
        others = (
            "{ keyring = … } (Credential Manager), or { file = … }"
            if WINDOWS
            else "{ file = … } (mode 600), or { command = [ … ] }"
        )
        yield f"password = {{ env = {quoted(answers.password_env)} }}{_behind(f'or {others}')}"
    if answers.address:
        yield ""
        yield "[message]                        # the user name is no mail address"
        yield f"sender = {quoted(answers.address)}"
        yield f"recipient = {quoted(answers.address)}"


def _reader(name: str, server: Server, submission: Server) -> Iterator[str]:
    yield ""
    yield f"[{_NAMES[name]}]"
    if server.host != submission.host:
        yield f"host = {quoted(server.host)}{_behind('', server)}"
    yield from _reach(name, server)


def _reach(name: str, server: Server) -> Iterator[str]:
    security = server.security or _SECURITY[name]
    yield f"security = {quoted(security)}{_behind('starttls, tls (from the start) or plaintext', server)}"
    if server.port is not None and server.port != _USUAL.get((name, security)):
        yield f"port = {server.port}"


def _behind(comment: str, server: Server | None = None) -> str:
    told = f"given by {server.source}" if server and server.source else ""
    text = "; ".join(part for part in (comment, told) if part)
    return f"  # {text}" if text else ""


def quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are among TOML's, and control characters never get here unescaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
