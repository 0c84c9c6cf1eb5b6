"""The zip of a function of AWS Lambda: Medloom, what serving needs, and a bundle.

It can be made on any machine: pip takes the files for the function's processor and Python, and nothing is run.

Source: https://docs.aws.amazon.com/lambda/latest/dg/python-package.html and
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from medloom import __version__
from medloom.errors import MedloomError, UserError
from medloom.files import replacing, sha256_file, size_of, write_json, write_text
from medloom.packaging.images.bill import Part, as_cyclonedx, as_list, python_parts
from medloom.packaging.images.context import ImagePlan, locked_requirements, put_bundle
from medloom.packaging.images.trimming import trim
from medloom.packaging.images.wheel import EARLIEST, write_wheel
from medloom.wording import few, one_line

__all__ = [
    "ARCHITECTURES",
    "DIRECT_BYTES",
    "HANDLER",
    "RUNTIMES",
    "UNPACKED_BYTES",
    "FunctionPlan",
    "FunctionZip",
    "write_function",
]

HANDLER = "lambda_function.lambda_handler"
"""What Lambda calls in the zip; also what its console calls if nothing is said."""

UNPACKED_BYTES = 262_144_000
"""Largest function with its layers, unpacked: the 250 MB of Lambda."""

DIRECT_BYTES = 52_428_800
"""Largest zip that goes to Lambda itself: 50 MB. A larger one goes through a bucket of S3."""

RUNTIMES = ("python3.12", "python3.13")
"""Lambda's Pythons on Amazon Linux 2023. Those before have glibc 2.26; not all packages are built for those after."""

ARCHITECTURES = {"x86_64": "x86_64", "arm64": "aarch64"}
"""Processors as Lambda calls them, and as wheels do."""

_GLIBC = 34
"""Of Amazon Linux 2023: glibc 2.34."""

