"""Read a bundle: unpack safely, check every file, give a ``Predictor``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, overload

from medloom.errors import BundleError
from medloom.files import TemporaryFolder, remove_abandoned, sha256_bytes, sha256_file
from medloom.inference import (
    LabelPrediction,
    LabelVolumePrediction,
    MaskPrediction,
    Predictor,
    Runtime,
    VolumePrediction,
    build_runtime,
    needs_weights,
)
from medloom.inference.fingerprint import Fingerprint
from medloom.inference.runtimes import check_providers, check_threads
from medloom.packaging.archive import extract
from medloom.packaging.fingerprint import FINGERPRINT, read_fingerprint
from medloom.packaging.manifest import Manifest

__all__ = ["CHECKSUM", "GRAPH", "MANIFEST", "WEIGHTS", "Bundle", "build_predictor", "load", "read_bundle"]

MANIFEST = "bundle.json"
CHECKSUM = "bundle.json.sha256"
GRAPH = "model.onnx"
WEIGHTS = "model.safetensors"

_UNPACKED = "medloom-bundle-"
_MAX_MANIFEST_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files have all been checked. Use it in a ``with`` block, which removes what was unpacked.

    Args:
        folder: Where its files lie.
        manifest: What ``bundle.json`` says.
        temporary: ``folder``, if it is ours to remove.
    """

    folder: Path
    manifest: Manifest
    temporary: TemporaryFolder | None = None

    def predictor(
        self, *, runtime: str | None = None, threads: int | None = None, providers: Sequence[str] | None = None
    ) -> Predictor:
        """Build the predictor; the bundle's files are not needed after that.

        Args:
            runtime: ``onnx``, ``openvino`` or ``torch``; the bundle's own choice by default.
            threads: Threads of one call; all cores that this process may use by default.
            providers: What the runtime computes with; see ``load``.

        Raises:
            UserError: If there is no such runtime, its library is missing, or it cannot take threads or providers.
            BundleError: If the runtime refuses the model.
        """
        manifest = self.manifest
        name = runtime or manifest.runtime
        built = build_runtime(
            name,
            self.folder / (WEIGHTS if needs_weights(name) else GRAPH),
            threads=threads,
            providers=providers,
            network=manifest.network(),
            precision=manifest.precision_with(name),
        )
        return build_predictor(manifest, built, self.fingerprint)

    @property
    def fingerprint(self) -> Fingerprint | None:
        """What new images are tested against; None in a bundle that does not know, as older ones.

        Raises:
            BundleError: If it is none that this version of Medloom can test images against.
        """
        listed = FINGERPRINT in self.manifest.files  # any other file of that name was not checked
        return read_fingerprint(self.folder) if listed else None

    def listed(self, name: str) -> bytes:
        """Return a file that the manifest lists, so that it was checked.

        Raises:
            BundleError: If it lists no such file.
        """
        if name not in self.manifest.files:
            raise BundleError(f"{MANIFEST} lists no {name}")
        return (self.folder / name).read_bytes()

    def close(self) -> None:
        """Remove what was unpacked."""
        if self.temporary is not None:
            self.temporary.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def build_predictor(manifest: Manifest, runtime: Runtime, fingerprint: Fingerprint | None = None) -> Predictor:
    """Build the predictor of a manifest around a runtime.

    Args:
        manifest: The manifest.
        runtime: What runs the network.
        fingerprint: What each image is tested against; None leaves that out.
    """
    return Predictor(
        runtime,
        manifest.preprocess,
        manifest.target,
        manifest.channels,
        point=manifest.operating_point(),
        views=manifest.views,
        orientation=manifest.input.plane,
        context=manifest.input.context,
        tables=manifest.encodings(),
        calibration=manifest.calibration,
        quality=manifest.quality,
        appearance=manifest.appearance,
        fingerprint=fingerprint,
    )


def read_bundle(path: str | Path) -> Bundle:
    """Open a bundle and check every file in it.

    Args:
        path: A ``model.tar.gz``, or the folder that it was extracted to.

    Returns:
        The bundle; unpacked to a private temporary folder if it came as an archive.

    Raises:
        BundleError: If it is missing, damaged, tampered with or of another format.
    """
    path = Path(path)
    remove_abandoned(_UNPACKED)
    if path.is_dir():
        return Bundle(path, _checked(path))
    if not path.is_file():
        raise BundleError(f"there is no bundle at {path}; expected a model.tar.gz or its folder")
    temporary = TemporaryFolder(_UNPACKED)
    folder = temporary.path
    try:
        names = extract(path, folder)
        manifest = _checked(folder)
        _refuse_unlisted(names, manifest)
    except BaseException:
        temporary.remove()
        raise
    return Bundle(folder, manifest, temporary)


