"""Families of servers: which product or provider answered, by all that was seen of it; data, replies/, one file a family.

A file's table `family` says how its server is recognised: `hosts` (patterns of the name that was asked, as a shell writes them),
`greeting` (a pattern in what the server says of itself: its greeting, its name in the EHLO reply, its capabilities) and `words` (a
pattern in a refusal: words that this family says). What a server says of itself comes first, then the host, then the refusal's
words: a filter in front of a server greets with its own name, and a banner can be changed.

`title` is the family's name in a sentence, `labels` what stands before a command that is for it alone (`Postfix: postconf …`),
`beside` families that usually stand on the same server, `mailboxes` is true where its submission and its mailboxes go together,
`profiles` are the shipped profiles that are for it, and `refines` names the family that says the same of itself (Exchange Online
greets like Exchange): there a refusal's words set the two apart.
"""

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, TypedDict, cast

from probe.facts import Ehlo, LoggedOn, Secured, greetings
from probe.plain import dataclass
from probe.record import Record

# One file a family of servers.
_FOLDER = Path(__file__).with_name("replies")


class File(TypedDict, total=False):
    """One file as it is written: its place in the order, the family, and the replies."""

    order: int
    family: dict[str, object]
    reply: list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class Family:
    """A product or a provider, and how it is recognised."""

    name: str
    title: str
    labels: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    greeting: re.Pattern[str] | None = None
    words: re.Pattern[str] | None = None
    beside: tuple[str, ...] = ()
    mailboxes: bool = False
    profiles: tuple[str, ...] = ()
    refines: str | None = None


def files() -> tuple[File, ...]:
    """What the files say, in the order of their `order` (50 where there is none)."""
    return _read(_parsed(text) for text in _texts())


@cache
def families() -> dict[str, Family]:
    """Every family by its name, in the order in which they are tried."""
    # What stands before the first reply is a tenth of the files: a remark in a run that went well needs no more of them.
    heads = _read(_parsed(text.partition("[[reply]]")[0]) for text in _texts())
    known = [_family(file["family"]) for file in heads if "family" in file]
    return {family.name: family for family in known}


def _read(tables: Iterable[File]) -> tuple[File, ...]:
    return tuple(sorted(tables, key=lambda file: file.get("order", 50)))


def _parsed(text: str) -> File:
    import tomllib  # a run that goes well needs neither the files nor what reads them

    return cast(File, tomllib.loads(text))


@cache
def _texts() -> tuple[str, ...]:
    """Read once, by whichever asks first: a refusal needs the heads, and then the replies."""
    return tuple(path.read_text(encoding="utf-8") for path in sorted(_FOLDER.glob("[!_]*.toml")))


def _family(row: dict[str, Any]) -> Family:
    read: dict[str, Any] = {"labels": (row["title"],), **row}
    read |= {name: tuple(read.get(name, ())) for name in ("labels", "hosts", "beside", "profiles")}
    read |= {name: re.compile(row[name], re.IGNORECASE) for name in ("greeting", "words") if name in row}
    return Family(**read)


def by_itself(says: str) -> str | None:
    """The family whose product says this of itself."""
    return next((name for name, one in families().items() if one.greeting and one.greeting.search(says)), None)


def by_host(host: str) -> str | None:
    """The family that answers under this host name."""
    asked = host.lower().rstrip(".")
    return next((name for name, one in families().items() if any(fnmatchcase(asked, host) for host in one.hosts)), None)


def by_words(reply: str) -> str | None:
    """The family that is likely to refuse in these words."""
    return next((name for name, one in families().items() if one.words and one.words.search(reply)), None)


def by_all(seen: str | None, reply: str) -> str | None:
    """The family that was recognised, or by a refusal's words the one that refines it, or is likely where none was."""
    said = by_words(reply)
    return said if said and seen in (None, families()[said].refines) else seen


