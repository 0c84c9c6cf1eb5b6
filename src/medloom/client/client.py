"""A client of a Medloom server, with the methods and the answers of `medloom.inference.Predictor`."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from medloom.client.answers import Received, accept_for
from medloom.client.exchanges import Exchanges
from medloom.client.http import AsyncHttp, Http, Token
from medloom.client.payload import Options, Sendable
from medloom.client.retries import Retries
from medloom.client.sagemaker import SCHEME, AsyncSageMaker, SageMaker
from medloom.client.wire import AsyncTransport, Steps, Transport, Wait
from medloom.errors import MedloomError
from medloom.inference import Prediction, VolumeAnswer

__all__ = ["AsyncClient", "Client"]

T = TypeVar("T")

_AT_ONCE = 8


class Client:
    """Asks a server as ``medloom.load`` asks a bundle on this machine.

    Several threads may share one. A request is sent again only while nobody has answered it.

    Args:
        url: ``https://HOST:PORT``, or on this machine ``http://127.0.0.1:8080``; or ``sagemaker://NAME`` for an
            endpoint of Amazon SageMaker (extra ``aws``), which is asked with the credentials of the environment.
        token: What the server asks for: text, a file that holds it (read anew each time), or a function.
        model: Name of the model, where the server has several.
        timeout_s: Longest time for an answer.
        retries: How often and for how long a request is tried.
        verify: A file with the certificates to trust, or an ``ssl.SSLContext``, such as one with a certificate of
            one's own; those of the system by default.

    Raises:
        UserError: If the address is none.
        MissingExtraError: If the extra ``client`` (or ``aws``) is not installed.

    Example:
        >>> with medloom.Client("http://127.0.0.1:8080", token="…") as client:  # doctest: +SKIP
        ...     client.predict("image.tif").plain()["area_px"]
        812
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token | None = None,
        model: str | None = None,
        timeout_s: float = 60.0,
        retries: Retries | None = None,
        verify: str | Path | ssl.SSLContext | None = None,
    ) -> None:
        self._transport: Transport = (
            SageMaker(url, timeout_s=timeout_s)
            if url.startswith(SCHEME)
            else Http(url, token=token, timeout_s=timeout_s, verify=verify)
        )
        self._exchanges = Exchanges(self._transport.name, model, retries or Retries(), self._transport.described)

    def predict(
        self,
        image: Sendable,
        **options: Unpack[Options],
    ) -> Prediction | VolumeAnswer:
        """Predict one image or volume; see ``Predictor.predict``.

        Args:
            image: Path of an image or volume, or of a folder or zip that is a DICOM series; a file's bytes; pixels
                ``(H, W, C)`` or ``(H, W)``. The server decides by content whether it is an image or a volume.
            options: ``metadata``, ``content_type``, ``page`` and ``series``; see ``Predictor.predict``.

        Returns:
            What ``medloom.load(bundle).predict`` returns; numbers that come as JSON have six digits behind the point.

        Raises:
            DecodeError: If the bytes are not an acceptable image.
            InputError: If the image is not what this model takes.
            UserError: If the server does not let one in or has no such model.
            ServerError: If it gives no answer after all tries.
        """
        return self._done(self._exchanges.predicted(image, **options))

    def predict_batch(
        self, images: Sequence[Sendable], metadata: Sequence[Mapping[str, Any]] = (), *, at_once: int = _AT_ONCE
    ) -> list[Prediction | VolumeAnswer | MedloomError]:
        """Predict several images, a request for each; what was answered is kept whatever becomes of the others.

        Args:
            images: As for ``predict``.
            metadata: Values by column, one for each image; empty where nothing is known of any.
            at_once: Most requests at a time.

        Returns:
            For each image in order its prediction, or the error that ``predict`` would have raised.
        """
        rows = self._exchanges.rows(images, metadata)
        with ThreadPoolExecutor(at_once) as threads:
            return list(threads.map(lambda pair: self._or_error(*pair), zip(images, rows, strict=True)))

    def received(
        self, image: Sendable, forms: Sequence[str] = (), optional: Sequence[str] = (), **options: Unpack[Options]
    ) -> Received:
        """Predict one image or volume, and return the answer in further forms beside it.

        Args:
            image: As for ``predict``.
            forms: Such as ``seg``; refused where the answer has no such form.
            optional: The same, left out where the answer has none.
            options: As for ``predict``.

        Raises:
            MedloomError: As for ``predict``.
        """
        return self._done(self._exchanges.received(image, accept_for(forms, optional), **options))

    def encoded(
        self,
        image: Sendable,
        accept: str,
        **options: Unpack[Options],
    ) -> bytes:
        """Return the answer as the server encodes it, such as ``application/dicom; form=seg``.

        Args:
            image: As for ``predict``.
            accept: Media type of the answer.
            options: As for ``predict``.

        Raises:
            MedloomError: As for ``predict``.
        """
        return self._done(self._exchanges.encoded(image, accept, **options))

    def describe(self) -> dict[str, Any]:
        """Return what the model takes and gives, as plain JSON types; not to be had of a SageMaker endpoint."""
        return self._done(self._exchanges.described())

    def is_ready(self) -> bool:
        """Whether the server takes requests now; it is asked once."""
        return self._done(self._exchanges.ready())

    def close(self) -> None:
        """End the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        """Return itself; the connections end with the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the connections."""
        self.close()

    def _or_error(self, image: Sendable, metadata: Mapping[str, Any]) -> Prediction | VolumeAnswer | MedloomError:
        try:
            return self.predict(image, metadata=metadata)
        except MedloomError as error:
            return error

    def _done(self, steps: Steps[T]) -> T:
        answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, Wait):
                time.sleep(step.seconds)
                answer = None
            else:
                answer = self._transport.send(step)


class AsyncClient:
    """`Client` for programs with an event loop; its arguments and methods are the same, awaited.

    Example:
        >>> async with medloom.AsyncClient("http://127.0.0.1:8080") as client:  # doctest: +SKIP
        ...     found = await client.predict_batch(["a.tif", "b.tif"])
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token | None = None,
        model: str | None = None,
        timeout_s: float = 60.0,
        retries: Retries | None = None,
        verify: str | Path | ssl.SSLContext | None = None,
    ) -> None:
        self._transport: AsyncTransport = (
            AsyncSageMaker(url, timeout_s=timeout_s)
            if url.startswith(SCHEME)
            else AsyncHttp(url, token=token, timeout_s=timeout_s, verify=verify)
        )
        self._exchanges = Exchanges(self._transport.name, model, retries or Retries(), self._transport.described)

    async def predict(
        self,
        image: Sendable,
        **options: Unpack[Options],
    ) -> Prediction | VolumeAnswer:
        """Predict one image or volume; see `Client.predict`."""
        return await self._done(self._exchanges.predicted(image, **options))

    async def predict_batch(
        self, images: Sequence[Sendable], metadata: Sequence[Mapping[str, Any]] = (), *, at_once: int = _AT_ONCE
    ) -> list[Prediction | VolumeAnswer | MedloomError]:
        """Predict several images; see `Client.predict_batch`."""
        rows = self._exchanges.rows(images, metadata)
        free = asyncio.Semaphore(at_once)

        async def one(image: Sendable, row: Mapping[str, Any]) -> Prediction | VolumeAnswer | MedloomError:
            async with free:
                try:
                    return await self.predict(image, metadata=row)
                except MedloomError as error:
                    return error

        return await asyncio.gather(*map(one, images, rows))

    async def encoded(
        self,
        image: Sendable,
        accept: str,
        **options: Unpack[Options],
    ) -> bytes:
        """Return the answer as the server encodes it; see `Client.encoded`."""
        return await self._done(self._exchanges.encoded(image, accept, **options))

    async def describe(self) -> dict[str, Any]:
        """Return what the model takes and gives; see `Client.describe`."""
        return await self._done(self._exchanges.described())

    async def is_ready(self) -> bool:
        """Whether the server takes requests now; it is asked once."""
        return await self._done(self._exchanges.ready())

    async def close(self) -> None:
        """End the connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        """Return itself; the connections end with the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the connections."""
        await self.close()

    async def _done(self, steps: Steps[T]) -> T:
        answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
                answer = None
            else:
                answer = await self._transport.send(step)
