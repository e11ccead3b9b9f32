"""The command line: one file a command, each options → library call → exit status. The folder is the list.

Exit status everywhere: 0 ok, 1 warning, 2 critical, 3 unknown (usage, profile or internal error), 130 interrupted.
"""

import errno
import os
import sys
import traceback
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import Abort, TyperException

from probe.cli._ending import BEFORE, LAST, raise_on_signals
from probe.version import __version__

EXIT_UNKNOWN = 3
EXIT_INTERRUPTED = 130

# A full disk, a file system that is read-only, a folder that is not ours, no descriptors or memory left.
_MACHINE = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR,
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO,
)  # fmt: skip

_COMPLETION = ("--install-completion", "--show-completion")

# Plain help and plain errors: nothing is boxed or coloured, in a terminal or out of it.
app = typer.Typer(
    name="probe",
    help="Prove that users can submit mail on port 587 and read it back over IMAP4 and POP3.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"submission-probe {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Prove that users can submit mail on port 587 and read it back over IMAP4 and POP3."""


def entry(arguments: list[str]) -> int:
    """Run one command line and return its exit status."""
    LAST.owe((lambda: (BEFORE, None)) if _output(arguments) == "nagios" else None)
    raise_on_signals()
    register(_wanted(arguments))
    try:
        if arguments and arguments[0] in _COMPLETION:
            return _complete(arguments)
        return _status(app(arguments or ["--help"], prog_name="probe", standalone_mode=False))
    except TyperException as error:
        return _complain(f"{error.format_message()} (see `{_command(arguments)} --help`)", arguments)
    except (Abort, KeyboardInterrupt):
        LAST.say()
        print("probe: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`probe … | head`): nothing is left to say to it.
        sys.stderr.close()
        return EXIT_UNKNOWN
    except Exception as error:
        if type(error).__name__ in ("ProfileError", "NotARun", "CannotStart"):
            return _complain(str(error), arguments)
        if isinstance(error, OSError) and error.errno in _MACHINE:
            return _complain(_of_the_machine(error), arguments)
        # A bug of ours: never an exit status that says something of a server.
        traceback.print_exc()
        return _complain(f"internal error: {type(error).__name__}", arguments)


def _complete(arguments: list[str]) -> int:
    """typer's own completion. It finds out the shell by itself, unless one is named."""
    if len(arguments) > 1:
        # What typer has for its tests turns both options from flags into ones that take a shell.
        os.environ["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"
    status = _status(app(arguments, prog_name="probe", standalone_mode=False))
    if status:
        print(f"probe: name the shell: probe {arguments[0]} bash, zsh, fish, powershell or pwsh", file=sys.stderr)
    return EXIT_UNKNOWN if status else 0


def register(names: Iterable[str]) -> None:
    """Add these commands to `app`."""
    for name in names:
        import_module(f"{__name__}.{name}").register(app)


def commands() -> list[str]:
    """Every command's name, which is its file's."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def _of_the_machine(error: OSError) -> str:
    """Nothing of a server, and no bug."""
    name = f": {error.filename}" if error.filename is not None else ""
    return f"this machine refused: {error.strerror or error}{name}"


def _wanted(arguments: list[str]) -> list[str]:
    """The command that is called, which bears its file's name, or all of them for help and for mistakes: typer builds every
    option of every command it is given, at each start."""
    names = commands()
    return [arguments[0]] if arguments and arguments[0] in names else names


def _command(arguments: list[str]) -> str:
    return " ".join(["probe", *(name for name in arguments[:1] if name in commands())])


def _status(result: Any) -> int:
    return result if isinstance(result, int) else 0


def _complain(text: str, arguments: list[str]) -> int:
    if _output(arguments) == "nagios":
        # Its readers look at stdout only, and must hear of every outcome.
        from probe.cli._out import data
        from probe.output.nagios import complaint

        data(complaint(text))
    for line in text.splitlines():
        print(f"probe: {line}", file=sys.stderr)
    return EXIT_UNKNOWN


def _output(arguments: list[str]) -> str:
    """The format that stdout was to carry, as far as it can be known when the arguments may be what is wrong."""
    found = ""
    for index, word in enumerate(arguments):
        if word in ("-o", "--output"):
            found = "".join(arguments[index + 1 : index + 2])
        elif word.startswith("--output="):
            found = word.partition("=")[2]
        elif word.startswith("-o") and not word.startswith("--"):
            found = word[2:]
    return found
