"""Encrypted connections with certificates that are renewed, and clients that show theirs."""

import itertools
import logging
import socket
import ssl
import threading
from contextlib import contextmanager, suppress

import pytest
from cryptography import x509

from medloom.errors import UserError
from medloom.serving.http.tls import Certificates, context
from support.certificates import make


@pytest.fixture(scope="module")
def made():
    """Two servers, two authorities, and a client of each."""
    servers, authorities = [make("first"), make("second")], [make("ca one"), make("ca two")]
    return servers, authorities, [make("client", authority) for authority in authorities]


@pytest.fixture
def files(tmp_path, made):
    servers, authorities, clients = made
    found = Certificates(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "ca.pem")
    _write(found, servers[0], authorities[0])
    for number, client in enumerate(clients):
        (tmp_path / f"client{number}.pem").write_bytes(client.pem + client.key_pem())
    return found


def _write(files, server, authority):
    files.certificate.write_bytes(server.pem)
    files.key.write_bytes(server.key_pem())
    if files.client_ca:
        files.client_ca.write_bytes(authority.pem)


@contextmanager
def _serving(outer):
    """A server that says ``hello`` to whoever it lets in."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            with suppress(ssl.SSLError, ConnectionError):
                connection, _ = listener.accept()
                with outer.wrap_socket(connection, server_side=True) as encrypted:
                    encrypted.sendall(b"hello")
                    encrypted.recv(1)

    def until_closed():
        with suppress(OSError):
            serve()

    thread = threading.Thread(target=until_closed, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def _ask(port, client=None, name="localhost"):
    """Which certificate the server shows, and whether it lets this client in."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    if client:
        asking.load_cert_chain(client)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        asking.wrap_socket(plain, server_hostname=name) as encrypted,
    ):
        shown = x509.load_der_x509_certificate(encrypted.getpeercert(True)).subject.rfc4514_string()
        try:
            return shown, encrypted.recv(5) == b"hello"
        except (ssl.SSLError, ConnectionError):
            return shown, False


def test_only_clients_whose_authority_is_named_are_let_in(files, tmp_path):
    with _serving(context(files)) as port:
        assert _ask(port) == ("CN=first", False)
        assert _ask(port, tmp_path / "client0.pem") == ("CN=first", True)
        assert _ask(port, tmp_path / "client1.pem") == ("CN=first", False)


@pytest.mark.parametrize("name", ["localhost", None], ids=["named", "unnamed"])
def test_renewed_certificates_and_authorities_count_from_the_next_connection(files, tmp_path, made, name):
    servers, authorities, _ = made
    with _serving(context(files, itertools.count(0, 2).__next__)) as port:
        assert _ask(port, tmp_path / "client0.pem", name) == ("CN=first", True)
        _write(files, servers[1], authorities[1])
        assert _ask(port, tmp_path / "client1.pem", name) == ("CN=second", True)
        assert _ask(port, tmp_path / "client0.pem", name) == ("CN=second", False)


def test_a_certificate_that_does_not_fit_its_key_is_not_taken_while_serving(files, tmp_path, made, caplog):
    servers, _, _ = made
    with _serving(context(files, itertools.count(0, 2).__next__)) as port:
        with caplog.at_level(logging.ERROR):
            files.certificate.write_bytes(servers[1].pem)
            assert _ask(port, tmp_path / "client0.pem") == ("CN=first", True)
        assert "still counts" in caplog.text
        files.key.write_bytes(servers[1].key_pem())
        assert _ask(port, tmp_path / "client0.pem") == ("CN=second", True)


def test_without_an_authority_clients_show_nothing(files):
    with _serving(context(Certificates(files.certificate, files.key))) as port:
        assert _ask(port) == ("CN=first", True)


def test_old_versions_of_the_protocol_are_not_spoken(files):
    assert context(files).minimum_version == ssl.TLSVersion.TLSv1_2


def test_files_that_will_not_do_are_named_with_what_was_expected(files, made, tmp_path):
    servers, _, _ = made
    files.key.write_bytes(servers[1].key_pem())
    with pytest.raises(UserError, match=r"--tls-cert .*server.pem and --tls-key .*its own private key.*mismatch"):
        context(files)
    files.key.write_bytes(servers[0].key_pem(b"secret"))
    with pytest.raises(UserError, match="without a password"):
        context(files)
    files.key.write_bytes(servers[0].key_pem())
    files.client_ca.write_bytes(b"no certificate")
    with pytest.raises(UserError, match="--tls-client-ca"):
        context(files)
    with pytest.raises(UserError, match="no such file"):
        context(Certificates(tmp_path / "none.pem"))
