"""``medloom serve``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Annotated

import typer

from medloom.cli.options import StrictOption
from medloom.cli.output import say, tell_as, warn
from medloom.cli.serve_options import (
    AllowHostOption,
    AllowOriginOption,
    AllowUrlHostOption,
    AllowUrlNetworkOption,
    HealthTokenOption,
    InsecureOption,
    LogFormatOption,
    MaxBodyOption,
    ModelFolderOption,
    OtlpEndpointOption,
    PerClientOption,
    ProcessesOption,
    QueueOption,
    RecordsOption,
    TimeoutOption,
    TlsCertOption,
    TlsClientCaOption,
    TlsKeyOption,
    TokenFileOption,
    WatchOption,
    certificates_of,
    fetcher_of,
    limits_of,
    log_format_of,
)
from medloom.cli.verify import ProvidersOption, RuntimeOption
from medloom.errors import UserError
from medloom.extras import require
from medloom.memory import available_bytes

if TYPE_CHECKING:
    from medloom.serving import Limits, Service
    from medloom.serving.fetching import Fetcher
    from medloom.serving.http.operations import Operated, Operation
    from medloom.serving.http.processes import Part
    from medloom.serving.models import Model, Opening

__all__ = ["command"]

_PLENTY_BYTES = 2**30

BundlesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME=]BUNDLE...",
        help="A model.tar.gz, its folder, or a run that has one; NAME is what requests call it.",
    ),
]


def command(
    bundles: BundlesArgument = None,
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
    token_file: TokenFileOption = None,
    health_token: HealthTokenOption = False,
    insecure: InsecureOption = False,
    allow_host: AllowHostOption = None,
    allow_origin: AllowOriginOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    tls_client_ca: TlsClientCaOption = None,
    log_format: LogFormatOption = None,
    otlp_endpoint: OtlpEndpointOption = None,
    watch: WatchOption = False,
    processes: ProcessesOption = 1,
    max_body: MaxBodyOption = None,
    timeout: TimeoutOption = None,
    queue: QueueOption = None,
    per_client: PerClientOption = None,
    allow_url_host: AllowUrlHostOption = None,
    allow_url_network: AllowUrlNetworkOption = None,
    model_folder: ModelFolderOption = None,
    refuse_in_records: RecordsOption = False,
) -> None:
    """Answer HTTP requests with one bundle, or with several by name.

    GET /ping says whether the server is up. POST /invocations takes the bytes of one image (DICOM, NIfTI, TIFF,
    PNG, JPEG, BMP, GIF, WebP, NPY), or JSON with an image in base64 and metadata, and answers, by the Accept header,
    JSON, a PNG mask or NPY probabilities; labels of a whole image come as JSON, which also names the metadata columns
    that were missing and those with a category that training never saw. Without ?page=, a NIfTI file, an enhanced DICOM
    file or a zip with a DICOM series (?series=INDEX|UID) is predicted whole: JSON, or with Accept: application/x-nifti
    or application/gzip the mask as NIfTI. Accept or ?form= also ask for TIFF, an overlay, of DICOM a segmentation
    (seg) and a report (sr), or several at once (?form=json,seg,sr). A model with data.context sees slices with
    those beside them: it takes these, a TIFF of several pages, or a zip with the numbered slices of one patient.
    With several bundles, POST to /models/NAME/invocations.

    The Open Inference Protocol is under /v2, and what SageMaker asks of a container is there. A form or JSON may hold
    several images with their metadata, and URLs of hosts that --allow-url-host names. Clients may load further models
    from --model-folder, with which a server may begin without any.

    Only this machine is answered, unless --host says otherwise; other machines then need a token of --token-file, or a
    certificate for --tls-client-ca. GET /metrics answers Prometheus; each request is a line on stderr. SIGHUP loads the
    bundles anew; SIGTERM ends the server after the requests in progress.
    """
    _begin(log_format_of(log_format))
    from medloom.serving.http.operations import Operation
    from medloom.serving.http.processes import Part
    from medloom.serving.models import Opening

    _check_models(bundles, model_folder, processes)
    operation = Operation(
        host=host,
        token_file=token_file,
        open_health=not health_token,
        insecure=insecure,
        allow_hosts=allow_host or (),
        allow_origins=allow_origin or (),
        certificates=certificates_of(tls_cert, tls_key, tls_client_ca),
        log_format=log_format_of(log_format),
        otlp_endpoint=otlp_endpoint,
    )
    operation.check()
    part = Part.given()
    if part is None:
        for warning in operation.warnings():
            warn(warning)
        if processes > 1:
            raise typer.Exit(_supervised(processes, operation, port))
    threads = threads if part is None else threads or part.threads
    opening = Opening(runtime=runtime, threads=threads, providers=providers, strict=strict)
    limits = limits_of(max_body, timeout, queue, per_client, None if part is None else max(2, part.threads))
    fetcher = fetcher_of(allow_url_host, allow_url_network, limits)
    _answer(
        bundles or (),
        opening,
        limits,
        operation,
        port=port,
        part=part,
        watch=watch,
        fetcher=fetcher,
        model_folder=model_folder,
        records=refuse_in_records,
    )


def _begin(log_format: str) -> None:
    """See whether all is there that serving needs, and say the rest in the form of the log."""
    for module in ("starlette", "uvicorn", "httptools", "prometheus_client", "python_multipart"):
        require(module, "serve")
    from medloom.serving.http.logs import json_line

    if log_format == "json":
        tell_as(json_line)


def _check_models(bundles: Sequence[str] | None, model_folder: Path | None, processes: int) -> None:
    if not bundles and model_folder is None:
        raise UserError("there is nothing to serve; name a bundle, or a --model-folder that clients load bundles from")
    if model_folder is not None and processes > 1:
        raise UserError("a model that a client loads is in one process alone; take --model-folder with --processes 1")


def _answer(
    bundles: Sequence[str],
    opening: Opening,
    limits: Limits,
    operation: Operation,
    *,
    port: int,
    part: Part | None,
    watch: bool,
    fetcher: Fetcher,
    model_folder: Path | None,
    records: bool,
) -> None:
    """Load the bundles and answer until told to stop."""
    from medloom.serving import create_app
    from medloom.serving.fencing import new_fence
    from medloom.serving.http.operations import operated
    from medloom.serving.http.server import listen, serve
    from medloom.serving.idle import WhenIdle
    from medloom.serving.models import fenced
    from medloom.serving.repository import Repository
    from medloom.serving.swapping import Swapper

    with operated(operation) as around:
        models = _loaded(bundles, opening)
        with (
            listen(operation.host, port) if part is None else part.listener as listener,
            new_fence(limits.decoders) as fence,
            _service((fenced(model, fence) for model in models), limits, around, part, opening.threads) as service,
            Swapper(service, opening, partial(fenced, fence=fence), watch=watch) as swapper,
        ):
            app = create_app(
                service,
                middleware=around.middleware,
                routes=around.routes(service),
                fetcher=fetcher,
                repository=Repository(model_folder, opening, partial(fenced, fence=fence)),
                records=records,
            )
            service.calibrate()
            if part is None:
                served = (
                    ", ".join(f"{model.name} with {model.predictor.runtime.name}" for model in models) or "no model yet"
                )
                say(f"serving {served} on {_url(operation, listener)} (Ctrl-C stops)")
            else:
                part.ready()
            with WhenIdle(service.gate, _make_ready):
                serve(app, listener, around.ssl, reload=swapper.ask, place=None if part is None else part.place)


def _make_ready() -> None:
    """Make ready what writes DICOM, which takes 100 MB, where there is plenty; else its first object takes longer."""
    from medloom.inference.forms.dicom import make_ready

    if (available_bytes() or 0) > _PLENTY_BYTES:
        make_ready()


def _loaded(bundles: Sequence[str], opening: Opening) -> Sequence[Model]:
    """Open the bundles, and say what one has to know of them."""
    from medloom.serving import Models

    models = Models(opening.open(path, name) for name, path in map(_named, bundles)).all()
    if phantoms := [model.name for model in models if model.manifest.phantom]:
        learned = "this model" if len(models) == 1 else ", ".join(phantoms)
        warn(f"{learned} learned from phantoms and must not be used on people")
    for warning in filter(None, (model.manifest.runtime_warning(opening.runtime) for model in models)):
        warn(warning)
    return models


def _service(
    models: Iterable[Model], limits: Limits, around: Operated, part: Part | None, threads: int | None
) -> Service:
    """Stand behind the server, watched by operators and for drift."""
    from medloom.serving import Models, Service
    from medloom.serving.batching import Batching
    from medloom.serving.drift import DriftWatch

    served = Models(models)
    for name in [model.name for model in served.all() if model.predictor.fingerprint is None]:
        say(f"{name} holds no fingerprint of its training images: nothing is said of images unlike those")
    drift = (
        DriftWatch(served.fingerprint)
        if part is None
        else DriftWatch(served.fingerprint, served.names, folder=part.folder)
    )
    around.metrics.before(drift.show(around.metrics.gauge))
    return Service(served, limits, observers=(drift, around.watch), batching=Batching(most_streams=threads))


def _supervised(processes: int, operation: Operation, port: int) -> int:
    """Run this command in several processes behind one socket; the exit code."""
    from medloom.serving.http.logs import logging_to
    from medloom.serving.http.processes import Supervisor, this_command
    from medloom.serving.http.server import listen

    with logging_to(operation.log_format), listen(operation.host, port) as listener:
        text = f"serving with {processes} processes on {_url(operation, listener)} (Ctrl-C stops)"
        return Supervisor(this_command(), processes, listener).run(partial(say, text))


def _url(operation: Operation, listener: socket) -> str:
    scheme = "http" if operation.certificates is None else "https"
    return f"{scheme}://{operation.host}:{listener.getsockname()[1]}"


def _named(given: str) -> tuple[str | None, Path]:
    """Take ``NAME=PATH`` apart; a path that holds an equals sign and is there stays whole."""
    from medloom.pipeline import bundle_of

    name, equals, path = given.partition("=")
    if equals and not Path(given).exists():
        return name, bundle_of(Path(path))
    return None, bundle_of(Path(given))
