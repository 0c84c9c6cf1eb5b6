"""Where in an account things are made: region, bucket, role, and what protects them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medloom.backends.sagemaker.names import aws_name, joined, tag_list

__all__ = ["PREFIX", "Place"]

PREFIX = "medloom"
"""Everything of ours in a bucket lies below it."""


@dataclass(frozen=True)
class Place:
    """Where things are made, and what all of them share.

    Args:
        region: Such as ``eu-central-1``.
        bucket: The S3 bucket for images, runs and bundles, in the same region.
        role: ARN of the role that SageMaker takes on: what the containers may do.
        prefix: Key of the bucket below which everything lies.
        kms_key: Key of KMS by which objects and volumes are encrypted; None takes the keys of AWS.
        subnets: Subnets of a VPC, if the containers are to run in one.
        security_groups: The security groups there.
        isolated: Whether containers get no network at all. Their files still come and go.
        tags: Tags beside ours.
    """

    region: str
    bucket: str
    role: str
    prefix: str = PREFIX
    kms_key: str | None = None
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    isolated: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)

    def uri(self, *parts: str) -> str:
        """Return the URI of a place below the prefix."""
        return joined(self.bucket, self.prefix, *parts)

    def run_uri(self, run: str, part: str) -> str:
        """Return where a part of a run lies: its ``checkpoints``, which are its run directory, or its ``output``."""
        return self.uri("runs", aws_name(run), part)

    def batch_uri(self, name: str, stamp: str) -> str:
        """Return where the answers of a batch go; of each time to a folder of its own."""
        return self.uri("batches", aws_name(name), stamp or "answers")

    def tagged(self, kind: str, run: str) -> list[dict[str, str]]:
        """Return the tags of something that belongs to a run."""
        return tag_list(kind, run, self.tags)

    def key(self, member: str) -> dict[str, str]:
        """Return the KMS key as a member of a request, or nothing."""
        return {member: self.kms_key} if self.kms_key else {}

    @property
    def network(self) -> dict[str, Any]:
        """What a request says of the network."""
        vpc = {"SecurityGroupIds": list(self.security_groups), "Subnets": list(self.subnets)}
        within = {"VpcConfig": vpc} if self.subnets or self.security_groups else {}
        return {**within, "EnableNetworkIsolation": self.isolated}
