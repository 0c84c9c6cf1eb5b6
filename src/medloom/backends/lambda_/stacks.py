"""Stacks of CloudFormation: made and changed by change sets, waited for, with the reasons where they fail, and deleted.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-changesets.html and
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from medloom.backends.lambda_.template import Function, template
from medloom.backends.sagemaker.account import Account
from medloom.backends.sagemaker.calls import Call, check
from medloom.backends.sagemaker.faults import code_of, is_absent, plainly
from medloom.backends.sagemaker.names import OURS, RUN_TAG, tag_list, tags_of
from medloom.errors import MedloomError, UserError
from medloom.extras import require
from medloom.wording import few, one_line

__all__ = ["Stack", "change_call", "delete_stack", "deploy_stack", "find_stack", "list_stacks"]

_POLL_S = 5.0
_KIND = "function"
_DONE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")
_NEVER_MADE = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")
"""Stacks that hold nothing that answers, and that only a deletion makes room for."""

_REVIEWED = "REVIEW_IN_PROGRESS"
_SAME = ("didn't contain changes", "no updates are to be performed")
_BEGUN = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS")
_FOLLOWS = ("cancelled", "canceled")
"""What is said of resources that failed because another did."""

Told = Callable[[str], object]
Sleep = Callable[[float], object]


def _quiet(text: str) -> None:
    del text


@dataclass(frozen=True)
class Stack:
    """A stack of ours.

    Args:
        name: Its name there.
        run: What people call its function.
        state: In CloudFormation's words.
        begun: When it was made.
        outputs: What it says of what it has made.
        changed: Whether the last deployment changed anything.
    """

    name: str
    run: str
    state: str
    begun: datetime | None
    outputs: dict[str, str]
    changed: bool = True

    @classmethod
    def of(cls, said: dict[str, Any], *, changed: bool = True) -> Stack:
        """Return one from what CloudFormation says of it."""
        outputs = {one["OutputKey"]: one["OutputValue"] for one in said.get("Outputs") or []}
        run = tags_of(said.get("Tags")).get(RUN_TAG, "")
        return cls(said["StackName"], run, said["StackStatus"], said.get("CreationTime"), outputs, changed)

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        begun = None if self.begun is None else self.begun.astimezone(UTC).isoformat(timespec="seconds")
        return {
            "stack": self.name, "name": self.run, "state": self.state, "begun": begun, "outputs": self.outputs,
            "changed": self.changed,
        }  # fmt: skip


def change_call(function: Function, stamp: str, *, update: bool) -> Call:
    """Return the request for what would make or change a stack.

    Args:
        function: The function.
        stamp: What tells this change from others, such as the time.
        update: Whether the stack is there.
    """
    kind = {"ChangeSetType": "UPDATE"} if update else {"ChangeSetType": "CREATE", "OnStackFailure": "DELETE"}
    body = {
        "StackName": function.stack,
        "ChangeSetName": f"medloom-{stamp}",
        "TemplateBody": json.dumps(template(function), separators=(",", ":")),
        "Capabilities": ["CAPABILITY_IAM"],
        "Tags": tag_list(_KIND, function.name, function.tags),
        **kind,
    }
    return Call("cloudformation", "CreateChangeSet", body)


def deploy_stack(
    account: Account, function: Function, stamp: str, *, told: Told = _quiet, sleep: Sleep = time.sleep
) -> Stack:
    """Make the stack of a function, or change it, and wait until it is done.

    Args:
        account: The account.
        function: The function; the zip that it runs is in its bucket.
        stamp: What tells this change from others, such as the time.
        told: Told what is going on.
        sleep: Waits between two looks.

    Raises:
        MedloomError: If it fails, with the reasons. A new stack is deleted then, an old one is as it was.
    """
    before = _described(account, function.stack)
    before = _made_room(account, function.stack, before, told, sleep)
    update = before is not None and before["StackStatus"] != _REVIEWED
    doing = f"the function {function.name} cannot be {'changed' if update else 'made'}"
    made = account.send(change_call(function, stamp, update=update), doing)
    if not _is_ready(account, made, doing, update=update, sleep=sleep):
        told("nothing has changed")
        return Stack.of(_must_be_there(account, made["StackId"]), changed=False)
    account.send(Call("cloudformation", "ExecuteChangeSet", {"ChangeSetName": made["Id"]}), doing)
    found = _settled(account, made["StackId"], told, sleep)
    if found is None or found["StackStatus"] not in _DONE:
        raise MedloomError(f"{doing}: {_reasons(account, made['StackId'])}")
    return Stack.of(found)


def find_stack(account: Account, name: str) -> Stack | None:
    """Return a stack of ours by its name; None if there is none."""
    found = _described(account, name)
    return None if found is None else Stack.of(found)


def list_stacks(account: Account, run: str | None = None) -> list[Stack]:
    """Return the stacks of functions that Medloom has made in the account and region, by their tags.

    Args:
        account: The account.
        run: Only those of this function; all by default.
    """
    found = []
    for said in account.pages("cloudformation", "describe_stacks", "Stacks", "stacks cannot be listed"):
        tags = tags_of(said.get("Tags"))
        if OURS in tags and tags.get("medloom:kind") == _KIND and run in (None, tags.get(RUN_TAG)):
            found.append(Stack.of(said))
    return sorted(found, key=lambda one: one.name)


def delete_stack(account: Account, name: str, *, told: Told = _quiet, sleep: Sleep = time.sleep) -> None:
    """Delete a stack, and wait until it is gone.

    Raises:
        MedloomError: If something of it cannot be deleted, with the reasons.
    """
    doing = f"the stack {name} cannot be deleted"
    found = _described(account, name)
    if found is None:
        return
    account.send(Call("cloudformation", "DeleteStack", {"StackName": name}), doing)
    last = _settled(account, found["StackId"], told, sleep)
    if last is not None and last["StackStatus"] != "DELETE_COMPLETE":
        raise MedloomError(f"{doing}: {_reasons(account, found['StackId'])}")


def _described(account: Account, name: str) -> dict[str, Any] | None:
    """What CloudFormation says of a stack, by its name or its ARN; None if there is none."""
    call = check(Call("cloudformation", "DescribeStacks", {"StackName": name}))
    with plainly(f"the stack {name} cannot be looked up"):
        try:
            found: dict[str, Any] = account.client("cloudformation").describe_stacks(**call.parameters)["Stacks"][0]
        except require("botocore.exceptions", "aws").ClientError as error:
            if is_absent(error) or (code_of(error) == "ValidationError" and "does not exist" in str(error)):
                return None
            raise
    return found


def _must_be_there(account: Account, name: str) -> dict[str, Any]:
    found = _described(account, name)
    if found is None:
        raise MedloomError(f"the stack {name} is gone: somebody has deleted it")
    return found


def _made_room(
    account: Account, name: str, before: dict[str, Any] | None, told: Told, sleep: Sleep
) -> dict[str, Any] | None:
    """The stack that is to be changed; one that was never made is deleted, as AWS wants it."""
    if before is None:
        return None
    state = before["StackStatus"]
    if OURS not in tags_of(before.get("Tags")) and state != _REVIEWED:
        raise UserError(f"there is a stack {name} that Medloom did not make; give the function another --name")
    if state.endswith("_IN_PROGRESS") and state != _REVIEWED:
        raise UserError(f"the stack {name} is being changed ({state}); wait until that has ended")
    if state in _NEVER_MADE:
        told(f"deleting what a deployment that failed has left: {name}")
        delete_stack(account, name, told=told, sleep=sleep)
        return None
    return before


def _is_ready(account: Account, made: dict[str, Any], doing: str, *, update: bool, sleep: Sleep) -> bool:
    """Whether a change set has something to change, once CloudFormation has compared."""
    look = Call("cloudformation", "DescribeChangeSet", {"ChangeSetName": made["Id"]})
    while (said := account.send(look, doing))["Status"] not in ("CREATE_COMPLETE", "FAILED"):
        sleep(_POLL_S)
    if said["Status"] == "CREATE_COMPLETE":
        return True
    reason = one_line(str(said.get("StatusReason", "")), 600)
    if update:
        account.send(Call("cloudformation", "DeleteChangeSet", {"ChangeSetName": made["Id"]}), doing)
        if any(words in reason.lower() for words in _SAME):
            return False
    else:  # a stack that is only reviewed holds nothing
        account.send(Call("cloudformation", "DeleteStack", {"StackName": made["StackId"]}), doing)
    raise MedloomError(f"{doing}: {reason or 'CloudFormation gives no reason'}")


def _settled(account: Account, stack: str, told: Told, sleep: Sleep) -> dict[str, Any] | None:
    """The stack once nothing is going on any more; None if it is gone."""
    before = ""
    while (found := _described(account, stack)) is not None:
        state = found["StackStatus"]
        if state != before:
            told(f"stack: {state}")
            before = state
        if not state.endswith("_IN_PROGRESS"):
            return found
        sleep(_POLL_S)
    return None


def _reasons(account: Account, stack: str) -> str:
    """Why the last deployment failed: what is said of the resources that failed by themselves, the first first."""
    found = [
        f"{event['LogicalResourceId']} ({event['ResourceType']}): {reason}"
        for event in _last_events(account, stack)
        if event["ResourceStatus"].endswith("_FAILED")
        and (reason := one_line(str(event.get("ResourceStatusReason", "")), 600))
        and not any(word in reason.lower() for word in _FOLLOWS)
    ]
    return "; ".join(few(found[::-1], 5)) or "CloudFormation gives no reason; its events say more"


def _last_events(account: Account, stack: str) -> Iterator[dict[str, Any]]:
    """Events of the last deployment, the latest first, as CloudFormation lists them."""
    doing = "why it failed cannot be read"
    for event in account.pages("cloudformation", "describe_stack_events", "StackEvents", doing, StackName=stack):
        if event["ResourceType"] == "AWS::CloudFormation::Stack" and event["ResourceStatus"] in _BEGUN:
            return
        yield event
