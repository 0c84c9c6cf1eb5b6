"""What stands between this laptop and a job there: credentials, region and bucket, role and its rights, quotas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from medloom.backends.sagemaker.account import Account, Wanted, bucket_region, find_bucket, find_role
from medloom.backends.sagemaker.faults import plainly
from medloom.backends.sagemaker.policy import Scope, policy
from medloom.errors import MedloomError
from medloom.wording import counted

__all__ = ["Finding", "look_at_account"]

_QUOTAS = "sagemaker"
_SHOWN = (
    "training job usage",
    "endpoint usage",
    "transform job usage",
    "training warm pool usage",
    "spot training job",
)
_MOST_ACTIONS = 100


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: Such as ``credentials``.
        ok: Whether a job can go on with it; None where that cannot be told.
        text: What was found, and what to do.
    """

    what: str
    ok: bool | None
    text: str


def look_at_account(wanted: Wanted, instance: str = "ml.g5.xlarge") -> Iterator[Finding]:
    """Yield what was found, one after the other; what needs something that is missing is not looked at.

    Args:
        wanted: Region, bucket and role, where the user named them.
        instance: The machine whose quotas are read.
    """
    try:
        account = Account(wanted.region)
        yield Finding("region", True, account.region)
        caller = account.caller()
    except MedloomError as error:
        yield Finding("credentials", False, str(error))
        return
    yield Finding("credentials", True, caller)
    bucket = _tried(lambda: find_bucket(account, wanted.bucket, _nobody))
    if isinstance(bucket, str):
        yield Finding("bucket", True, f"{bucket} in {bucket_region(account, bucket)}")
        yield from _safety(account, bucket)
    else:
        yield Finding("bucket", False, str(bucket))
    role = _tried(lambda: find_role(account, wanted.role, _nobody))
    if isinstance(role, str):
        yield Finding("role", True, role)
        scope = Scope(account.region, caller.split(":")[4], bucket if isinstance(bucket, str) else "*", role=role)
        yield from _rights(account, "role", role, scope)
    else:
        yield Finding("role", False, str(role))
    yield from _quotas(account, instance)


def _nobody(text: str) -> None:
    """Told what was found, which is said anyway."""


def _tried(find: Callable[[], str]) -> str | MedloomError:
    try:
        return find()
    except MedloomError as error:
        return error


def _safety(account: Account, bucket: str) -> Iterator[Finding]:
    """Whether the bucket can be made public, and how it is encrypted."""
    try:
        with plainly("it cannot be read"):
            s3 = account.client("s3")
            block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    except MedloomError:
        yield Finding(
            "public access", None, f"{bucket} has no public access block, or it may not be read; block all of it"
        )
        return
    closed = all(block.values())
    yield Finding("public access", closed, "blocked" if closed else f"{bucket} may be made public; block all of it")


def _rights(account: Account, verb: str, role: str, scope: Scope) -> Iterator[Finding]:
    """What a role lacks, as IAM itself simulates it."""
    lacks: list[str] = []
    try:
        for statement in policy(verb, scope)["Statement"]:
            lacks += _denied(account, role, statement)
    except MedloomError as error:
        yield Finding(f"{verb} may", None, f"that cannot be asked: {error}")
        return
    said = f"lacks {', '.join(sorted(lacks))}; medloom sagemaker policy {verb} prints what it needs"
    yield Finding(f"{verb} may", not lacks, said if lacks else "all that containers need")


def _denied(account: Account, role: str, statement: dict[str, Any]) -> list[str]:
    resources: Sequence[str] = [one.replace("*", "x") if one != "*" else one for one in statement["Resource"]]
    with plainly("IAM does not say"):
        found = account.client("iam").simulate_principal_policy(
            PolicySourceArn=role, ActionNames=statement["Action"][:_MOST_ACTIONS], ResourceArns=list(resources)
        )
    return [one["EvalActionName"] for one in found["EvaluationResults"] if one["EvalDecision"] != "allowed"]


def _quotas(account: Account, instance: str) -> Iterator[Finding]:
    """How many of a machine the account may have; zero is what a new account has for most."""
    try:
        pages = account.pages(
            "service-quotas", "list_service_quotas", "Quotas", "quotas cannot be read", ServiceCode=_QUOTAS
        )
        found = {one["QuotaName"]: one["Value"] for one in pages if one["QuotaName"].startswith(f"{instance} for ")}
    except MedloomError as error:
        yield Finding("quotas", None, f"cannot be read: {error}")
        return
    shown = {name: value for name, value in found.items() if any(word in name for word in _SHOWN)}
    if not shown:
        yield Finding("quotas", None, f"AWS lists none for {instance}; look under Service Quotas")
    for name, value in sorted(shown.items()):
        more = "" if value else "; ask for more under Service Quotas"
        yield Finding(
            "quota", value > 0, f"{name.replace('usage', '').strip()}: {counted(int(value), 'instance')}{more}"
        )
