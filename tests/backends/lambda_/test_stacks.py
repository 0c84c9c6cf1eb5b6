"""A function in an account: made, changed, listed and deleted, on moto's server."""

from __future__ import annotations

import ast
import json

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.s3.models import s3_backends

from medloom.cli.main import main
from support.aws import ACCOUNT, BUCKET, REGION, opened_aws, set_up
from support.aws_rights import only_with
from support.aws_stacks import faked_stacks
from support.bundles import write_tiny_bundle

IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/medloom-serve:1"
DEPLOY = ("lambda", "deploy", "brain/model.tar.gz", "--yes", "--json")
WATCHES = ("--input", "s3://images/chest/", "--output", "s3://answers/chest/")

# moto says so of policies of queues and of APIs, which it leaves out of a stack.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning")


@pytest.fixture(scope="module")
def opened():
    with opened_aws() as aws, faked_stacks() as stacks:
        aws.stacks = stacks
        yield aws


@pytest.fixture
def aws(opened, tmp_path, monkeypatch):
    set_up(opened)
    opened.stacks.fails, opened.stacks.handed_on = None, []
    monkeypatch.setattr("medloom.backends.lambda_.stacks._POLL_S", 0.0)
    monkeypatch.chdir(tmp_path)
    write_tiny_bundle(tmp_path / "brain" / "model.tar.gz")
    for bucket in ("images", "answers"):
        where = {"LocationConstraint": REGION}
        opened.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    return opened


@pytest.fixture
def small_zip(monkeypatch):
    """A zip without the packages, which an index would have to be asked for."""

    def install(_, root, __):
        table = root / "highdicom" / "_standard" / "module_attribute_map.json"
        table.parent.mkdir(parents=True)
        table.write_text("{}")

    monkeypatch.setattr("medloom.packaging.functions.zipped._install", install)


def deployed(capsys, *more, code=0):
    assert main([*DEPLOY, *more]) == code
    said = capsys.readouterr()
    return json.loads(said.out) if code == 0 else said.err


def the_function(aws):
    (found,) = aws.client("lambda").list_functions()["Functions"]
    return found


def the_memory(aws, stack):
    """What the stack says of it; moto does not hand a change on to its Lambda."""
    body = aws.client("cloudformation").get_template(StackName=stack)["TemplateBody"]
    return body["Parameters"]["MemorySize"]["Default"]


