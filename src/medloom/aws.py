"""What AWS and the way there may refuse, in plain words; a user never sees a traceback of boto3's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from medloom.errors import MedloomError, ServerError, UserError
from medloom.extras import require
from medloom.wording import one_line

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

__all__ = ["code_of", "is_absent", "is_busy", "is_denied", "plainly", "says_yes"]

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_WRONG = {"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_WRONG |= {"AuthFailure", "IncompleteSignature", "InvalidToken", "MissingAuthenticationToken"}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403", "AuthorizationError"}
_BUSY = {"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown"}
_BUSY |= {"ServiceUnavailable", "InternalFailure", "InternalServerError", "500", "503", "ThrottledException"}
_BUSY |= {"ModelNotReadyException", "InternalDependencyException", "ServiceUnavailableException"}
_FULL = {"ResourceLimitExceeded", "ServiceQuotaExceededException", "LimitExceededException"}
_TAKEN = {"ResourceInUse", "ResourceInUseException", "ConflictException"}
_ELSEWHERE = {"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_ABSENT = {"ResourceNotFound", "ResourceNotFoundException", "NoSuchBucket", "NoSuchKey", "404", "NotFound"}
_ABSENT |= {"NoSuchEntity"}

_YES = ("true", "1", "yes")

_INVALID = {"ValidationException", "ValidationError"}
"""What SageMaker also says of something that does not exist."""

_LATER = HTTPStatus.TOO_MANY_REQUESTS
_NO_AWS = "what answered is not AWS; is there a proxy in between? Try again later"
_LOG_IN = "log in again (aws sso login, or new keys in the environment), then give the same command"


@contextmanager
def plainly(doing: str, *, rights: str = "", region: str = "AWS_DEFAULT_REGION") -> Iterator[None]:
    """Turn what boto3 raises in the block into an error that says what to do.

    Args:
        doing: What was being done, such as ``the training cannot begin``.
        rights: What says which rights are needed, as the end of a sentence.
        region: How another region is named.

    Raises:
        UserError: If the account, its settings or its rights are what is wrong.
        ServerError: If another time may do.
    """
    failures = require("botocore.exceptions", "aws")
    try:
        yield
    except failures.ClientError as error:
        raise _refused(doing, error.response, error.operation_name, rights, region) from error
    except (failures.NoCredentialsError, failures.PartialCredentialsError, failures.CredentialRetrievalError) as error:
        raise UserError(
            f"{doing}: there are no credentials for AWS ({one_line(str(error))}); set AWS_PROFILE, or run aws configure"
        ) from error
    except failures.TokenRetrievalError as error:
        raise UserError(f"{doing}: the login has ended ({one_line(str(error))}); {_LOG_IN}") from error
    except failures.NoRegionError as error:
        raise UserError(f"{doing}: no region is known; name one with {region}") from error
    except (failures.HTTPClientError, failures.ConnectionError) as error:
        raise ServerError(f"{doing}: AWS cannot be reached ({one_line(str(error))}); try again later") from error
    except failures.BotoCoreError as error:
        raise UserError(f"{doing}: {one_line(str(error))}") from error
    except require("botocore.parsers", "aws").ResponseParserError as error:
        raise ServerError(f"{doing}: {_NO_AWS}") from error


def code_of(error: ClientError) -> str:
    """Return the code of what AWS answered."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_absent(error: ClientError) -> bool:
    """Whether AWS says that something does not exist; SageMaker calls that a validation."""
    return _says_absent(code_of(error), str(error.response.get("Error", {}).get("Message", "")))


def says_yes(environment: Mapping[str, str], name: str) -> bool:
    """Whether a variable that AWS sets in a container says yes; the local mode of its SDK writes ``True``."""
    return environment.get(name, "").strip().lower() in _YES


def is_busy(error: ClientError) -> bool:
    """Whether another time may do."""
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return code_of(error) in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == _LATER


def is_denied(error: ClientError) -> bool:
    """Whether AWS says that who asks may not."""
    return code_of(error) in _DENIED


def _says_absent(code: str, message: str) -> bool:
    absent = ("could not find", "does not exist", "not found")
    return code in _ABSENT or (code in _INVALID and any(word in message.lower() for word in absent))


def _refused(doing: str, said: Mapping[str, Any], operation: str, rights: str, region: str) -> MedloomError:
    code = str(said.get("Error", {}).get("Code", "refused"))
    reason = one_line(str(said.get("Error", {}).get("Message", "")), 600)
    start = f"{doing}: AWS refused {operation} ({code})"
    if reason.lower().startswith(("<html", "<!doctype")):  # a page, which clients of JSON take for a refusal
        return ServerError(f"{doing}: {_NO_AWS}")
    words: tuple[tuple[set[str], type[MedloomError], str], ...] = (
        (_EXPIRED, UserError, f"{doing}: the credentials for AWS have expired; {_LOG_IN}"),
        (_WRONG, UserError, f"{doing}: AWS does not know these credentials ({code}); {_LOG_IN}"),
        (_DENIED, UserError, f"{start}: {reason}. Who asks, or the role, may not{rights}"),
        (_BUSY, ServerError, f"{start}: it is busy and was asked several times ({reason}); try again in some minutes"),
        (_FULL, UserError, f"{start}: {reason}. The account has too small a quota; ask for more under Service Quotas"),
        (_TAKEN, UserError, f"{start}: {reason}. That name is taken; choose another"),
        (_ELSEWHERE, UserError, f"{start}: the bucket is in another region; name that one with {region}"),
        (_ABSENT, UserError, f"{start}: {reason or 'there is no such thing'}; look at its name and the region"),
    )
    code = "404" if _says_absent(code, reason) else code
    kind, said_so = next(
        ((kind, text) for codes, kind, text in words if code in codes), (UserError, f"{start}: {reason}")
    )
    return kind(said_so)
