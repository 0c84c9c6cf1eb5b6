"""``medloom serve``."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from medloom.cli.options import StrictOption
from medloom.cli.output import say, warn
from medloom.cli.verify import BundleArgument, ProvidersOption, RuntimeOption
from medloom.extras import require

__all__ = ["command"]

_VOLUMES = "medloom.data.whole:read_whole"
"""What reads a volume behind the fence."""

_LOCAL = ("127.0.0.1", "::1", "localhost")


def command(
    bundle: BundleArgument,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8080,
    runtime: RuntimeOption = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads of one prediction; default: all cores.")
    ] = None,
    providers: ProvidersOption = None,
    strict: StrictOption = False,
) -> None:
    """Answer HTTP requests with a bundle.

    GET /ping says whether the server is up. POST /invocations takes the bytes of one image (DICOM, NIfTI, TIFF,
    PNG, JPEG, BMP, GIF, WebP, NPY), or JSON with an image in base64 and metadata, and answers, by the Accept header,
    JSON, a PNG mask or NPY probabilities; labels of a whole image come as JSON, which also names the metadata columns
    that were missing and those with a category that training never saw. Without ?page=, a NIfTI file, an enhanced DICOM
    file or a zip with a DICOM series (?series=INDEX|UID) is predicted whole: JSON, or with Accept: application/x-nifti
    or application/gzip the mask as NIfTI. A model with data.context sees slices with those beside them: it takes these,
    a TIFF of several pages, or a zip with the numbered slices of one patient.
    """
    for module in ("starlette", "uvicorn"):
        require(module, "serve")
    from medloom.imaging.fence import DecodeFence
    from medloom.packaging import read_bundle
    from medloom.serving import Limits, create_app
    from medloom.serving.server import listen, serve

    with read_bundle(bundle) as opened:
        manifest = opened.manifest
        predictor = opened.predictor(runtime=runtime, threads=threads, providers=providers)
        predictor = replace(predictor, strict=strict)
    if manifest.phantom:
        warn("this model learned from phantoms; it must not be used on people")
    if host not in _LOCAL:
        warn(f"everyone who reaches {host}:{port} can use this server; it asks for no password")
    limits = Limits()
    with (
        listen(host, port) as listener,
        DecodeFence(limits.concurrency, volumes=_VOLUMES) as fence,
    ):
        port = listener.getsockname()[1]
        say(f"serving {manifest.name} with {predictor.runtime.name} on http://{host}:{port} (Ctrl-C stops)")
        fenced = replace(predictor, decoder=fence.decode, volume_decoder=fence.read_volume)
        serve(create_app(fenced, manifest, limits), listener)
