"""Does the server stay as it is? Many requests, a tenth of them hostile, and what the server holds on to.

    python benchmarks/soak.py [--requests 100000] [--clients 16]

After each tenth: resident memory, open files and processes of the server with all its children. Then: the slope of
memory over the last eight tenths, and which requests were answered how. The image and the network are small, so that
what is measured is the server.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import uvloop
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from inference import discs, momentary_bundle
from machine import describe
from medloom.packaging import read_bundle
from medloom.recipe import load_recipe
from serving import Server, running

TENTHS = 10
GOAL_MB = 1.0
DICOM_SEG = "application/dicom"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    print(describe("onnxruntime", "uvicorn"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bundle = momentary_bundle(folder, load_recipe("brain-mri", ["preprocess.size=[32,32]", "evaluate.views=1"]))
        with read_bundle(bundle) as opened:
            model = opened.manifest.name
        image = folder / "image.png"
        image.write_bytes(_png())
        command = (sys.executable, "-m", "medloom", "serve", str(bundle), "--port", "{port}")
        server = Server("medloom", command, "/invocations", {"Content-Type": "image/png"}, image)
        with running(server) as (port, process):
            uvloop.run(_soak(port, process, model, options.requests, options.clients))


async def _soak(port: int, process: psutil.Process, model: str, requests: int, clients: int) -> None:
    sound, hostile = list(_sound(model)), list(_hostile())
    statuses: dict[str, Counter[str]] = {"sound": Counter(), "hostile": Counter()}
    began = set[int]()
    memory = []
    print(f"{'requests':>10}{'MB':>9}{'files':>7}{'processes':>11}{'1/s':>8}")
    for tenth in range(TENTHS):
        start = time.perf_counter()
        numbers = iter(range(requests // TENTHS))

        async def client(numbers: Iterator[int] = numbers, tenth: int = tenth) -> None:
            for number in numbers:
                kind = "hostile" if number % 10 == 3 else "sound"
                pool = hostile if kind == "hostile" else sound
                statuses[kind][await _asked(port, pool[(number // 10 + tenth) % len(pool)])] += 1

        await asyncio.gather(*(client() for _ in range(clients)))
        rate = requests / TENTHS / (time.perf_counter() - start)
        tree = _tree(process)
        began = began or {one.pid for one in tree}  # decoders start when they are first needed
        memory.append(sum(one.memory_info().rss for one in tree) / 2**20)
        files = sum(one.num_fds() for one in tree)
        print(
            f"{(tenth + 1) * requests // TENTHS:>10}{memory[-1]:>9.1f}{files:>7}{len(tree):>11}{rate:>8.0f}", flush=True
        )
    slope = float(np.polyfit(np.arange(len(memory) - 2), memory[2:], 1)[0]) / (requests / TENTHS) * 10_000
    print(f"memory grows by {slope:.2f} MB in 10,000 requests after the first fifth; goal below {GOAL_MB}")
    replaced = len(began - {one.pid for one in _tree(process)})
    print(f"the server is {'the one that began' if process.is_running() else 'gone'}; decoders exchanged: {replaced}")
    print(json.dumps(statuses))


def _tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


async def _asked(port: int, request: bytes) -> str:
    """Send bytes on a connection of their own and return the status, or that there was none."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        line = await asyncio.wait_for(reader.readline(), 60)
        while not reader.at_eof() and await reader.read(65536):
            pass
        writer.close()
        return line[9:12].decode("ascii", "replace") or "closed"
    except (OSError, TimeoutError) as error:
        return type(error).__name__


def _sound(model: str) -> Iterator[bytes]:
    png = _png()
    yield _post("/invocations", "image/png", png)
    yield _post("/invocations", "image/png", png, "Accept: image/png\r\n")
    yield _post("/invocations", "application/octet-stream", png, "Accept: application/x-npy\r\n")
    yield _post("/invocations", "image/tiff", _encoded("tiff"))
    yield _post("/invocations", "image/jpeg", _encoded("jpeg"))
    inputs = [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(png).decode()]}]
    yield _post(f"/v2/models/{model}/infer", "application/json", json.dumps({"inputs": inputs}).encode())
    yield _post("/invocations", "application/json", json.dumps({"image": inputs[0]["data"][0]}).encode())
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + png + b"\r\n--b--\r\n"
    yield _post("/invocations", "multipart/form-data; boundary=b", form)
    for media_type in (DICOM_SEG, "application/json"):
        yield _post("/invocations", "application/dicom", _dicom(), f"Accept: {media_type}\r\n")
    yield b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    yield b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def _hostile() -> Iterator[bytes]:
    """Bodies that lie, are cut off, too large or no images, and requests that are none."""
    png = _png()
    yield _post("/invocations", "image/png", png[: len(png) // 2])
    yield _post("/invocations", "image/png", _huge())
    yield _post("/invocations", "image/tiff", png)
    yield _post("/invocations", "text/html", b"<script>")
    yield _post("/invocations", "application/json", b"[" * 20_000)
    yield _post("/invocations", "application/json", b'{"image": "' + b"A" * 4_001 + b'", "image": ""}')
    yield _post("/invocations", "application/x-npy", b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'shape': (9,)}")
    yield _post("/invocations?page=-1", "image/png", png)
    yield _post("/models/../../etc/passwd/invocations", "image/png", png)
    yield _post("/v2/models/none/infer", "application/json", b'{"inputs": [{"shape": [1e99]}]}')
    head = "POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    yield f"{head}Content-Length: 4294967296\r\n\r\n".encode()
    yield f"{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode()
    yield f"{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n".encode()
    yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64
    yield b"GET / HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n"


def _post(path: str, media_type: str, body: bytes, more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {media_type}\r\n"
    return f"{head}{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _dicom() -> bytes:
    """A colour photograph as ultrasound and dermatoscopes send it."""
    pixels, _ = discs(1, 3, (48, 48), seed=1)
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.77.1.4", generate_uid(entropy_srcs=["soak"])
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = dataset.SOPInstanceUID
    dataset.Modality, dataset.PatientID, dataset.PatientName = "XC", "", ""
    dataset.Rows = dataset.Columns = 48
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = np.ascontiguousarray(np.moveaxis(pixels[0], 0, -1)).tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _png() -> bytes:
    return _encoded("png")


def _encoded(kind: str) -> bytes:
    pixels, _ = discs(1, 3, (48, 48), seed=1)
    buffer = io.BytesIO()
    Image.fromarray(np.moveaxis(pixels[0], 0, -1)).save(buffer, kind)
    return buffer.getvalue()


def _huge() -> bytes:
    """A PNG whose header speaks of 10,000 megapixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


if __name__ == "__main__":
    main()
