"""What the serving image leaves out of the packages that it installs: parts that nothing of Medloom ever calls.

The table says why. A test decodes an image of every format in a built image.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from medloom.files import write_bytes

__all__ = ["LEFT_OUT", "trim", "without_sections"]

LEFT_OUT: dict[str, str] = {
    "*/tests": "tests of packages",
    "*/*/tests": "the same, of their parts",
    "pydicom/data/test_files": "example images",
    "bin": "commands of packages",
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

_CODECS = ("deflate", "imcd", "jpeg2k", "jpeg8", "jpegls", "png", "shared", "tiff", "zlib", "zstd")
"""Of imagecodecs: TIFF's compressions, those of DICOM, and PNG."""

_INDENTED = ("highdicom/_standard/module_attribute_map.json",)
"""Large tables that are a third smaller without their indentation."""

_MAPPED = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(f"imagecodecs._{name}")
print(*{line.split()[-1] for line in open("/proc/self/maps") if "/imagecodecs" in line}, sep="\\n")
"""


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
    for path in packages.rglob("*.so*"):
        write_bytes(path, without_sections(path.read_bytes()))  # beside it: this process has loaded some of them
    for name in _INDENTED:
        table = packages / name
        table.write_text(json.dumps(json.loads(table.read_bytes()), separators=(",", ":")), encoding="utf-8")
    return before - size_of(packages)


def without_sections(library: bytes) -> bytes:
    """Return a library without what only debuggers and linkers read: symbols and debugging information at its end.

    A process is loaded by segments alone. What is no ELF file of 64 bits, little-endian, comes back as it is.

    Source: Tool Interface Standard, Executable and Linking Format (1995), and its 64-bit form in the System V ABI
    """
    if library[:6] != b"\x7fELF\x02\x01":
        return library
    table, entry, count = *struct.unpack_from("<Q", library, 32), *struct.unpack_from("<HH", library, 54)
    segments = [struct.unpack_from("<8xQ16xQ", library, table + entry * number) for number in range(count)]
    end = max(table + entry * count, *(offset + size for offset, size in segments))
    kept = bytearray(library[:end])
    struct.pack_into("<Q", kept, 40, 0)
    struct.pack_into("<HH", kept, 60, 0, 0)
    return bytes(kept)


def size_of(folder: Path) -> int:
    """Return how many bytes the files of a folder hold."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _unused_codecs(packages: Path) -> Iterator[Path]:
    """Libraries of imagecodecs that the codecs which are read do not load."""
    command = [sys.executable, "-c", _MAPPED, *_CODECS]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - this Python
    used = done.stdout.split()
    for folder in (packages / "imagecodecs", packages / "imagecodecs.libs"):
        for path in folder.glob("*.so*"):
            if str(path.resolve()) not in used:
                yield path
