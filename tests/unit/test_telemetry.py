"""A run as a trace, by OpenTelemetry's own in-memory exporter; and over HTTP to a collector that is not there."""

import os
import subprocess
import sys
from pathlib import Path

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from probe.output._opentelemetry import export, make_provider
from probe.sandbox import Sandbox
from tests.canary import leaks

_ACCOUNT = ("--host", "mail.example.test", "--user", "u@example.test", "--password-env", "HOME", "--readback", "none")


async def test_a_run_is_a_trace_and_a_stage_a_span(tmp_path: Path) -> None:
    import probe

    async with Sandbox() as well, Sandbox(fault="mailbox-full") as full:
        reports = []
        for name, sandbox in (("well", well), ("full", full)):
            (tmp_path / f"{name}.toml").write_text(sandbox.profile())
            reports.append(await probe.run(tmp_path / f"{name}.toml"))
        exporter = InMemorySpanExporter()
        assert export(reports, make_provider(exporter))
        spans = exporter.get_finished_spans()
        traces = {span.context.trace_id for span in spans}
        assert len(traces) == 2
        for report in reports:
            (root,) = [span for span in spans if span.name == f"probe {report.profile}"]
            mine = [span for span in spans if span.context.trace_id == root.context.trace_id and span is not root]
            assert root.parent is None and {span.parent.span_id for span in mine if span.parent} == {root.context.span_id}
            assert [span.name for span in mine] == [stage.name for stage in report.stages if stage.status != "skipped"]
            assert root.end_time - root.start_time == int(report.seconds * 1e9)
            assert all(root.start_time <= span.start_time <= span.end_time <= root.end_time + 1_000_000 for span in mine)
        broken = next(span for span in spans if span.name == "smtp.submit" and span.status.status_code is StatusCode.ERROR)
        assert broken.attributes["submission_probe.findings"]
        text = "".join(span.to_json() for span in spans)
        assert not leaks([text], well.password, well.username) and well.username not in text


def test_without_the_extra_one_line_says_so() -> None:
    """`opentelemetry` is hidden from the process: a part of it cannot even be looked for then."""
    code = "import sys; sys.modules['opentelemetry'] = None; from probe.cli import entry; sys.exit(entry(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "run", "--otel", "--dry-run", *_ACCOUNT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3 and "submission-probe[otel]" in done.stderr and done.stderr.count("\n") == 1, done.stderr


async def test_the_command_line_tells_a_collector(tmp_path: Path) -> None:
    """Nobody listens there: that is said in one line, and the verdict stands."""
    import asyncio

    async with Sandbox() as sandbox:
        (tmp_path / "office.toml").write_text(sandbox.profile())
        environ = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
        command = [sys.executable, "-m", "probe", "run", "--otel", str(tmp_path / "office.toml")]
        done = await asyncio.to_thread(subprocess.run, command, env=environ, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.startswith("OK"), done.stderr
        assert "not exported" in done.stderr and done.stderr.count("\n") == 1, done.stderr
