"""Another story: `probe discover`. Ask every source what users are given, try it on request, judge what came of it."""

import asyncio
import secrets
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, cast

from probe.facts import Published, Tried
from probe.facts.parts import Answered
from probe.judge._verdict import judge
from probe.observe.connection import Trust, context_for
from probe.observe.discover import autoconfig, autodiscover, pacc, srv
from probe.observe.discover.published import Answer, PublishedServer
from probe.observe.discover.verify import published_by, verify
from probe.observe.discover.web import Login, Way, Web
from probe.observe.journal import Journal
from probe.plain import dataclass
from probe.profile import load_mapping
from probe.profile.textfile import NoCertificate
from probe.profile.values import address as mail_address
from probe.profile.values import endpoint
from probe.profile.values import host as host_name
from probe.record import Record, Target
from probe.redact import Redactor
from probe.report import Report
from probe.tasks.plan import own_name

STAGES = (
    "discover.srv",
    "discover.autoconfig",
    "discover.autodiscover",
    "discover.autodiscover-v2",
    "discover.pacc",
    "discover.verify",
)

# How much of an answer's sentence is kept: a URL and some words.
MOST_TEXT = 600


@dataclass(frozen=True, slots=True)
class Question:
    """Whom to ask about, and how. `verify` also tries what is published."""

    address: str
    domain: str
    way: Way
    login: Login | None = None
    verify: bool = False


def question(address: str, way: Way | None = None, *, verify: bool = False, login: Login | None = None) -> Question:
    """A Question, checked. Raises ValueError with a text for the user."""
    domain = host_name(mail_address(address).rpartition("@")[2]).lower()
    way = way or Way()
    if way.resolver:
        way = replace(way, resolver=endpoint(way.resolver))
    if way.connect:
        way = replace(way, connect=_with_port(endpoint(way.connect)))
    if way.ca_file:
        try:
            context_for(Trust(way.ca_file))
        except NoCertificate as error:
            raise ValueError(f"{way.ca_file} {error}") from None
        except OSError as error:
            raise ValueError(f"{way.ca_file}: cannot be read as certificates: {error.strerror or error}") from None
    return Question(address, domain, way, login, verify)


def _with_port(place: str) -> str:
    bare = place.endswith("]") or (":" not in place)
    return f"{place}:443" if bare else place


async def discover(asked: Question) -> Report:
    """Ask, try, judge. Never raises for what a server, a document or the network does: that is in the Report."""
    started = datetime.now(UTC)
    journal = Journal(asyncio.get_running_loop().time, Redactor([asked.login.password] if asked.login else []))
    web, stranger = Web(asked.way, asked.login), Web(asked.way)
    found = await asyncio.gather(
        _ask(journal, "discover.srv", srv.ask(asked.domain, asked.way.resolver)),
        _ask(journal, "discover.autoconfig", autoconfig.ask(web, asked.address, asked.domain)),
        _ask(journal, "discover.autodiscover", autodiscover.ask(web, asked.address, asked.domain)),
        _ask(journal, "discover.autodiscover-v2", autodiscover.ask_v2(stranger, asked.address, asked.domain)),
        _ask(journal, "discover.pacc", pacc.ask(stranger, asked.domain, asked.way.resolver)),
    )
    answers = [answer for source in found for answer in source]
    await _verify(journal, asked, answers)
    record = Record(
        id=secrets.token_hex(8),
        profile=asked.address,
        target=_target(asked.domain, answers),
        started=started.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        seconds=journal.now,
        stages=journal.stages(STAGES),
    )
    return judge(record, _profile(asked))


async def _ask(journal: Journal, stage: str, asking: Awaitable[tuple[Answer, ...]]) -> tuple[Answer, ...]:
    async with journal.stage(stage, stage, Published()) as open_stage:
        answers = await asking
        open_stage.facts = Published(answers=[_plain(answer, journal) for answer in answers])
    return answers


def _plain(answer: Answer, journal: Journal) -> Answered:
    """As JSON has it: arrays are lists; sentences, which may quote a whole document, without secrets and then cut."""
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(answer).items()}
    cut = {key: journal.brief(value, MOST_TEXT) if isinstance(value, str) else value for key, value in plain.items()}
    return cast(Answered, cut)


async def _verify(journal: Journal, asked: Question, answers: Sequence[Answer]) -> None:
    if not asked.verify:
        journal.skip("discover.verify", "not asked for (--verify)")
    elif not published_by(answers):
        journal.skip("discover.verify", "nothing is published that could be tried")
    else:
        async with journal.stage("discover.verify", "try what is published", Tried()) as stage:
            way = asked.way
            stage.facts = await verify(answers, own_name(), ca_file=way.ca_file, resolver=way.resolver)


def answers(report: Report) -> Iterator[Answered]:
    """What every source of a report of `discover` answered, in order."""
    for stage in report.stages:
        yield from stage.record.seen(Published).answers


def tried(report: Report) -> Tried:
    """What became of the published servers that were tried."""
    return report.seen("discover.verify", Tried)


def told(report: Report) -> list[PublishedServer]:
    """What a report of `discover` says is published, best first: what is for outside, then TLS before STARTTLS (RFC 8314)."""
    servers: dict[PublishedServer, None] = {}
    for answer in answers(report):
        for server in answer["told"]:
            servers.setdefault(PublishedServer(**server))
    rank = {"tls": 0, "starttls": 1, "plaintext": 2}
    return sorted(servers, key=lambda server: (server.scope == "internal", rank[server.security]))


def _target(domain: str, answers: Sequence[Answer]) -> Target:
    """The first SMTP server that is published; the domain itself where there is none."""
    servers = (server for answer in answers for server in answer.told if server.protocol == "smtp")
    first = next(servers, PublishedServer("smtp", domain, 587, "starttls"))
    return Target(first.host, first.port, first.security)


def _profile(asked: Question) -> Any:
    """Checks are asked with a profile: one that holds what was given and expects nothing."""
    return load_mapping(
        {
            "name": asked.address,
            "submission": {"host": asked.domain},
            "message": {"sender": asked.address, "recipient": asked.address},
        },
        plugins={},
    )
