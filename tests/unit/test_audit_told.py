"""What `probe audit` prints: the verdict first, no failure where there is none, thumbprints as they stand elsewhere."""

import hashlib
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from probe.cli import audit as cli
from probe.observe import reach
from probe.observe.audit import Facts, checks, judge, one_face
from probe.tasks.audit import Audited, exit_code, verdict


def audited(name: str, outcome: Any, evidence: str = "AUTH PLAIN NTLM") -> Audited:
    module, facts = checks()[name], Facts(outcome, evidence)
    return Audited(name, module, facts, tuple(judge(module, facts)), 0.1)


def lines(capsys: pytest.CaptureFixture[str], *done: Audited) -> list[str]:
    cli.tell("contoso", done)
    return capsys.readouterr().out.splitlines()


def test_what_is_only_worth_knowing_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    done = [audited("audit.weak-mechanisms", "fail"), audited("audit.open-relay", "pass", "550 no")]
    first, *rest = lines(capsys, *done)
    assert first == "OK  contoso: 1 of 2 checks passed, 1 note"
    assert any(line.startswith("note  audit.weak-mechanisms") for line in rest) and not any("FAIL" in line for line in rest)
    assert (verdict(done), exit_code(done)) == ("ok", 0)


def test_the_verdict_stands_at_the_top(capsys: pytest.CaptureFixture[str]) -> None:
    done = [audited("audit.open-relay", "fail", "250 ok"), audited("audit.old-tls", "undecided", "no answer")]
    first, *rest = lines(capsys, *done)
    assert first == "CRITICAL  contoso: 0 of 2 checks passed, 1 failed, 1 undecided"
    assert rest[0].startswith("FAIL  audit.open-relay")


@asynccontextmanager
async def talking(leaf: bytes, words: list[str]) -> Any:
    yield SimpleNamespace(connection=SimpleNamespace(handshake=SimpleNamespace(chain=(leaf,))), words=words)


async def test_faces_are_told_apart_by_the_thumbprint_that_stands_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async def addresses(job: Any, side: Any) -> Any:
        return SimpleNamespace(addresses=("10.0.0.1:587", "10.0.0.2:587"))

    async def handshakes() -> Any:
        return {leg: SimpleNamespace(chain=(b"one",)) for leg in ("smtp", "imap")}

    shown = {"10.0.0.1:587": (b"one", ["AUTH", "DSN"]), "10.0.0.2:587": (b"other", ["AUTH"])}
    monkeypatch.setattr(reach, "addresses", addresses)
    scene: Any = SimpleNamespace(
        job=None, submission=None, handshakes=handshakes, at=lambda address: address, smtp=lambda tls, side: talking(*shown[side])
    )
    facts = await one_face.observe(scene)
    one, other = (hashlib.sha1(leaf, usedforsecurity=False).hexdigest().upper() for leaf in (b"one", b"other"))
    assert facts.outcome == "fail"
    assert facts.evidence == f"SHA-1 {one}: smtp, imap, 10.0.0.1:587; SHA-1 {other}: 10.0.0.2:587; EHLO only at 10.0.0.1:587: DSN"
