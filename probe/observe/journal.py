"""The only recorder: `async with journal.stage(...)` is time, outcome, transcript and redaction at once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Generic, Literal

from probe.facts import F, Facts, LoggedOn, rebuilt, to_json
from probe.observe.trouble import Stopped, trouble_of
from probe.plain import dataclass
from probe.record import NOT_REACHED, Line, StageRecord, Trouble
from probe.redact import MASK, Redactor

TRANSCRIPT_LINES = 2_000
TRANSCRIPT_CHARACTERS = 2_000
# How much of a server's text is quoted in the midst of a sentence.
QUOTED = 200


# Called when a stage begins (None) and when it has ended; a second look ends with the record of the first.
Watch = Callable[[str, StageRecord | None], None]


@dataclass(slots=True)
class Stage(Generic[F]):
    """An open stage: replace `facts` by what was seen."""

    name: str
    facts: F
    refused: str | None = None

    def refuse(self, reason: str) -> None:
        """End the stage as failed with what it recorded: the facts themselves say what is wrong (a certificate)."""
        self.refused = reason


class Journal:
    """Collects stages and transcript of one run. `clock` gives seconds, monotonic; `begin` is the run's start on it."""

    def __init__(self, clock: Callable[[], float], redactor: Redactor, watch: Watch | None = None) -> None:
        self.begin = clock()
        self._clock = clock
        self._redactor = redactor
        self._watch = watch
        self._stages: dict[str, StageRecord] = {}
        self._lines: list[Line] = []

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self.begin

    @property
    def lines(self) -> tuple[Line, ...]:
        return tuple(self._lines)

    def mask(self, secret: str) -> None:
        """Keep this value, in all its encodings, out of everything recorded from now on."""
        self._redactor.add(secret)

    def line(self, connection: str, direction: Literal[">", "<", "*"], text: str) -> None:
        """Add a line to the transcript; long lines and very long transcripts are cut with a note."""
        if len(self._lines) > TRANSCRIPT_LINES:
            return
        if len(self._lines) == TRANSCRIPT_LINES:
            self._lines.append(Line(self.now, connection, "*", f"transcript cut after {TRANSCRIPT_LINES} lines"))
            return
        # Redact before cutting: a secret cut in two would not be recognised.
        # What we say ourselves stands there without its secrets; the words of our commands may be anybody's password.
        shown = self._redactor.cut(text, TRANSCRIPT_CHARACTERS) if direction == "<" else self._redactor.ours(text)
        if len(text) > TRANSCRIPT_CHARACTERS:
            cut = len(text) - TRANSCRIPT_CHARACTERS
            shown = f"{shown[: TRANSCRIPT_CHARACTERS * len(MASK)].removesuffix('…')} [… {cut} more characters cut]"
        self._lines.append(Line(self.now, connection, direction, shown))

    def note(self, connection: str, text: str, heard: str = "") -> None:
        """Add a remark of ours to the transcript, and behind a colon what it quotes."""
        text = self._redactor.ours(text)
        self.line(connection, "*", f"{text}: {self.brief(heard, TRANSCRIPT_CHARACTERS // 2)}" if heard else text)

    def brief(self, text: str, most: int) -> str:
        """Text from outside for the midst of a sentence of ours: first redacted, then cut."""
        return self._redactor.cut(text, most)

    def briefly(self, said: Mapping[str, object]) -> dict[str, object]:
        """What a server said as keys and values, without secrets, then cut; a number may be a secret too, or be endless."""
        texts = {self.brief(key, 100): (value, self.brief(str(value), 500)) for key, value in said.items()}
        return {
            key: value if not isinstance(value, str) and text == str(value) and len(text) <= 15 else text
            for key, (value, text) in texts.items()
        }

    @asynccontextmanager
    async def stage(self, name: str, tried: str, facts: F) -> AsyncIterator[Stage[F]]:
        """Time and record one stage; a failure in the block is recorded and re-raised as Stopped.

        `tried` is a plain phrase for the error text, such as "log on to mail.contoso.com over IMAP4"; `facts` are of the stage's
        kind, with nothing seen yet.
        """
        stage = Stage(name, facts)
        at = self.now
        if self._watch:
            self._watch(name, None)
        try:
            yield stage
        except asyncio.CancelledError:
            self._end(stage, at, Trouble("run.cancelled", f"{tried}: cut short"))
            raise
        except Exception as error:
            trouble = self._redacted(trouble_of(error, tried), tried)
            self._end(stage, at, trouble)
            raise Stopped(trouble) from None
        self._end(stage, at, None)

    def redacted(self, text: str) -> str:
        """The text without any secret."""
        return self._redactor.text(text)

    def _redacted(self, trouble: Trouble, tried: str) -> Trouble:
        """What the trouble quotes is its evidence; without any, all behind `tried` may be a quotation."""
        head = tried if trouble.text.startswith(tried) else ""
        rest = self._redactor.ours(trouble.text[len(head) :], trouble.evidence)
        return Trouble(trouble.id, (head + rest)[:1000], self._redactor.cut(trouble.evidence, 2000))

    def _end(self, stage: Stage[F], at: float, trouble: Trouble | None) -> None:
        failed = trouble is not None or stage.refused is not None
        reason = trouble.text if trouble else self._redactor.ours(stage.refused or "")
        self._put(
            StageRecord(
                name=stage.name,
                status="failed" if failed else "ok",
                at=at,
                seconds=self.now - at,
                reason=reason or None,
                trouble=trouble,
                facts=self._shown(stage.facts),
            )
        )

    def _shown(self, facts: F) -> F:
        """The facts without any secret."""
        if not self._redactor.has_secrets:
            return facts
        return rebuilt(type(facts), self._redactor.mapping(to_json(facts)))

    def skip(self, name: str, reason: str) -> None:
        """Record that a stage does not take place, and why."""
        self._put(StageRecord(name, "skipped", at=self.now, reason=self._redactor.ours(reason)))

    def _put(self, stage: StageRecord) -> None:
        # A second look at the same server (trust_any_certificate) overwrites nothing that the first showed, but ends.
        first = self._stages.setdefault(stage.name, stage)
        if self._watch:
            self._watch(stage.name, first)

    def ends_logons(self, name: str) -> str | None:
        """Why a secret that this stage has sent is not to be sent again by another mechanism; None when it may be."""
        stage = self._stages.get(name)
        trouble = stage.trouble.id if stage and stage.trouble else None
        if trouble == "auth.refused":
            return f"{name} was refused, and the same secret is not tried again"
        if trouble == "auth.server-unproven" or (stage and stage.seen(LoggedOn).server_proven is False):
            # Whoever cannot prove to know the password would be given it, by PLAIN or LOGIN.
            return f"the server did not prove in {name} that it knows the password, so nothing more is sent to it"
        return None

    def failed(self, name: str) -> bool:
        """Whether the stage took place and failed."""
        stage = self._stages.get(name)
        return stage is not None and stage.status == "failed"

    @property
    def redactor(self) -> Redactor:
        return self._redactor

    def take_lines(self, other: "Journal", connection: str) -> None:
        """Take over the transcript of a conversation that was recorded apart, under a name of its own."""
        for line in other.lines:
            self._lines.append(replace(line, at=line.at + other.begin - self.begin, connection=connection))

    def seen(self, name: str, kind: type[F]) -> F:
        """The facts of a stage that has ended; with nothing seen when it has not."""
        stage = self._stages.get(name)
        return stage.seen(kind) if stage else kind()

    def see(self, name: str, facts: Facts) -> None:
        """Give a stage that has ended these facts: a later stage learned more of it."""
        stage = self._stages.get(name)
        if stage is not None:
            self._stages[name] = replace(stage, facts=self._shown(facts))

    def stages(self, planned: Sequence[str]) -> tuple[StageRecord, ...]:
        """Every planned stage in order; one that never came is skipped because of the failure before it."""
        ended: list[StageRecord] = []
        because: dict[str, str] = {}
        for name in planned:
            leg = name.partition(".")[0]
            stage = self._stages.get(name)
            if stage is None:
                stage = StageRecord(name, "skipped", reason=because.get(leg, NOT_REACHED))
            elif stage.status == "failed":
                because.setdefault(leg, f"because {name} failed")
            ended.append(stage)
        return tuple(ended)
