"""Functions of AWS Lambda as zips: what they hold, that they are always the same, and what is too large for one."""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile

import pytest

from medloom.cli import main as cli
from medloom.errors import UserError
from medloom.packaging.functions import zipped
from medloom.packaging.functions.zipped import FunctionPlan, install_command, write_function
from support.bundles import write_tiny_bundle

# What pip would put there: a package, and what pip writes for itself with paths of this machine.
PIP = """
import os, pathlib, sys
target = next(pathlib.Path(one.partition("=")[2]) for one in sys.argv if one.startswith("--target="))
for name, text in {
    "numpy/core.py": "one = 1\\n",
    "numpy/tests/test_core.py": "no",
    "bin/f2py": "#!" + str(target),
    "highdicom/_standard/module_attribute_map.json": "{ }",
    "numpy-2.dist-info/METADATA": "Metadata-Version: 2.1\\nName: numpy\\nVersion: 2\\n",
    "numpy-2.dist-info/RECORD": "numpy/core.py,sha256=x,8\\nbin/f2py,sha256=" + str(target) + ",9\\n",
    "numpy-2.dist-info/direct_url.json": str(target),
}.items():
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    (target / name).write_text(text)
    os.utime(target / name)
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "model.tar.gz", phantom=True)


@pytest.fixture
def quick_pip(monkeypatch, tmp_path):
    """pip that writes a few files without asking an index."""
    (tmp_path / "pip.py").write_text(PIP)
    real = install_command

    def command(*arguments):
        return [sys.executable, str(tmp_path / "pip.py"), *real(*arguments)[4:]]

    monkeypatch.setattr(zipped, "install_command", command)


@pytest.mark.usefixtures("quick_pip")
def test_the_same_input_gives_the_same_bytes_wherever_it_is_made(bundle, tmp_path, monkeypatch):
    made = []
    for name in ("a", "longer"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
        made.append(write_function(FunctionPlan(bundle), tmp_path / f"{name}.zip").path.read_bytes())
    assert made[0] == made[1]
    assert str(tmp_path).encode() not in made[0]


@pytest.mark.usefixtures("quick_pip")
def test_a_zip_holds_the_bundle_the_handler_and_what_there_is(bundle, tmp_path, capsys):
    file = tmp_path / "function.zip"
    assert cli.main(["lambda", "package", str(bundle), "-o", str(file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        bill = json.loads(archive.read("sbom.json"))
        rights = {one.external_attr >> 16 for one in archive.infolist()}
        unpacked = sum(one.file_size for one in archive.infolist())
    assert {"lambda_function.py", "model/bundle.json", "model/model.onnx", "numpy/core.py", "licences.txt"} <= set(
        names
    )
    assert not [name for name in names if name.startswith(("bin/", "numpy/tests")) or name.endswith("RECORD")]
    assert names == sorted(names)
    assert rights == {0o100644}  # Lambda runs as a user of its own
    assert [part["name"] for part in bill["components"]] == ["numpy"]
    assert said["unpacked_bytes"] == unpacked
    assert said["handler"] == "lambda_function.lambda_handler"
    assert said["packed_bytes"] == file.stat().st_size


@pytest.mark.usefixtures("quick_pip")
def test_what_is_larger_than_lambda_takes_is_refused_with_what_is_large(bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(zipped, "UNPACKED_BYTES", 2**20)
    monkeypatch.setattr(zipped, "put_bundle", lambda _, folder: (folder / "weights").write_bytes(bytes(2**20 + 1)))
    assert cli.main(["lambda", "package", str(bundle), "-o", str(tmp_path / "function.zip")]) == 2
    said = capsys.readouterr().err
    assert "at most 1, its layers included: model 1.0 MB" in said
    assert "medloom image build serve" in said
    assert not (tmp_path / "function.zip").exists()


def test_packages_are_taken_for_the_processor_and_the_python_of_the_function(bundle, tmp_path):
    plan = FunctionPlan(bundle, "python3.12", "arm64")
    command = install_command(plan, tmp_path / "to", tmp_path / "requirements.txt", tmp_path)
    assert {"--require-hashes", "--only-binary=:all:", "--no-deps", "--python-version=3.12"} <= set(command)
    platforms = [one.partition("=")[2] for one in command if one.startswith("--platform=")]
    assert "manylinux_2_28_aarch64" in platforms
    assert not [one for one in platforms if not one.endswith("aarch64") or one.startswith("manylinux_2_35")]


@pytest.mark.parametrize(
    ("runtime", "architecture", "said"),
    [("python3.11", "x86_64", "Amazon Linux 2"), ("python3.13", "aarch64", "expected x86_64 or arm64")],
)
def test_a_python_or_a_processor_that_would_not_work_is_refused(bundle, runtime, architecture, said):
    with pytest.raises(UserError, match=said):
        FunctionPlan(bundle, runtime, architecture)


def test_what_lambda_has_already_is_left_out():
    locked = (
        "attrs==1 \\\n    --hash=sha256:a\nboto3==1 \\\n    --hash=sha256:b\nboto3-more==1 \\\n    --hash=sha256:c\n"
    )
    assert zipped._not_provided(locked) == locked.replace("boto3==1 \\\n    --hash=sha256:b\n", "")


def test_a_package_that_cannot_be_had_is_told(bundle, tmp_path, monkeypatch, capsys):
    code = "import sys; print('ERROR: No matching distribution found for numpy==2', file=sys.stderr); sys.exit(1)"
    monkeypatch.setattr(zipped, "install_command", lambda *_: [sys.executable, "-c", code])
    assert cli.main(["lambda", "package", str(bundle), "-o", str(tmp_path / "function.zip")]) == 1
    assert "No matching distribution found for numpy==2" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
