"""Options that several commands share."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from probe.cli._given import expanded, one_path


def _many(names: list[str] | None) -> list[str] | None:
    return expanded(names) if names else names


def _one(name: str) -> str:
    return str(one_path(Path(name))) if set(name) & set("*?[~") else name


def _maybe(name: str | None) -> str | None:
    return _one(name) if name else None


def needed(profile: str | None) -> str:
    """The profile. Raises the usage error of an argument that is missing."""
    if not profile:
        raise typer.BadParameter("Missing argument 'PROFILE'.")
    return profile


def _profiles(incomplete: str) -> list[str]:
    """For the shell's completion, which completes files where no name fits."""
    from probe.profile import names

    return [name for name, *_ in names() if name.startswith(incomplete)]


def _formats(incomplete: str) -> list[str]:
    from probe.output import formats

    return [name for name in formats() if name.startswith(incomplete)]


_PROFILE = "A profile's name, or a path to a TOML file."
Profiles = Annotated[
    list[str] | None, typer.Argument(metavar="PROFILE", help=_PROFILE, show_default=False, callback=_many, autocompletion=_profiles)
]
# For a command that has something to say without one (audit --list); `needed` asks for it otherwise.
MaybeProfile = Annotated[
    str | None, typer.Argument(metavar="PROFILE", help=_PROFILE, show_default=False, callback=_maybe, autocompletion=_profiles)
]
OneProfile = Annotated[
    str, typer.Argument(metavar="PROFILE", help=_PROFILE, show_default=False, callback=_one, autocompletion=_profiles)
]
Format = Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="What stdout carries.", autocompletion=_formats)]
Host = Annotated[str | None, typer.Option("-H", "--host", help="The FQDN users type (submission.host).")]
Port = Annotated[int | None, typer.Option("-p", "--port", help="The submission port (submission.port).")]
Security = Annotated[str | None, typer.Option(metavar="starttls|tls|plaintext", help="How the submission is secured.")]
User = Annotated[str | None, typer.Option(help="The account's user name.")]
PasswordEnv = Annotated[str | None, typer.Option(metavar="NAME", help="Environment variable with the password.")]
PasswordFile = Annotated[Path | None, typer.Option(metavar="FILE", help="File with the password in its first line.")]
Readback = Annotated[
    str | None, typer.Option(metavar="imap|pop3|both|none", help="Which readers read the message back; with none it stays there.")
]
Connect = Annotated[list[str] | None, typer.Option(metavar="HOST[:PORT]", help="Node to reach instead of DNS (repeatable).")]
Set = Annotated[list[str] | None, typer.Option(metavar="section.key=value", help="Any setting of the profile (repeatable).")]
CaFile = Annotated[Path | None, typer.Option(metavar="FILE", help="File with the root to trust (PEM, DER or PKCS#7).")]
TrustAny = Annotated[
    bool, typer.Option("--trust-any-certificate", help="Go on with any certificate; every finding is still reported.")
]
Size = Annotated[str | None, typer.Option(metavar="SIZE", help="Send a message of so many octets, such as 25M (message.size).")]
Timeout = Annotated[str | None, typer.Option("-t", "--timeout", metavar="DURATION", help="The whole run's limit, such as 50s.")]
TryAgain = Annotated[
    bool, typer.Option("--try-again", help="Log on even with a password that was refused lately (each refusal counts).")
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Add the transcript.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Silent unless something is wrong, then at most 20 lines.")]
ReportFiles = Annotated[
    list[str] | None, typer.Option("--report", metavar="FORMAT=FILE", help="Also write a report to a file (repeatable).")
]
EveryAddress = Annotated[
    bool,
    typer.Option(
        "--every-address",
        help="Probe each node by itself and compare them; a node is one server behind the name: an address in DNS, or a --connect.",
    ),
]
Personality = Annotated[
    str | None, typer.Option(help="postfix or exchange-2016; without it that of the fault.", show_default="postfix")
]
Fault = Annotated[
    str | None, typer.Option(metavar="NAME", help="Let the server misbehave; --list-faults says how and what it teaches.")
]
ListFaults = Annotated[bool, typer.Option("--list-faults", help="List the faults, what the report shows of each, and exit.")]
Light = Annotated[bool, typer.Option("--light", help="Log on everywhere, send nothing.")]
NoDelete = Annotated[bool, typer.Option("--no-delete", help="Leave the message in the mailbox.")]
NoPipelining = Annotated[bool, typer.Option("--no-pipelining", help="One command at a time (SMTP, POP3).")]
SendOnly = Annotated[bool, typer.Option("--send-only", help="Send now; a later --collect looks for the message.")]
Collect = Annotated[bool, typer.Option("--collect", help="Look for what earlier --send-only runs sent.")]
GiveUpAfter = Annotated[
    str | None, typer.Option(metavar="DURATION", help="--collect: when a message is lost (limits.lost_after); default 2d.")
]
NotifyAfter = Annotated[
    int, typer.Option(min=1, metavar="N", help="Alarm only at the Nth failure in a row: until then exit 0, and silent with -q.")
]
Blame = Annotated[str | None, typer.Option(metavar="send|read|all", help="Whose failure is critical; the other's is unknown.")]
Jitter = Annotated[str, typer.Option(metavar="DURATION", help="Wait a random time first, at most so long.")]
Ping = Annotated[str | None, typer.Option(metavar="URL", help="Ping a dead-man's switch: URL/start, then URL or URL/fail.")]
PingEnv = Annotated[
    str | None, typer.Option(metavar="NAME", help="The variable with --ping's URL: a command line is for all to see.")
]
PingFile = Annotated[Path | None, typer.Option(metavar="FILE", help="The file with --ping's URL, which only you can read.")]
RangeWarning = Annotated[
    str | None, typer.Option("-w", "--warning", metavar="RANGES", help="For -o nagios: delivery=10,total=30,certificate=21:")
]
RangeCritical = Annotated[
    str | None,
    typer.Option("-c", "--critical", metavar="RANGES", help="For -o nagios, as -w; judged besides the profile's limits."),
]
Otel = Annotated[bool, typer.Option("--otel", help="Export each run as a trace (extra otel; OTEL_* variables say where).")]
Repeat = Annotated[int, typer.Option(min=1, max=10_000, help="Run so often, and show latency and loss.")]
Interval = Annotated[str, typer.Option(metavar="DURATION", help="Between two runs of --repeat or --wait-until-ok.")]
WaitUntilOk = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Just after a change: run until all is well, for so long at most.")
]
Against = Annotated[Path | None, typer.Option(metavar="RUN.json", help="Compare with an earlier run; what changed counts.")]
ExpectChange = Annotated[
    list[str] | None,
    typer.Option(
        "--expect-change",
        metavar="KEY=VALUE",
        help="A change that is wanted, such as certificate=THUMBPRINT (at every port); * in KEY, or as VALUE, for any. "
        "One that did not happen is a warning.",
    ),
]
Expectations = Annotated[Path | None, typer.Option(metavar="FILE", help="KEY=VALUE, one in a line; # begins a remark.")]
History = Annotated[str | None, typer.Option(metavar="FILE|none", help="Where runs are kept (default: state directory).")]
Concurrency = Annotated[int, typer.Option(min=1, help="How many targets at a time.")]
AllowWarnings = Annotated[
    bool, typer.Option("--allow-warnings", help="Exit 0 when there are only warnings, and with -q be silent.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan; not one packet.")]


def require_extra(what: str, extra: str, modules: Sequence[str]) -> None:
    """Say plainly what is missing for `what`. Raises a usage error."""
    missing = [name for name in modules if not _is_there(name)]
    if missing:
        text = f"{what} needs {' and '.join(missing)}, not installed here; install: pip install 'submission-probe[{extra}]'"
        raise typer.BadParameter(text)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be a part of is missing
        return False


def duration(name: str, text: str) -> float:
    """Seconds of an option's value such as `5m`. Raises a usage error that names the option."""
    from probe.profile.values import seconds

    try:
        return seconds(text)
    except ValueError as error:
        raise typer.BadParameter(f"{name}: {error}") from None


def given(**options: object) -> dict[str, object]:
    """Only the options that were given, so that a profile's own settings stand."""
    return {name: value for name, value in options.items() if value not in (None, False, [])}
