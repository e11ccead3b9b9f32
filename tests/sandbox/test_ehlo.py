"""The name we give: this machine's own, else the address of the very connection."""

from pathlib import Path

import pytest

import probe
from probe.sandbox import Sandbox
from probe.state.place import Files
from probe.tasks import plan


@pytest.mark.parametrize(("name", "given"), [(None, "[127.0.0.1]"), ("probe.contoso.com", "probe.contoso.com")])
async def test_ehlo(name: str | None, given: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plan, "full_name", lambda: name)
    async with Sandbox() as sandbox:
        path = tmp_path / "p.toml"
        path.write_text(sandbox.profile(), encoding="utf-8")
        report = await probe.run(str(path), light=True, raise_bugs=True, place=Files(tmp_path))
    assert {line.text for line in report.transcript if line.text.startswith("EHLO")} == {f"EHLO {given}"}
