"""Who may ask: names of the server, sites of pages, tokens. Rows b9 and b11 of what hostile requests get."""

import asyncio
import base64
import logging

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route

from medloom.errors import UserError
from medloom.serving.http.security import (
    HEALTH,
    LOOPBACK_NAMES,
    AddHeaders,
    CheckHost,
    CheckOrigin,
    CheckToken,
    check_exposure,
    is_loopback,
    read_names,
    read_origins,
)
from medloom.serving.http.tokens import TokenFile

OLD, NEW = "old-token-0123456789", "new-token-0123456789"


async def _say(request):
    del request
    return PlainTextResponse("answered")


async def _show(request):
    del request
    return HTMLResponse("<p>page</p>", headers={"Cache-Control": "max-age=60"})


APP = Starlette(
    routes=[Route("/page", _show), *(Route(path, _say, methods=["GET", "POST"]) for path in ("/x", "/ping"))]
)


@pytest.fixture
def ask(make_client):
    def ask(app, method="GET", path="/x", **headers):
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return make_client(app).request(method, path, headers=given)

    return ask


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "med.example", "localhost."]
)
def test_a_request_under_a_name_of_the_server_is_answered(ask, host):
    app = CheckHost(APP, (*LOOPBACK_NAMES, *read_names(["Med.example"])))
    assert ask(app, host=host).text == "answered"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8080", "evil@localhost", "localhost:x", ""],
)
def test_a_page_whose_name_was_made_to_point_here_is_refused(ask, assert_problem, host):
    body = assert_problem(ask(CheckHost(APP, LOOPBACK_NAMES), host=host), 403, "host_not_allowed")
    assert "--allow-host" in body["hint"]
    assert not host or host not in str(body)


def test_a_client_without_a_host_header_is_no_browser_and_is_answered():
    async def ask():
        said = []
        scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "query_string": b""}

        async def receive():
            return {"type": "http.request"}

        async def send(message):
            said.append(message)

        await CheckHost(APP, LOOPBACK_NAMES)(scope, receive, send)
        return said[0]["status"]

    assert asyncio.run(ask()) == 200


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {"origin": "https://evil.example"}),
        ("GET", {"origin": "https://evil.example"}),
        ("POST", {"origin": "null"}),
        ("POST", {"origin": "http://test.evil.example"}),
        ("POST", {"origin": "http://test:8081"}),
        ("POST", {"sec_fetch_site": "cross-site"}),
        ("POST", {"sec_fetch_site": "same-site"}),
    ],
)
def test_a_request_that_another_sites_page_makes_is_refused(ask, assert_problem, method, headers):
    assert_problem(ask(CheckOrigin(APP), method, **headers), 403, "origin_not_allowed")


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {}),
        ("POST", {"origin": "http://test"}),
        ("POST", {"origin": "https://test"}),  # a proxy took the encryption off
        ("POST", {"origin": "https://test:443"}),
        ("POST", {"origin": "https://friend.example"}),
        ("POST", {"sec_fetch_site": "same-origin"}),
        ("GET", {"sec_fetch_site": "cross-site"}),  # someone follows a link
    ],
)
def test_own_pages_other_clients_and_allowed_sites_are_answered(ask, method, headers):
    app = CheckOrigin(APP, read_origins(["https://Friend.example/"]))
    assert ask(app, method, **headers).text == "answered"


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"# of the ward\n\n{OLD}\n{NEW}\n")
    return path


def _basic(token):
    return "Basic " + base64.b64encode(f"anyone:{token}".encode()).decode()


@pytest.mark.parametrize("given", [f"Bearer {OLD}", f"bearer  {NEW}", _basic(NEW)])
def test_any_token_of_the_file_lets_a_client_in(ask, token_file, given):
    assert ask(CheckToken(APP, TokenFile(token_file)), authorization=given).text == "answered"


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        f"Bearer {OLD}x",
        f"Bearer {OLD[:-1]}",
        OLD,
        "Bearer # of the ward",
        _basic(""),
        "Basic %%%",
        "Digest x",
    ],
)
def test_a_client_without_a_good_token_is_told_how_to_send_one(ask, assert_problem, token_file, given):
    headers = {} if given is None else {"authorization": given}
    answer = ask(CheckToken(APP, TokenFile(token_file)), "POST", **headers)
    body = assert_problem(answer, 401, "unauthorized")
    assert "Authorization: Bearer" in body["hint"]
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert OLD[:-1] not in answer.text


