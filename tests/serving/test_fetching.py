"""A URL in a request: what is fetched, and that a server cannot be made to ask anybody else."""

import asyncio
import http.server
import socket
import ssl
import threading
from ipaddress import ip_address, ip_network

import pytest

from medloom.errors import MissingExtraError, UserError
from medloom.serving.addresses import is_allowed
from medloom.serving.fetching import Fetcher
from medloom.serving.problems import Problem
from support.certificates import make

HOST, OTHER = "images.example.org", "mirror.example.org"
LOOPBACK = ip_network("127.0.0.0/8")


def _resolver(*answers):
    """A resolver that gives these answers one after another, the last one for ever, and counts the questions."""
    asked = []

    async def resolve(host, port):
        asked.append((host, port))
        return answers[min(len(asked), len(answers)) - 1]

    resolve.asked = asked
    return resolve


@pytest.fixture
def connects(monkeypatch):
    """Every address that something tries to connect to; nothing gets there."""
    tried = []

    def connect(self, address):
        if self.family != socket.AF_UNIX:
            tried.append(address)
            raise ConnectionRefusedError(111, "refused")
        raise AssertionError(address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tried


def _refused(fetcher, url):
    with pytest.raises(Problem) as refused:
        asyncio.run(fetcher.fetch(url))
    return refused.value


def _said(problem):
    return problem.status, problem.code, problem.message, problem.hint


def test_nothing_is_fetched_unless_an_operator_allowed_it(connects):
    resolve = _resolver(["93.184.215.14"])
    for url in (f"https://{HOST}/a.png", "s3://scans/a.dcm", "https://127.0.0.1/"):
        problem = _refused(Fetcher(resolve=resolve), url)
        assert (problem.status, problem.code) == (403, "url_not_allowed")
        assert "--allow-url-host" in problem.hint
    assert connects == resolve.asked == []


@pytest.mark.parametrize(
    "allowed",
    [
        "127.0.0.1",
        "[::1]",
        "::1",
        "2130706433",
        "0x7f.1",
        "127.1",
        f"https://{HOST}",
        f"{HOST}/path",
        "*.example.org",
        "Images.example.org",
        "bücher.example",
        f"{HOST}.",
        f"{HOST}:0",
        f"{HOST}:65536",
        f"user@{HOST}",
        "",
        "s3://",
        "s3://Scans",
        "s3://scans/key",
    ],
)
def test_an_operator_allows_names_and_buckets_and_nothing_that_looks_like_them(allowed):
    with pytest.raises(UserError, match="expected a name in lower case"):
        Fetcher((allowed,))


UNWANTED = [
    f"http://{HOST}/a",
    f"ftp://{HOST}/a",
    f"file://{HOST}/etc/passwd",
    "file:///etc/passwd",
    f"//{HOST}/a",
    HOST,
    "",
    f"https://{OTHER}/a",
    f"https://sub.{HOST}/a",
    f"https://{HOST}.evil.org/a",
    f"https://evil.org/{HOST}",
    f"https://{HOST}./a",
    f"https://{HOST}:8443/a",
    f"https://{HOST}:0443443/a",
    f"https://{HOST}:/a",
    f"https://user@{HOST}/a",
    f"https://user:word@{HOST}/a",
    f"https://{HOST}@evil.org/a",
    f"https://{HOST}%40evil.org/a",
    f"https://{HOST}#@evil.org/a",
    f"https://{HOST}?@evil.org/\\a",
    f"https://{HOST}\\@evil.org/a",
    f"https:\\\\{HOST}\\a",
    f"https:/{HOST}/a",
    f"https:///{HOST}/a",
    f"https://{HOST}/a#fragment",
    f"https://{HOST}/a b",
    f"https://{HOST}/a\r\nX-Evil: 1",
    f"https://{HOST}/a\n",
    f" https://{HOST}/a",
    f"https://{HOST}\t/a",
    f"https://{HOST}\x00/a",
    f"https://{HOST}/\xe9",
    "https://images\u3002example\u3002org/a",
    "https://image\u017f.example.org/a",  # the long s, which is an s where case does not matter
    "https://\u24d8mages.example.org/a",
    "https://images.example.org\uff0fa",
    "https://%69mages.example.org/a",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://\u2460\u2461\u2466.0.0.1/",
    "https://\u0661\u0662\u0667.0.0.1/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[0:0:0:0:0:ffff:7f00:1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1%25eth0]/",
    "https://169.254.169.254/latest/meta-data/",
    "https://169.254.170.2/v2/credentials",
    "https://localhost/",
    "https://metadata.google.internal/",
    f"https://{HOST}/{'a' * 3000}",
    "s3://scans/a",
    "gopher://127.0.0.1:6379/_",
    "data:image/png;base64,AAAA",
]


@pytest.mark.parametrize("url", UNWANTED, ids=range(len(UNWANTED)))
def test_a_url_that_is_not_exactly_of_an_allowed_host_is_refused_without_a_look_up(url, connects):
    resolve = _resolver(["93.184.215.14"])
    problem = _refused(Fetcher((HOST,), resolve=resolve), url)
    assert (problem.status, problem.code) == (403, "url_not_allowed")
    assert connects == resolve.asked == []


CLOSED = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "168.63.129.16"),
    *("169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1"),
    *("192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("100.100.100.200", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:169.254.169.254"),
    *("64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:0:5ef5:79fd::1"),
    *("2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::", "2002:808:808::", "3fff::1", "5f00::1", "fc00::1"),
    *("fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2606:4700::5efe:7f00:1"),
    *("2606:4700::200:5efe:a00:1", "2606:4700::1%eth0", "4000::1"),
]


