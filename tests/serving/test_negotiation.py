import pytest

from medloom.serving.negotiation import choose

OFFERS = ("application/json", "image/png", "application/x-npy")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "image/png"),
        ("IMAGE/PNG", "image/png"),
        ("image/*", "image/png"),
        ("application/*", "application/json"),
        ("application/x-npy, */*;q=0.1", "application/x-npy"),
        ("image/png, */*", "image/png"),
        ("application/json;q=0.5, image/png;q=0.9", "image/png"),
        ("application/json; q=0.5 ,image/png; q=0.5", "application/json"),
        ("application/json;q=0, */*", "image/png"),
        ("application/json;charset=utf-8", "application/json"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
        ("image/png;q=x, application/x-npy", "application/x-npy"),
    ],
)
def test_the_client_gets_what_it_likes_best(accept, expected):
    assert choose(accept, OFFERS) == expected


@pytest.mark.parametrize(
    "accept", ["text/html", "image/jpeg", "*/*;q=0", "application/json;q=0", "nonsense", ",", "image/png;q=2"]
)
def test_nothing_is_forced_on_a_client_that_takes_none(accept):
    assert choose(accept, OFFERS) is None
