"""Records the cases of test_records.py anew: python -m tests.judge.record. One run against the sandbox for each fault."""

import asyncio
import json
import tomllib
from pathlib import Path
from typing import Any

from probe.judge import findings
from probe.profile import load_mapping
from probe.record import record_to_json
from probe.sandbox import Sandbox
from probe.sandbox.faults import FAULTS
from probe.tasks.plan import make_plan, plugins
from probe.tasks.prepare import Session, prepare
from probe.tasks.run import observe

FOLDER = Path(__file__).parent / "records"


async def one(name: str, fault: str | None) -> None:
    async with Sandbox(fault=fault) as sandbox:
        mapping = tomllib.loads(sandbox.profile()) | {"limits": {"timeout": "8s"}}
        profile = load_mapping(mapping, plugins=plugins())
        session = Session()
        plan = await prepare(make_plan(profile), profile, session.place, try_again=True)
        record = await observe(plan, session)
    # A judge needs neither the password nor the root.
    mapping["account"]["password"] = {"env": "NOT_ASKED_FOR"}
    del mapping["tls"]["ca_file"]
    found = [f"{finding.severity} {finding.id} {finding.stage}" for finding in findings(record, profile)]
    write(name, {"profile": mapping, "findings": found, "record": record_to_json(record)})


def write(name: str, case: dict[str, Any]) -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(case, indent=1) + "\n", encoding="ascii")


async def main() -> None:
    for fault in (None, *FAULTS):
        await one(fault or "healthy", fault)


if __name__ == "__main__":
    asyncio.run(main())