def family(record: Record, protocol: str) -> str | None:
    """What kind of server answered on this protocol: what it says of itself, then the host that was asked; for a reader that shows
    neither, what the submission is, where that kind has the mailboxes too."""
    found = by_itself(" ".join(_of_itself(record, protocol))) or by_host(_host(record, protocol))
    if found or protocol == "smtp":
        return found
    submission = family(record, "smtp")
    return submission if submission and families()[submission].mailboxes else None


def likely(record: Record, protocol: str, parent: str | None = None) -> str | None:
    """The family; where nothing shows it that of `parent` (a shipped profile, which this one extends), and for a reader the
    submission's, whose labels name what usually stands beside it."""
    found = family(record, protocol) or next((name for name, one in families().items() if parent in one.profiles), None)
    if found or protocol == "smtp":
        return found
    submission = family(record, "smtp")
    return submission if submission and families()[submission].beside else None


def _host(record: Record, protocol: str) -> str:
    """A reader may have a host of its own, which TLS names."""
    named = record.seen(f"{protocol}.tls", Secured).sni if protocol != "smtp" else None
    return named or record.target.host


def _of_itself(record: Record, protocol: str) -> Iterator[str]:
    """The EHLO reply's text behind the server's name is left out: it greets us, by the name or address that is ours."""
    yield from greetings(record.seen, protocol)
    for stage in ("smtp.ehlo", "smtp.ehlo_tls") if protocol == "smtp" else ():
        seen = record.seen(stage, Ehlo)
        yield seen.name or ""
        yield from seen.keywords
    yield from record.seen(f"{protocol}.tls", Secured).capabilities
    logged_on = record.seen(f"{protocol}.login", LoggedOn)
    yield from logged_on.capabilities
    yield from logged_on.capabilities_after


def fitting(steps: tuple[str, ...], name: str | None) -> tuple[str, ...]:
    """The steps of a remedy without what stands under another product's label; all of them where the family is not known."""
    if name is None or name not in families():
        return steps
    wanted = {label for one in (name, *families()[name].beside) for label in families()[one].labels}
    kept = tuple(kept for step in steps if (kept := _fitting(step, wanted)))
    return kept or (_NOTHING_OF_ITS_OWN,) if steps else ()


_NOTHING_OF_ITS_OWN = "Check: this server's own settings, log and documentation, or its provider's help"


def _fitting(step: str, wanted: set[str]) -> str:
    """`Check: a; Postfix: b; Exchange: c` is `Check: a; Postfix: b` for Postfix; what stands in brackets likewise."""
    begins, _, rest = step.partition(": ") if step.startswith(("Check: ", "Fix: ")) else ("", "", step)
    rest = _in_brackets().sub(lambda found: _bracketed(found[1], wanted), rest)
    kept = _of_labels(rest, wanted)
    return f"{begins}: {kept}" if begins and kept else kept


def _bracketed(text: str, wanted: set[str]) -> str:
    kept = _of_labels(text, wanted)
    return f" ({kept})" if kept else ""


def _of_labels(text: str, wanted: set[str]) -> str:
    """Labelled parts are parted by `; ` or three blanks; what is in front of the first label is for everybody."""
    kept = [part for part in _before_label().split(text) if part and _is_wanted(part, wanted)]
    return "; ".join(kept)


def _is_wanted(part: str, wanted: set[str]) -> bool:
    labelled = _label().match(part)
    return labelled is None or not wanted.isdisjoint(re.split(", |/", labelled[1]))


@cache
def _labels() -> str:
    every = sorted({re.escape(label) for one in families().values() for label in one.labels}, key=len, reverse=True)
    one = f"(?:{'|'.join(every)})"
    return rf"{one}(?:(?:, |/){one})*: "


@cache
def _label() -> re.Pattern[str]:
    return re.compile(f"({_labels()[:-2]}): ")


@cache
def _before_label() -> re.Pattern[str]:
    return re.compile(rf"(?:; |\. | {{3}}|^)(?={_labels()})")


@cache
def _in_brackets() -> re.Pattern[str]:
    return re.compile(rf" \(({_labels()}[^()]*)\)")
