"""`probe sweep`: delete our own leftovers, account for what was sent and never seen again."""

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli import _options as option
from probe.cli import _out
from probe.cli._state import can_keep

if TYPE_CHECKING:
    from probe.tasks import sweep as task


def register(app: typer.Typer) -> None:
    app.command("sweep")(sweep)


def sweep(
    profile: option.OneProfile,
    older_than: Annotated[str, typer.Option(metavar="DURATION", help="Only messages older than this.")] = "24h",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted; delete nothing.")] = False,
    output: Annotated[str, typer.Option("-o", "--output", metavar="text|json", help="What stdout carries.")] = "text",
    host: option.Host = None,
    user: option.User = None,
    password_env: option.PasswordEnv = None,
    password_file: option.PasswordFile = None,
    set: option.Set = None,
) -> int:
    """Delete the probe's own leftovers from PROFILE's mailbox (IMAP4, else POP3), never anyone else's mail.

    Exit status: 0 when nothing of ours is left over, 1 when something stays or a message is missing, 2 when the mailbox
    cannot be read, 3 when a message could not be read by an error of our own.
    """
    from probe.tasks import sweep as task
    from probe.tasks.run import load_profile

    if output not in ("text", "json"):
        raise typer.BadParameter(f"no output format {output!r} here; there are text, json")
    age = timedelta(seconds=option.duration("--older-than", older_than))
    settings = option.given(host=host, user=user, password_env=password_env, password_file=password_file, set=set)
    loaded = load_profile(profile, settings)
    can_keep()
    swept = asyncio.run(task.sweep(loaded, older_than=age, dry_run=dry_run))
    _out.write((_json(swept) if output == "json" else _text(swept, dry_run)) + "\n", machine=output == "json")
    if swept.report.verdict in ("critical", "unknown"):
        return swept.report.exit_code
    if swept.leftovers.stumbled:
        return 3
    return 1 if swept.missing or swept.leftovers.kept else 0


def _json(swept: "task.Swept") -> str:
    from dataclasses import asdict

    from probe.report.as_json import report_to_json

    return json.dumps(
        {
            "schema": "submission-probe/sweep/1",
            "deleted": swept.leftovers.deleted,
            "kept": swept.leftovers.kept,
            "too_young": swept.leftovers.too_young,
            "left": swept.leftovers.left,
            "foreign": swept.leftovers.foreign,
            "stumbled": swept.leftovers.stumbled,
            "missing": [asdict(entry) for entry in swept.missing],
            "report": report_to_json(swept.report),
        },
        indent=2,
    )


def _text(swept: "task.Swept", dry_run: bool) -> str:
    from probe.output._safe import safe
    from probe.output.text import headline

    if swept.report.verdict in ("critical", "unknown"):
        failed = next((stage.record.reason for stage in swept.report.stages if stage.status == "failed"), "")
        return f"{headline(swept.report)}\n  {safe(failed or '')}"
    found, verb = swept.leftovers, "would delete" if dry_run else "could not delete"
    lines = [f"deleted {len(found.deleted)}, too young {len(found.too_young)}, not ours {found.foreign}"]
    if found.left:
        lines.append(f"  left {len(found.left)}: the run that sent them may be under way")
    if found.stumbled:
        lines.append(f"  could not read {found.stumbled}: an error of the probe's own; please report it, the others were looked at")
    lines += [f"  {verb} {marker}" for marker in found.kept]
    lines += [f"  missing {safe(entry.marker)}: sent {safe(entry.sent)} to {safe(entry.recipient)}" for entry in swept.missing]
    return "\n".join(lines)
