"""An answer of several parts comes apart as it was put together, whatever bytes are in it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medloom.client.answers import checked, parts_of, received
from medloom.client.wire import NoAnswer, Response
from medloom.errors import ServerError
from medloom.serving.answers import joined

NASTY = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"--", b"\r\n--", b"\x00", b"\xff", b" ", b"medloom", b"\x0b", b"\x85"])
    | st.binary(max_size=6),
    max_size=12,
).map(b"".join)


@given(first=NASTY, second=NASTY)
@settings(max_examples=200, deadline=None)
def test_every_byte_comes_back(first, second):
    body, media_type = joined({"json": first, "npy": second})
    assert parts_of(Response(200, {"content-type": media_type}, body)) == {"json": first, "npy": second}


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("text/html", b"<p>It works!"),
        ("application/json", b"{}"),
        ("application/json", b"[1, 2]"),
        ("application/json", b'{"model": {"target": {"kind": "none", "names": []}}}'),
        ("multipart/mixed; boundary=a", b"--a--\r\n"),
        ("multipart/mixed", b"no boundary"),
        ("", b""),
    ],
)
def test_another_server_is_known_for_one(media_type, body):
    with pytest.raises(ServerError, match=r"http://h answered with .* that holds no prediction"):
        received(Response(200, {"content-type": media_type}, body), "http://h")


def test_an_answer_without_a_reason_is_named_by_its_status():
    with pytest.raises(ServerError, match="http://h answered 502 without a reason; it asks for 3 seconds"):
        checked(Response(502, {"content-type": "text/html", "retry-after": "3"}, b"<p>"), "http://h")
    with pytest.raises(ServerError, match="http://h gave no answer: nobody answers there"):
        checked(NoAnswer("nobody answers there", again=True), "http://h")
