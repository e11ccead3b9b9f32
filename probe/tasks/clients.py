"""The third story of `probe audit`: which mail programs can still connect and log on to this server?"""

import asyncio
from collections.abc import Callable, Sequence

from probe.clients import NOT_IMITATED, Client
from probe.observe.audit._clients import service
from probe.observe.audit._scene import Scene
from probe.observe.connection import Deadline
from probe.observe.connection.imitated import imitation, openssl_version
from probe.observe.connection.trust import store
from probe.observe.reach import trust_of
from probe.profile import Profile
from probe.report.clients import ClientsTable, Service
from probe.tasks.plan import make_plan
from probe.tasks.prepare import Session, begin_apart

# For all ports together; a silent server costs three handshakes at each.
MOST_SECONDS = 300.0


async def clients_table(profile: Profile, chosen: Sequence[Client], told: Callable[[Service], None] | None = None) -> ClientsTable:
    """Every chosen program at every port of the profile; `told` hears of each port as it ends. Needs no secret: nobody logs on.

    Raises ProfileError where a template's placeholders stand in the profile.
    """
    profile.require_real()
    plan = make_plan(profile)
    journal, job = begin_apart(plan, Session())
    job.deadline = Deadline(asyncio.get_running_loop().time() + MOST_SECONDS)
    scene = Scene(job, journal, plan.submission, {reader.side.leg: reader.side for reader in plan.readers})
    services = []
    for side in scene.sides:
        services.append(await service(scene, side, chosen))
        if told:
            told(services[-1])
    return ClientsTable(
        profile=profile.name,
        trust=store(trust_of(plan.submission)) or "",
        openssl=openssl_version(),
        expected=tuple(profile.expect.clients),
        services=tuple(services),
        left_out={client.id: imitation(client.offer).left_out for client in chosen if imitation(client.offer).left_out},
        not_imitated=NOT_IMITATED,
    )
