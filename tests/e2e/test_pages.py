"""Every page in a real browser: Chromium, on Debian by `apt-get install chromium`; without one these are skipped."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from nbclient import NotebookClient

from medloom.cli.main import main
from medloom.files import read_json
from medloom.packaging import read_bundle
from support.browser import Browser, executable
from support.figures import Figures

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(executable() is None, reason="no browser: apt-get install chromium"),
]

MASKS = ("data.phantom.patients=7", "data.phantom.size=64", "data.phantom.slices=[8,12]", "preprocess.size=[64,64]")
MASKS += ("model.args.channels=[8,16,32]", "train.epochs=3")
LABELS = ("data.phantom.patients=24", "data.phantom.size=48", "preprocess.size=[48,48]", "preprocess.crop=null")
LABELS += ("model.name=perceptron", "train.epochs=3", "evaluate.views=1")
BOTH = ("train.device=cpu", "evaluate.bootstrap=50")
PAGES = {
    "masks": "runs/masks/report.html",
    "masks, data": "runs/masks/data_report.html",
    "labels": "runs/labels/report.html",
    "labels, data": "runs/labels/data_report.html",
    "checklists, masks": "runs/masks/checklists.html",
    "checklists, labels": "runs/labels/checklists.html",
    "comparison": "compared/comparison.html",
    "tuning": "studies/chest-xray/tuning_report.html",
    "external validation": "elsewhere/report.html",
    "explanations": "runs/masks/explanation/explanation.html",
    "model card, masks": "unpacked/masks/MODEL_CARD.html",
    "model card, labels": "unpacked/labels/MODEL_CARD.html",
}
CARDS = ("model card, masks", "model card, labels")
PHONE, DESK, PAPER = 390, 1280, 703
"""Widths in CSS pixels; the last is that of A4 without its margins."""


def do(*arguments, settings=()):
    assert main([*arguments, *(part for one in settings for part in ("--set", one))]) in (0, 3)


@pytest.fixture(scope="module")
def pages(place):
    """Every kind of page, of phantoms."""
    do("run", "brain-mri-small", "--run", "masks", settings=(*MASKS, *BOTH))
    do("run", "chest-xray", "--run", "labels", settings=(*LABELS, *BOTH))
    do("run", "chest-xray", "--run", "other", settings=(*LABELS, *BOTH, "train.optimizer.lr=0.005"))
    do("compare", "labels", "other", "-o", "compared")
    do(
        "tune",
        "chest-xray",
        "--trials",
        "3",
        settings=(*LABELS, *BOTH, "tune.space={train.batch_size: {choices: [4, 8]}}"),
    )
    do("data", "phantom", "images", "--recipe", "chest-xray", "--patients", "12", "--size", "48")
    do("evaluate", "runs/labels/model.tar.gz", "--data", "images", "-o", "elsewhere", "--resamples", "50")
    do("explain", "masks", "--images", "3")
    do("report", "masks")
    for name in ("masks", "labels"):
        do("report", name, "--notebook", "--pdf")
        with read_bundle(place / "runs" / name / "model.tar.gz") as bundle:
            shutil.copytree(bundle.folder, place / "unpacked" / name)
    return place


@pytest.fixture(scope="module")
def browser():
    with Browser() as found:
        yield found


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_a_complaint_and_asks_for_nothing(pages, browser, name):
    browser.open(pages / PAGES[name], width=DESK)
    assert browser.complaints() == []
    assert browser.requests() == []
    assert browser.value("document.images.length") == browser.value(
        "[...document.images].filter(one => one.complete && one.naturalWidth).length"
    )


@pytest.mark.parametrize(("width", "media"), [(PHONE, "screen"), (DESK, "screen"), (PAPER, "print")])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_cut_at_any_width(pages, browser, name, width, media):
    browser.open(pages / PAGES[name], width=width, media=media)
    assert browser.wider() == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_prints_with_what_is_folded_on_the_screen(pages, browser, name):
    browser.open(pages / PAGES[name], width=PAPER, media="print")
    hidden = "[...document.querySelectorAll('details *')].filter(one => !one.getBoundingClientRect().height).length"
    assert browser.value(hidden) == 0
    assert browser.pdf().startswith(b"%PDF")


@pytest.mark.parametrize("name", [name for name in PAGES if "card" not in name])
def test_every_link_of_a_page_leads_to_a_file_beside_it(pages, name):
    page = pages / PAGES[name]
    links = re.findall(r'href="([^"]*)"', page.read_text())
    assert links
    assert [one for one in links if not (page.parent / unquote(one)).is_file()] == []


@pytest.mark.parametrize(
    "name", ["masks", "labels", "labels, data", "external validation", "comparison", "tuning", *CARDS]
)
def test_every_number_of_a_page_is_in_a_file_beside_it(pages, name):
    page = pages / PAGES[name]
    # The parts of a training's time are told as shares of the whole and in ms: quotients of what profile.json has in s.
    text = re.sub(r"<h2>Where the time went</h2>.*?(?=<h2>|<footer>)", "", page.read_text(), flags=re.DOTALL)
    assert Figures(page.parent).strangers(text) == []


@pytest.mark.parametrize("name", ["masks", "labels"])
def test_the_notebook_makes_the_figures_of_the_report_again(pages, name):
    folder = pages / "runs" / name
    notebook = nbformat.read(folder / "report.ipynb", as_version=4)
    nbformat.validate(notebook)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert sum(output.output_type == "display_data" for output in outputs) >= 6
    summary = read_json(folder / "evaluation" / "summary.json")
    assert len(summary["headlines"]) == 4
    shown = {label: text.replace("\xa0", " ") for label, text in headlines((folder / "report.html").read_text())}
    assert shown
    for label, text in shown.items():
        assert f"{label}: {text}" in printed
    made_again = {"masks": "Mean Dice of each class of an image that holds it", "labels": "Accuracy"}[name]
    value = summary["test"]["metrics"][{"masks": "dice_foreground", "labels": "accuracy"}[name]]["value"]
    assert f"{made_again}: {value:.3f}\n" in printed  # from the table of cases


def headlines(page):
    """Label and text of each tile that has a value."""
    tile = r'<div class="label">(.*?)</div><div class="value">(.*?)</div>\s*<div class="interval">(.*?)</div>'
    for label, value, interval in re.findall(tile, page):
        if value != "–":
            yield label, value if interval == "–" else f"{value} ({interval})"


def test_pages_are_printed_beside_themselves(pages):
    for name in ("report", "data_report"):
        assert (pages / "runs" / "masks" / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_the_browser_does_complain_where_there_is_reason_to(browser, tmp_path):
    page = tmp_path / "page.html"
    wide, asks = '<p style="width:900px">wide</p>', '<img src="http://localhost/no.png">'
    page.write_text(f'<meta name="viewport" content="width=device-width">{wide}{asks}<script>throw 1</script>')
    browser.open(page, width=PHONE)
    assert browser.complaints()
    assert browser.requests() == ["http://localhost/no.png"]
    assert browser.wider()


def test_the_pages_listed_here_are_all_there_are(pages):
    made = {path.name for path in pages.rglob("*.html")}
    assert made <= {Path(path).name for path in PAGES.values()}
