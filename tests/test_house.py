"""What holds for the whole house: its layers, its front doors, and what it never does."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
ROOMS = sorted(path.parent.name for path in (ROOT / "src" / "medloom").glob("*/__init__.py"))

HEAVY = {"torch", "lightning", "monai", "numpy", "pandas", "scipy", "matplotlib", "onnxruntime", "PIL", "pydantic"}
LIGHT_COMMANDS = [["--help"], ["recipes"], ["--version"], ["run", "--help"], ["serve", "--help"], ["data", "--help"]]

FORBIDDEN = {
    r"\bimport pickle|\bfrom pickle|\bpickle\.load|cloudpickle|joblib\.load": "pickle",
    r"\byaml\.(load|full_load|unsafe_load)(_all)?\(": "yaml.load",
    r"\.extractall\(": "extractall",
    r"shell\s*=\s*True": "shell=True",
    r"\bos\.system\(|\bos\.popen\(": "a shell",
    r"weights_only\s*=\s*False": "weights_only=False",
    r"allow_pickle\s*=\s*True": "allow_pickle=True",
    r"torch\.hub\b|trust_remote_code": "code from a hub",
    r"\btorch\.load\((?!.*weights_only=True\))": "torch.load without weights_only",
    r"http://(?!localhost|127\.0\.0\.1|\{)": "a plain-http address",
}


def test_importing_medloom_imports_nothing_heavy(modules_after):
    assert modules_after("import medloom").isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", LIGHT_COMMANDS, ids=" ".join)
def test_a_light_command_imports_no_torch_and_no_arrays(modules_after, arguments):
    loaded = modules_after(f"from medloom.cli.main import main\nassert main({arguments!r}) == 0")
    unwanted = HEAVY - {"pydantic"} if arguments[0] not in ("--help", "recipes") else HEAVY
    assert loaded.isdisjoint(unwanted), loaded & unwanted


def test_the_import_contract_is_kept():
    lint = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("room", ROOMS)
def test_a_front_door_names_what_it_opens(room):
    module = importlib.import_module(f"medloom.{room}")
    names = getattr(module, "__all__", [])
    assert names in (sorted(names, key=_order), sorted(names))  # lazy_loader sorts by the alphabet alone
    assert [name for name in names if not hasattr(module, name)] == []


def _order(name: str) -> tuple[int, str]:
    """As ruff sorts: constants, classes, the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("pattern", FORBIDDEN, ids=list(FORBIDDEN.values()))
def test_the_sources_never_use(pattern):
    found = [
        f"{path.relative_to(ROOT)}: {line}" for path in SOURCES for line in _code(path) if re.search(pattern, line)
    ]
    assert found == []


@functools.cache
def _code(path: Path) -> list[str]:
    """The lines of a file without its docstrings and comments."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [line for statement in _without_docstrings(tree).body for line in ast.unparse(statement).splitlines()]


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            first.value = ast.Constant(None)
    return tree


def test_only_the_command_line_prints_or_exits():
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in SOURCES
        if path.parent.name not in ("cli", "code", "container")
        for line in _code(path)
        if re.search(r"(^|\s)print\(|\bsys\.exit\(|^\s*assert\s", line)
    ]
    assert found == []


def test_functions_are_short():
    lengths = [
        (node.end_lineno - node.body[0].lineno + 1, f"{path.relative_to(ROOT)}:{node.name}")
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno
    ]
    assert [name for length, name in lengths if length > 60] == []
    assert sorted(length for length, _ in lengths)[len(lengths) // 2] <= 12


def test_the_constraints_pin_every_dependency_exactly():
    pinned = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in pinned if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    project = (ROOT / "pyproject.toml").read_text()
    wanted = re.findall(
        r'"([\w.-]+)(?:>=[\d.]+)?"[,\]\s]', project.partition("dependencies = [")[2].partition("[project.scripts]")[0]
    )
    names = {_canonical(line.partition("==")[0]) for line in pinned}
    assert {_canonical(name) for name in wanted} <= names


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_no_file_holds_what_a_merge_left_behind():
    mark = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)
    texts = [path for folder in ("docs", "src", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.*")]
    texts += ROOT.glob("*.*")
    read = (path for path in texts if path.suffix in {".md", ".py", ".toml", ".yaml", ".yml", ".json", ".html", ".css"})
    assert [str(path) for path in read if mark.search(path.read_text("utf-8"))] == []
