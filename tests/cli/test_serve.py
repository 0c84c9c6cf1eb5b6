import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from medloom.cli.main import main
from support.bundles import write_tiny_bundle


@pytest.fixture(scope="module")
def bundle_path(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "model.tar.gz", phantom=True)


def _ask(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def _port(process, lines=None):
    """The port that the server says it took; what it says before goes into the lines."""
    for line in process.stderr:
        if lines is not None:
            lines.append(line)
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise AssertionError("the server did not start")


def test_a_served_bundle_answers_and_ends_with_0_on_sigterm(bundle_path):
    command = [sys.executable, "-m", "medloom.cli.main", "serve", str(bundle_path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    try:
        port = _port(process, lines)
        assert _ask(port, "GET", "/ping") == (200, {"status": "ok", "model": "tiny", "phantom": True})
        body = io.BytesIO()
        np.save(body, np.zeros((10, 12, 3), np.uint8))
        headers = {"Content-Type": "application/x-npy"}
        status, answer = _ask(port, "POST", "/invocations", body.getvalue(), headers)
        assert (status, answer["height"], answer["width"]) == (200, 10, 12)
        process.send_signal(signal.SIGTERM)
        out, rest = process.communicate(timeout=25)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert out == ""
    said = [json.loads(line) for line in [*lines, *rest.splitlines()]]  # nobody reads it in a terminal
    assert [line["level"] for line in said] == ["warning", "info", "info", "info", "info"]
    assert all(line["time"] for line in said)
    assert said[0]["message"] == "this model learned from phantoms and must not be used on people"
    last = sorted(line.get("route") or line["message"].partition(" after ")[0] for line in said[3:])
    assert last == ["/invocations", "stopping"]  # an answer is logged when it has been sent


def test_why_a_server_does_not_start_is_said_in_the_form_of_its_log(tmp_path, capsys):
    asked = ["serve", str(tmp_path / "none.tar.gz")]
    assert main([*asked, "--log-format", "json"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert (said["level"], said["message"][:19]) == ("error", "there is no bundle ")
    assert main([*asked, "--log-format", "plain"]) == 2
    assert capsys.readouterr().err.startswith("error: there is no bundle ")


def test_a_tampered_bundle_is_not_served(bundle_path, tmp_path, capsys):
    data = bytearray(bundle_path.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.tar.gz").write_bytes(data)
    assert main(["serve", str(tmp_path / "bad.tar.gz")]) == 2
    assert "bad.tar.gz" in capsys.readouterr().err


def test_a_port_in_use_exits_with_2_and_says_how_to_take_a_free_one(bundle_path, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", str(bundle_path), "--port", str(taken.getsockname()[1])]) == 2
    err = capsys.readouterr().err
    assert "in use; name another with --port, or --port 0 for a free one" in err
    assert "phantoms" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "nothing to serve"),
        (["BUNDLE", "--allow-url-host", "127.0.0.1"], "no host that URLs can be allowed for"),
        (["BUNDLE", "--allow-url-host", "https://images.example.org"], "no host that URLs can be allowed for"),
        (["BUNDLE", "--allow-url-network", "10.0.0.0/8"], "--allow-url-network needs --allow-url-host"),
        (["BUNDLE", "--allow-url-host", "a.org", "--allow-url-network", "10.0.0.1/8"], "expected a network"),
        (["--model-folder", ".", "--processes", "2"], "with --processes 1"),
    ],
    ids=["nothing", "address", "scheme", "network alone", "no network", "processes"],
)
def test_what_an_operator_cannot_mean_is_refused_before_anything_is_loaded(bundle_path, capsys, options, said):
    given = [str(bundle_path) if option == "BUNDLE" else option for option in options]
    assert main(["serve", *given]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
