"""What AWS and the way there may refuse, in the words of ``medloom.aws``, with what ``medloom sagemaker`` can do."""

from __future__ import annotations

from contextlib import AbstractContextManager

from medloom import aws
from medloom.aws import code_of, is_absent

__all__ = ["code_of", "is_absent", "plainly"]


def plainly(doing: str) -> AbstractContextManager[None]:
    """Turn what boto3 raises in the block into an error that says what to do; see ``medloom.aws.plainly``.

    Args:
        doing: What was being done, such as ``the training cannot begin``.
    """
    return aws.plainly(
        doing,
        rights="; medloom sagemaker policy prints what is needed",
        region="--region or AWS_DEFAULT_REGION, or name another --bucket",
    )
