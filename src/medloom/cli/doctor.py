"""``medloom doctor``."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from medloom import __version__
from medloom.cli.options import JsonOption
from medloom.cli.output import ExitCode, print_result, table
from medloom.cli.sagemaker_options import BucketOption, InstanceOption, RegionOption, RoleOption
from medloom.extras import find_compiler
from medloom.files import cache_dir

__all__ = ["command"]

_GIB = 2**30
_PACKAGES = (
    "numpy",
    "pandas",
    "torch",
    "lightning",
    "monai",
    "onnxruntime",
    "openvino",
    "tifffile",
    "imagecodecs",
    "simplejpeg",
)


class _Gpu(Protocol):
    """What torch says of a GPU; it keeps the type private."""

    name: str
    total_memory: int
    major: int


def command(
    aws: Annotated[
        bool, typer.Option("--aws", help="Look at the account of AWS instead: region, bucket, role, quotas.")
    ] = False,
    region: RegionOption = None,
    bucket: BucketOption = None,
    role: RoleOption = None,
    instance: InstanceOption = "ml.g5.xlarge",
    as_json: JsonOption = False,
) -> None:
    """Say what is installed and what this machine can do: devices, codecs, extras, memory, disk, compiler.

    With --aws it says what stands between this machine and a job on SageMaker; the exit code is 1 if something does.
    """
    if aws:
        _look_at_aws(region, bucket, role, instance, as_json=as_json)
        return
    from medloom.imaging import available_codecs, transfer_syntaxes

    facts = {
        "medloom": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in _PACKAGES},
        "extras": _extras(),
        "devices": _devices(),
        "codecs": available_codecs(),
        "transfer_syntaxes": transfer_syntaxes(),
        "memory": _memory(),
        "disk": _disk(),
        "compiler": find_compiler(),
    }
    print_result(facts, "\n".join(_lines(facts)), as_json=as_json)


def _look_at_aws(region: str | None, bucket: str | None, role: str | None, instance: str, *, as_json: bool) -> None:
    from medloom.backends.sagemaker import Wanted
    from medloom.backends.sagemaker.diagnosis import look_at_account

    found = list(look_at_account(Wanted(region, bucket, role), instance))
    marks = {True: "ok", False: "LACKS", None: "?"}
    rows = [(one.what, marks[one.ok], one.text) for one in found]
    value = [{"what": one.what, "ok": one.ok, "text": one.text} for one in found]
    print_result(value, table(rows, indent=""), as_json=as_json)
    if any(one.ok is False for one in found):
        raise typer.Exit(ExitCode.FAILED)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _extras() -> dict[str, list[str]]:
    """Return what each extra still lacks; an empty list means that it is installed."""
    missing: dict[str, list[str]] = {}
    for requirement in _requirements():
        found = re.fullmatch(r"""([\w.-]+).*;\s*extra\s*==\s*['"]([\w-]+)['"]""", requirement)
        if found:
            package, extra = found.groups()
            missing.setdefault(extra, []).extend([package] if _version(package) is None else [])
    return missing


def _requirements() -> list[str]:
    """What the package asks for; nothing where it runs from its sources without having been installed."""
    try:
        return metadata.requires("medloom") or []
    except metadata.PackageNotFoundError:
        return []


def _devices() -> dict[str, Any]:
    facts: dict[str, Any] = {"cores": os.cpu_count()}
    if find_spec("torch") is None:
        return facts | {"torch": "not installed"}
    import torch  # seconds that only a machine for training pays

    from medloom.training.precision import multiplies_bf16

    facts["cpu_bf16"] = multiplies_bf16("cpu")
    facts["gpus"] = [_gpu(torch.cuda.get_device_properties(index)) for index in range(torch.cuda.device_count())]
    return facts


def _gpu(properties: _Gpu) -> dict[str, Any]:
    return {
        "name": properties.name,
        "memory_gib": round(properties.total_memory / _GIB, 1),
        "bf16": properties.major >= 8,  # from NVIDIA's Ampere on
    }


def _memory() -> dict[str, float]:
    """Return the memory in GiB; free is what can be had without swapping, within the container's limit."""
    facts = {"total_gib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB}
    available = re.search(r"MemAvailable:\s+(\d+) kB", _read(Path("/proc/meminfo")))
    if available:
        facts["free_gib"] = int(available[1]) * 1024 / _GIB
    limit = _read(Path("/sys/fs/cgroup/memory.max")).strip()
    if limit.isdigit():
        facts["container_limit_gib"] = int(limit) / _GIB
    return {name: round(value, 1) for name, value in facts.items()}


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""


def _disk() -> dict[str, dict[str, Any]]:
    places = {"here": Path.cwd(), "cache": cache_dir()}
    return {name: {"path": str(path), "free_gib": _free_gib(path)} for name, path in places.items()}


def _free_gib(path: Path) -> float:
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    return round(shutil.disk_usage(there).free / _GIB, 1)


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"medloom {facts['medloom']}, Python {facts['python']}, {facts['system']}"
    yield from _section("packages", [(name, version or "-") for name, version in facts["packages"].items()])
    yield from _section("extras", [(extra, _extra(extra, lacks)) for extra, lacks in facts["extras"].items()])
    yield from _section("devices", list(_device_rows(facts["devices"])))
    yield from _section("codecs", list(facts["codecs"].items()))
    yield from _section("DICOM", list(facts["transfer_syntaxes"].items()))
    yield from _section("memory", [(name.removesuffix("_gib"), f"{gib} GiB") for name, gib in facts["memory"].items()])
    disk = [(name, f"{place['free_gib']} GiB free at {place['path']}") for name, place in facts["disk"].items()]
    yield from _section("disk", disk)
    yield from _section("compiler", [("C++", facts["compiler"] or "none; train.compile needs one")])


def _section(title: str, rows: Sequence[tuple[str, str]]) -> tuple[str, str, str]:
    return ("", title, table(rows))


def _extra(extra: str, lacks: Sequence[str]) -> str:
    return f"lacks {', '.join(lacks)}; pip install 'medloom[{extra}]'" if lacks else "installed"


def _device_rows(devices: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    bf16 = {True: "multiplies bf16", False: "no bf16 hardware"}
    yield (
        "cpu",
        ", ".join([f"{devices['cores']} cores", *([bf16[devices["cpu_bf16"]]] if "cpu_bf16" in devices else ())]),
    )
    if "torch" in devices:
        yield "gpu", "unknown: torch is not installed"
        return
    for gpu in devices["gpus"]:
        yield "gpu", f"{gpu['name']}, {gpu['memory_gib']} GiB, {bf16[gpu['bf16']]}"
    if not devices["gpus"]:
        yield "gpu", "none"
