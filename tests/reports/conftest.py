import re

import pytest

from medloom.reports import write_run_report


@pytest.fixture(scope="module")
def page(run_dir):
    """The run report of the module's ``run_dir``."""
    return write_run_report(run_dir).read_text()


@pytest.fixture(scope="session")
def visible():
    """Text of a page without tags, styles and pictures."""

    def text(page):
        return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL))

    return text
