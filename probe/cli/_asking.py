"""The answers for a first profile: options first; then, on a terminal, questions; else what is published or usual."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from probe.cli import discover as discovery
from probe.cli._published import best, found_in_words, strangers

if TYPE_CHECKING:
    from probe.cli._starter import Answers, Server
    from probe.profile import Profile

READERS = {"imap": ("imap",), "pop3": ("pop3",), "both": ("imap", "pop3"), "none": ()}


class Asking:
    """Options first; then, on a terminal, questions with a default; else the default, or a usage error that names the option."""

    def __init__(
        self,
        given: Mapping[str, str],
        *,
        terminal: bool,
        accept_strangers: bool = False,
        looks: bool = False,
        connect: Sequence[str] = (),
    ) -> None:
        self._given = given
        self._terminal = terminal
        self._accept_strangers = accept_strangers
        self._looks = looks
        self._connect = tuple(connect)
        # Whether the look at the servers had an answer.
        self.reached = False

    def answers(self, discover: bool | None, way: "Mapping[str, str | Path | None]") -> "Answers":
        from probe.cli._starter import Answers
        from probe.profile.values import is_address

        user = self._value(
            "user", "User name of the mailbox (its mail address, where that is the user name)", self._given.get("address")
        )
        address = self._given.get("address") or (user if is_address(user) else None)
        if address is None:
            address = self._value("address", "Its mail address", None)
        told = self._discovered(address, discover, way)
        host = self._value("host", "Submission server, the name users type", told["smtp"].host if "smtp" in told else None)
        extends, wanted = self._parent(host, told)
        password_file = self._given.get("password_file")
        env = self._given.get("password_env")
        if not password_file and not env and not _has_token(extends):
            env = self._value("password_env", "Environment variable with the password", "PROBE_PASSWORD")
        ca_file = self._given.get("ca_file")
        return Answers(
            user=user,
            servers=self._servers(host, wanted, told),
            connect=self._connect,
            extends=extends,
            address=None if is_address(user) else address,
            password_env=env,
            password_file=str(Path(password_file).absolute()) if password_file else None,
            ca_file=str(Path(ca_file).absolute()) if ca_file else None,
            date=datetime.now(UTC).strftime("%Y-%m-%d"),
            not_read=tuple(name for name in ("imap", "pop3") if name not in wanted),
        )

    def _value(self, name: str, question: str, default: str | None) -> str:
        flag = "ADDRESS" if name == "address" else "--" + name.replace("_", "-")
        if name in self._given:
            return str(self._given[name])
        if self._terminal:
            return str(typer.prompt(question, default=default)).strip()
        if default is None:
            raise typer.BadParameter(f"{flag} is missing: {question[0].lower()}{question[1:]}")
        return default

    def _discovered(self, address: str, wanted: bool | None, way: "Mapping[str, str | Path | None]") -> "dict[str, Server]":
        if wanted is None:
            wanted = (
                self._terminal
                and "host" not in self._given
                and typer.confirm(f"Ask what users of {address} are given?", default=True)
            )
        if not wanted:
            return {}
        discovery.require_extra()
        report = discovery.ask(address, verify=False, login=None, way=way)
        print(f"probe: discovery of {address}: {found_in_words(report)}", file=sys.stderr)
        return self._without_strangers(address, best(report), strangers(report) - {self._given.get("host")})

    def _without_strangers(self, address: str, told: "dict[str, Server]", others: set[str]) -> "dict[str, Server]":
        """A password goes to these servers: one of another domain that only unsigned DNS names is asked about.

        RFC 6186 section 6. One that --host names is not; nor is the submission server, where --host names another.
        """
        domain = address.rpartition("@")[2]
        given = self._given.get("host")
        used = {server.host for name, server in told.items() if name != "smtp" or given is None}
        doubtful = sorted(used & others - {given})
        if not doubtful:
            return told
        said = f"{', '.join(doubtful)}: outside {domain}, and only unsigned DNS names it; whoever forges DNS would get the password"
        if self._accept_strangers:
            print(f"probe: warning: {said} (accepted by --accept-other-domain)", file=sys.stderr)
            return told
        if not self._terminal:
            raise typer.BadParameter(f"{said}. If it is your provider's, give --accept-other-domain; else --host and --no-discover")
        if typer.confirm(f"{said}. Is it the right one?", default=False):
            return told
        return {name: server for name, server in told.items() if server.host not in doubtful}

    def _parent(self, host: str, told: "dict[str, Server]") -> tuple[str | None, tuple[str, ...]]:
        """The parent and the readers wanted. A profile cannot switch its parent's readers off: then it has no parent."""
        from probe.profile import names

        likely = self._likely(host, told)
        known = ", ".join(name for name, *_ in names())
        extends = self._value("extends", f"Parent profile ({known})", likely)
        readback = self._value("readback", "Read back over (imap, pop3, both or none)", "both")
        if readback not in READERS:
            raise typer.BadParameter(f"expected imap, pop3, both or none, got {readback!r}")
        wanted = READERS[readback]
        if set(_inherited(extends)) <= set(wanted):
            return extends, wanted
        if "extends" in self._given:
            raise typer.BadParameter(f"a profile cannot switch off a reader of its parent {extends!r}: leave out --extends")
        return None, wanted

    def _likely(self, host: str, told: "dict[str, Server]") -> str:
        """The parent that fits what the servers say of themselves, else what is published."""
        usual = "exchange-2016" if any("autodiscover" in server.source for server in told.values()) else "generic"
        if not self._looks or "extends" in self._given:
            return usual
        from probe.cli._look import look

        if self._terminal:
            print(f"probe: looking at {host}, without logging on …", file=sys.stderr)
        seen = look(self._servers(host, ("imap", "pop3"), told), self._connect, self._given.get("ca_file"))
        if seen is None:
            return usual
        self.reached = seen.reached
        print(f"probe: {seen.words}", file=sys.stderr)
        print(f"probe: parent profile that fits: {seen.parent or f'{usual} (the server was not recognised)'}", file=sys.stderr)
        return seen.parent or usual

    def _servers(self, host: str, wanted: tuple[str, ...], told: "dict[str, Server]") -> "dict[str, Server]":
        """What is published holds for the host it is published for; another host that the user names is asked in the usual way,
        or as the options say."""
        from probe.cli._starter import Server

        mine = told.get("smtp")
        submission = mine if mine is not None and mine.host == host else Server(host)
        port, security = self._given.get("port"), self._given.get("security")
        if port or security:
            submission = Server(host, int(port) if port else None, security or submission.security)
        return {"smtp": submission, **{name: told.get(name, Server(host)) for name in wanted}}


def _inherited(extends: str) -> tuple[str, ...]:
    """The readers that the parent switches on. Raises ProfileError when there is no such parent."""
    return tuple(_child_of(extends).readers)


def _has_token(extends: str | None) -> bool:
    """Whether the parent logs on with a token (OAuth): a password would take its place."""
    return extends is not None and _child_of(extends).account.token is not None


def _child_of(extends: str) -> "Profile":
    from probe.profile import ProfileError, load_mapping
    from probe.tasks.plan import plugins

    skeleton = {"extends": extends, "submission": {"host": "mail.example"}, "account": {"username": "a@example"}}
    try:
        return load_mapping(skeleton, plugins=plugins())
    except ProfileError:
        # A parent that names no secret.
        account = {"username": "a@example", "password": {"env": "PROBE_PASSWORD"}}
        return load_mapping({**skeleton, "account": account}, plugins=plugins())