def test_two_authorizations_are_none(ask, make_client, token_file):
    app = CheckToken(APP, TokenFile(token_file))
    headers = [("authorization", f"Bearer {OLD}"), ("authorization", "Bearer x")]
    assert make_client(app).request("GET", "/x", headers=headers).status_code == 401


def test_a_browser_that_opens_a_page_asks_its_user(ask, token_file):
    answer = ask(CheckToken(APP, TokenFile(token_file)), accept="text/html,*/*")
    assert answer.headers["www-authenticate"].startswith("Basic ")


def test_a_page_that_asks_for_the_token_itself_is_open_and_what_else_there_is_is_not(ask, token_file):
    app = CheckToken(APP, TokenFile(token_file), open_pages=["/page"])
    assert ask(app, path="/page", accept="text/html,*/*;q=0.8").text == "<p>page</p>"
    assert ask(app, path="/page", accept="application/json").status_code == 401
    assert ask(app, path="/page").status_code == 401
    assert ask(app, "POST", path="/page", accept="text/html").status_code == 401
    assert ask(app, accept="text/html").status_code == 401


def test_health_is_open_unless_told_otherwise(ask, token_file):
    tokens = TokenFile(token_file)
    assert "/ping" in HEALTH
    assert ask(CheckToken(APP, tokens), path="/ping").text == "answered"
    assert ask(CheckToken(APP, tokens), "POST", path="/ping").status_code == 401
    assert ask(CheckToken(APP, tokens, ()), path="/ping").status_code == 401


class _Clock:
    now = 0.0

    def __call__(self):
        self.now += 2.0
        return self.now


@pytest.fixture
def rotating(token_file):
    """Tokens that look at their file each time."""
    return TokenFile(token_file, _Clock())


def test_tokens_are_rotated_without_a_restart(rotating, token_file):
    assert rotating.owner(f"Bearer {OLD}")
    token_file.write_text(f"{NEW}\n")
    assert not rotating.owner(f"Bearer {OLD}")
    assert rotating.owner(f"Bearer {NEW}")


def test_a_file_that_was_spoilt_locks_nobody_out_and_is_told_of(rotating, token_file, caplog):
    for content in ("", "short\n", "two words are none\n"):
        token_file.write_text(content)
        with caplog.at_level(logging.ERROR):
            assert rotating.owner(f"Bearer {OLD}")
        assert "still counts" in caplog.text
        assert "two words" not in caplog.text
        caplog.clear()
    token_file.unlink()
    assert rotating.owner(f"Bearer {OLD}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no token"),
        (b"# only\n", "holds no token"),
        (b"abc\n", "line 1 of .* holds 3 characters"),
        (b"good-token-0123456789\nmy own token of the ward\n", "line 2 of .* is no token"),
        ("tökén-0123456789-abcdef\n".encode(), "is no token"),
        (b"a" * (2**20 + 1), "larger than"),
    ],
    ids=["empty", "comment", "short", "spaces", "letters", "large"],
)
def test_a_file_without_good_tokens_is_refused_and_says_how_to_make_one(tmp_path, content, said):
    path = tmp_path / "tokens"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as refusal:
        TokenFile(path)
    assert "my own token" not in str(refusal.value)


def test_a_file_of_tokens_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        TokenFile(tmp_path / "none")


def test_answers_tell_browsers_to_keep_nothing_and_load_nothing_from_elsewhere(ask):
    answer = ask(AddHeaders(APP))
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" not in answer.headers
    page = ask(AddHeaders(APP), path="/page")
    assert page.headers["cache-control"] == "max-age=60"  # its own word stands
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_alone_needs_no_token(host):
    assert is_loopback(host)
    check_exposure(host, protected=False, insecure=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "ward.example"])
def test_other_machines_are_let_in_only_with_a_token_or_on_purpose(host):
    with pytest.raises(UserError, match=r"--token-file.*--tls-client-ca.*--insecure"):
        check_exposure(host, protected=False, insecure=False)
    check_exposure(host, protected=True, insecure=False)
    check_exposure(host, protected=False, insecure=True)


def test_names_and_sites_are_read_as_they_are_compared():
    assert read_names(["Med.Example", "::1", "[fe80::1]"]) == ("med.example", "[::1]", "[fe80::1]")
    for name in ("med.example:80", "https://med.example", ""):
        with pytest.raises(UserError, match="--allow-host"):
            read_names([name])
    for origin in ("med.example", "*", "https://med.example/path"):
        with pytest.raises(UserError, match="--allow-origin"):
            read_origins([origin])
