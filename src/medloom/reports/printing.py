"""Pages as PDF, by a Chromium that is installed; nothing is loaded from elsewhere, and nothing is sent."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from medloom.errors import UserError
from medloom.files import write_bytes

__all__ = ["print_page"]

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-background-networking",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--no-pdf-header-footer",
)
_LONGEST_S = 120


def print_page(page: Path) -> Path:
    """Write a page as PDF beside it, with the page breaks and colours of its style for paper.

    Args:
        page: An HTML file that Medloom wrote.

    Returns:
        The path of the PDF.

    Raises:
        UserError: If no Chromium or Chrome is on the path, or it prints nothing.
    """
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise UserError("--pdf: no Chromium or Chrome is on the path; install one (Debian: apt-get install chromium)")
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()  # as root its own sandbox does not start
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = Path(folder) / "page.pdf"
        words = [browser, *_FLAGS, *root, f"--user-data-dir={folder}/profile", f"--print-to-pdf={made}"]
        try:
            done = subprocess.run(  # noqa: S603 - our own flags and page
                [*words, page.resolve().as_uri()], capture_output=True, timeout=_LONGEST_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(f"--pdf: {Path(browser).name} did not print {page.name} in {_LONGEST_S} s") from error
        if not made.is_file():
            raise UserError(
                f"--pdf: {Path(browser).name} ended with {done.returncode} and printed nothing of {page.name}"
            )
        path = page.with_suffix(".pdf")
        write_bytes(path, made.read_bytes())
    return path
