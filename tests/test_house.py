"""The house keeps its shape: arrows in one direction, pure rooms, plug-ins of one form, one name a finding."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROBE = ROOT / "probe"

# Who may import whom, room by room; a room may always import itself. Ground: record, report, certificate, message, profile.
GROUND = {"plain", "clients", "redact", "record", "facts", "report", "certificate", "message", "profile", "version", "sasl"}
ALLOWED = {
    "plain": set(),
    "redact": {"plain"},
    "clients": {"plain"},
    "sasl": {"plain"},
    "facts": {"plain"},
    "record": {"plain", "facts"},
    "version": set(),
    "report": {"plain", "record", "facts", "version"},
    "certificate": {"plain"},
    "message": {"plain"},
    "profile": {"plain", "clients", "redact", "sasl"},
    "observe": GROUND - {"report"},
    "judge": GROUND,
    "output": GROUND,
    "runs": GROUND,
    "state": GROUND,
    "sandbox": set(),
    "tasks": GROUND | {"observe", "judge", "output", "runs", "state"},
    "serve": GROUND | {"observe", "output", "runs", "state", "tasks"},
    "cli": GROUND | {"observe", "judge", "output", "runs", "state", "tasks", "serve", "sandbox"},
    "__main__": {"cli", "version"},
}
# The face of the library names its homes for type checkers only; at run time it imports nothing of ours but the version.
FACE = "__init__"

PURE = [
    "clients",
    "redact",
    "judge",
    "output",
    "facts",
    "record",
    "report",
    "runs/saved",
    "certificate",
    "message",
    "observe/protocol",
    "sasl",
]
IMPURE_MODULES = {"socket", "ssl", "asyncio", "subprocess", "time", "random", "os", "secrets", "threading"}


def sources(place: str = "") -> list[Path]:
    path = PROBE / place if place else PROBE
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def imports(path: Path) -> set[str]:
    """Every module a file imports, wherever the import stands: in functions and for typing too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def wing(path: Path) -> str:
    return path.relative_to(PROBE).with_suffix("").parts[0]


def wings_imported(path: Path) -> set[str]:
    """Our own wings among a file's imports."""
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("probe.")}
    return {name for name in ours if (PROBE / name).is_dir() or (PROBE / f"{name}.py").exists()}


@pytest.mark.parametrize("path", [p for p in sources() if wing(p) != FACE], ids=lambda p: str(p.relative_to(PROBE)))
def test_arrows_point_down(path: Path) -> None:
    here = wing(path)
    assert here in ALLOWED, f"{here} is a new wing: give it its arrows in this test and in docs/architecture.md"
    allowed = ALLOWED[here]
    if "audit" in path.parts:
        # An audit file holds its own judgement, so it may speak of findings.
        allowed = allowed | {"report"}
    assert wings_imported(path) - {here} <= allowed


def test_no_circle_between_modules() -> None:
    graph = {module_name(path): {name for name in imports(path) if name.startswith("probe")} for path in sources()}
    # `import probe.x` runs probe/__init__, which imports nothing back at run time.
    graph["probe"] = set()
    graph |= {module_name(path): imports(path) for path in sorted((ROOT / "benchmarks").glob("*.py"))}
    graph = {name: {edge for edge in edges if edge in graph} for name, edges in graph.items()}
    seen: dict[str, str] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert seen.get(name) != "open", f"a circle: {' → '.join((*trail, name))}"
        if name in seen:
            return
        seen[name] = "open"
        for edge in sorted(graph[name] - {name}):
            visit(edge, (*trail, name))
        seen[name] = "done"

    for name in sorted(graph):
        visit(name, ())


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("place", PURE)
def test_pure_rooms(place: str) -> None:
    # Of the protocols the octets are pure; a conversation sends and awaits.
    for path in [path for path in sources(place) if not path.stem.endswith("_conversation")]:
        tops = {name.split(".")[0] for name in imports(path)}
        assert not tops & IMPURE_MODULES, f"{path} is pure: no {tops & IMPURE_MODULES}"


def test_only_the_connection_room_opens_sockets() -> None:
    for path in sources():
        place = path.relative_to(PROBE).as_posix()
        # Our own HTTP server: serve/webconfig.py makes its context, serve/door.py listens (and connects to nothing).
        if place.startswith(("observe/connection", "sandbox")) or place in (
            "observe/trouble.py",
            "serve/webconfig.py",
            "serve/door.py",
        ):
            continue
        assert not {"socket", "ssl"} & imports(path), f"{place} reaches past the recorded connection"


def test_sandbox_shares_nothing_with_the_client() -> None:
    for path in sources("sandbox"):
        assert all(name.startswith("probe.sandbox") for name in imports(path) if name.startswith("probe."))


def test_plug_ins_have_their_form() -> None:
    from probe.judge import checks
    from probe.output import formats, output
    from probe.sasl import mechanisms
    from probe.tasks.plan import readers

    for check in checks():
        assert isinstance(check.FINDINGS, dict)
        assert callable(check.judge)
    for name, reader in readers().items():
        assert name == reader.NAME
        assert all(stage.startswith(f"{name}.") for stage in reader.STAGES)
        assert callable(reader.read)
    for name in formats():
        assert callable(output(name).write)
    assert {"LOGIN", "PLAIN", "CRAM-MD5"} <= set(mechanisms())


