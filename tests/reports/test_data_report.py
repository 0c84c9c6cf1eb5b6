from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from medloom.evaluation.text import number
from medloom.reports import write_data_report
from medloom.reports.charts import bars, figure_uri, lines, new_figure, stacked_bars
from medloom.reports.facts import orientation_sentence
from medloom.reports.html import data_uri, megabytes, percent, render

TARGET = {"kind": "masks", "names": ["background", "lesion"]}


def facts(names: tuple[str, ...] = ("pre-contrast", "FLAIR", "post-contrast")) -> dict:
    return {
        "target": TARGET,
        "splits": [
            {
                "split": split, "patients": 1, "samples": 10, "foreground_samples": 4, "foreground_share": share,
                "sample_share": 1 / 3,
            }
            for split, share in (("train", 0.4), ("validation", 0.4), ("test", None))
        ],
        "patients": [
            {"patient_id": f"P00{k}", "split": split, "samples": 10, "foreground_samples": 4}
            for k, split in enumerate(("train", "validation", "test"))
        ],
        "channels": [
            {
                "name": name, "min": 0.0, "max": 255.0, "mean": 20.0, "std": 31.5, "zero_share": 0.25, "images": 30,
                "edges": [0.0, 100.0, 200.0, 300.0], "counts": [50, 20, 0],
            }
            for name in names
        ],
        "blank": {
            "rule": "dark", "samples": ["P001-009"], "with_foreground": [],
            "missing_channels": [{"sample_id": "P000-001", "channel": names[-2:][0]}],
            "nonzero_minima": [{"sample_id": "P002-003", "minima": [1, 0, 0]}],
        },
        "contrast": {
            "rule": "bright", "channel": 0, "sure": True, "named": 1, "agrees": False,
            "scores": [{"channel": name, "foreground": 1.5, "dark": 0.3} for name in names],
        },
        "pictures": {
            "patient_id": "P000", "channel": names[-2:][0], "channel_index": 1, "samples": ["P000-000", "P000-009"],
            "images": 10, "largest_foreground": "P000-005",
        },
    }  # fmt: skip


def prepared(phantom: bool = True) -> dict:
    return {
        "phantom": phantom,
        "target": TARGET,
        "warnings": ["<script>alert(1)</script> & more"],
        "patient_source": {
            "status": "known", "source": "the folders", "patients": 3, "samples_without": 0, "apart": True
        },
        "audit": {
            "shared_patients": 0, "blank": 1, "threshold": 0.985, "warnings": [],
            "identical": {"count": 1, "listed": [{"samples": ["P000-001", "P002-004"], "splits": ["train", "test"]}]},
            "near_identical": {"count": 0, "listed": []},
        },
        "demographics": [
            {"column": "age", "over": "patients", "parts": {
                "train": {"known": 2, "missing": 0, "mean": 51.25, "std": 14.142, "min": 41.0, "max": 61.0},
                "all": {"known": 2, "missing": 1, "mean": None, "std": None, "min": None, "max": None},
            }},
            {"column": "sex", "over": "images", "parts": {
                part: {"known": 3, "missing": 0, "counts": {"F <b>": 1, "M": 2}} for part in ("train", "all")
            }},
        ],
        "found": 32,
        "set_aside": [{"reason": "missing_mask", "count": 1}, {"reason": "unreadable", "count": 1}],
        "catalogue_sha256": "ab" * 32,
        "store": {"key": "k", "bytes": 30_000_000, "shape": [30, 3, 64, 64], "dtype": "uint8"},
        "seconds": 1.5,
        "images_per_s": 812.0,
    }  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_data_report(make_run(tmp_path_factory.mktemp("run"))).read_text()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_run(tmp_path)


def make_run(tmp_path: Path) -> Path:
    folder = tmp_path / "data_report"
    folder.mkdir()
    (tmp_path / "prepare.json").write_text(json.dumps(prepared()))
    (folder / "facts.json").write_text(json.dumps(facts()))
    frame = Image.new("RGB", (8, 8), (90, 0, 0))
    for name in ("gallery_plain.png", "gallery_mask.png", "augmentation.png"):
        frame.save(folder / name)
    frame.save(folder / "animation.webp", save_all=True, append_images=[Image.new("RGB", (8, 8))], duration=100)
    return tmp_path


class Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.links: set[str] = set()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "srcset", "data", "action")]
        self.links |= {value or "" for name, value in attrs if name == "href"}


def addresses(page: str) -> Addresses:
    parser = Addresses()
    parser.feed(page)
    return parser


def test_the_page_holds_everything_and_asks_for_nothing(page: str) -> None:
    parsed = addresses(page)
    assert len(parsed.found) == 9
    assert parsed.links == {"prepare.json", "data_report/facts.json"}
    assert all(address.startswith("data:image/") for address in parsed.found)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    styles = "".join(re.findall(r"<style>(.*?)</style>", page, re.S))
    assert "url(" not in styles
    assert "@import" not in styles


def test_the_page_says_phantom_only_when_the_images_are_phantoms(run_dir: Path, page: str) -> None:
    assert "Phantom data" in page
    (run_dir / "prepare.json").write_text(json.dumps(prepared(phantom=False)))
    assert "hantom" not in write_data_report(run_dir).read_text()


