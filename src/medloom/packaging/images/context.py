"""The build context: a folder with everything that a builder needs beside the index of packages."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from medloom import __version__
from medloom.errors import UserError
from medloom.files import write_text
from medloom.packaging.bundle import CHECKSUM, MANIFEST, read_bundle
from medloom.packaging.images.wheel import write_wheel

__all__ = [
    "ImageKind",
    "ImagePlan",
    "ServingRuntime",
    "TorchBuild",
    "locked_requirements",
    "put_bundle",
    "write_context",
]

ImageKind = Literal["serve", "train"]
ServingRuntime = Literal["onnx", "openvino"]
TorchBuild = Literal["cuda", "cpu"]

_MODEL = "/opt/medloom/model"
_FILES = resources.files("medloom.packaging.images")
_TORCH = "torch=="
_OF_CUDA = ("cuda-", "nvidia-", "triton==")
"""Packages that PyTorch's build for CUDA needs and nothing else does."""


@dataclass(frozen=True)
class ImagePlan:
    """What an image is to be.

    Args:
        kind: ``serve`` or ``train``.
        runtime: What a serving image computes with; a training image has ONNX Runtime.
        bundle: A bundle that is put into it; None leaves it to whoever starts the image.
        torch: Which build of PyTorch a training image has.
    """

    kind: ImageKind
    runtime: ServingRuntime = "onnx"
    bundle: Path | None = None
    torch: TorchBuild = "cuda"

    @property
    def tag(self) -> str:
        """What it is called when nothing else is said, such as ``medloom-serve:0.1.0``."""
        variant = self.torch if self.kind == "train" else self.runtime
        return f"medloom-{self.kind}{'' if variant in ('cuda', 'onnx') else f'-{variant}'}:{__version__}"

    @property
    def lock(self) -> str:
        """The file of exact versions, below ``locks``."""
        return "train.txt" if self.kind == "train" else f"serve-{self.runtime}.txt"


def write_context(plan: ImagePlan, folder: Path) -> list[str]:
    """Write the build context of an image.

    Args:
        plan: The image.
        folder: Where; made if it is not there, and else empty.

    Returns:
        Its files, sorted, relative to it.

    Raises:
        UserError: If the folder holds something already.
        BundleError: If the bundle is no sound one.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; name a folder that is, or one that is not there yet")
    model = folder / "model"
    model.mkdir(parents=True)
    if plan.bundle is not None:
        put_bundle(plan.bundle, model)
    wheel = write_wheel(folder)
    for name, text in _requirements(plan).items():
        write_text(folder / name, text)
    write_text(folder / "medloom.txt", _hashed(wheel))
    write_text(folder / "Containerfile", _containerfile(plan))
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def locked_requirements(plan: ImagePlan) -> str:
    """Return the exact versions that an image installs, with the hashes of their files."""
    return _read(plan.lock)


def _requirements(plan: ImagePlan) -> dict[str, str]:
    """What is installed; PyTorch first and by itself, since one of its builds comes from an index of its own."""
    lock = locked_requirements(plan)
    if plan.kind == "serve":
        return {"requirements.txt": lock}
    head, *pins = re.split(r"^(?=[a-z])", lock, flags=re.MULTILINE)
    torch = "".join(pin for pin in pins if pin.startswith(_TORCH))
    left_out: tuple[str, ...] = (_TORCH,)
    if plan.torch == "cpu":
        torch, left_out = _read("torch-cpu.txt"), (_TORCH, *_OF_CUDA)
    others = "".join(pin for pin in pins if not pin.startswith(left_out))
    return {"torch.txt": torch, "requirements.txt": head + others}


def _read(lock: str) -> str:
    return (_FILES / "locks" / lock).read_text(encoding="utf-8")


def _hashed(wheel: Path) -> str:
    """Our own wheel as a requirement: like all others it is installed only if it is the one that was meant."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"/build/{wheel.name} \\\n    --hash=sha256:{digest}\n"


def _containerfile(plan: ImagePlan) -> str:
    text = (_FILES / f"Containerfile.{plan.kind}").read_text(encoding="utf-8")
    command = ["train"] if plan.kind == "train" else ["--help"]  # AWS's SDK names no command in its local mode
    if plan.bundle is not None:
        command = ["serve", _MODEL, "--host", "0.0.0.0", "--port", "8080"]  # noqa: S104 - the container's own
        command += [] if plan.runtime == "onnx" else ["--runtime", plan.runtime]
    return f"{text}CMD {json.dumps(command)}\n"


def put_bundle(bundle: Path, folder: Path) -> None:
    """Unpack what a bundle lists into a folder, each file checked, so that a server need not do so at every start."""
    with read_bundle(bundle) as found:
        for name in (MANIFEST, CHECKSUM, *found.manifest.files):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found.folder / name, folder / name)
