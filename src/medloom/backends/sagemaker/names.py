"""What things of ours are called in an account, where they lie in a bucket, and the tags by which they are found again.

Names of SageMaker have letters, digits and single hyphens, at most 63, and are taken for good once a job had one. So a
name is what people call it, made to fit, and a hash of what it stands for.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from medloom import __version__
from medloom.files import sha256_bytes

__all__ = ["OURS", "RUN_TAG", "aws_name", "joined", "split_uri", "tag_list", "tags_of"]

OURS = "medloom"
"""Tag of everything that Medloom makes; its value is the version."""

RUN_TAG = "medloom:run"
"""Tag with the name of the run, endpoint or batch that people know."""

_MOST = 63
_HASH = 8
_NOT_IN_A_TAG = re.compile(r"[^\w\s.:/=+\-@]")


def aws_name(text: str, key: str = "", most: int = _MOST) -> str:
    """Return a name that SageMaker takes; the same text and key give the same.

    Args:
        text: What people call it.
        key: What else tells it from others of that name.
        most: Longest name.

    Example:
        >>> aws_name("brain_mri v2.1"), len(aws_name("x" * 100))
        ('brain-mri-v2-1-76bba8bd', 63)
    """
    plain = re.sub(r"[^A-Za-z0-9]+", "-", text)[: most - _HASH - 1].strip("-")
    digest = sha256_bytes(f"{text}\0{key}".encode())[:_HASH]
    return f"{plain or OURS}-{digest}"


def tag_list(kind: str, run: str, more: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    """Return the tags of something that belongs to a run, as AWS takes them.

    Args:
        kind: ``training``, ``endpoint`` or what else it is.
        run: Name of the run.
        more: Tags of the user's own, such as a cost centre.
    """
    tags = {OURS: __version__, "medloom:kind": kind, RUN_TAG: run, **(more or {})}
    return [{"Key": key, "Value": _NOT_IN_A_TAG.sub("-", value)[:256]} for key, value in tags.items()]


def tags_of(listed: object) -> dict[str, str]:
    """Return tags as a mapping, from the list that AWS answers with."""
    return {tag["Key"]: tag["Value"] for tag in listed} if isinstance(listed, list) else {}


def joined(bucket: str, *parts: str) -> str:
    """Return the URI of a place in a bucket.

    Example:
        >>> joined("b", "medloom", "runs/", "brain")
        's3://b/medloom/runs/brain'
    """
    return "/".join([f"s3://{bucket}", *(part.strip("/") for part in parts if part.strip("/"))])


def split_uri(uri: str) -> tuple[str, str]:
    """Return the bucket and the key of an ``s3`` URI.

    Raises:
        ValueError: If it is none.

    Example:
        >>> split_uri("s3://b/medloom/data/")
        ('b', 'medloom/data/')
    """
    found = re.fullmatch(r"s3://([^/]+)/?(.*)", uri)
    if not found:
        raise ValueError(f"expected s3://BUCKET/KEY; got {uri!r}")
    return found[1], found[2]