def test_text_from_the_data_is_escaped(page: str) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page


def test_the_page_tells_what_was_found(page: str) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "pre-contrast looks like FLAIR, but the recipe calls FLAIR FLAIR: check data.channels." in text
    assert "P001-009" in text
    assert "P000-001 (FLAIR)" in text
    assert "P002-003" in text
    assert "P000-001 and P002-004 (train, test)" in text
    assert text.count("2 of 32 samples were set aside: 1 × without a mask; 1 × unreadable.") == 2


def test_what_decoding_did_is_counted_in_a_table(run_dir: Path) -> None:
    decoding = {
        "images": [{"note": "EXIF orientation applied", "count": 7}],
        "masks": [{"note": "white-is-zero inverted", "count": 1234}],
    }
    assert "What decoding did" not in write_data_report(run_dir).read_text()
    found = json.loads((run_dir / "prepare.json").read_text())
    (run_dir / "prepare.json").write_text(json.dumps(found | {"decoding": decoding}))
    page = re.sub(r"\s*<[^>]*>\s*", "|", write_data_report(run_dir).read_text())
    assert "Images||EXIF orientation applied||7|" in page
    assert "Masks||White-is-zero inverted||1,234|" in page


def test_the_same_facts_give_the_same_page(run_dir: Path, page: str) -> None:
    assert write_data_report(run_dir).read_text() == page


def test_one_channel_and_no_preview_are_enough(run_dir: Path) -> None:
    single = facts(("grey",))
    single["contrast"] = {"rule": "bright", "channel": None, "sure": False, "named": 0, "agrees": None, "scores": []}
    (run_dir / "data_report/facts.json").write_text(json.dumps(single))
    (run_dir / "data_report/augmentation.png").unlink()
    page = write_data_report(run_dir).read_text()
    assert "nothing was compared" in page
    assert "Augmentation" not in page


def test_images_that_are_of_no_brain_are_not_said_to_be(run_dir: Path) -> None:
    fundus = facts(("red", "green", "blue"))
    fundus["contrast"] |= {"channel": 1, "named": None, "agrees": None}
    (run_dir / "data_report/facts.json").write_text(json.dumps(fundus))
    text = re.sub(r"<[^>]+>", " ", write_data_report(run_dir).read_text())
    assert "green shows the foreground best." in text
    assert not re.findall(r"(?i)flair|brain|lesion|slice", text)
    fundus["contrast"] |= {"channel": None, "scores": []}
    (run_dir / "data_report/facts.json").write_text(json.dumps(fundus))
    assert "Which channel" not in write_data_report(run_dir).read_text()


def test_labels_have_a_table_of_their_classes_and_no_column_of_foreground(run_dir: Path) -> None:
    shown, found = facts(("grey",)), prepared()
    found["target"] = {"kind": "binary", "names": ["benign", "malignant"]}
    count = {"patients": 1, "samples": 10, "classes": {"benign": 7, "malignant": 3}}
    found["counts"] = dict.fromkeys(("train", "validation", "test"), count)
    shown["pictures"], shown["target"] = {"samples": []}, found["target"]
    del shown["contrast"]
    (run_dir / "data_report/facts.json").write_text(json.dumps(shown))
    (run_dir / "prepare.json").write_text(json.dumps(found))
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", write_data_report(run_dir).read_text()))
    assert "Split Patients Samples benign malignant train 1 10 7 3" in text
    assert "oreground" not in text


def measured() -> dict:
    """What is new in the facts: distributions, groups, other parts and outliers, and the size of the foreground."""
    histogram = {"edges": [0.0, 1.0, 2.0], "counts": [3, 1]}
    channels = [{"name": "FLAIR", **dict.fromkeys(("min", "max", "mean", "std", "zero_share"), histogram)}]
    group = {"images": 4, "channels": [{"name": "FLAIR", "quantiles": [1.0, 2.0, 3.0, 4.0, 5.5], **histogram}]}
    row = {"sample_id": "P009-003", "split": "test", "median": 20.0, "z": 12.5}
    unlike = {"rule": "far off", "limit": 5.0}
    part = {"name": "FLAIR", "images": 7, "min": 1.0, "max": 9.0, "mean": 3.25, "std": 1.5, "zero_share": 0.5}
    quantiles = {"images": 4, "quantiles": [0.01, 0.02, 0.03, 0.04, 0.125]}
    return {
        "other_parts": [{"split": "validation", "channels": [part]}],
        "distributions": channels,
        "groups": [{"column": "site", "groups": [{"value": "north <i>", **group}, {"value": "south", **group}]}],
        "outliers": {
            **unlike, "count": {"test": 14},
            "listed": [{**row, "channel": "FLAIR", "statistic": "mean", "value": 77.0}],
        },
        "foreground": {
            "classes": [{"name": "lesion", "parts": {"train": quantiles, "test": {"images": 0, "quantiles": None}},
                         "edges": [0.001, 0.01, 0.1], "counts": [1, 3]}],
            "outliers": {**unlike, "count": 1, "listed": [{**row, "class": "lesion", "share": 0.5, "median": 0.03}]},
        },
    }  # fmt: skip


