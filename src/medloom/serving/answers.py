"""Which forms of an answer a client gets, and the bytes of them.

A client asks by ``Accept``. Where several forms share a media type, such as a DICOM segmentation and a report, the
parameter ``form`` names one; ``multipart/mixed; forms=json+seg+sr`` asks for several in one answer, and
``optional=npy+overlay`` beside it for those of these that there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from medloom.data.whole import may_be_dicom
from medloom.errors import MissingExtraError, UserError
from medloom.imaging import Image
from medloom.inference import Prediction, Predictor, VolumeAnswer
from medloom.inference.forms import FORMS, FormError, Made, encode, forms_for, media_type, suffix
from medloom.packaging import Manifest
from medloom.serving.negotiation import MULTIPART, choose, parts_wanted
from medloom.serving.requests import ImageRequest, page_of
from medloom.wording import nearest

__all__ = [
    "NotAcceptableError",
    "accept_for",
    "apart",
    "check_accept",
    "encode_answer",
    "encode_prediction",
    "joined",
    "made_from",
    "media_types",
]

_USUAL = ("json", "png", "nifti-gz", "overlay", "seg", "sr")
"""What an answer of several parts holds, as far as there is such a form, where the client names none."""

_LINE = "\r\n"


class NotAcceptableError(UserError):
    """The client takes none of the forms that there are.

    Args:
        forms: Media types of those.
        why: Why not; by default that the header names none of them.
    """

    def __init__(self, forms: Sequence[str], why: str = "") -> None:
        super().__init__(why or f"the Accept header takes none of {', '.join(forms)}")
        self.forms = tuple(forms)


def media_types(kind: str, *, volume: bool, dicom: bool = True, image: bool = True) -> tuple[str, ...]:
    """Return the media types that an answer may have, JSON first.

    Args:
        kind: Of the target.
        volume: Whether it is the answer to a volume.
        dicom: Whether it is one to DICOM.
        image: Whether its pixels are at hand to be drawn on.
    """
    return (*map(media_type, forms_for(kind, volume=volume, dicom=dicom, image=image)), MULTIPART)


def accept_for(forms: Sequence[str]) -> str:
    """Return the ``Accept`` header that asks for these forms and no other.

    Args:
        forms: Names of ``medloom.registry.FORMS``.

    Raises:
        NotAcceptableError: If there is no such form.

    Example:
        >>> accept_for(["seg"]), accept_for(["json", "seg"])
        ('application/dicom; form=seg', 'multipart/mixed; forms=json+seg')
    """
    if unknown := [name for name in forms if name not in FORMS]:
        raise NotAcceptableError([*map(media_type, FORMS)], _no_form(unknown[0]))
    return media_type(forms[0]) if len(forms) == 1 else f"{MULTIPART}; forms={'+'.join(forms)}"


def check_accept(accept: str | None, forms: Sequence[str]) -> str:
    """Return which form of an answer the client wants.

    Args:
        accept: An ``Accept`` header; the first form by default.
        forms: Media types that there are.

    Raises:
        NotAcceptableError: If it takes none of them, or names a part that there is not.
    """
    chosen = choose(accept, forms)
    if chosen is None:
        raise NotAcceptableError(forms)
    if chosen == MULTIPART:
        named = (*parts_wanted(accept or ""), *parts_wanted(accept or "", "optional"))
        if unknown := [name for name in named if name not in FORMS]:
            raise NotAcceptableError(forms, _no_form(unknown[0]))
    return chosen


def encode_answer(accept: str | None, made: Made) -> tuple[bytes, str]:
    """Return an answer as a client wants it, and its media type.

    Args:
        accept: An ``Accept`` header; JSON by default.
        made: The answer, and what it was made from.

    Raises:
        NotAcceptableError: If this answer has no such form; says why.
        DecodeError: If the headers of DICOM images could not be read after all.
    """
    kind, volume = made.target.kind, made.prediction.volume
    dicom, image = made.read_sources is not None, made.image is not None
    offers = media_types(kind, volume=volume, dicom=dicom, image=image)
    if not dicom and choose(accept, offers) is None and choose(accept, media_types(kind, volume=volume)) is not None:
        raise NotAcceptableError(offers, "DICOM objects are made from DICOM images alone; the input is no DICOM")
    chosen = check_accept(accept, offers)
    try:
        if chosen == MULTIPART:
            return _several(made, parts_wanted(accept or ""), parts_wanted(accept or "", "optional"))
        name = next(one for one in FORMS if media_type(one) == chosen)
        return encode(replace(made, beside=frozenset((name,))), name), _plain_type(name)
    except (FormError, MissingExtraError) as error:
        others = media_types(kind, volume=volume, dicom=False, image=image)
        raise NotAcceptableError(others, str(error)) from error


def made_from(
    prediction: Prediction | VolumeAnswer,
    predictor: Predictor,
    manifest: Manifest,
    asked: ImageRequest,
    image: Image | None = None,
) -> Made:
    """Return an answer with all that its forms are made from.

    Args:
        prediction: The answer.
        predictor: What gave it; its ``source_reader`` is asked where a form needs whose DICOM images they were.
        manifest: The bundle's manifest.
        asked: The request that was answered.
        image: The image as decoded, if it is at hand.
    """
    read = partial(
        predictor.source_reader,
        asked.image,
        content_type=asked.content_type,
        series=asked.series,
        page=page_of(asked, manifest.input.page),
        whole=prediction.volume,
        budget=predictor.budget,
    )
    return Made(
        prediction,
        manifest.target,
        manifest.algorithm,
        image,
        read if may_be_dicom(asked.image) else None,
        {"model": _model(manifest)},
    )


def encode_prediction(prediction: Prediction | VolumeAnswer, manifest: Manifest, form: str) -> bytes:
    """Encode a prediction by itself; bundles of earlier versions call it.

    Args:
        prediction: What the model said.
        manifest: The bundle's manifest.
        form: A media type, one of ``prediction.forms``.
    """
    return prediction.encode(form, model=_model(manifest))


def _model(manifest: Manifest) -> dict[str, Any]:
    """Which model gave an answer, and what it predicts, so that an answer explains itself."""
    which = {"name": manifest.name, "phantom": manifest.phantom, "digest": manifest.algorithm.identity}
    return {**which, "target": manifest.target.plain()}


def _no_form(name: str) -> str:
    """Say that a form is none, without repeating what a client wrote."""
    meant = nearest(name, list(FORMS))
    return f"expected some of {', '.join(FORMS)}, and one that was asked for is none of these{meant}"


def _plain_type(name: str) -> str:
    """The media type alone: what the bytes are is known without the parameter."""
    return media_type(name).partition(";")[0]


def _several(made: Made, wanted: Sequence[str], optional: Sequence[str]) -> tuple[bytes, str]:
    """Return several forms: those that are wanted, or JSON, which says which optional ones are not there and why."""
    if not wanted:
        wanted, optional = ("json",), optional or _USUAL
    there = forms_for(
        made.target.kind,
        volume=made.prediction.volume,
        dicom=made.read_sources is not None,
        image=made.image is not None,
    )
    names = dict.fromkeys((*wanted, *(name for name in optional if name in there)))
    made, missing = replace(made, beside=frozenset(names)), dict[str, str]()
    parts = dict.fromkeys(names, b"")
    for name in sorted(names, key=lambda one: one == "json"):  # JSON last, for it says what became of the others
        try:
            more = {**made.more, "left_out": missing} if missing else made.more
            parts[name] = encode(replace(made, more=more), name)
        except FormError as error:
            if name in wanted:
                raise
            missing[name] = str(error)
            del parts[name]
    return joined(parts)


def joined(parts: dict[str, bytes]) -> tuple[bytes, str]:
    """Put parts behind each other, each with its type, name and length.

    Source: https://www.rfc-editor.org/rfc/rfc2046#section-5.1
    """
    boundary = f"medloom-{hashlib.sha256(b''.join(parts.values())).hexdigest()[:32]}"
    body = bytearray()
    for name, content in parts.items():
        head = (
            f"--{boundary}",
            f"Content-Type: {_plain_type(name)}",
            f'Content-Disposition: attachment; name="{name}"; filename="{name}{suffix(name)}"',
            f"Content-Length: {len(content)}",
        )
        body += (_LINE.join(head) + 2 * _LINE).encode() + content + _LINE.encode()
    body += f"--{boundary}--{_LINE}".encode()
    return bytes(body), f"{MULTIPART}; boundary={boundary}"


def apart(content: bytes, form: str) -> dict[str, bytes]:
    """Take apart what ``joined`` put together.

    Args:
        content: The parts.
        form: The media type that came with them.

    Example:
        >>> apart(*joined({"json": b"{}", "png": b"--"}))
        {'json': b'{}', 'png': b'--'}
    """
    boundary = f"--{form.partition('boundary=')[2]}".encode()
    parts, at = dict[str, bytes](), 0
    while content.startswith(boundary + _LINE.encode(), at):
        end = content.index(2 * _LINE.encode(), at)
        head = content[at:end].decode()
        start, size = end + 2 * len(_LINE), int(head.partition("Content-Length: ")[2])
        parts[head.partition('name="')[2].partition('"')[0]] = content[start : start + size]
        at = start + size + len(_LINE)
    return parts
