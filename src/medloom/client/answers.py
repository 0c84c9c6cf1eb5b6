"""An answer from bytes back into what ``medloom.load`` would have returned, and a refusal into its error.

Probabilities of masks are those of the server to the last bit; numbers in JSON have six digits behind the point.
"""

from __future__ import annotations

import email.parser
import email.policy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast, get_args

from numpy.typing import NDArray

from medloom.client import labels, masks
from medloom.client.retries import after
from medloom.client.wire import NoAnswer, Response
from medloom.errors import DecodeCode, DecodeError, InputError, MedloomError, ServerError, UserError
from medloom.imaging.npy import read_array
from medloom.inference import Prediction, VolumeAnswer
from medloom.targets import LABELS, Target

__all__ = ["Received", "accept_for", "checked", "parts_of", "received"]

Read = Callable[[Target, Mapping[str, Any], Mapping[str, "NDArray[Any]"]], Prediction | VolumeAnswer]

READERS: dict[str, Read] = {"masks": masks.read, **dict.fromkeys(LABELS, labels.read)}
"""What reads an answer of each kind."""

_ARRAYS = ("mask-npy", "npy")
"""Forms beside JSON that an answer is read from, where there are such."""

_JSON, _MULTIPART = "application/json", "multipart/mixed"
_PROBLEM = "application/problem+json"


@dataclass(frozen=True, eq=False)
class Received:
    """What a server answered.

    Args:
        prediction: What ``medloom.load`` would have returned.
        target: What the model predicts.
        phantom: Whether it learned from phantoms, so that its answers mean nothing for people.
        parts: Every form in which the answer came, by name.
    """

    prediction: Prediction | VolumeAnswer
    target: Target
    phantom: bool
    parts: Mapping[str, bytes]


def accept_for(forms: Sequence[str] = (), optional: Sequence[str] = ()) -> str:
    """Return what asks for all that is needed to read an answer, whatever its kind.

    Args:
        forms: What is wanted beside it.
        optional: What is wanted where there is such a form.

    Example:
        >>> accept_for(["seg"], ["overlay"])
        'multipart/mixed; forms=json+seg; optional=mask-npy+npy+overlay'
    """
    wanted, more = ("+".join(dict.fromkeys(names)) for names in (("json", *forms), (*_ARRAYS, *optional)))
    return f"{_MULTIPART}; forms={wanted}; optional={more}"


def received(response: Response, server: str) -> Received:
    """Read an answer to ``accept_for``.

    Args:
        response: With status 200.
        server: What a user calls it, for messages.

    Raises:
        ServerError: If it is no answer of a Medloom server, or of one of another version.
    """
    try:
        parts = parts_of(response)
        plain = json.loads(parts["json"])
        target = Target.from_plain(plain["model"]["target"])
        arrays = {name: read_array(parts[name]) for name in _ARRAYS if name in parts}
        prediction = READERS[target.kind](target, plain, arrays)
        return Received(prediction, target, bool(plain["model"]["phantom"]), parts)
    except (KeyError, ValueError, TypeError, AttributeError, UserError) as error:
        what = f"{server} answered with {response.media_type[:60] or 'no media type'} that holds no prediction"
        raise ServerError(f"{what}; is it a Medloom server of this version? ({type(error).__name__})") from error


def checked(answer: Response | NoAnswer, server: str) -> Response:
    """Return an answer that is one.

    Raises:
        DecodeError: If the bytes were no acceptable image.
        InputError: If the image is not what the model takes.
        UserError: If the server does not let one in, or has no such model or form.
        ServerError: If it did not answer, had too much to do, or failed.
    """
    if isinstance(answer, NoAnswer):
        raise ServerError(f"{server} gave no answer: {answer.why}")
    if answer.status < 400:
        return answer
    raise _refusal(answer, server)


def _refusal(response: Response, server: str) -> MedloomError:
    said = _problem(response)
    message, hint, code = said.get("message"), said.get("hint"), said.get("code")
    if message is None:
        return ServerError(f"{server} answered {response.status} without a reason{after(response.headers)}")
    if code in get_args(DecodeCode):
        return DecodeError(cast(DecodeCode, code), message, hint=hint)
    if code == "wrong_input":
        return InputError(message)
    text = f"{server} refused it ({response.status}): {message}{'' if hint is None else f'. {hint}'}"
    if response.status == HTTPStatus.TOO_MANY_REQUESTS or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError(text + after(response.headers))  # nothing was wrong with what was sent
    return UserError(text)


def _problem(response: Response) -> dict[str, Any]:
    """The problem that a Medloom server gives as its reason; empty for another server's."""
    if response.media_type not in (_PROBLEM, _JSON):
        return {}
    try:
        found = json.loads(response.content)
    except ValueError:
        return {}
    texts = ("message", "hint", "code")
    return {key: found[key] for key in texts if isinstance(found.get(key), str)} if isinstance(found, dict) else {}


def parts_of(response: Response) -> dict[str, bytes]:
    """The parts of an answer by their names."""
    if response.media_type == _JSON:
        return {"json": response.content}
    if response.media_type != _MULTIPART:
        raise ValueError(response.media_type)
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + response.content)
    return {
        str(part.get_param("name", header="content-disposition")): cast(bytes, part.get_payload(decode=True))
        for part in message.iter_parts()
    }
