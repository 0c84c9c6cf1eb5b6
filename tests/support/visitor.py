"""Somebody who looks at a page of a server, in Debian's Chromium driven by Playwright; WebGL is drawn by the processor.

`apt-get install chromium` installs the browser, `pip install playwright` what drives it; nothing is downloaded.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

AXE = Path(__file__).with_name("axe") / "axe.min.js"
HERE_ALONE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
NO_WEBGL = ("--disable-3d-apis",)
PATIENCE_MS = 180_000
ORANGE = np.array([230, 159, 0])
"""The first class's outline."""


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """Run `medloom serve` until the end of the block."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "medloom.cli.main",
        "serve",
        "--port",
        "0",
        "--log-format",
        "none",
        *arguments,
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield next(found[0] for line in process.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", line))) + "/"
    finally:
        process.terminate()
        process.communicate(timeout=60)


@contextmanager
def browsers(executable: str) -> Iterator[Callable[[Sequence[str]], Any]]:
    """Give what starts a browser with some flags; all of them end with the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, ExitStack() as started:

        def start(flags: Sequence[str] = WEBGL) -> Any:
            found = playwright.chromium.launch(executable_path=executable, args=[*flags, HERE_ALONE])
            started.callback(found.close)
            return found

        yield start


class Visitor:
    """One page in a window of its own; what it complained of and asked for is kept.

    Args:
        browser: From ``browsers``.
        url: Of the server.
        options: Of the window, such as ``color_scheme`` and ``viewport``.
    """

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self._context = browser.new_context(accept_downloads=True, **options)
        self._context.add_init_script(path=AXE)
        self.page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.url, self.said, self.asked = url, list[str](), list[str]()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self._tools = self._context.new_cdp_session(self.page)
        self.page.goto(url)

    def close(self) -> None:
        """Close the window."""
        self._context.close()

    def give(self, *files: Path, model: str | None = None) -> None:
        """Choose files and wait until each is answered or refused."""
        if model:
            self.page.select_option("#model", model)
        before = self.page.locator("#list tbody tr").count()
        self.page.set_input_files("#files", list(files))
        self.page.locator("#list tbody tr").nth(before).wait_for()
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is being read or asked any more."""
        self.page.locator("#list td:text-is('waiting')").first.wait_for(state="detached")
        self.page.locator("#stage:not([aria-busy])").wait_for()

    def text(self, selector: str) -> str:
        """Return what stands somewhere."""
        return str(self.page.locator(selector).inner_text())

    def cells(self, selector: str) -> list[list[str]]:
        """Return the rows of a table's body."""
        rows = self.page.locator(f"{selector} tbody tr").all()
        return [[cell.inner_text().strip() for cell in row.locator("th, td").all()] for row in rows]

    def download(self, name: str) -> bytes:
        """Press a button and return the file that it saves."""
        with self.page.expect_download() as waiting:
            self.page.get_by_role("button", name=name).click()
        return Path(waiting.value.path()).read_bytes()

    def picture(self) -> NDArray[np.uint8]:
        """Return the pixels that are shown."""
        data = self.page.locator("#stage").screenshot()
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def value(self, expression: str) -> Any:
        """Return what an expression gives; the page's policy would not let the page itself evaluate one."""
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        return self._tools.send("Runtime.evaluate", asked)["result"].get("value")

    def faults(self) -> list[str]:
        """Return what axe finds against WCAG 2.2 A and AA and its own good practice, the serious and the critical."""
        found = self.value("axe.run().then(({violations}) => JSON.parse(JSON.stringify(violations)))")
        assert isinstance(found, list), "axe did not run"
        return [
            f"{one['id']} ({one['impact']}): {node['target']}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    def elsewhere(self) -> list[str]:
        """Return what was asked of somebody else than the server."""
        own = (self.url.rstrip("/"), "data:", "blob:")
        return [url for url in self.asked if not url.startswith(own)]


def near(pixels: NDArray[np.uint8], colour: NDArray[np.int_], within: int = 40) -> int:
    """Return how many pixels have about this colour."""
    return int((np.abs(pixels.astype(int) - colour).sum(axis=-1) < within).sum())
