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
from probe.tasks.backoff import remember_proxies, with_backoff
from probe.tasks.credentials import with_proxies
from probe.tasks.plan import make_plan
from probe.tasks.prepare import Session, begin_apart

# For all ports together; a silent server costs three handshakes at each.
MOST_SECONDS = 300.0


async def clients_table(profile: Profile, chosen: Sequence[Client], told: Callable[[Service], None] | None = None) -> ClientsTable:
    """Every chosen program at every port of the profile; `told` hears of each port as it ends. Needs no secret but a
    proxy's: nobody logs on. Raises ProfileError where that cannot be had, or a template's placeholders stand in the profile.
    """
    profile.require_real()
    session = Session()
    plan = with_backoff(with_proxies(make_plan(profile), profile), session.place)
    journal, job = begin_apart(plan, session)
    job.deadline = Deadline(asyncio.get_running_loop().time() + MOST_SECONDS)
    scene = Scene(job, journal, plan.submission, {reader.side.leg: reader.side for reader in plan.readers})
    services = []
    for side in scene.sides:
        services.append(await service(scene, side, chosen))
        if told:
            told(services[-1])
    remember_proxies(plan, session.place)
    return ClientsTable(
        profile=profile.name,
        trust=store(trust_of(plan.submission)) or "",
        openssl=openssl_version(),
        expected=tuple(profile.expect.clients),
        services=tuple(services),
        left_out={client.id: imitation(client.offer).left_out for client in chosen if imitation(client.offer).left_out},
        not_imitated=NOT_IMITATED,
    )
