"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

Profiles = Annotated[list[str] | None, typer.Argument(help="A profile's name, or a path to a TOML file.", show_default=False)]
OneProfile = Annotated[str, typer.Argument(help="A profile's name, or a path to a TOML file.", show_default=False)]
Format = Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="What stdout carries.")]
Host = Annotated[str | None, typer.Option(help="The FQDN users type (submission.host).")]
Port = Annotated[int | None, typer.Option(help="The submission port (submission.port).")]
Security = Annotated[str | None, typer.Option(metavar="starttls|tls|plaintext", help="How the submission is secured.")]
User = Annotated[str | None, typer.Option(help="The account's user name.")]
PasswordEnv = Annotated[str | None, typer.Option(metavar="NAME", help="Environment variable with the password.")]
PasswordFile = Annotated[Path | None, typer.Option(metavar="FILE", help="File with the password in its first line.")]
Readback = Annotated[str | None, typer.Option(metavar="imap|pop3|both|none", help="Which readers read the message back.")]
Connect = Annotated[list[str] | None, typer.Option(metavar="HOST[:PORT]", help="Node to reach instead of DNS (repeatable).")]
Set = Annotated[list[str] | None, typer.Option(metavar="section.key=value", help="Any setting of the profile (repeatable).")]
CaFile = Annotated[Path | None, typer.Option(metavar="FILE", help="PEM file with the root to trust.")]
TrustAny = Annotated[
    bool, typer.Option("--trust-any-certificate", help="Go on with any certificate; every finding is still reported.")
]
Timeout = Annotated[str | None, typer.Option(metavar="DURATION", help="The whole run's limit, such as 50s.")]
TryAgain = Annotated[
    bool, typer.Option("--try-again", help="Log on even with a password that was refused lately (each refusal counts).")
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Add the transcript.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Silent unless something is wrong, then at most 20 lines.")]


def given(**options: Any) -> dict[str, Any]:
    """Only the options that were given, so that a profile's own settings stand."""
    return {name: value for name, value in options.items() if value not in (None, False, [])}
