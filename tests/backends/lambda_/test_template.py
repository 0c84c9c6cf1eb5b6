"""The template of a function: AWS's own linter has nothing against it, and it gives nobody more than is needed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest
from cfnlint.api import lint

from medloom.backends.lambda_ import Code, Function, Watched, estimate, template
from medloom.backends.sagemaker.calls import _model
from medloom.cli.main import main
from medloom.errors import UserError
from medloom.packaging.functions.zipped import HANDLER
from support.bundles import write_tiny_bundle

REGION = "eu-central-1"
IMAGE = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/medloom-serve:1"
KEY = f"arn:aws:kms:{REGION}:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
WATCHED = Watched("s3://images/chest/", "s3://answers/chest")
FUNCTIONS = {
    "an image": Function("brain mri", Code(IMAGE)),
    "a zip": Function("brain", Code(bucket="code", key="function.zip", architecture="arm64"), at_a_time=0),
    "a zip of nobody knows where": Function("brain", Code()),
    "everything": Function(
        "brain", Code(IMAGE), watched=WATCHED, kms_key=KEY, api=True, tags={"cost-centre": "radiology"},
        callers=("arn:aws:iam::210987654321:role/viewer", "123456789013"),
    ),
}  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:cfnlint")


@pytest.mark.parametrize("which", FUNCTIONS)
def test_the_linter_of_aws_has_nothing_against_it(which):
    assert lint(json.dumps(template(FUNCTIONS[which])), regions=[REGION, "us-east-1"]) == []


def test_the_linter_would_say_something():
    made = template(FUNCTIONS["everything"])
    made["Resources"]["Mapping"]["Properties"]["FunctionResponseTypes"] = ["Report"]
    assert [found.rule.id for found in lint(json.dumps(made), regions=[REGION])] == ["E3030"]


@pytest.mark.parametrize("which", FUNCTIONS)
def test_nobody_calls_it_whom_iam_does_not_allow(which):
    made = template(FUNCTIONS[which])
    assert "NONE" not in json.dumps(made)
    resources = made["Resources"].values()
    assert {one["Properties"]["AuthType"] for one in resources if one["Type"] == "AWS::Lambda::Url"} == {"AWS_IAM"}
    for one in resources:
        if one["Type"] == "AWS::ApiGatewayV2::Route":
            assert one["Properties"]["AuthorizationType"] == "AWS_IAM"
        if one["Type"] == "AWS::Lambda::Permission":
            assert one["Properties"]["Principal"] != "*"


def statements(function) -> Iterator[Mapping]:
    (policy,) = template(function)["Resources"]["Role"]["Properties"]["Policies"]
    yield from policy["PolicyDocument"]["Statement"]


@pytest.mark.parametrize("which", FUNCTIONS)
def test_the_role_has_no_star_but_below_its_own_prefixes(which):
    for one in statements(FUNCTIONS[which]):
        assert one["Effect"] == "Allow"
        for action in one["Action"]:
            service, _, name = action.partition(":")
            assert name in _model(service).operation_names or action == "s3:ListBucket" or name == "GetObjectVersion"
        resource = json.dumps(one["Resource"])
        assert "*" not in resource or resource.removesuffix('*"}').endswith("Prefix}"), resource


def test_a_function_that_is_only_asked_reaches_no_bucket():
    actions = {action for one in statements(FUNCTIONS["an image"]) for action in one["Action"]}
    assert actions == {"logs:CreateLogStream", "logs:PutLogEvents"}


def test_images_are_only_read_and_the_key_is_the_only_one():
    found = list(statements(FUNCTIONS["everything"]))
    writes = [one for one in found if "s3:PutObject" in one["Action"]]
    assert [one["Resource"]["Fn::Sub"] for one in writes] == [
        "arn:${AWS::Partition}:s3:::${OutputBucket}/${OutputPrefix}*"
    ]
    assert [one["Resource"] for one in found if "kms:Decrypt" in one["Action"]] == [KEY]


def test_the_queue_waits_six_times_as_long_and_gives_up_after_five_times():
    resources = template(Function("brain", Code(IMAGE), timeout_s=100, watched=WATCHED))["Resources"]
    queue = resources["Queue"]["Properties"]
    assert queue["VisibilityTimeout"] == 6 * resources["Function"]["Properties"]["Timeout"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetters", "Arn"]}
    assert resources["Mapping"]["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_everything_has_our_tags():
    made = template(FUNCTIONS["everything"])["Resources"]
    for name in ("Function", "Role", "Logs", "Queue", "DeadLetters"):
        tags = {tag["Key"]: tag["Value"] for tag in made[name]["Properties"]["Tags"]}
        assert tags.keys() >= {"medloom", "medloom:kind", "medloom:run", "cost-centre"}
        assert tags["medloom:run"] == "brain"


def test_a_zip_is_called_by_its_handler_and_an_image_by_its_command():
    zipped = template(FUNCTIONS["a zip"])["Resources"]["Function"]["Properties"]
    assert (zipped["Handler"], zipped["Runtime"], zipped["Architectures"]) == (HANDLER, "python3.13", ["arm64"])
    assert template(FUNCTIONS["an image"])["Resources"]["Function"]["Properties"]["ImageConfig"] == {
        "Command": ["lambda"]
    }


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Function("brain", Code(), memory_mb=64), "--memory: expected 128 to 10240; got 64"),
        (lambda: Function("brain", Code(), timeout_s=901), "--timeout: expected 1 to 900; got 901"),
        (lambda: Function("brain", Code(), log_days=29), "--log-days: expected one of 1, 3"),
        (lambda: Code(architecture="arm"), "--architecture: expected one of x86_64, arm64"),
        (lambda: Watched("s3://a/in/", "s3://a/in/out/"), "lie within each other"),
        (lambda: Watched("s3://a", "s3://a/out/"), "lie within each other"),
        (lambda: Watched("images/in", "s3://a/out/"), "--input: expected s3://BUCKET/KEY"),
        (lambda: Watched("s3://a/*/", "s3://b/"), "a role's rights cannot name"),
        (lambda: Watched("s3://a/in/", "s3://b/", 11), "--batch-size: expected 1 to 10"),
    ],
)
def test_what_aws_would_not_take_is_refused(made, said):
    with pytest.raises(UserError) as caught:
        made()
    assert said in str(caught.value)


def test_an_estimate_is_the_memory_times_the_time():
    function = Function("brain", Code(IMAGE), memory_mb=1024, at_a_time=2)
    found = estimate(function, REGION, 2.0, 0.0001)
    assert found.hourly_usd == pytest.approx(2 * 3600 * 0.0001)
    assert "1000 images of 2 s each with 1024 MB: 0.200 USD" in found.text
    assert "by --price" in found.text
    cheaper = estimate(Function("brain", Code(IMAGE, architecture="arm64")), REGION)
    assert cheaper.hourly_usd < estimate(Function("brain", Code(IMAGE)), REGION).hourly_usd
    assert "eu-central-1 may differ" in cheaper.text
    assert "without an upper bound" in estimate(Function("brain", Code(IMAGE), at_a_time=0), REGION).text


@pytest.fixture
def bundle(tmp_path):
    return str(write_tiny_bundle(tmp_path / "brain" / "model.tar.gz"))


def test_the_template_is_printed_without_asking_aws(bundle, monkeypatch, capsys):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://192.0.2.1")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    asked = ("--image", IMAGE, "--input", "s3://images/in/", "--output", "s3://answers/", "--api", "--dry-run")
    assert main(["lambda", "deploy", bundle, *asked]) == 0
    said = capsys.readouterr()
    made = json.loads(said.out)
    assert made["Parameters"]["InputPrefix"]["Default"] == "in/"
    assert lint(said.out, regions=[REGION]) == []
    assert "at most 1.76 an hour" in said.err
    assert "images has to send its events to EventBridge" in said.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--input", "s3://a/in/"), "--input and --output belong together"),
        (("--max-cost", "0.5"), "--max-cost 0.5: it may cost 1.76 USD an hour"),
        (("--max-cost", "5", "--reserved-concurrency", "0"), "--max-cost needs a limit"),
        (("--runtime", "python3.11"), "--runtime: expected one of python3.12, python3.13"),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_asked(bundle, more, said, capsys):
    assert main(["lambda", "deploy", bundle, "--dry-run", *more]) == 2
    assert said in capsys.readouterr().err


def test_what_is_no_bundle_is_told(tmp_path, capsys):
    assert main(["lambda", "deploy", str(tmp_path / "none"), "--dry-run"]) == 2
    assert "expected a bundle" in capsys.readouterr().err