@pytest.mark.parametrize("address", CLOSED)
def test_no_packet_goes_to_an_address_that_is_not_public(address, connects):
    for answer in ([address], ["93.184.215.14", address], [address, "2606:4700::1111"]):
        problem = _refused(Fetcher((HOST,), resolve=_resolver(answer)), f"https://{HOST}/a")
        assert (problem.status, problem.code) == (422, "not_fetched")
    assert connects == []


def test_closed_networks_end_where_the_registry_says():
    for text in CLOSED:
        assert not is_allowed(text)
    edges = ["9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1"]
    edges += ["172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "8.8.8.8", "223.255.255.255"]
    for text in (*edges, "2606:4700:4700::1111", "2a00:1450:4001::200e", "2001:4860:4860::8888"):
        assert is_allowed(text), text
        assert ip_address(text).is_global


def test_metadata_services_stay_closed_whatever_networks_are_allowed():
    everything = [ip_network("0.0.0.0/0"), ip_network("::/0")]
    assert is_allowed("10.1.2.3", everything)
    assert is_allowed("fc00::1", everything)
    for text in ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "fe80::1", "168.63.129.16", "no address"):
        assert not is_allowed(text, everything)


def test_a_name_is_resolved_once_and_the_connection_goes_to_what_it_meant_then(connects):
    resolve = _resolver(["93.184.215.14"], ["127.0.0.1"])  # as a rebinding server of names answers
    assert _refused(Fetcher((HOST,), resolve=resolve), f"https://{HOST}/a").code == "not_fetched"
    assert connects == [("93.184.215.14", 443)]
    assert resolve.asked == [(HOST, 443)]


def test_a_name_that_leads_nowhere_is_refused(connects):
    async def unknown(host, port):
        raise socket.gaierror(-2, "Name or service not known")

    for resolve in (unknown, _resolver([])):
        assert _refused(Fetcher((HOST,), resolve=resolve), f"https://{HOST}/a").code == "not_fetched"
    assert connects == []


def _ok(body, *headers, status="200 OK"):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _to(place, status="302 Found"):
    return _ok(b"", f"Location: {place}", status=status)


class Site:
    """Answers over TLS on loopback as told, and remembers what it was asked."""

    def __init__(self, folder):
        made = make("tests", hosts=[HOST, OTHER])
        (folder / "both.pem").write_bytes(made.pem + made.key_pem())
        self.server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server_tls.load_cert_chain(folder / "both.pem")
        self.client_tls = ssl.create_default_context(cadata=made.pem.decode())
        self.pages, self.asked = {}, []

    async def _serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode()
        self.asked.append((path, head))
        answer = self.pages[path]
        if answer is None:
            await reader.read()  # until the other side gives up
        elif callable(answer):
            await answer(writer)
        else:
            writer.write(answer)
        writer.close()

    def fetch(self, path, *, host=HOST, resolve=None, timeout_s=20.0, max_bytes=1000, networks=(LOOPBACK,)):
        async def run():
            async with await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.server_tls) as server:
                port = server.sockets[0].getsockname()[1]
                self.pages = {at: self._ported(page, port) for at, page in self.pages.items()}
                fetcher = Fetcher(
                    (f"{HOST}:{port}", f"{OTHER}:{port}"),
                    networks=networks,
                    max_bytes=max_bytes,
                    timeout_s=timeout_s,
                    resolve=resolve or _resolver(["127.0.0.1"]),
                    context=self.client_tls,
                )
                return await fetcher.fetch(f"https://{host}:{port}{path}")

        return asyncio.run(run())

    def refused(self, path, **more):
        with pytest.raises(Problem) as refused:
            self.fetch(path, **more)
        return refused.value

    @staticmethod
    def _ported(page, port):
        return page.replace(b":PORT", f":{port}".encode()) if isinstance(page, bytes) else page


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def site(certified):
    certified.pages, certified.asked = {}, []
    return certified


