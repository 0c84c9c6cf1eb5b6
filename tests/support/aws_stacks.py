"""CloudFormation on loopback: what moto's lacks.

moto has no URLs of functions, forgets the outputs of change sets, and never fails. Here a URL is made by moto's own
Lambda, and a test says which resource is to fail and why. Messages of a queue go only as far as the function's door:
moto would start a container.
"""

from __future__ import annotations

import contextlib
import json

import pytest
from moto.awslambda.models import FunctionUrlConfig, LambdaBackend, lambda_backends
from moto.cloudformation import parsing
from moto.cloudformation.models import CloudFormationBackend, Event
from moto.core.common_models import CloudFormationModel

__all__ = ["faked_stacks"]


class _Url(CloudFormationModel):
    """``AWS::Lambda::Url``, made by moto's Lambda."""

    def __init__(self, made: FunctionUrlConfig) -> None:
        self.made = made

    @staticmethod
    def cloudformation_name_type():
        return ""

    @staticmethod
    def cloudformation_type():
        return "AWS::Lambda::Url"

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **_):
        said = cloudformation_json["Properties"]
        backend = lambda_backends[account_id][region_name]
        return cls(backend.create_function_url_config(said["TargetFunctionArn"], said))

    @classmethod
    def delete_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name):
        pass  # it goes with its function

    @property
    def physical_resource_id(self):
        return self.made.url

    @classmethod
    def has_cfn_attr(cls, attr):
        return attr == "FunctionUrl"

    def get_cfn_attribute(self, attribute_name):
        return f"{self.made.url}/"


class Stacks:
    """What a test decides and sees.

    ``fails`` names a resource and the reason, or is None; ``handed_on`` has the messages that a function was given.
    """

    def __init__(self):
        self.fails = None
        self.handed_on = []


def _executed(stacks, original):
    def execute(self, change_set_name, stack_name=None):
        changes = self.change_sets[change_set_name]
        stack, kind = self.stacks[changes.stack_id], changes.change_set_type
        if stacks.fails is None:
            original(self, change_set_name, stack_name)
            stack.output_map = parsing.OutputMap(stack.resource_map, changes.template_dict, stack.stack_id)
            return
        stack._add_stack_event(f"{kind}_IN_PROGRESS", resource_status_reason="User Initiated")
        for name, reason in (stacks.fails, ("Other", "Resource creation cancelled")):
            stack.events.append(_event(stack, name, f"{kind}_FAILED", reason))
        if kind == "CREATE":  # OnStackFailure
            self.delete_stack(stack.stack_id)
        else:
            stack.status = "UPDATE_ROLLBACK_COMPLETE"
        stack._add_stack_event("DELETE_COMPLETE" if kind == "CREATE" else stack.status)

    return execute


def _handed_on(stacks):
    def send(self, function_arn, messages, queue_arn):
        stacks.handed_on += [message.body for message in messages]
        return True

    return send


def _event(stack, name, status, reason):
    return Event(stack.stack_id, stack.name, name, "", "AWS::Lambda::Function", status, reason, json.dumps({}))


@contextlib.contextmanager
def faked_stacks():
    """Add to moto what it lacks, as long as the block lasts."""
    stacks, patch = Stacks(), pytest.MonkeyPatch()
    known = {**parsing.get_model_map(), "AWS::Lambda::Url": _Url}
    patch.setattr(parsing, "get_model_map", lambda: known)
    original = CloudFormationBackend.execute_change_set
    patch.setattr(CloudFormationBackend, "execute_change_set", _executed(stacks, original))
    patch.setattr(LambdaBackend, "send_sqs_batch", _handed_on(stacks))
    try:
        yield stacks
    finally:
        patch.undo()
