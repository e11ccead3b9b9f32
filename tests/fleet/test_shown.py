"""What servers showed to the workers: one row each in PostgreSQL, and what changed in it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from probe.cli import entry
from probe.facts import Secured
from probe.report import Report
from probe.state.postgres import Postgres, make_schema
from probe.state.postgres_shown import MOST_NODES
from tests.output.runs import saved
from tests.servers.postgresql import PostgreSQL


def _spoken(report: Report, version: str, **changed: Any) -> Report:
    """The report with that TLS version at the submission."""
    stages = [
        replace(stage, record=replace(stage.record, facts=replace(stage.record.seen(Secured), version=version)))
        if stage.name == "smtp.starttls" else stage for stage in report.stages
    ]  # fmt: skip
    return replace(report, stages=tuple(stages), **changed)


def test_what_changed_is_known_by_vantage_point(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (report,) = saved("ok").reports
    began = datetime.now(UTC).replace(microsecond=0)
    with PostgreSQL() as server:
        make_schema(server.conninfo)
        make_schema(server.conninfo)
        place = Postgres(server.conninfo)
        for n in range(6):
            started = (began + timedelta(hours=n)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            for vantage, since in (("office", 3), ("plant", 99)):
                version = "TLSv1.2" if n >= since else "TLSv1.3"
                place.add_runs([_spoken(report, version, id=f"{vantage}{n}", started=started)], vantage, 30)
        monkeypatch.setenv("DSN", server.conninfo)
        assert entry(["history", "--changes", "--database-env", "DSN", report.profile]) == 0
        when = (began + timedelta(hours=3)).strftime("%Y-%m-%d %H:%M")
        assert capsys.readouterr().out == f"{when}  {report.profile} from office  smtp  TLS 1.3 → 1.2  DOWNGRADE\n"
        assert server.ask("select count(*) from submission_probe_shown") == [(6,)]
        with psycopg.connect(server.conninfo, autocommit=True) as connection:
            connection.execute(
                "insert into submission_probe_shown select 'office', 'p', 'smtp', 'h', n::text, lpad(n::text, 9, '0'), '{}'"
                " from generate_series(1, 200) n"
            )
        other = replace(report, profile="p", target=replace(report.target, host="h"))
        place.add_runs([replace(other, id="many")], "office", 30)
        assert server.ask("select count(*) from submission_probe_shown where profile = 'p' and leg = 'smtp'") == [(MOST_NODES,)]
        monkeypatch.setenv("DSN", f"{server.conninfo} dbname=nowhere")
        assert entry(["history", "--changes", "--database-env", "DSN"]) == 3
        assert "PostgreSQL" in capsys.readouterr().err
    assert entry(["history", "--database-env", "DSN"]) == 3
