"""Copy this file to add a negative check: say here what is tried and what a healthy server answers."""

from probe.observe.audit import Facts
from probe.observe.audit._scene import Scene
from probe.report import Kind

FINDINGS = {"audit.what-is-wrong": Kind("one line", "The likely cause.", ("The command that fixes it.",))}
SEVERITY = "critical"
PROVES = "what a failure proves"
DOES_NOT_PROVE = "what a pass does not prove"


async def observe(scene: Scene) -> Facts:
    async with scene.smtp(tls=True) as smtp:
        reply = await smtp.say("NOOP")
    return Facts("pass" if reply.code == 250 else "fail", str(reply))