def test_a_function_is_made_changed_listed_and_deleted(aws, capsys):
    made = deployed(capsys, "--image", IMAGE, "--memory", "2048")
    assert (made["state"], made["name"]) == ("CREATE_COMPLETE", "brain")
    assert made["outputs"]["FunctionUrl"].startswith("https://")
    found = the_function(aws)
    assert (found["FunctionName"], found["MemorySize"]) == (made["outputs"]["FunctionName"], 2048)
    config = aws.client("lambda").get_function_url_config(FunctionName=found["FunctionName"])
    assert config["AuthType"] == "AWS_IAM"
    changed = deployed(capsys, "--image", IMAGE, "--memory", "1024")
    assert changed["state"] == "UPDATE_COMPLETE"
    assert the_memory(aws, made["stack"]) == 1024
    assert main(["lambda", "list", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["brain"]
    assert main(["lambda", "delete", "brain", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["deleted"] == [made["stack"]]
    assert aws.client("lambda").list_functions()["Functions"] == []
    assert main(["lambda", "delete", "brain", "--yes"]) == 2


@pytest.mark.usefixtures("small_zip")
def test_a_zip_is_sent_once_and_is_what_the_function_runs(aws, capsys):
    deployed(capsys)
    (key,) = aws.objects("medloom/functions/")
    assert the_function(aws)["Handler"] == "lambda_function.lambda_handler"
    head = aws.client("s3").head_object(Bucket=BUCKET, Key=key)
    assert head["ServerSideEncryption"] == "AES256"
    again = deployed(capsys)
    assert again["changed"] is False
    assert list(aws.objects("medloom/functions/")) == [key]


def test_a_bucket_tells_of_its_objects_and_goes_on_telling_others(aws, capsys):
    aws.client("sqs").create_queue(QueueName="others")
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:others"
    others = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectRemoved:*"]}]}
    aws.client("s3").put_bucket_notification_configuration(Bucket="images", NotificationConfiguration=others)
    deployed(capsys, "--image", IMAGE, *WATCHES)
    told = s3_backends[ACCOUNT]["aws"].buckets["images"].notification_configuration
    assert told.event_bridge is not None  # moto does not say so when it is asked
    assert [one.arn for one in told.queue] == [arn]
    variables = the_function(aws)["Environment"]["Variables"]
    assert variables == {"MEDLOOM_INPUT": "s3://images/chest/", "MEDLOOM_OUTPUT": "s3://answers/chest/"}
    (mapping,) = aws.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 10}
    (rule,) = aws.client("events").list_rules()["Rules"]
    assert json.loads(rule["EventPattern"])["detail"] == {
        "bucket": {"name": ["images"]}, "object": {"key": [{"prefix": "chest/"}]}
    }  # fmt: skip


def test_an_object_of_the_prefix_comes_to_the_function_and_no_other(aws, capsys):
    deployed(capsys, "--image", IMAGE, *WATCHES)
    for key in ("chest/1 a.png", "other/2.png"):
        aws.client("s3").put_object(Bucket="images", Key=key, Body=b"one")
    told = [json.loads(body)["detail"]["object"]["key"] for body in aws.stacks.handed_on]
    assert told == ["chest/1 a.png"]


def test_the_role_reads_images_and_writes_answers_and_nothing_else(aws, capsys, monkeypatch):
    deployed(capsys, "--image", IMAGE, *WATCHES)
    iam, s3 = aws.client("iam"), aws.client("s3")
    s3.put_object(Bucket="images", Key="chest/1.png", Body=b"one")
    s3.put_object(Bucket="images", Key="other/1.png", Body=b"one")
    (name,) = [one["RoleName"] for one in iam.list_roles()["Roles"] if one["RoleName"] != "medloom"]
    text = iam.get_role_policy(RoleName=name, PolicyName="medloom")["PolicyDocument"]
    document = ast.literal_eval(text)  # moto keeps what CloudFormation hands over as Python writes it
    with only_with(aws, monkeypatch, document):
        session = boto3.Session()  # the usual one knows the account's own key
        s3, iam = (session.client(one, region_name=REGION, endpoint_url=aws.url) for one in ("s3", "iam"))
        assert s3.get_object(Bucket="images", Key="chest/1.png")["Body"].read() == b"one"
        s3.put_object(Bucket="answers", Key="chest/1.json", Body=b"{}")
        for call in (
            lambda: s3.get_object(Bucket="images", Key="other/1.png"),
            lambda: s3.put_object(Bucket="images", Key="chest/2.png", Body=b"two"),
            lambda: s3.put_object(Bucket="answers", Key="other.json", Body=b"{}"),
            lambda: s3.delete_object(Bucket="answers", Key="chest/1.json"),
            lambda: iam.list_roles(),
        ):
            with pytest.raises(ClientError, match="AccessDenied"):
                call()


def test_why_a_stack_fails_is_said_and_a_new_one_is_gone(aws, capsys):
    aws.stacks.fails = ("Function", "decreases account's UnreservedConcurrentExecution below its minimum value of [10]")
    said = deployed(capsys, "--image", IMAGE, code=1)
    assert "Function (AWS::Lambda::Function): decreases account's UnreservedConcurrentExecution" in said
    assert "cancelled" not in said
    assert aws.client("cloudformation").describe_stacks()["Stacks"] == []


def test_a_change_that_fails_leaves_the_function_as_it_was_and_old_reasons_are_not_repeated(aws, capsys):
    made = deployed(capsys, "--image", IMAGE, "--memory", "2048")
    aws.stacks.fails = ("Function", "the first reason")
    assert "the first reason" in deployed(capsys, "--image", IMAGE, "--memory", "1024", code=1)
    aws.stacks.fails = ("Function", "the second reason")
    said = deployed(capsys, "--image", IMAGE, "--memory", "512", code=1)
    assert "the second reason" in said
    assert "the first reason" not in said
    assert the_memory(aws, made["stack"]) == 2048


def test_a_stack_of_somebody_else_is_not_touched(aws, capsys):
    made = deployed(capsys, "--image", IMAGE)
    assert main(["lambda", "delete", "brain", "--yes"]) == 0
    theirs = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    aws.client("cloudformation").create_stack(StackName=made["stack"], TemplateBody=json.dumps(theirs))
    capsys.readouterr()
    assert "that Medloom did not make" in deployed(capsys, "--image", IMAGE, code=2)
    assert main(["lambda", "delete", "brain", "--yes"]) == 2


def test_a_bucket_of_another_region_is_refused_before_anything_is_made(aws, capsys):
    where = {"LocationConstraint": "eu-west-1"}
    aws.client("s3", region="eu-west-1").create_bucket(Bucket="elsewhere", CreateBucketConfiguration=where)
    said = deployed(capsys, "--image", IMAGE, "--input", "s3://elsewhere/in/", "--output", "s3://answers/", code=2)
    assert "the bucket elsewhere is in eu-west-1, and the function would be in eu-central-1" in said
    assert aws.client("cloudformation").describe_stacks()["Stacks"] == []