_OLDER = {"x86_64": ("manylinux2014", "manylinux2010", "manylinux1"), "aarch64": ("manylinux2014",)}
_PROVIDED = (
    *("awslambdaric", "boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "simplejson", "six"),
    *("snapshot-restore-py", "urllib3"),
)
"""What Lambda's Python has already: AWS's clients and what they need."""

_MODEL = "model"
_OF_INSTALLING = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json")
"""What pip writes for itself, with paths of the machine that ran it."""


@dataclass(frozen=True)
class FunctionPlan:
    """What a function is to be.

    Args:
        bundle: Its bundle.
        runtime: Lambda's name of its Python.
        architecture: Lambda's name of its processor.

    Raises:
        UserError: If Lambda has no such Python or processor, or one that Medloom does not run on.
    """

    bundle: Path
    runtime: str = "python3.13"
    architecture: str = "x86_64"

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise UserError(
                f"--runtime: expected one of {', '.join(RUNTIMES)}; got {self.runtime!r}. Older Pythons of Lambda are "
                "on Amazon Linux 2, for which NumPy and ONNX Runtime are not built"
            )
        if self.architecture not in ARCHITECTURES:
            raise UserError(f"--architecture: expected x86_64 or arm64; got {self.architecture!r}")


@dataclass(frozen=True)
class FunctionZip:
    """A zip that was written.

    Args:
        path: The file.
        sizes: Bytes of each part, unpacked, the largest first.
        sha256: Of the file.
    """

    path: Path
    sizes: Mapping[str, int]
    sha256: str

    @property
    def unpacked(self) -> int:
        """Bytes of the function, unpacked."""
        return sum(self.sizes.values())

    @property
    def packed(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "path": str(self.path), "handler": HANDLER, "packed_bytes": self.packed, "unpacked_bytes": self.unpacked,
            "sha256": self.sha256, "sizes": dict(self.sizes),
        }  # fmt: skip


def write_function(plan: FunctionPlan, path: Path) -> FunctionZip:
    """Write the zip of a function; the same Medloom, bundle and plan give the same bytes.

    Args:
        plan: What it is to be.
        path: The file.

    Raises:
        UserError: If it would be larger than Lambda takes.
        BundleError: If the bundle is no sound one.
        MedloomError: If a package cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="medloom-function-") as folder:
        root = Path(folder) / "function"
        (root / _MODEL).mkdir(parents=True)
        put_bundle(plan.bundle, root / _MODEL)
        _refuse_large({_MODEL: size_of(root / _MODEL)})
        _install(plan, root, Path(folder))
        trim(root)
        parts = python_parts(root)
        _finish(root, parts)
        sizes = _sizes(root, parts)
        _refuse_large(sizes)
        _pack(root, path)
    return FunctionZip(path, sizes, sha256_file(path))


def install_command(plan: FunctionPlan, target: Path, requirements: Path, wheels: Path) -> list[str]:
    """Return the command that puts the packages for a processor and a Python into a folder.

    Args:
        plan: The function.
        target: The folder.
        requirements: Exact versions with the hashes of their files.
        wheels: Where the wheel of Medloom lies.
    """
    machine = ARCHITECTURES[plan.architecture]
    tags = [f"manylinux_2_{minor}" for minor in range(_GLIBC, 4, -1)] + list(_OLDER[machine])
    return [
        *(
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-compile",
            "--no-deps",
        ),
        *("--only-binary=:all:", "--require-hashes", "--root-user-action=ignore"),
        *(f"--platform={tag}_{machine}" for tag in tags),
        *("--implementation=cp", f"--python-version={plan.runtime.removeprefix('python')}"),
        *(f"--find-links={wheels}", f"--target={target}", f"--requirement={requirements}"),
    ]


def _install(plan: FunctionPlan, root: Path, beside: Path) -> None:
    wheels = beside / "wheels"
    wheels.mkdir()
    wheel = write_wheel(wheels)
    ours = f"medloom=={__version__} --hash=sha256:{sha256_file(wheel)}\n"
    requirements = beside / "requirements.txt"
    write_text(requirements, _not_provided(locked_requirements(ImagePlan("serve"))) + ours)
    command = install_command(plan, root, requirements, wheels)
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - pip of this Python
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith(("ERROR", sys.executable))][-2:]
        reason = one_line(" ".join(said) or done.stderr, 600)
        raise MedloomError(f"pip does not install what a function for {plan.runtime} needs: {reason}")


def _not_provided(locked: str) -> str:
    """The lock without what Lambda's Python has already."""
    parts = re.split(r"^(?=[A-Za-z0-9])", locked, flags=re.MULTILINE)
    return "".join(part for part in parts if not part.startswith(tuple(f"{name}==" for name in _PROVIDED)))


def _finish(root: Path, parts: list[Part]) -> None:
    """Add the module that Lambda calls and what there is, and remove what only pip reads."""
    code = resources.files("medloom.packaging.functions") / "code" / "lambda_function.py"
    write_text(root / "lambda_function.py", code.read_text(encoding="utf-8"))
    write_json(root / "sbom.json", as_cyclonedx("medloom-function", __version__, parts))
    write_text(root / "licences.txt", as_list(parts))
    for info in root.glob("*.dist-info"):
        for name in _OF_INSTALLING:
            (info / name).unlink(missing_ok=True)


def _sizes(root: Path, parts: list[Part]) -> dict[str, int]:
    """Bytes of the model, of each package, and of what else there is; the largest first."""
    found = {part.name: part.bytes or 0 for part in parts} | {_MODEL: size_of(root / _MODEL)}
    found["others"] = max(0, size_of(root) - sum(found.values()))
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def _refuse_large(sizes: Mapping[str, int]) -> None:
    total = sum(sizes.values())
    if total > UNPACKED_BYTES:
        shown = few([f"{name} {size / 2**20:.1f} MB" for name, size in sizes.items()], 6)
        raise UserError(
            f"the function would hold {total / 2**20:.0f} MB, and Lambda takes at most {UNPACKED_BYTES // 2**20}, its "
            f"layers included: {', '.join(shown)}. Take a container image, which may hold 10 GB: "
            "medloom image build serve BUNDLE, then medloom lambda deploy BUNDLE --image URI"
        )


def _pack(root: Path, path: Path) -> None:
    """Pack in the order of names, at one time, with the rights that Lambda wants."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        files = {one.relative_to(root).as_posix(): one for one in root.rglob("*") if one.is_file()}
        for name, file in sorted(files.items()):
            entry = zipfile.ZipInfo(name, EARLIEST)
            entry.external_attr, entry.compress_type = 0o100644 << 16, zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as target, file.open("rb") as source:
                shutil.copyfileobj(source, target, 2**20)
