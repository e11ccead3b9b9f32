"""What a user installs: the wheel holds what the program needs, and says what it is."""

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_is_marked_as_typed(wheel: zipfile.ZipFile) -> None:
    """Without the marker a type checker ignores every annotation (PEP 561)."""
    assert "probe/py.typed" in wheel.namelist()


def test_the_wheel_holds_every_shipped_profile(wheel: zipfile.ZipFile) -> None:
    shipped = {f"probe/_profiles/{path.name}" for path in (ROOT / "profiles").glob("*.toml")}
    assert shipped and shipped <= set(wheel.namelist())


@pytest.fixture(scope="module")
def installed(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of a fresh environment with nothing but the wheel in it; what it depends on is lent."""
    home = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    bin = home / ("Scripts" if sys.platform == "win32" else "bin")
    python = bin / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel.filename)], check=True)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    place = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    Path(place, "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return bin


def test_files_to_copy_are_printed_where_only_the_wheel_is(installed: Path, tmp_path: Path) -> None:
    deploy = ROOT / "deploy"
    single = {path.name: next(path.iterdir()) for path in deploy.iterdir() if len(list(path.iterdir())) == 1}
    named = {"nagios", "grafana", "icinga", "alertmanager", "ansible", "docker", "powershell", "postgresql", "cron"}
    assert named <= set(single)
    for name in sorted(named):
        done = subprocess.run([installed / "probe", "init", f"--{name}"], capture_output=True, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, b"") and done.stdout == single[name].read_bytes(), name
    for name in ("systemd", "prometheus", "kubernetes", "ci"):
        done = subprocess.run([installed / "probe", "init", f"--{name}"], capture_output=True, cwd=tmp_path)
        files = [path for path in (deploy / name).iterdir() if not path.stem.endswith("_test")]
        assert done.returncode == 0 and len(files) > 1
        for path in files:
            assert f"# ==> {path.name}\n".encode() + path.read_bytes() in done.stdout


def test_several_files_are_written_to_a_directory(installed: Path, tmp_path: Path) -> None:
    """As one stream they are no file of Prometheus: rules_test.yml, which rules.yml names, is there too."""
    for name in ("prometheus", "kubernetes", "ci"):
        shipped = {path.name: path.read_bytes() for path in (ROOT / "deploy" / name).iterdir()}
        command = [installed / "probe", "init", f"--{name}", tmp_path / name]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), name
        assert done.stdout.splitlines() == [f"wrote {tmp_path / name / file}" for file in sorted(shipped)]
        assert {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} == shipped
        (tmp_path / name / min(shipped)).write_text("mine", encoding="utf-8")
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 3 and "--force overwrites it" in done.stderr and done.stderr.count("\n") == 1
        assert (tmp_path / name / min(shipped)).read_text(encoding="utf-8") == "mine"
        assert subprocess.run([*command, "--force"], capture_output=True).returncode == 0
        assert {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} == shipped


def test_every_folder_of_deploy_is_one_that_init_prints() -> None:
    said = subprocess.run([sys.executable, "-m", "probe", "init", "--help"], capture_output=True, text=True, check=True).stdout
    for folder in (ROOT / "deploy").iterdir():
        assert f"--{folder.name}" in said


def test_the_wheel_has_the_man_pages(wheel: zipfile.ZipFile, installed: Path) -> None:
    pages = sorted(path.name for path in (ROOT / "docs" / "man").iterdir())
    assert pages and sorted(path.name for path in (installed.parent / "share" / "man" / "man1").iterdir()) == pages


def test_the_source_distribution_has_what_the_wheel_is_made_from(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)], cwd=ROOT, check=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"docs/man/probe.1", "docs/man/probe-run.1", "deploy/nagios/submission-probe.cfg", "profiles/generic.toml"} <= names


def test_the_pages_that_the_wheel_names_exist(wheel: zipfile.ZipFile) -> None:
    metadata: Message = Parser().parsestr(
        wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA"))).decode()
    )
    pages = dict(line.split(", ", 1) for line in metadata.get_all("Project-URL", []))
    assert {"Documentation", "Changelog"} <= set(pages)
    for name, page in pages.items():
        assert page.startswith("https://") or (ROOT / page).exists(), name
