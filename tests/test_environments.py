"""What those who carry on the work find set up: hooks, conda and dev container say what Makefile and pyproject say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
CONTAINER = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
PAGE = (ROOT / "docs" / "environments.md").read_text()


def recipe_of(target: str) -> list[str]:
    """The commands of a target of the Makefile."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    return [line.strip() for line in found[1].splitlines()] if found else []


def extras_of(text: str) -> set[str]:
    return set(re.search(r"\.\[([\w,]+)\]", text)[1].split(","))


def test_every_check_is_a_hook_and_every_hook_is_a_check():
    checks = [command.removeprefix("$(BIN)/") for command in recipe_of("check")]
    hooks = [hook["entry"].removeprefix(".ci/tool ").removesuffix(" --force-exclude") for hook in HOOKS[0]["hooks"]]
    assert hooks == checks


def test_hooks_take_the_tools_of_the_project_and_download_nothing():
    assert [repository["repo"] for repository in HOOKS] == ["local"]
    assert {hook["language"] for hook in HOOKS[0]["hooks"]} == {"system"}
    assert all(hook["entry"].startswith(".ci/tool ") for hook in HOOKS[0]["hooks"])
    assert os.access(ROOT / ".ci" / "tool", os.X_OK)


@pytest.mark.parametrize("name", [hook["id"] for hook in HOOKS[0]["hooks"]])
def test_hooks_look_at_the_files_that_the_check_looks_at(name):
    (hook,) = [hook for hook in HOOKS[0]["hooks"] if hook["id"] == name]
    if "files" in hook:
        assert all(re.search(hook["files"], file) for file in ("src/medloom/jobs.py", "pyproject.toml"))
        assert not re.search(hook["files"], "docs/recipe.md")
    else:
        assert hook["types_or"] == ["python", "pyi"]


def test_a_tool_is_taken_from_the_environment_of_the_project_where_there_is_one(tmp_path):
    for place, said in ((tmp_path / ".venv" / "bin", "project"), (tmp_path / "active", "active")):
        place.mkdir(parents=True)
        (place / "answer").write_text(f"#!/bin/sh\necho {said} $1\n")
        (place / "answer").chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'active'}:/usr/bin:/bin"}

    def asked() -> str:
        command = [str(ROOT / ".ci" / "tool"), "answer", "me"]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert asked() == "project me"
    (tmp_path / ".venv" / "bin" / "answer").unlink()
    assert asked() == "active me"


def test_the_configuration_of_the_hooks_is_valid():
    command = [
        str(Path(sys.executable).with_name("pre-commit")),
        "validate-config",
        str(ROOT / ".pre-commit-config.yaml"),
    ]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_conda_brings_the_python_of_the_constraints_and_everything_that_make_installs():
    (python,) = [one for one in CONDA if isinstance(one, str) and one.startswith("python")]
    version = python.partition("=")[2]
    assert version in SpecifierSet(PROJECT["requires-python"])
    assert f"(Python {version})" in (ROOT / "constraints.txt").read_text().splitlines()[0]
    (by_pip,) = [one["pip"] for one in CONDA if isinstance(one, dict)]
    assert by_pip[0] == "--constraint constraints.txt"
    (made,) = [line for line in MAKEFILE.splitlines() if line.startswith("\t$(PIP) --editable") and "dev" in line]
    assert extras_of(by_pip[1]) == extras_of(made)
    assert extras_of(made) <= PROJECT["optional-dependencies"].keys()


def test_the_container_has_the_same_python_and_its_commands_exist():
    assert "FROM python:3.11-" in (ROOT / ".devcontainer" / CONTAINER["build"]["dockerfile"]).read_text()
    make, install = CONTAINER["postCreateCommand"].split(" && ")
    assert re.search(rf"^{make.removeprefix('make ')}: \$\(SET_UP_DEV\)", MAKEFILE, re.MULTILINE)
    tool = install.removeprefix(".venv/bin/").split()[0]
    assert tool in {Requirement(one).name for one in PROJECT["optional-dependencies"]["dev"]}


def test_the_page_of_environments_names_commands_and_extras_that_exist():
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", PAGE, re.MULTILINE)) <= targets
    installs = re.findall(r"\.\[[\w,]+\]", PAGE)
    assert installs
    assert all(extras_of(one) <= PROJECT["optional-dependencies"].keys() for one in installs)
    for title in ("Laptop", "SageMaker notebook instance", "SageMaker Studio", "Colab", "plain server"):
        assert re.search(rf"^## .*{title}", PAGE, re.MULTILINE), title


SERVING = (
    "annotated-doc annotated-types anyio click flatbuffers h11 highdicom httptools idna imagecodecs "
    "importlib-resources lazy-loader "
    "markdown-it-py mdurl msgspec nibabel numpy onnxruntime packaging pillow prometheus-client protobuf "
    "pydantic pydantic-core pydicom pygments pyjpegls python-multipart pyyaml rich safetensors shellingham simplejpeg "
    "starlette tifffile typer typing-extensions typing-inspection uvicorn uvloop"
)


def test_serving_installs_what_is_listed_here_and_nothing_else():
    found: dict[str, str] = {}
    for requirement in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["serve"]):
        _follow(Requirement(requirement), found, set())
    assert sorted(found) == SERVING.split()


def test_who_trains_has_what_preparing_needs():
    extras = PROJECT["optional-dependencies"]
    assert set(extras["prepare"]) <= set(extras["train"])


def test_everything_that_the_extras_pull_is_pinned_at_what_is_installed():
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    found: dict[str, str] = {}
    seen: set[str] = set()
    for extra in extras_of(next(line for line in MAKEFILE.splitlines() if "--editable" in line and "dev" in line)):
        for requirement in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]):
            _follow(Requirement(requirement), found, seen)
    different = {name: version for name, version in found.items() if pinned.get(name) != version.partition("+")[0]}
    assert different.keys() <= {"setuptools"}  # which pip brings for building


def _follow(requirement: Requirement, found: dict[str, str], seen: set[str]) -> None:
    """Everything installed that a requirement pulls."""
    name = canonicalize_name(requirement.name)
    known = f"{name}{sorted(requirement.extras)}"
    if known in seen:
        return
    seen.add(known)
    distribution = metadata.distribution(name)
    found[name] = distribution.version
    for text in distribution.requires or ():
        inside = Requirement(text)
        wanted = ["", *requirement.extras]
        if inside.marker is None or any(inside.marker.evaluate({"extra": extra}) for extra in wanted):
            _follow(inside, found, seen)
