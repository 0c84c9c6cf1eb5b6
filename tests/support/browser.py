"""A headless Chromium spoken to over a pipe, by the DevTools protocol: no driver, no port, no network.

`apt-get install chromium` installs it on Debian; elsewhere any Chrome on the path does.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)
WIDER = """(() => {
  const box = document.scrollingElement, room = document.documentElement.clientWidth, found = [];
  for (const one of document.querySelectorAll('body *')) {
    let inside = false;
    for (let up = one.parentElement; up; up = up.parentElement)
      if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(up).overflowX)) inside = true;
    const right = one.getBoundingClientRect().right;
    if (!inside && right > room + 1) found.push(one.tagName + '.' + one.className + ' to ' + Math.round(right));
  }
  if (box.scrollWidth > room) found.push('page to ' + box.scrollWidth);
  return found;
})()"""
"""What reaches beyond the width of the page and lies in no box that scrolls."""


def executable() -> str | None:
    """Return where a browser is, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """A browser with one page; what it complained of and asked for is kept."""

    def __init__(self) -> None:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        read_end, self._write = os.pipe()
        self._read, write_end = os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (read_end, write_end)]
        moved = f"import os, sys; os.dup2({high[0]}, 3); os.dup2({high[1]}, 4); os.execv(sys.argv[1], sys.argv[1:])"
        starts = [sys.executable, "-S", "-c", moved]  # the browser reads from 3 and writes to 4
        command = [*starts, str(executable()), *FLAGS, f"--user-data-dir={self._profile.name}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, pass_fds=high, **quiet)
        for end in (read_end, write_end, *high):
            os.close(end)
        self._buffer, self._count, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)
        self._profile.cleanup()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come meanwhile are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._count:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return dict(found["result"])

    def open(self, page: Path, *, width: int = 1280, height: int = 900, media: str = "screen") -> None:
        """Open a page of the given width in CSS pixels and wait until it has loaded."""
        self.events.clear()
        self.call("Emulation.setEmulatedMedia", media=media)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=page.resolve().as_uri())
        while not any(one["method"] == "Page.loadEventFired" for one in self.events):
            self._next()

    def complaints(self) -> list[str]:
        """Return what the console said since the page was opened."""
        self.value("1")  # whatever it still had to say has come before the answer
        logged = [one["params"]["entry"]["text"] for one in self._of("Log.entryAdded")]
        said = [json.dumps(one["params"]["args"]) for one in self._of("Runtime.consoleAPICalled")]
        thrown = [json.dumps(one["params"]["exceptionDetails"]) for one in self._of("Runtime.exceptionThrown")]
        return [*logged, *said, *thrown]

    def requests(self) -> list[str]:
        """Return what was asked for beside the page itself and what is written in it."""
        asked = [one["params"]["request"]["url"] for one in self._of("Network.requestWillBeSent")]
        return [url for url in asked[1:] if not url.startswith("data:")]

    def wider(self) -> list[str]:
        """Return what reaches beyond the width of the page."""
        return list(self.value(WIDER))

    def value(self, expression: str) -> Any:
        """Return what an expression of JavaScript gives."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def picture(self, path: Path) -> None:
        """Write the whole page as a PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def pdf(self) -> bytes:
        """Return the page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"])

    def _of(self, method: str) -> list[dict[str, Any]]:
        return [one for one in self.events if one["method"] == method]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._read, 1 << 20)
            if not data:
                raise RuntimeError("the browser ended")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        if "method" in found:
            self.events.append(found)
        return found
