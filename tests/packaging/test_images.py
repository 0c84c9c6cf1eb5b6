"""Container images: what a build context holds, what is left out of an image, and what it says of itself."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft7Validator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from referencing import Registry, Resource

from medloom.cli import main as cli
from medloom.errors import UserError
from medloom.packaging.images import builders
from medloom.packaging.images.bill import Part, as_cyclonedx, as_list, debian_parts, python_parts
from medloom.packaging.images.context import ImagePlan, write_context
from medloom.packaging.images.libraries import needed_by, with_needed, without_sections
from medloom.packaging.images.trimming import _CODECS
from support.bundles import write_tiny_bundle

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "tests" / "support" / "cyclonedx"
LOCKS = ROOT / "src" / "medloom" / "packaging" / "images" / "locks"
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "model.tar.gz", phantom=True)


def _locked(name):
    lines = (LOCKS / name).read_text().splitlines()
    return {
        line.partition("==")[0]: line.partition("==")[2].split()[0]
        for line in lines
        if "==" in line and line[0].isalpha()
    }


def test_locks_hold_the_versions_of_the_constraints_and_a_hash_for_each():
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pinned = {canonicalize_name(name): version for name, version in pinned.items()}
    for lock in LOCKS.glob("*.txt"):
        found = {name: version.removesuffix("+cpu") for name, version in _locked(lock.name).items()}
        assert len(found) > 30 or found.keys() == {"torch"}
        assert {name: version for name, version in found.items() if pinned.get(name, version) != version} == {}
        parts = re.split(r"\n(?=[a-z])", lock.read_text())[1:]
        assert all("--hash=sha256:" in part for part in parts)


def test_the_lock_of_serving_holds_everything_that_serving_installs_and_nothing_else():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted, todo = set(), [*extras["dependencies"]]
    for extra in ("serve", "lambda", "aws"):
        todo += extras["optional-dependencies"][extra]
    while todo:
        requirement = Requirement(todo.pop())
        name = canonicalize_name(requirement.name)
        if name not in wanted and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            wanted.add(name)
            todo += metadata.requires(name) or []
    assert _locked("serve-onnx.txt").keys() - {"colorama"} == wanted  # which typer wants on Windows
    openvino = _locked("serve-openvino.txt").keys()
    assert openvino - wanted <= {"colorama", "openvino"}
    assert wanted - openvino == {"onnxruntime", "flatbuffers"}


def test_a_context_holds_the_installed_medloom_by_its_hash_and_the_bundle_unpacked(bundle, tmp_path):
    names = write_context(ImagePlan("serve", bundle=bundle), tmp_path / "context")
    (wheel,) = (tmp_path / "context").glob("*.whl")
    assert {"Containerfile", "requirements.txt", "model/bundle.json", "model/model.onnx", wheel.name} <= set(names)
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() in (tmp_path / "context" / "medloom.txt").read_text()
    file = (tmp_path / "context" / "Containerfile").read_text()
    assert file.splitlines()[-1] == 'CMD ["serve", "/opt/medloom/model", "--host", "0.0.0.0", "--port", "8080"]'
    assert "--require-hashes" in file
    assert not re.search(r"curl|wget|apt-get|ADD |/opt/ml", file)
    with zipfile.ZipFile(wheel) as archive:
        inside = archive.namelist()
    assert "medloom/recipe/builtin/brain-mri-small.yaml" in inside
    assert "medloom/serving/page/built.html" in inside
    assert not [name for name in inside if "__pycache__" in name or "node_modules" in name]


def test_an_image_with_openvino_serves_its_bundle_with_it(bundle, tmp_path):
    write_context(ImagePlan("serve", "openvino", bundle), tmp_path / "context")
    last = (tmp_path / "context" / "Containerfile").read_text().splitlines()[-1]
    assert last.endswith('"--runtime", "openvino"]')
    locked = (tmp_path / "context" / "requirements.txt").read_text()
    assert "\nopenvino==" in locked
    assert "\nopenvino-telemetry==" not in locked


def test_a_training_image_for_processors_has_the_same_versions_and_nothing_of_cuda(tmp_path):
    """Only PyTorch comes from its own index; both processors have a file of it."""
    names = {}
    for torch in ("cuda", "cpu"):
        write_context(ImagePlan("train", torch=torch), tmp_path / torch)
        pins = [(tmp_path / torch / name).read_text() for name in ("torch.txt", "requirements.txt")]
        assert pins[0].count("\ntorch==") + pins[0].startswith("torch==") == 1
        assert "\ntorch==" not in pins[1]
        names[torch] = set(re.findall(r"^([a-z0-9-]+==[^ ]+)", "\n".join(pins), re.MULTILINE))
    assert {one for one in names["cuda"] if not one.startswith(("nvidia-", "cuda-", "triton=="))} == {
        one.replace("+cpu", "") for one in names["cpu"]
    }
    found = (tmp_path / "cpu" / "torch.txt").read_text()
    assert "\n--index-url https://" in found
    assert found.count("--hash=sha256:") == 2
    assert "index-url" not in (tmp_path / "cpu" / "requirements.txt").read_text()
    assert ImagePlan("train", torch="cpu").tag.startswith("medloom-train-cpu:")


def test_another_index_can_be_named_for_every_step_that_installs():
    for file in (LOCKS.parent).glob("Containerfile.*"):
        before = file.read_text().partition("RUN ")[0]
        assert {"ARG PIP_INDEX_URL", "ARG PIP_EXTRA_INDEX_URL", "ARG PIP_FIND_LINKS"} <= set(before.splitlines())


def test_two_contexts_of_the_same_code_are_the_same(tmp_path):
    made = []
    for name in ("a", "b"):
        write_context(ImagePlan("train"), tmp_path / name)
        made.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if path.is_file()})
    assert made[0] == made[1]
    with pytest.raises(UserError, match="is not empty"):
        write_context(ImagePlan("serve"), tmp_path / "a")


def test_every_instruction_of_an_image_is_in_exec_form():
    for file in (LOCKS.parent).glob("Containerfile.*"):
        lines = file.read_text().replace("\\\n", " ").splitlines()
        for line in lines:
            if line.startswith(("RUN", "ENTRYPOINT")) or " CMD " in line:
                assert isinstance(json.loads(line[line.index("[") :]), list), line


def test_what_is_built_and_pushed_is_printed(capsys):
    asked = [
        "image",
        "build",
        "serve",
        "--dry-run",
        "--builder",
        "docker",
        "--push",
        f"{ECR}/medloom",
        "--platform",
        "linux/arm64",
    ]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(builders, "_answers", lambda _: True)
        patched.setattr(builders.shutil, "which", lambda name: f"/usr/bin/{name}")
        assert cli.main(asked) == 0
    build, create, login, push = capsys.readouterr().out.splitlines()
    assert build.startswith("docker build --file CONTEXT/Containerfile --tag ")
    assert "--platform linux/arm64" in build
    assert create.startswith("aws ecr create-repository --region eu-central-1 --repository-name medloom ")
    assert login.endswith(f"| docker login --username AWS --password-stdin {ECR}")
    assert push.startswith(f"docker push {ECR}/medloom:")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["segment"], "an image is one of serve, train; got 'segment'"),
        (["serve", "--runtime", "torch"], "--runtime is one of onnx, openvino; got 'torch'"),
        (["train", "--torch", "rocm"], "--torch is one of cuda, cpu; got 'rocm'"),
        (["serve", "--torch", "cpu"], "--torch cpu: a serving image has no PyTorch"),
        (["serve", "--builder", "kaniko"], "--builder knows docker, podman, buildah; got 'kaniko'"),
    ],
    ids=["kind", "runtime", "torch", "torch to serve", "builder"],
)
def test_a_wrong_word_names_the_right_ones(arguments, said, capsys):
    assert cli.main(["image", "build", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_without_a_builder_one_is_told_what_to_do(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    assert cli.main(["image", "build", "serve"]) == 2
    assert (
        "install one (Debian: apt-get install buildah), or write the build context with --output"
        in capsys.readouterr().err
    )


def test_a_builder_that_fails_is_an_error_of_the_work(tmp_path, monkeypatch, capfd):
    (tmp_path / "buildah").write_text('#!/bin/sh\n[ "$1" = --version ] || { echo "no room"; exit 5; }\n')
    (tmp_path / "buildah").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert cli.main(["image", "build", "serve", "--builder", "buildah"]) == 1
    said = capfd.readouterr().err
    assert "no room" in said
    assert "buildah build ended with exit code 5" in said


def test_the_bill_of_materials_is_valid_cyclonedx(tmp_path):
    status = tmp_path / "status"
    status.write_text(
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2.36-9\nInstalled-Size: 12\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n"
    )
    system = debian_parts(status)
    assert [(part.name, part.purl, part.bytes) for part in system] == [
        ("libc6", "pkg:deb/debian/libc6@1%3A2.36-9?arch=amd64", 12 * 1024)
    ]
    packages = python_parts(Path(np.__file__).parents[1])
    bill = as_cyclonedx("medloom-serve", "1.0", [*packages, *system])
    resources = [(path.name, Resource.from_contents(json.loads(path.read_text()))) for path in SCHEMAS.glob("*.json")]
    registry = Registry().with_resources(resources)
    schema = json.loads((SCHEMAS / "bom-1.6.SNAPSHOT.schema.json").read_text())
    assert list(Draft7Validator(schema, registry=registry).iter_errors(bill)) == []
    assert bill == as_cyclonedx("medloom-serve", "1.0", [*packages, *system])
    numpy = next(one for one in bill["components"] if one["name"] == "numpy")
    assert numpy["purl"] == f"pkg:pypi/numpy@{np.__version__}"


def test_the_list_of_licences_has_a_line_for_each_package():
    parts = [Part("a", "1", "pkg:pypi/a@1", "MIT", True), Part("b", "2", "pkg:pypi/b@2")]
    assert as_list(parts) == "a 1: MIT\nb 2: see its files\n"


def test_a_library_without_its_sections_is_smaller_and_still_loads(tmp_path):
    from uvloop import loop

    whole = Path(loop.__file__).read_bytes()
    small = without_sections(whole)
    assert len(small) < len(whole)
    assert without_sections(small) == small
    assert without_sections(b"no library") == b"no library"
    package = tmp_path / "uvloop"
    shutil.copytree(Path(loop.__file__).parent, package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (package / Path(loop.__file__).name).write_bytes(small)
    program = "import asyncio, uvloop; print(uvloop.__file__, uvloop.run(asyncio.sleep(0, 'ran')))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(package / "__init__.py"), "ran"]


def test_the_libraries_that_codecs_need_are_found_without_loading_them():
    """What is read from the files of imagecodecs is what the system maps when they are imported."""
    import imagecodecs

    home = Path(imagecodecs.__file__).parent
    found = {path.name: path for folder in (home, home.parent / "imagecodecs.libs") for path in folder.glob("*.so*")}
    codecs = [path for path in found.values() if path.name.partition(".")[0].removeprefix("_") in _CODECS]
    names = [path.name.partition(".")[0] for path in codecs]
    program = f"""
import importlib
for name in {names}:
    importlib.import_module(f"imagecodecs.{{name}}")
print(*{{line.split()[-1] for line in open("/proc/self/maps") if "/imagecodecs" in line}}, sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    mapped = {Path(line).name for line in done.stdout.split()}
    assert {path.name for path in with_needed(codecs, found)} == mapped
    assert needed_by(b"no library") == []
