"""The model card: what it says is in the manifest, and it says it as Markdown and as a page."""

from __future__ import annotations

import html
import re

import pytest

from medloom.packaging import read_bundle
from medloom.packaging.card import CARD, CARD_PAGE, card_files
from medloom.packaging.manifest import About, Manifest
from support.bundles import write_tiny_label_bundle

ABOUT = {
    "description": "Moles, <b>benign</b> or not.",
    "intended_use": "Second reading by dermatologists | at one hospital",
    "licence": "CC-BY-4.0",
    "contact": "skin@example.org",
    "source": "A folder of images.",
    "demographics": ({"column": "age", "over": "patients", "known": 40, "text": "mean 44.1"},),
    "groups": (
        {
            "column": "sex",
            "value": "female",
            "images": 120,
            "patients": 30,
            "metrics": {"roc_auc": {"value": 0.8123, "low": 0.7001, "high": 0.9002, "n": 120}},
        },
    ),
    "limits": ("Only 5 test patients.",),
}
TITLES = ("Intended use", "Out of scope", "Limits", "Measured at home", "Measured elsewhere", "Learned from")
TITLES += (
    "Where its labels come from",
    "Probabilities",
    "Runtime and precision",
    "Weights",
    "How to use it",
    "Version",
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    with read_bundle(write_tiny_label_bundle(tmp_path_factory.mktemp("card") / "model.tar.gz")) as bundle:
        assert {CARD, CARD_PAGE} <= bundle.manifest.files.keys()
        made = card_files(bundle.manifest)
        assert {name: (bundle.folder / name).read_bytes() for name in made} == made
        return bundle.manifest


@pytest.fixture
def cards(manifest):
    """Both cards of a manifest with ``about``."""
    made = card_files(manifest.model_copy(update={"about": About.model_validate(ABOUT)}))
    return {name: content.decode() for name, content in made.items()}


def words(page):
    """What a reader of the page sees."""
    return " ".join(
        html.unescape(re.sub(r"<style>.*?</style>|<title>.*?</title>|<[^>]*>", " ", page, flags=re.S)).split()
    )


def test_both_cards_have_the_chapters_of_a_model_card_in_their_order(cards):
    for title in TITLES:
        assert f"\n## {title}\n" in cards[CARD]
    assert re.findall(r"<h2>(.*?)</h2>", cards[CARD_PAGE]) == list(TITLES)


def test_what_the_makers_say_and_what_was_measured_is_on_both(cards):
    for text in (cards[CARD].replace("\\|", "|"), words(cards[CARD_PAGE])):
        for said in (ABOUT["intended_use"], "CC-BY-4.0", "skin@example.org", "mean 44.1", "Only 5 test patients."):
            assert said in text
        assert "sex: female" in text
        assert "0.812 (0.700 to 0.900)" in text
        assert "no medical device" in text


def test_the_page_escapes_what_others_wrote_and_loads_nothing(cards):
    page = cards[CARD_PAGE]
    assert "<b>benign</b>" not in page
    assert "Moles, <b>benign</b> or not." in words(page)
    assert not re.search(r"""src=|href=|<script|@import|url\(""", page)
    assert "default-src 'none'" in page


def test_a_cell_with_a_bar_stays_one_cell(manifest):
    made = card_files(manifest.model_copy(update={"metrics": {"test": {"a|b": {"value": 0.5}}}}))[CARD].decode()
    assert r"| a\|b | 0.500 |" in made


def test_a_bundle_of_which_nobody_said_anything_says_so(manifest):
    plain = manifest.model_dump(mode="json")
    del plain["about"]
    card = card_files(Manifest.model_validate(plain))[CARD].decode()
    for said in ("Its makers wrote none", "named no licence", "Not validated elsewhere", "are not known to the bundle"):
        assert said in card


def test_a_card_of_phantoms_says_first_that_it_is_of_no_use(manifest):
    for card in card_files(manifest.model_copy(update={"phantom": True})).values():
        text = words(card.decode())
        assert text.index("phantoms") < text.index("Intended use")