@overload
def load(
    path: str | Path,
    *,
    kind: Literal["masks"],
    runtime: str | None = None,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
    strict: bool = False,
) -> Predictor[MaskPrediction, VolumePrediction]: ...


@overload
def load(
    path: str | Path,
    *,
    kind: Literal["binary", "multi-class", "multi-label", "regression"],
    runtime: str | None = None,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
    strict: bool = False,
) -> Predictor[LabelPrediction, LabelVolumePrediction]: ...


@overload
def load(
    path: str | Path,
    *,
    kind: str | None = None,
    runtime: str | None = None,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
    strict: bool = False,
) -> Predictor: ...


def load(
    path: str | Path,
    *,
    kind: str | None = None,
    runtime: str | None = None,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
    strict: bool = False,
) -> Predictor:
    """Load a bundle and return its ``Predictor``; nothing stays unpacked.

    Args:
        path: A ``model.tar.gz``, or the folder that it was extracted to.
        kind: What it must predict: ``masks``, ``binary``, ``multi-class``, ``multi-label`` or ``regression``. With it,
            type checkers know what predictions hold; None takes any bundle.
        runtime: ``onnx``, ``openvino`` or ``torch``; the bundle's own choice by default.
        threads: Threads of one call; all cores that this process may use by default. Of ``torch``, of the whole
            process.
        providers: What the runtime computes with, in order of preference: execution providers of ``onnx``, such as
            ``["CPUExecutionProvider"]``, one device of ``openvino`` or of ``torch``, such as ``["GPU"]`` or
            ``["cuda:1"]``. The processor by default; on others last digits differ.
        strict: Refuse images and metadata unlike those of the training instead of answering with ``warnings``.

    Raises:
        BundleError: If the bundle is damaged, tampered with or of another format.
        UserError: If it predicts something else than ``kind``, there is no such runtime, or it cannot take threads or
            providers; before the model is loaded.

    Example:
        >>> medloom.load("model.tar.gz", kind="masks").predict(pixels).mask.shape  # doctest: +SKIP
        (256, 256)
    """
    check_threads(threads)
    if runtime is not None:
        check_providers(runtime, providers)
    with read_bundle(path) as bundle:
        if kind is not None:
            bundle.manifest.target.check_kind(kind)
        return replace(bundle.predictor(runtime=runtime, threads=threads, providers=providers), strict=strict)


def _checked(folder: Path) -> Manifest:
    """Read the manifest and compare every file with it."""
    data = _read_manifest(folder)
    manifest = Manifest.parse(data)
    needed = {GRAPH, WEIGHTS, manifest.golden.input, *manifest.golden.answer}
    if missing := needed - manifest.files.keys():
        raise BundleError(f"bundle.json lists no {', '.join(sorted(missing))}")
    for name, expected in manifest.files.items():
        _check_file(folder, name, expected)
    return manifest


def _read_manifest(folder: Path) -> bytes:
    for name in (MANIFEST, CHECKSUM):
        file = folder / name
        if file.is_symlink() or not file.is_file() or file.stat().st_size > _MAX_MANIFEST_BYTES:
            raise BundleError(f"there is no sound {name} in {folder.name}; this is not a Medloom bundle")
    data = (folder / MANIFEST).read_bytes()
    if (folder / CHECKSUM).read_bytes() != checksum_line(data):
        raise BundleError(f"{MANIFEST} was changed after the bundle was made; package the model again")
    return data


def checksum_line(manifest: bytes) -> bytes:
    """Return the content of ``bundle.json.sha256``, as ``sha256sum`` writes it."""
    return f"{sha256_bytes(manifest)}  {MANIFEST}\n".encode()


def _check_file(folder: Path, name: str, expected: str) -> None:
    file = folder / name
    inside = file.resolve().is_relative_to(folder.resolve())
    if not inside or file.is_symlink() or not file.is_file():
        raise BundleError(f"{name} is missing from the bundle or not a regular file")
    if sha256_file(file) != expected:
        raise BundleError(
            f"{name} was changed after the bundle was made (its SHA-256 differs); package the model again"
        )


def _refuse_unlisted(names: list[str], manifest: Manifest) -> None:
    if unlisted := set(names) - manifest.files.keys() - {MANIFEST, CHECKSUM}:
        raise BundleError(f"the bundle holds files that it does not list: {', '.join(sorted(unlisted)[:5])}")