def test_an_allowed_host_is_asked_and_what_it_says_is_the_image(site):
    site.pages = {"/a.png?size=1": _ok(b"pixels")}
    assert site.fetch("/a.png?size=1") == b"pixels"
    ((_, head),) = site.asked
    assert b"Host: images.example.org:" in head
    assert b"cookie" not in head.lower()
    assert b"authorization" not in head.lower()


def test_an_answer_in_chunks_is_put_together(site):
    site.pages = {"/a": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"}
    assert site.fetch("/a") == b"abcde"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_three_redirects_are_followed_and_a_fourth_is_not(site, status):
    pages = {
        "/1": _to("/2", status),
        "/2": _to(f"https://{OTHER}:PORT/3", status),
        "/3": _to("4", status),
        "/4": _ok(b"pixels"),
        "/0": _to("/1", status),
    }
    site.pages = pages
    assert site.fetch("/1") == b"pixels"
    site.pages = pages
    assert site.refused("/0").code == "not_fetched"
    assert [path for path, _ in site.asked] == ["/1", "/2", "/3", "/4", "/0", "/1", "/2", "/3"]


@pytest.mark.parametrize(
    "place",
    [
        f"http://{HOST}:PORT/b",
        "https://evil.org/b",
        f"https://{HOST}/b",
        "https://127.0.0.1:PORT/b",
        "//169.254.169.254/latest",
        "s3://scans/a",
        "file:///etc/passwd",
        f"https://user@{HOST}:PORT/b",
        "",
        "https://[",
        "\xff",
    ],
)
def test_a_redirect_to_what_is_not_allowed_is_not_followed(site, place):
    site.pages = {"/a": _to(place), "/b": _ok(b"secret"), "/": _ok(b"secret")}
    assert _said(site.refused("/a")) == _said(site.refused("/a", networks=()))
    assert {path for path, _ in site.asked} <= {"/a"}


def test_a_redirect_is_resolved_anew_and_its_address_judged_anew(site):
    site.pages = {"/a": _to(f"https://{OTHER}:PORT/b"), "/b": _ok(b"secret")}
    resolve = _resolver(["127.0.0.1"], ["10.0.0.1"])
    assert site.refused("/a", resolve=resolve).code == "not_fetched"
    assert [host for host, _ in resolve.asked] == [HOST, OTHER]
    assert [path for path, _ in site.asked] == ["/a"]


def test_what_is_too_large_is_refused_by_its_bytes_however_it_is_announced(site):
    async def endless(writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"64\r\n" + bytes(100) + b"\r\n")
            await writer.drain()

    site.pages = {"/long": _ok(bytes(1001)), "/endless": endless, "/fits": _ok(bytes(1000))}
    assert len(site.fetch("/fits")) == 1000
    for path in ("/long", "/endless"):
        problem = site.refused(path)
        assert (problem.status, problem.code) == (413, "too_large")


def test_the_same_is_said_of_whatever_goes_wrong(site):
    async def drip(writer):
        while not writer.is_closing():
            writer.write(b"H")
            await asyncio.sleep(0)

    site.pages = {
        "/missing": _ok(b"not here", status="404 Not Found"),
        "/error": _ok(b"secret", status="500 Oh"),
        "/partial": _ok(b"pix", status="206 Partial"),
        "/packed": _ok(b"pix", "Content-Encoding: gzip"),
        "/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npix",
        "/noise": b"SSH-2.0-OpenSSH\r\n",
        "/empty": b"",
        "/headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n",
        "/redirect": _ok(b"", status="302 Found"),
        "/drip": drip,
    }
    said = {_said(site.refused(path)) for path in site.pages}
    site.pages = {"/silent": None}
    said.add(_said(site.refused("/silent", timeout_s=0.3)))
    asked = len(site.asked)
    said.add(_said(site.refused("/missing", networks=())))  # somebody listens there, at an address that is not public
    assert len(site.asked) == asked
    said.add(_said(site.refused("/missing", resolve=_resolver([]))))
    assert said == {(422, "not_fetched", "no image could be fetched from the URL", "Send the image itself.")}


def test_ports_that_are_open_closed_or_silent_cannot_be_told_apart():
    async def run():
        async def silent(reader, writer):
            await reader.read()
            writer.close()

        def fetcher(port):
            return Fetcher((f"{HOST}:{port}",), networks=(LOOPBACK,), timeout_s=0.3, resolve=_resolver(["127.0.0.1"]))

        async def greeting(reader, writer):
            writer.write(b"220 mail\r\n")
            writer.close()

        said = []
        with socket.create_server(("127.0.0.1", 0)) as held:
            closed = held.getsockname()[1]
        for listen in (silent, greeting, None):
            server = await asyncio.start_server(listen, "127.0.0.1", 0) if listen else None
            port = server.sockets[0].getsockname()[1] if server else closed
            with pytest.raises(Problem) as refused:
                await fetcher(port).fetch(f"https://{HOST}:{port}/a")
            said.append(_said(refused.value))
            if server:
                server.close()
        return said

    said = asyncio.run(run())
    assert len(set(said)) == 1


def test_a_certificate_of_another_name_is_not_taken(site):
    site.pages = {"/a": _ok(b"pixels")}

    async def run():
        async with await asyncio.start_server(site._serve, "127.0.0.1", 0, ssl=site.server_tls) as server:
            port = server.sockets[0].getsockname()[1]
            fetcher = Fetcher(
                (f"third.example.org:{port}",), networks=(LOOPBACK,), resolve=_resolver(["127.0.0.1"]),
                context=site.client_tls,
            )  # fmt: skip
            await fetcher.fetch(f"https://third.example.org:{port}/a")

    with pytest.raises(Problem, match="no image could be fetched"):
        asyncio.run(run())
    assert site.asked == []


def test_a_bucket_needs_boto3_and_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    with pytest.raises(MissingExtraError, match=r"medloom\[aws\]"):
        asyncio.run(Fetcher(("s3://scans",)).fetch("s3://scans/a.dcm"))
    for url in ("s3://other/a.dcm", "s3://scans", "s3://scans/", "s3://scans.evil/a", "S3://scans/a", "s3://scans/a\n"):
        assert _refused(Fetcher(("s3://scans",)), url).code == "url_not_allowed"


@pytest.fixture
def bucket(monkeypatch):
    """A store that speaks as much of S3 as a read needs, and knows what it was asked."""
    objects, asked = {}, []

    class Store(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            content = objects.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "word",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    yield objects, asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_object_of_an_allowed_bucket_is_fetched_and_of_no_other(bucket):
    objects, asked = bucket
    objects["/scans/ward/a%20b.dcm"] = b"pixels"
    objects["/scans/large"] = bytes(1001)
    fetcher = Fetcher(("s3://scans",), max_bytes=1000)
    assert asyncio.run(fetcher.fetch("s3://scans/ward/a b.dcm")) == b"pixels"
    assert _refused(fetcher, "s3://scans/large").code == "too_large"
    assert _said(_refused(fetcher, "s3://scans/missing"))[:2] == (422, "not_fetched")
    before = len(asked)
    assert _refused(fetcher, "s3://others/a.dcm").code == "url_not_allowed"
    assert len(asked) == before


def test_several_urls_together_may_take_what_one_may(site):
    site.pages = {"/a": _ok(bytes(600)), "/b": _ok(bytes(500)), "/c": _ok(bytes(300))}

    async def run():
        async with await asyncio.start_server(site._serve, "127.0.0.1", 0, ssl=site.server_tls) as server:
            port = server.sockets[0].getsockname()[1]
            fetcher = Fetcher(
                (f"{HOST}:{port}",),
                networks=(LOOPBACK,),
                max_bytes=1000,
                resolve=_resolver(["127.0.0.1"]),
                context=site.client_tls,
            )
            return await fetcher.fetch_all([f"https://{HOST}:{port}/{name}" for name in "abc"] + ["nonsense"])

    found = asyncio.run(run())
    assert [one if isinstance(one, bytes) else one.code for one in found] == [
        bytes(600),
        "too_large",
        bytes(300),
        "url_not_allowed",
    ]