def test_every_training_image_is_described_apart_from_the_other_parts(run_dir: Path) -> None:
    single = facts(("FLAIR",)) | measured()
    single["contrast"] |= {"channel": None, "named": None, "scores": []}
    (run_dir / "data_report/facts.json").write_text(json.dumps(single))
    page = write_data_report(run_dir).read_text()
    rows = [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]
    assert ["FLAIR", "0", "255", "20", "31.5", "25.0 %", "30"] in rows
    assert ["validation: FLAIR", "1", "9", "3.25", "1.5", "50.0 %", "7"] in rows
    assert ["north &lt;i&gt;", "4", "1", "2", "3", "4", "5.5"] in rows
    assert ["P009-003", "test", "FLAIR", "mean", "77", "20", "+12.5"] in rows
    assert ["Lesion", "train", "4", "1.0 %", "2.0 %", "3.0 %", "4.0 %", "12.5 %"] in rows
    assert ["P009-003", "test", "lesion", "50.0 %", "3.0 %", "+12.5"] in rows
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "Every pixel of 30 training images" in text
    assert "14 images in test." in text
    assert "And 13 more in data_report/outliers.csv" in text
    assert len(addresses(page).found) == 10  # distributions, a group and the foreground beside those of before


def test_of_a_run_with_folds_it_is_said_whose_training_images_are_meant(run_dir: Path, page: str) -> None:
    (run_dir / "prepare.json").write_text(json.dumps(prepared() | {"split": {"folds": 5}}))
    said = "30 training images of one fold (of a run with folds, its first) as stored"
    assert said in write_data_report(run_dir).read_text()
    assert "of one fold" not in page


def test_where_labels_come_from_is_shown_or_said_to_be_unknown(run_dir: Path, page: str) -> None:
    assert "Not stated." in page
    said = prepared() | {"origin": {"readers": 3, "software": "<b>"}}
    (run_dir / "prepare.json").write_text(json.dumps(said))
    shown = write_data_report(run_dir).read_text()
    assert "Not stated." not in shown
    assert "<td>Readers of each image</td><td>3</td>" in shown
    assert "<td>Software</td><td>&lt;b&gt;</td>" in shown


def test_a_data_uri_knows_the_image_by_its_first_bytes(tmp_path: Path) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "picture.png")
    uri = data_uri(tmp_path / "picture.png")
    assert uri.startswith("data:image/png;base64,")
    assert base64.b64decode(uri.split(",")[1]) == (tmp_path / "picture.png").read_bytes()
    with pytest.raises(ValueError, match="expected a PNG"):
        data_uri(b"<html>")


def test_a_figure_is_the_same_bytes_every_time() -> None:
    def draw(kind: str) -> str:
        figure, axes = new_figure(4, 2, columns=3)
        lines(axes[0], [0, 1, 2], {"a": [1, float("nan"), 3], "b": [3, 2, 1]}, title="curves")
        bars(axes[1], ["x", "y"], [1, 2])
        stacked_bars(axes[2], ["x", "y"], {"low": [1, 2], "high": [2, 1]})
        return figure_uri(figure, format="svg" if kind == "svg" else "png")

    assert draw("svg") == draw("svg")
    assert draw("svg").startswith("data:image/svg+xml")
    assert draw("png").startswith("data:image/png")


def test_numbers_are_written_for_reading() -> None:
    assert [number(None), number(1234), number(0.12345)] == ["–", "1,234", "0.123"]
    assert [percent(0.256), percent(None), megabytes(2_500_000)] == ["25.6 %", "–", "2.5 MB"]


def test_a_template_that_lacks_a_value_is_an_error() -> None:
    with pytest.raises(Exception, match="is undefined"):
        render("data_report.html", phantom=False, version="0")


def test_the_table_of_patients_has_numbers_words_and_what_is_not_known(page: str) -> None:
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    found = [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in rows]
    assert ["age: mean (standard deviation)", "51.2 (14.1)", "–"] in found
    assert ["age: range", "41 to 61", "–"] in found
    assert ["age: not known", "0", "1"] in found
    assert ["sex, images: F &lt;b&gt;", "1 (33.3 %)", "1 (33.3 %)"] in found


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (None, ""),
        ({"plane": None, "stored": {}, "spacing_mm": {"known": 0}}, ""),
        (
            {"plane": "axial", "stored": {"RA": 1200}, "spacing_mm": {"known": 3, "least": [0.5, 1], "most": [0.5, 1]}},
            "Images were turned as axial slices are looked at (columns and rows are stored towards: 1,200 RA). Pixels "
            "are 0.5×1 mm large.",
        ),
        (
            {"plane": "any", "stored": {"LI": 2, "AI": 1}, "spacing_mm": {"known": 0}},
            "Images were turned as each plane is looked at (columns and rows are stored towards: 2 LI, 1 AI).",
        ),
    ],
)
def test_the_page_says_how_images_were_turned(facts, said):
    assert orientation_sentence(facts) == said
