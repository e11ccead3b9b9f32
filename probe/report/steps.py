"""A step of a remedy in its parts: what can be pasted into a shell, and the words around it. Values in, values out.

A step is one line such as `Check: Test-NetConnection mail -Port 587 (Windows), or nc -vz mail 587; then the firewall`: a label,
commands, and words. Commands are recognised by the word that they begin with, and end where the sentence goes on.
"""

import re
from collections.abc import Iterator

from probe.plain import dataclass

# PowerShell's approved verbs, as far as mail servers' administrators use them (about_Functions: Verb-Noun).
_VERBS = (
    "Add", "Clear", "Disable", "Dismount", "Enable", "Export", "Get", "Import", "Invoke", "Mount", "Move", "New", "Remove",
    "Resolve", "Restart", "Resume", "Select", "Set", "Start", "Stop", "Suspend", "Test", "Unlock", "Update",
)  # fmt: skip
_OURS = (
    "audit", "certificates", "compare", "correlate", "demo", "discover", "explain", "history", "init", "profiles", "report", "run",
    "sandbox", "schema", "serve", "show", "sweep", "worker",
)  # fmt: skip
# The first word of a command with what must follow it: many are plain English too.
_PROGRAMS = (
    rf"(?:\$\w+ = (?:\[\w+\]\()?)?(?:{'|'.join(_VERBS)})-[A-Z][A-Za-z]+(?:\.ps1)?",
    rf"probe (?:{'|'.join(_OURS)})\b",
    r"postfix (?:reload|check|start|stop|restart|status)\b",
    r"post(?:conf|map|queue|super|alias|cat|log)(?= [-|]| [a-z]|$)",
    r"(?:doveadm|doveconf|delv|grep|getent|resolvectl|certbot|kinit|chronyc|apt-get|smtpctl|zmprov|zmcontrol|makemap)(?= )",
    r"authtest(?= )",
    r"(?:nc|ss|df|ls|curl|curl\.exe|certutil|nginx|setspn|ulimit|repquota|exim4?|sendmail|testsaslauthd)(?= -)",
    r"(?:systemctl|journalctl|openssl)(?= [a-z-])",
    r"dig(?= [+@_A-Z-]| [a-z_.]+\.)",
    r"(?:nltest|w32tm)(?= /)",
    r"(?:klist|iisreset|timedatectl|mailq|newaliases|exinext|exiqgrep|exigrep|exiwhat)\b",
    r"cat(?= /)",
    r"ip route\b",
    r"pip(?= install)",
)
_BEHIND = r"(?<![\w'\"/.$|=+-])"
_BEGINS = re.compile(f"{_BEHIND}(?:{'|'.join(_PROGRAMS)})")
# A line of a configuration file: name = value.
_SETTING = re.compile(_BEHIND + r"""[a-z_][a-z0-9_.]* = (?:"[^"]*"|\[[^\]]*\]|[A-Za-z0-9][\w.]*(?: [a-z]+(?=$|[;,)]| {3}))?)""")
# Where the sentence goes on: punctuation, or a word that no command has between its arguments.
_PROSE = (
    "and", "or", "as", "at", "by", "do", "for", "from", "has", "in", "inside", "is", "knows", "must", "of", "on", "removes", "says",
    "so", "than", "the", "then", "to", "under", "when", "where", "which", "while", "with",
)  # fmt: skip
_ENDS = re.compile(rf", |\.?$|\. |: |:$| {{2,}}| \(|\)|; | (?:{'|'.join(_PROSE)})(?= [^-]|$)")
# Stays whole, whatever stands in it.
_QUOTED = re.compile(r"""'[^']*'|"[^"]*"|\{[^{}]*\}|\((?:[^()'"]|'[^']*'|"[^"]*")*\)""")
_TICKED = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"https?://[^\s;,)']+")


# Longer ones come from nobody but a crafted file.
_MOST_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a step; `code` is what is copied as it stands: a command, a setting, a link."""

    text: str
    code: bool


def pieces(step: str) -> list[Piece]:
    """The parts, which together are the step; marks around what is code already (`…`) are left out."""
    return list(_pieces(step)) if len(step) <= _MOST_CHARACTERS else [Piece(step, code=False)]


def _pieces(step: str) -> Iterator[Piece]:
    done = 0
    for begin, end, text in _codes(step):
        if begin > done:
            yield Piece(step[done:begin], code=False)
        yield Piece(text, code=True)
        done = end
    if done < len(step):
        yield Piece(step[done:], code=False)


def _codes(step: str) -> Iterator[tuple[int, int, str]]:
    """(begin, end, text) of each part that is code."""
    at = 0
    while at < len(step):
        found = [one for kind in (_TICKED, _LINK, _SETTING, _BEGINS) if (one := kind.search(step, at))]
        if not found:
            return
        first = min(found, key=lambda one: one.start())
        at = first.end() if first.re is not _BEGINS else _end(step, first.end())
        yield first.start(), at, first[1] if first.re is _TICKED else step[first.start() : at]


def _end(step: str, at: int) -> int:
    """Where the command ends that is under way at `at`; what follows `; ` may be its next."""
    while at < len(step):
        if quoted := _QUOTED.match(step, at):
            at = quoted.end()
        elif not (end := _ENDS.match(step, at)):
            at += 1
        elif end[0] == "; " and _BEGINS.match(step, end.end()):
            at = end.end()
        else:
            return at
    return at


def parted(step: str) -> list[str]:
    """The step's parts between `; ` or three blanks, each of which is one command or sentence; quotes and brackets stay whole."""
    parts, begin, at = [], 0, 0
    while at < len(step):
        if quoted := _QUOTED.match(step, at):
            at = quoted.end()
        elif step.startswith(("; ", "   "), at):
            parts.append(step[begin:at])
            begin = at = at + (2 if step[at] == ";" else 3)
        else:
            at += 1
    return [*parts, step[begin:]]
