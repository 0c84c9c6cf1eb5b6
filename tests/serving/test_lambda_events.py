"""What events of storage say, whoever carried them, and which messages are to come again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloom.data.buckets import Place
from medloom.errors import ServerError, UserError
from medloom.serving.lambda_ import Settings
from medloom.serving.lambda_.deliveries import Clock, answer_delivery
from medloom.serving.lambda_.events import EventError, Stored, read_delivery
from medloom.serving.lambda_.storage import Outcome
from support.lambda_events import TEST_EVENT, bridged, enveloped, from_s3, from_sns, from_sqs, s3_record

KEY = "ward 3/Kopf+Hals é/ä b.dcm"
NOTICE = from_s3(s3_record(KEY, version="v1"))
EXPECTED = Stored("scans", KEY, "v1", "0f" * 16, 1024, "00643717F9F8B85354")


def objects(event):
    return [one for message in read_delivery(event).messages for one in message.objects]


@pytest.mark.parametrize(
    "event",
    [NOTICE, from_sns(NOTICE), from_sqs(NOTICE), from_sqs(enveloped(NOTICE))],
    ids=["S3", "SNS", "SQS, raw", "SNS in SQS"],
)
def test_a_key_is_decoded_once_whoever_carried_it(event):
    assert objects(event) == [EXPECTED]


@pytest.mark.parametrize("carried", [lambda event: event, from_sqs, from_sns], ids=["direct", "SQS", "SNS"])
def test_a_key_through_eventbridge_is_taken_as_it_is(carried):
    (stored,) = objects(carried(bridged("a+b%2Fc d.png")))
    assert (stored.key, stored.etag, stored.size, stored.version) == ("a+b%2Fc d.png", "0f" * 16, 1024, "")


def test_what_is_no_new_object_is_passed_by():
    records = [s3_record("a", name="ObjectRemoved:Delete"), s3_record("b"), s3_record("c", name="ObjectTagging:Put")]
    (message,) = read_delivery(from_s3(*records)).messages
    assert ([one.key for one in message.objects], message.passed_by) == (["b"], 2)
    assert objects(bridged("a", detail_type="Object Deleted")) == []


def test_the_test_event_is_acknowledged():
    assert objects(TEST_EVENT) == objects(from_sns(TEST_EVENT)) == []
    delivery = read_delivery(from_sqs(TEST_EVENT, NOTICE))
    assert [message.unread for message in delivery.messages] == ["", ""]
    assert answer_delivery(delivery, lambda *_: Outcome("ok"), plenty()) == {"batchItemFailures": []}


@pytest.mark.parametrize(
    "event",
    [
        {},
        [],
        {"Records": []},
        {"Records": [{"eventSource": "aws:kinesis"}]},
        {"Records": [s3_record("a"), {"eventSource": "aws:sqs", "messageId": "1", "body": "{}"}]},
        {"source": "aws.ec2", "detail-type": "x", "detail": {}},
    ],
)
def test_an_event_of_no_known_kind_is_none(event):
    assert read_delivery(event) is None


def without(record, *keys):
    said = json.loads(json.dumps(record))
    inner = said
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    return said


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (from_s3(without(s3_record("a"), "s3", "bucket", "name")), "names no bucket"),
        (from_s3(without(s3_record("a"), "s3", "object")), "no object 'object'"),
        (from_s3(without(s3_record("a"), "s3", "object", "eTag")), "neither the version nor the ETag"),
        (from_s3(s3_record("a", size="large")), "no number of bytes"),
        (from_s3(s3_record("a", size=True)), "no number of bytes"),
        (from_sns({"hello": "world"}), "no notice of S3"),
        (from_sqs("{}", ids=[""]), "no messageId"),
    ],
)
def test_a_damaged_event_is_an_error_that_names_no_key(event, why):
    with pytest.raises(EventError, match=why):
        read_delivery(event)


@pytest.mark.parametrize("body", ["", "no JSON", "[" * 100_000, "{}", '{"Records": [{"eventSource": "aws:s3"}]}', "3"])
def test_a_message_that_cannot_be_read_comes_again_alone(body):
    delivery = read_delivery(from_sqs(NOTICE, body, NOTICE))
    assert delivery.messages[1].objects == ()
    assert failures(delivery, lambda *_: Outcome("ok")) == ["message-1"]


def plenty():
    return Clock(lambda: 900.0)


def failures(delivery, work, clock=None):
    said = answer_delivery(delivery, work, clock or plenty())
    return [one["itemIdentifier"] for one in said["batchItemFailures"]]


def of_keys(bad):
    return lambda stored, _: Outcome("busy", is_failed=True) if stored.key in bad else Outcome("ok")


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_the_messages_that_fail_are_named_whatever_their_order(fails, rng):
    messages = [(f"key {number}", f"id-{number}") for number in range(len(fails))]
    bad = {key for (key, _), failed in zip(messages, fails, strict=True) if failed}
    shuffled = rng.sample(messages, len(messages))
    event = from_sqs(*(from_s3(s3_record(key)) for key, _ in shuffled), ids=[one for _, one in shuffled])
    expected = sorted(one for key, one in messages if key in bad)
    assert sorted(failures(read_delivery(event), of_keys(bad))) == expected


@given(st.lists(st.tuples(st.sampled_from("AB"), st.booleans()), min_size=1, max_size=12))
def test_in_a_fifo_queue_all_later_messages_of_the_group_come_again(messages):
    notices = [from_s3(s3_record(str(number))) for number in range(len(messages))]
    event = from_sqs(*notices, groups=[group for group, _ in messages], queue="images.fifo")
    worked = []

    def work(stored, _):
        worked.append(int(stored.key))
        return Outcome("busy", is_failed=messages[int(stored.key)][1])

    found = failures(read_delivery(event), work)
    first = {g: next((n for n, (of, failed) in enumerate(messages) if of == g and failed), 99) for g in "AB"}
    assert found == [f"message-{number}" for number, (group, _) in enumerate(messages) if number >= first[group]]
    assert worked == [number for number, (group, _) in enumerate(messages) if number <= first[group]]


def test_groups_of_a_queue_that_keeps_no_order_do_not_wait():
    event = from_sqs(from_s3(s3_record("a")), from_s3(s3_record("b")), groups=["A", "A"])
    assert failures(read_delivery(event), of_keys({"a"})) == ["message-0"]


def test_a_message_of_several_objects_comes_again_as_a_whole():
    event = from_sqs(from_s3(s3_record("a"), s3_record("b"), s3_record("c")))
    assert failures(read_delivery(event), of_keys({"b"})) == ["message-0"]


def test_when_time_runs_out_the_rest_comes_again():
    event = from_sqs(*(from_s3(s3_record(str(number))) for number in range(5)))
    left = [21.0]

    def work(*_):
        left[0] -= 9.0
        return Outcome("ok")

    assert failures(read_delivery(event), work, Clock(lambda: left[0])) == ["message-3", "message-4"]


def test_an_object_is_not_begun_in_less_than_twice_the_longest_time():
    clock = Clock(lambda: 20.0)
    assert clock.has_time()
    clock.took(9.5)
    assert not clock.has_time()


def test_an_event_that_is_no_queues_fails_as_a_whole_so_that_it_comes_again():
    delivery = read_delivery(from_s3(s3_record("a"), s3_record("b"), s3_record("c")))
    seen = []

    def work(stored, _):
        seen.append(stored.key)
        return of_keys({"a"})(stored, _)

    with pytest.raises(ServerError, match=r"1 object could not be answered now \(busy 1, ok 2\)"):
        answer_delivery(delivery, work, plenty())
    assert seen == ["a", "b", "c"]
    assert answer_delivery(delivery, lambda *_: Outcome("ok"), plenty()) == {"ok": 3}


def test_a_role_that_may_nothing_is_an_error_and_one_that_may_something_is_not(caplog):
    denied = Outcome("denied", is_failed=True, set_up="S3 denied GetObject")
    event = from_sqs(from_s3(s3_record("a")), from_s3(s3_record("b")))
    with pytest.raises(UserError, match="S3 denied GetObject"):
        answer_delivery(read_delivery(event), lambda *_: denied, plenty())
    found = failures(read_delivery(event), lambda stored, _: denied if stored.key == "a" else Outcome("ok"))
    assert found == ["message-0"]
    assert "S3 denied GetObject" in caplog.text


class TestSettings:
    def test_without_any_nothing_is_written(self):
        settings = Settings.read({"MEDLOOM_OUTPUT": ""})
        assert (settings.output, settings.bundle, settings.max_object_bytes) == (None, None, 25 * 2**20)
        assert (settings.forms, settings.optional) == (("json",), ("png", "nifti-gz"))

    def test_the_output_is_a_folder(self):
        assert Settings.read({"MEDLOOM_OUTPUT": "s3://out/a"}).output == Place("out", "a/")
        assert Settings.read({"MEDLOOM_OUTPUT": "s3://out"}).output == Place("out", "")

    @pytest.mark.parametrize(
        ("name", "value", "why"),
        [
            ("MEDLOOM_OUTPUT", "out/a", r"MEDLOOM_OUTPUT: out/a names no bucket; expected s3://"),
            ("MEDLOOM_OUTPUT_FORMS", "pnf", "MEDLOOM_OUTPUT_FORMS: there is no form 'pnf', did you mean 'png'"),
            ("MEDLOOM_MAX_OBJECT_MIB", "0", "expected a whole number of MiB from 1 to 4096; got '0'"),
            ("MEDLOOM_MAX_OBJECT_MIB", "25MB", "got '25MB'"),
            ("MEDLOOM_MAX_OBJECT_MIB", "9" * 99, "got '999"),
        ],
    )
    def test_a_wrong_one_is_named(self, name, value, why):
        with pytest.raises(UserError, match=why):
            Settings.read({name: value})

    @pytest.mark.parametrize(
        ("source", "output"),
        [
            ("s3://both/in/", "s3://both/in/out/"),
            ("s3://both/in/", "s3://both/in"),
            ("s3://both", "s3://both/out"),
            ("s3://both/in", "s3://both"),
        ],
    )
    def test_an_output_and_an_input_within_each_other_are_refused(self, source, output):
        with pytest.raises(UserError, match="lie within each other"):
            Settings.read({"MEDLOOM_INPUT": source, "MEDLOOM_OUTPUT": output})

    def test_those_that_lie_apart_are_taken(self):
        for output in ("s3://both/out/", "s3://other/in/"):
            assert Settings.read({"MEDLOOM_INPUT": "s3://both/in/", "MEDLOOM_OUTPUT": output}).output