def test_audit_checks_have_their_form() -> None:
    from probe.judge import kinds
    from probe.observe.audit import checks

    assert len(checks()) >= 14
    for name, check in checks().items():
        assert list(check.FINDINGS) == [name] and name.startswith("audit.") and name not in kinds()
        assert check.SEVERITY in ("critical", "warning", "info") and check.PROVES and check.DOES_NOT_PROVE
        assert callable(check.observe)


def test_finding_ids_are_unique_and_well_formed() -> None:
    from probe.judge import checks

    names = [name for check in checks() for name in check.FINDINGS]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9]+\.[a-z0-9-]+", name) for name in names)


def test_every_trouble_has_words() -> None:
    """Whatever can stop a stage is explained by some check: cause and remedy, not just the sentence."""
    from probe.judge import kinds

    raised = set()
    for path in sources("observe"):
        raised |= set(re.findall(r'(?:stop|Trouble)\(\s*"([a-z0-9]+\.[a-z-]+)"', path.read_text(encoding="utf-8")))
        raised |= set(re.findall(r'"((?:auth|greeting|connect|tls|submit|probe)\.[a-z-]+)"', path.read_text(encoding="utf-8")))
    assert len(raised) > 25
    # certificate.not-accepted only ends the leg: the certificate's own findings say what is wrong with it.
    assert raised - set(kinds()) == {"certificate.not-accepted"}


def test_architecture_names_the_function_of_every_stage() -> None:
    """docs/architecture.md has a row for each stage, and the function it names exists."""
    from probe.record import SUBMISSION_STAGES
    from probe.tasks.plan import readers

    table = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z0-9]+\.[a-z_]+)` \| `([a-z0-9_/.]+:[a-z_]+)`", table, re.MULTILINE))
    planned = [*SUBMISSION_STAGES, *(stage for reader in readers().values() for stage in reader.STAGES)]
    assert set(rows) == set(planned)
    for place in rows.values():
        file, _, function = place.partition(":")
        assert re.search(rf"^(async )?def {function}\(", (PROBE / file).read_text(encoding="utf-8"), re.MULTILINE), place


# Typed Any because the library underneath is: dataclasses.field, a module's own __getattr__ (PEP 562), and uvicorn's sockets.
UNTYPED = {
    "probe/__init__.py __getattr__",
    "probe/facts/__init__.py named",
    "probe/facts/__init__.py one",
    "probe/facts/__init__.py some",
    "probe/serve/http.py Server.startup",
}


def test_no_any_between_rooms() -> None:
    """What one room gives another has a type: JSON from outside is `object` until it has been looked at."""
    found = set()
    for path in sources():
        if "sandbox" not in path.parts:
            place = path.relative_to(ROOT).as_posix()
            found |= {f"{place} {name}" for name in _untyped(ast.parse(path.read_text(encoding="utf-8")))}
    assert found == UNTYPED


def _untyped(tree: ast.Module | ast.ClassDef) -> Iterator[str]:
    """Public functions and fields whose annotation has Any in it."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from (f"{node.name}.{name}" for name in _untyped(node))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not re.match(r"_(?!_)", node.name):
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
            if any(_has_any(one.annotation) for one in every if one) or _has_any(node.returns):
                yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(tree, ast.ClassDef) and _has_any(node.annotation):
            yield ast.unparse(node.target)


def _has_any(annotation: ast.expr | None) -> bool:
    return annotation is not None and re.search(r"\bAny\b", ast.unparse(annotation)) is not None


def test_files_and_functions_stay_small() -> None:
    for path in sources():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 420, f"{path} holds more than one subject"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 62, f"{path}:{node.lineno} {node.name} has {length} lines"


def test_importing_the_face_loads_nothing_heavy() -> None:
    code = "import probe, sys; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    heavy = {"typer", "pydantic", "imapclient", "aiosmtplib", "cryptography.x509", "cryptography", "rich", "asyncio", "ssl"}
    assert not heavy & set(loaded)


def test_the_version_needs_no_command_line_library() -> None:
    code = "import sys; sys.argv = ['probe', '--version']; from probe.__main__ import main; main(); print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"typer", "pydantic", "asyncio"} & set(done.stdout.split())


def _without_encoding(tree: ast.AST) -> Iterator[int]:
    """Lines that read or write text in whatever encoding the machine has: ANSI on Windows, ASCII under LC_ALL=C."""
    binary = {"os", "gzip", "asyncio"}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        owner = getattr(getattr(node.func, "value", None), "id", "")
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and set(str(arg.value)) <= set("rwxab+t")]
        opens = name == "fdopen" or (name == "open" and owner not in binary)
        if (
            (name == "read_text" and not node.args)
            or (name == "write_text" and len(node.args) < 2)
            or (opens and not any("b" in str(mode) for mode in modes))
            or any(keyword.arg in ("text", "universal_newlines") for keyword in node.keywords if name in ("run", "Popen"))
        ):
            yield node.lineno


def test_text_files_name_their_encoding() -> None:
    """ruff's PLW1514 sees only what it can tell to be a file."""
    lines = [f"{path.name}:{line}" for path in sources() for line in _without_encoding(ast.parse(path.read_text(encoding="utf-8")))]
    assert lines == []
    assert [*_without_encoding(ast.parse("p.read_text(); open(p); os.fdopen(f, 'w'); run(c, text=True); open(p, 'rb')"))] == [1] * 4
