"""A connection that ends in the midst of a large message: how much had left, what the server said last, and nothing sent again."""

from typing import Any

import pytest

import probe
from probe.sandbox import Sandbox
from probe.sandbox.smtp import Submission


@pytest.mark.parametrize("last_words", [b"", b"451 4.3.0 Too much for one connection\r\n"], ids=["in silence", "with a reply"])
async def test_a_server_that_ends_it_in_the_midst(last_words: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0

    async def cut(self: Any, _: str | None) -> None:
        nonlocal seen
        seen += 1
        await self.push("354 Go ahead")
        await self._reader.readexactly(300_000)
        self.transport.write(last_words)
        self.transport.close()

    monkeypatch.setattr(Submission, "smtp_DATA", cut)
    async with Sandbox() as sandbox:
        monkeypatch.setenv("PW", sandbox.password)
        profile = {
            "submission": {"host": "127.0.0.1", "port": sandbox.addresses["submission"].port},
            "account": {"username": sandbox.username, "password": {"env": "PW"}},
            "message": {"size": "24M"},
            "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "0s", "expires_critical": "0s"},
            "readback": {"imap": {"port": sandbox.addresses["imaps"].port}},
            "limits": {"timeout": "30s"},
        }
        report = await probe.run(profile, raise_bugs=True)
    assert (report.exit_code, report.failed_stage, seen) == (2, "smtp.submit", 1)
    assert {finding.id for finding in report.findings} == {"submit.cut"}
    evidence = str(report.findings[0])
    assert f"of {24 * 2**20} octets of the message had left" in evidence
    assert ("the server said 451 4.3.0 Too much for one connection" in evidence) is bool(last_words)
