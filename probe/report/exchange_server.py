"""The computer's name of an Exchange server, as commands for it want it: from what a run saw."""

import re

from probe.facts import Connected, Greeted, LoggedOn, Secured, Seen, Submitted

# A computer's name has at most 15 characters, letters, digits and hyphens (Windows: NetBIOS computer names); such a name means
# nothing else to any shell.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,14}")
# PowerShell's name of the computer that it runs on: who pastes a command on the server itself needs to know no name.
HERE = "$env:COMPUTERNAME"
_READERS = ("imap", "pop3")


def exchange_server(seen: Seen, leg: str) -> str:
    """What the IMAP4 and POP3 greetings encode (this leg's first) or the final 250 says; empty where none does, or it is no such
    name. The greeting over SMTP does not count: there stands the connector's Fqdn, which is often the public name."""
    readers = sorted(_READERS, key=lambda reader: reader != leg)
    nodes = [_node(seen, reader) for reader in readers]
    accepts = seen("smtp.submit", Submitted).hostname
    names = [name.partition(".")[0] for name in ([*nodes, accepts] if leg in _READERS else [accepts, *nodes]) if name]
    return next((name for name in names if NAME.fullmatch(name)), "")


def connector(server: str) -> str:
    """The connector on port 587 that Setup makes (Microsoft, "Receive connectors in Exchange Server"), quoted for PowerShell; for a
    server without a name that of the computer where the command is pasted."""
    if server:
        return f"'{server}\\Client Frontend {server}'"
    return f'"{HERE}\\Client Frontend {HERE}"'


def says_exchange(seen: Seen) -> bool:
    """Whether the SMTP server names itself in its greeting."""
    return any("Microsoft ESMTP" in line for line in seen("smtp.greeting", Greeted).lines)


def _node(seen: Seen, reader: str) -> str | None:
    places = seen(f"{reader}.connect", Connected).node, seen(f"{reader}.tls", Secured).node, seen(f"{reader}.login", LoggedOn).node
    return next(filter(None, places), None)
