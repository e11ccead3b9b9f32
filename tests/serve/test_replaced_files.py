"""Files of the table tls that are replaced while `probe serve` runs: the next run uses what they hold then, without a reload."""

import re
from pathlib import Path

import pytest

from probe.sandbox import Sandbox
from tests.serve.serving import Serving, values
from tests.servers.pki import Authority


def profile(folder: Path, sandbox: Sandbox, more: str = "", *, password: bool = True) -> str:
    """The sandbox's own profile with its CA file beside it, as tls.pem."""
    (folder / "tls.pem").write_bytes(sandbox.ca_file.read_bytes())
    path = folder / "office.toml"
    text = sandbox.profile().replace(str(sandbox.ca_file), str(folder / "tls.pem")) + more
    path.write_text(text if password else re.sub("(?m)^password.*$", "", text), encoding="utf-8")
    return str(path)


async def run(serving: Serving) -> tuple[float, set[str]]:
    """Whether one run went well, and the findings of it."""
    told = values((await serving.get("/probe", params={"target": "office"})).text)
    ids = {label for labels in told.get("submission_probe_finding", {}) for label in labels if "." in label and " " not in label}
    return told["probe_success"][()], {name for name in ids if name.split(".")[0] not in ("smtp", "imap", "pop3")}


@pytest.mark.parametrize("reload", [False, True])
async def test_a_ca_file(reload: bool, tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        given, ca_file = profile(tmp_path, sandbox), tmp_path / "tls.pem"
        right, wrong = ca_file.read_bytes(), Authority(tmp_path / "other").ca_file.read_bytes()
        ca_file.write_bytes(wrong)
        async with Serving(tmp_path, given, "--interval", "none") as serving:

            async def replace_by(octets: bytes) -> None:
                (tmp_path / "new.pem").write_bytes(octets)
                (tmp_path / "new.pem").replace(ca_file)
                if reload:
                    assert (await serving.client.post("/-/reload")).status_code == 200

            success, found = await run(serving)
            assert success == 0 and "certificate.unknown-issuer" in found
            await replace_by(right)
            assert await run(serving) == (1, set())
            # Whom the file no longer names is trusted no longer, and gets no password.
            logons = len(sandbox.logons)
            await replace_by(wrong)
            success, found = await run(serving)
            assert success == 0 and "certificate.unknown-issuer" in found and len(sandbox.logons) == logons


async def test_a_ca_file_that_holds_nothing_is_no_fault_of_the_server(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        given, ca_file = profile(tmp_path, sandbox), tmp_path / "tls.pem"
        right = ca_file.read_bytes()
        async with Serving(tmp_path, given, "--interval", "none") as serving:
            assert await run(serving) == (1, set())
            for number, spoil in enumerate((lambda: ca_file.write_bytes(b""), ca_file.unlink), 1):
                spoil()
                assert await run(serving) == (0, set())
                runs = (await serving.metrics())["submission_probe_runs_total"]
                assert runs[("office", "unknown")] == number and runs.get(("office", "critical"), 0) == 0
                page = (await serving.get("/")).text
                assert "tls.ca_file" in page and str(ca_file) in page
                ca_file.write_bytes(right)
                assert await run(serving) == (1, set())


async def test_a_client_certificate(tmp_path: Path) -> None:
    async with Sandbox(mechanisms=["EXTERNAL"]) as sandbox:
        own = tmp_path / "own.pem"
        given = profile(tmp_path, sandbox, f"client_certificate = '{own}'\n", password=False)
        stranger = Authority(tmp_path / "stranger").leaf("probe", client=True)
        own.touch(mode=0o600)
        own.write_bytes(stranger.key_file.read_bytes() + stranger.cert_file.read_bytes())
        async with Serving(tmp_path, given, "--interval", "none") as serving:
            assert (await run(serving))[0] == 0 and not sandbox.logons
            own.write_bytes(sandbox.client_certificate.read_bytes())
            assert await run(serving) == (1, set())
