"""The story of `--every-address`: one run at each address behind the name, and what distinguishes the nodes.

The first node gets the whole run; the others a logon without a message, unless the profile wants delivery proven at each
(`submission.every_address = "deliver"`). A password that the first refuses is not tried at the others.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from probe.facts import Certified, Connected, Ehlo, Secured
from probe.facts.parts import Node, Nodes
from probe.judge._verdict import judge
from probe.observe import reach
from probe.observe.connection.resolve import Address
from probe.observe.job import Side
from probe.observe.trouble import Stopped
from probe.profile import Profile
from probe.record import Record, StageRecord
from probe.report import Report
from probe.tasks.interrupted import heeding
from probe.tasks.plan import Plan
from probe.tasks.prepare import Session, begin
from probe.tasks.run import observe

# Exchange takes 20 connections from one source (MaxInboundConnectionPerSource); a run opens three.
AT_A_TIME = 5
_UNSENT = 'only the first node gets a message; submission.every_address = "deliver" sends through each'


async def observe_each(plan: Plan, profile: Profile, session: Session) -> list[Report]:
    """A report for each address, in the resolver's order. That of a plain run, where the plan does not ask for each, or where there
    are not two."""
    found = await _addresses(plan, session) if plan.every_address != "off" else ()
    if len(found) < 2:
        return [judge(await observe(plan, session), profile)]
    first = await _observe_at(plan, found[0], session)
    unwatched = replace(session, watch=None)
    turns = asyncio.Semaphore(AT_A_TIME)
    follow = _following(plan, first)

    async def one(address: Address) -> Record:
        async with turns:
            return await _observe_at(follow, address, unwatched)

    others = await asyncio.gather(*(one(address) for address in found[1:]))
    return [judge(record, profile) for record in compared([first, *others])]


async def _observe_at(plan: Plan, address: Address, session: Session) -> Record:
    """A node that could not be reached has its address all the same."""
    record = await observe(_at(plan, address), session)
    return record if record.target.address else replace(record, target=replace(record.target, address=str(address)))


async def _addresses(plan: Plan, session: Session) -> Sequence[Address]:
    _, job = begin(plan, session)
    try:
        with heeding(job, session.interrupt):
            return (await reach.addresses(job, plan.submission)).addresses
    except Stopped:
        # The plain run says why.
        return ()


def _following(plan: Plan, first: Record) -> Plan:
    """What the nodes after the first get."""
    refused = next((stage for stage in first.stages if stage.trouble and stage.trouble.id == "auth.refused"), None)
    if refused is not None:
        said = f"not tried here: {refused.name} was refused at another node"
        readers = tuple(replace(reader, side=replace(reader.side, suspended=said)) for reader in plan.readers)
        plan = replace(plan, submission=replace(plan.submission, suspended=said), readers=readers)
    if plan.every_address == "deliver" or not plan.sends:
        return plan
    return replace(plan, sender=None, recipient=None, conduct=replace(plan.conduct, unsent=_UNSENT))


def _at(plan: Plan, address: Address) -> Plan:
    """The plan for one node: the submission there, and each reader that is reached by the same name or nodes."""
    same = [_is_same(plan.submission, reader.side) for reader in plan.readers]
    readers = tuple(
        replace(reader, side=replace(reader.side, only=address.ip)) if there else reader
        for reader, there in zip(plan.readers, same, strict=True)
    )
    return replace(plan, submission=replace(plan.submission, only=str(address)), readers=readers)


def _is_same(submission: Side, reader: Side) -> bool:
    return submission.host == reader.host and bool(submission.connect) == bool(reader.connect)


def compared(records: Sequence[Record]) -> list[Record]:
    """Each record with `nodes` among the facts of smtp.connect: what every node showed, this one's marked."""
    shown = [_shown(record) for record in records]
    values: list[Mapping[str, object]] = [*shown]
    usual = {key: _most_common([node[key] for node in values if node[key] is not None]) for key in _COMPARED}
    return [_with_nodes(record, {"this": index, "usual": usual, "seen": shown}) for index, record in enumerate(records)]


_COMPARED = ("ehlo", "tls", "thumbprint", "chain")


def _shown(record: Record) -> Node:
    certificate = record.seen("smtp.certificate", Certified)
    words = record.seen("smtp.ehlo_tls", Ehlo).keywords
    return {
        "address": record.target.address,
        "node": record.target.node,
        # Keywords, not lines: Exchange greets each client by its address.
        "ehlo": sorted(" ".join([name, *given]) for name, given in words.items()) if words else None,
        "tls": record.seen("smtp.starttls", Secured).version,
        "thumbprint": certificate.thumbprint,
        "chain": [item["subject"] for item in certificate.chain] if certificate.chain else None,
        "failed_stage": next((stage.name for stage in record.stages if stage.status == "failed"), None),
    }


def _most_common(values: list[Any]) -> Any:
    """The value most nodes show; the first seen where several are as common."""
    counted = Counter(map(repr, values))
    return max(values, key=lambda value: counted[repr(value)], default=None)


def _with_nodes(record: Record, nodes: Nodes) -> Record:
    def add(stage: StageRecord) -> StageRecord:
        return replace(stage, facts=replace(stage.seen(Connected), nodes=nodes)) if stage.name == "smtp.connect" else stage

    return replace(record, stages=tuple(map(add, record.stages)), kind="node")
