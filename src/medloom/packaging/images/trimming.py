"""What the serving image leaves out of the packages that it installs: parts that nothing of Medloom ever calls.

The table says why. A test decodes an image of every format in a built image.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from medloom.files import write_bytes
from medloom.packaging.images.libraries import with_needed, without_sections

__all__ = ["LEFT_OUT", "trim"]

LEFT_OUT: dict[str, str] = {
    "*/tests": "tests of packages",
    "*/*/tests": "the same, of their parts",
    "pydicom/data/test_files": "example images",
    "bin": "commands of packages",
    "boto3/data": "objects in the place of requests, which nothing here uses",
    "boto3/examples": "examples",
    "PIL/_avif*": "AVIF, which no medical image comes as",
    "PIL/_imagingft*": "draws letters",
    "pillow.libs/libavif*": "the library of AVIF",
    "pillow.libs/libfreetype*": "the libraries of letters",
    "pillow.libs/libharfbuzz*": "the same",
    "pillow.libs/libbrotli*": "the same",
    "pygments/lexers/[!_]*": "colours of programming languages",
    "onnxruntime/capi/libonnxruntime.so*": "for programs in C; Python's module holds the same code itself",
    "onnxruntime/transformers": "rewrites graphs of language models",
    "onnxruntime/quantization": "makes graphs smaller, which was done when a bundle was written",
    "onnxruntime/tools": "converts graphs",
    "onnxruntime/datasets": "example graphs",
    "openvino/include": "for programs in C++",
    "openvino/tools": "converts models",
    "openvino/libs/libopenvino_intel_gpu_plugin.so*": "graphics of Intel, which a container does not see",
    "openvino/libs/cache.json": "kernels for them",
    "openvino/libs/libopenvino_intel_npu*": "another accelerator of Intel",
    "openvino/libs/libopenvino_tensorflow*": "reads models of TensorFlow; bundles hold ONNX",
    "openvino/libs/libopenvino_paddle*": "reads models of PaddlePaddle",
    "openvino/libs/libopenvino_pytorch*": "reads models of PyTorch",
    "openvino/libs/libopenvino_jax*": "reads models of JAX",
}
"""What is left out, below the folder of packages, and why."""

_CODECS = (
    *("deflate", "imcd", "jpeg2k", "jpeg8", "jpegls", "png", "tiff", "zlib", "zstd"),
    *("shared", "shared_cython"),
)
"""Of imagecodecs: TIFF's compressions, those of DICOM, and PNG; and what all its codecs import."""

_SERVICES = ("s3", "signin", "sso", "sso-oidc", "sts")
"""Services of AWS that are asked: objects, and what gives the rights to read them."""

_INDENTED = ("highdicom/_standard/module_attribute_map.json",)
"""Large tables that are a third smaller without their indentation."""


def trim(packages: Path) -> int:
    """Remove what is not used.

    Args:
        packages: The folder into which packages were installed.

    Returns:
        How many bytes that were.
    """
    before = size_of(packages)
    for pattern in LEFT_OUT:
        for path in list(packages.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in list(_unused_codecs(packages)):
        path.unlink()
    for path in list(_unused_services(packages)):
        shutil.rmtree(path)
    for path in packages.rglob("*.so*"):
        write_bytes(path, without_sections(path.read_bytes()))  # beside it: this process has loaded some of them
    for name in _INDENTED:
        table = packages / name
        table.write_text(json.dumps(json.loads(table.read_bytes()), separators=(",", ":")), encoding="utf-8")
    return before - size_of(packages)


def size_of(folder: Path) -> int:
    """Return how many bytes the files of a folder hold."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _unused_services(packages: Path) -> Iterator[Path]:
    """Descriptions of AWS's services that are not asked."""
    yield from (one for one in packages.glob("botocore/data/*") if one.is_dir() and one.name not in _SERVICES)


def _unused_codecs(packages: Path) -> Iterator[Path]:
    """Libraries of imagecodecs that the codecs which are read do not load."""
    found = [path for name in ("imagecodecs", "imagecodecs.libs") for path in (packages / name).glob("*.so*")]
    codecs = [path for path in found if path.name.partition(".")[0].removeprefix("_") in _CODECS]
    used = with_needed(codecs, {path.name: path for path in found})
    yield from (path for path in found if path not in used)
