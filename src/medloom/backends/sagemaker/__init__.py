"""Amazon SageMaker: requests as plain data, checked before they are sent; jobs and endpoints followed and taken back.

``calls`` checks a request by AWS's own model, ``training`` and ``hosting`` build requests, ``account`` finds what the
user did not name, ``prices`` estimates, ``policy`` says which rights are needed. boto3 is imported only to send.
"""

from __future__ import annotations

from medloom.backends.sagemaker.account import Account, Wanted, find_place, place_without_account
from medloom.backends.sagemaker.backend import SageMakerBackend, job_call
from medloom.backends.sagemaker.calls import Call, check, plain_calls, problems
from medloom.backends.sagemaker.hosting import (
    Deployment,
    Transform,
    deletion_call,
    deployment_calls,
    scaling_calls,
    transform_calls,
)
from medloom.backends.sagemaker.place import Place
from medloom.backends.sagemaker.policy import Scope, policy, trust
from medloom.backends.sagemaker.prices import Estimate, estimate
from medloom.backends.sagemaker.training import Training, training_call

__all__ = [
    "Account",
    "Call",
    "Deployment",
    "Estimate",
    "Place",
    "SageMakerBackend",
    "Scope",
    "Training",
    "Transform",
    "Wanted",
    "check",
    "deletion_call",
    "deployment_calls",
    "estimate",
    "find_place",
    "job_call",
    "place_without_account",
    "plain_calls",
    "policy",
    "problems",
    "scaling_calls",
    "training_call",
    "transform_calls",
    "trust",
]
