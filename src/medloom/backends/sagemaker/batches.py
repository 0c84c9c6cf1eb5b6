"""``medloom batch`` there: the same command, on images in the bucket; its folder comes back as it was written."""

from __future__ import annotations

from collections.abc import Sequence

from medloom.backends.sagemaker.place import Place
from medloom.backends.sagemaker.training import CHECKPOINTS
from medloom.jobs import Job

__all__ = ["batch_job", "batch_uri"]

_CHANNELS = "/opt/ml/input/data"
_FOLDER = "batch"
"""Below what is kept in step with the bucket, which may hold more than the command writes."""


def batch_uri(place: Place, name: str) -> str:
    """Return where the output folder of a batch lies; a batch of the same name goes on in it."""
    return f"{place.batch_uri(name, '')}/{_FOLDER}"


def batch_job(name: str, bundle: str, images: str, place: Place, options: Sequence[str] = ()) -> Job:
    """Return a batch as a job.

    Args:
        name: What the batch is called.
        bundle: URI of the bundle, ``model.tar.gz``, alone in its folder.
        images: URI of a folder with images.
        place: Where.
        options: Of ``medloom batch``, besides bundle, images and output.

    Example:
        >>> batch_job("b", "s3://x/model.tar.gz", "s3://x/i", Place("eu-west-1", "x", "arn"), ["--parquet"]).command
        ('batch', '/opt/ml/input/data/input-0/model.tar.gz', '/opt/ml/input/data/input-1', \
'--output=/opt/ml/checkpoints/batch', '--parquet')
    """
    folder, _, file = bundle.rpartition("/")
    given = (f"{_CHANNELS}/input-0/{file}", f"{_CHANNELS}/input-1", f"--output={CHECKPOINTS}/{_FOLDER}")
    return Job(name, ("batch", *given, *options), (folder, images), (place.batch_uri(name, ""),))
