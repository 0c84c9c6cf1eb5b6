"""What ``medloom serve`` refuses to start with, before it loads a model."""

import http.client
import json
import re
import ssl

import numpy as np
import pytest

from medloom.cli.main import main
from medloom.imaging import encode_png
from support.bundles import write_tiny_bundle
from support.certificates import make
from support.server_process import serving_process


@pytest.fixture(autouse=True)
def _no_traces(monkeypatch):
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--host", "0.0.0.0"), r"--token-file.*--tls-client-ca.*--insecure"),
        (("--host", "192.168.1.5", "--tls-cert", "server.pem"), "--token-file"),
        (("--token-file", "none"), "the file of tokens none cannot be read"),
        (("--token-file", "short"), "line 1 of short holds 3 characters.*openssl rand -hex 32"),
        (("--tls-key", "server.key"), "need --tls-cert"),
        (("--tls-cert", "short"), "--tls-cert short: expected a certificate"),
        (("--allow-host", "med.example:80"), "--allow-host .*without a port"),
        (("--allow-origin", "med.example"), "--allow-origin .*https://med.example"),
        (("--otlp-endpoint", "collector:4318"), "--otlp-endpoint .*https://collector:4318"),
    ],
    ids=["open", "encrypted", "no-file", "short", "key", "no-pem", "host", "origin", "collector"],
)
def test_a_server_that_strangers_could_use_or_that_is_told_nonsense_does_not_start(
    tmp_path, monkeypatch, capsys, options, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_text("abc\n")
    assert main(["serve", "not-even-looked-at.tar.gz", *options]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error)
    assert "not-even-looked-at" not in error


@pytest.mark.slow
def test_clients_with_a_token_and_a_certificate_are_answered_and_others_are_not(tmp_path):
    authority, stranger = make("ca"), make("another ca")
    server = make("server", authority)
    for name, content in {
        "server.pem": server.pem + server.key_pem(),
        "ca.pem": authority.pem,
        "tokens": b"a-token-0123456789\n",
        "client.pem": (client := make("client", authority)).pem + client.key_pem(),
        "stranger.pem": (other := make("client", stranger)).pem + other.key_pem(),
    }.items():
        (tmp_path / name).write_bytes(content)
    png = encode_png(np.zeros((16, 16, 3), np.uint8))

    def ask(port, certificate=None, token="a-token-0123456789"):
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        if certificate:
            context.load_cert_chain(tmp_path / certificate)
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
        try:
            headers = {"Content-Type": "image/png", "Authorization": f"Bearer {token}"}
            connection.request("POST", "/invocations", png, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    options = ("--tls-cert", "server.pem", "--tls-client-ca", "ca.pem", "--token-file", "tokens")
    paths = [str(tmp_path / one) if "." in one or one == "tokens" else one for one in options]
    bundle = write_tiny_bundle(tmp_path / "model.tar.gz", phantom=True)
    with serving_process(bundle, *paths, "--host", "127.0.0.1") as process:
        status, body = ask(process.port, "client.pem")
        assert (status, body["height"]) == (200, 16)
        assert ask(process.port, "client.pem", token="another")[0] == 401
        for certificate in (None, "stranger.pem"):
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
                ask(process.port, certificate)
