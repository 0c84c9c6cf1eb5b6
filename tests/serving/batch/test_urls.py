"""URLs in a list: fetched from hosts that the user allowed, with the caution of the server, and from nowhere else."""

import csv
import http.server
import socket
import ssl
import threading
from ipaddress import ip_network

import numpy as np
import pytest

from medloom.cli.main import main
from medloom.errors import DataError
from medloom.imaging import encode_png
from medloom.serving.batch.listing import opened_listing
from medloom.serving.batch.urls import fetch_from
from medloom.serving.fetching import Fetcher
from support.bundles import tiny_label_recipe, write_tiny_label_bundle
from support.certificates import make

HOST = "images.example.org"
PICTURE = encode_png(np.full((6, 6), 90, np.uint8))


class Site(http.server.BaseHTTPRequestHandler):
    """Has one picture, whatever stands behind the question mark; leads elsewhere from ``/away``."""

    def do_GET(self):
        self.server.asked.append(self.path)
        away = self.path == "/away"
        self.send_response(302 if away else 200)
        if away:
            self.send_header("Location", "https://169.254.169.254/latest/meta-data/")
        self.send_header("Content-Length", "0" if away else str(len(PICTURE)))
        self.end_headers()
        self.wfile.write(b"" if away else PICTURE)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server with TLS on loopback, and what trusts it."""
    made, folder = make("tests", hosts=[HOST]), tmp_path_factory.mktemp("site")
    (folder / "both.pem").write_bytes(made.pem + made.key_pem())
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(folder / "both.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.socket = server_tls.wrap_socket(server.socket, server_side=True)
    server.asked, server.trusted = [], ssl.create_default_context(cadata=made.pem.decode())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def connects(monkeypatch):
    """Every address that something tries to connect to; nothing gets there."""
    tried = []

    def connect(self, address):
        if self.family != socket.AF_UNIX:
            tried.append(address)
            raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tried


def resolving(*answers):
    async def resolve(host, port):
        return answers

    return resolve


def listed(tmp_path, lines, fetcher):
    (tmp_path / "list.txt").write_text("\n".join(lines))
    with opened_listing([f"@{tmp_path / 'list.txt'}"], fetch=fetch_from(fetcher)) as listing:
        return [entry for entry, _ in listing.entries()]


def test_a_url_of_an_allowed_host_is_an_input_whose_name_holds_no_secret(site, tmp_path):
    port = site.server_address[1]
    fetcher = Fetcher(
        (f"{HOST}:{port}",),
        (ip_network("127.0.0.0/8"),),
        resolve=resolving("127.0.0.1"),
        context=site.trusted,
        timeout_s=20.0,
    )
    lines = [f"https://{HOST}:{port}/a.png?signature={number}" for number in (1, 2)]
    first, second, away = listed(tmp_path, [*lines, f"https://{HOST}:{port}/away"], fetcher)
    assert first.name == second.name == f"{HOST}:{port}/a.png"
    assert first.stamp() != second.stamp()
    assert "signature" not in f"{first.name}{first.place}{first.stamp()}"
    assert first.read() == second.read() == PICTURE
    with pytest.raises(DataError, match="no image could be fetched from the URL"):
        away.read()
    assert site.asked == ["/a.png?signature=1", "/a.png?signature=2", "/away"]


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "169.254.169.254", "fd00:ec2::254", "::ffff:10.0.0.1"])
def test_no_packet_goes_to_an_address_that_is_not_public(tmp_path, connects, address):
    (one,) = listed(tmp_path, [f"https://{HOST}/a.png"], Fetcher((HOST,), resolve=resolving(address)))
    with pytest.raises(DataError, match="no image could be fetched from the URL"):
        one.read()
    assert connects == []


@pytest.mark.parametrize(
    "url",
    ["https://other.example.org/a.png", f"https://user@{HOST}/a.png", f"https://{HOST}:8443/a", "https://10.0.0.1/"],
)
def test_what_no_host_was_allowed_for_is_refused_without_a_look_up(tmp_path, connects, url):
    async def resolve(host, port):
        raise AssertionError(host)

    (one,) = listed(tmp_path, [url], Fetcher((HOST,), resolve=resolve))
    with pytest.raises(DataError, match="none of a host that --allow-url-host names"):
        one.read()
    assert connects == []


def test_the_command_fetches_nothing_unless_it_is_told_to_and_then_with_the_same_caution(
    tmp_path, connects, monkeypatch, capsys
):
    asked = []

    def look_up(host, *more, **options):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    bundle = write_tiny_label_bundle(tmp_path / "model.tar.gz", tiny_label_recipe())
    (tmp_path / "list.txt").write_text(f"https://{HOST}/a.png\nhttp://{HOST}/b.png\n")
    command = ["batch", str(bundle), f"@{tmp_path / 'list.txt'}", "-o"]
    assert main([*command, str(tmp_path / "one")]) == 3
    assert asked == []
    assert main([*command, str(tmp_path / "two"), "--allow-url-host", HOST]) == 3
    assert asked == [HOST]
    assert connects == []
    errors = {}
    for name in ("one", "two"):
        with (tmp_path / name / "predictions.csv").open(newline="") as file:
            errors[name] = [row["error"] for row in csv.DictReader(file)]
    assert "https:// is not read by a batch, unless --allow-url-host names its host" in errors["one"][0]
    assert errors["two"][0] == "no image could be fetched from the URL"
    assert all("http:// is not read by a batch; expected" in found[1] for found in errors.values())
    capsys.readouterr()
    assert main([*command, str(tmp_path / "three"), "--allow-url-host", "https://x"]) == 2
    assert "is no host that URLs can be allowed for" in capsys.readouterr().err
