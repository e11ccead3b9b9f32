"""Read a `.dialogue` file.

    # One sentence: what this server does.
    [smtp] 2 smtp.starttls starttls.not-offered      <- who plays it; exit status, failed stage (- for none), findings
    ehlo:                                            <- when the client gets here …
      250-mail.hostile.test                          <- … the server says this instead of what a healthy one says
      250 SIZE 1000
    quit:
      ! close                                        <- or does this

Lines are sent with CRLF; `{tag}` is the IMAP4 tag. Actions: `! close`, `! reset`, `! silence`, `! half-close`, `! healthy` (what
a healthy server does here), `! raw TEXT` (Python escapes, no CRLF), `! flood OCTETS TEXT` (without line end), `! lines COUNT LINE`,
`! drip TEXT` (an octet every 0.2 s, for ever), `! plaintext` (no TLS although the go-ahead was given), `! garbage`, `! secret` and
`! secret64` (echo the password), `! inject` (a go-ahead with a capability list behind it), `! deliver` (put the message into the
mailbox all the same), `! brackets` (60 000 of them), `! skip-uid-range`. `[smtp imap]` plays one script for several. Settings,
before the first step: `@ certificate NAME`, `@ message NAME` (how the message is changed on its way), `@ sandbox FAULT`,
`@ tls old`, `@ readers NAME…`, `@ timeout SECONDS`, `@ implicit`, `@ chunking` (CHUNKING is offered: the message
comes with the step `bdat`).
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

PROTOCOLS = ("smtp", "imap", "pop3")


@dataclass(frozen=True)
class Play:
    """One story for one protocol: steps by name, each a list of lines; what must come of it."""

    name: str
    sentence: str
    protocol: str
    exit_code: int
    failed_stage: str | None
    findings: frozenset[str]
    steps: dict[str, list[str]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}-{self.protocol}"


def plays(folder: Path) -> list[Play]:
    """Every play of every story."""
    return [play for path in sorted(folder.glob("*.dialogue")) for play in read(path)]


def read(path: Path) -> list[Play]:
    """The plays of one file. Raises ValueError with file and line for what cannot be read."""
    found: list[Play] = []
    current: list[int] = []
    sentence, step = "", None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            if line.startswith("#"):
                sentence = sentence or line.lstrip("# ")
            elif line.startswith("["):
                first = len(found)
                found += _heads(line, path.stem, sentence)
                current, step = list(range(first, len(found))), None
            elif line.startswith("@"):
                key, _, value = line[1:].strip().partition(" ")
                for index in current:
                    found[index].settings[key] = value
            elif line.startswith("  ") and step:
                for index in current:
                    found[index].steps[step].append(line[2:])
            elif line.strip():
                step = line.strip().removesuffix(":")
                for index in current:
                    found[index].steps[step] = []
        except ValueError as error:
            raise ValueError(f"{path.name}:{number}: {error}") from None
    if not found or not sentence:
        raise ValueError(f"{path.name}: needs a sentence and a play")
    return found


def _heads(line: str, name: str, sentence: str) -> list[Play]:
    protocols, _, rest = line[1:].partition("]")
    code, stage, *findings = rest.split()
    made = []
    for protocol in protocols.split():
        if protocol not in PROTOCOLS:
            raise ValueError(f"no protocol {protocol}")
        here = stage.replace("*", protocol)
        play = Play(name, sentence, protocol, int(code), None if here == "-" else here, frozenset(findings))
        made.append(replace(play, steps={}, settings={}))
    return made
