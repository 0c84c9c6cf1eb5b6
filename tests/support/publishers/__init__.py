"""Phantoms of published sets: tiny images in the files and folders that their publishers describe."""

from support.publishers.facts import Facts, Publisher
from support.publishers.radiographs import CHEXPERT, KERMANY, NIH, RSNA, VINDR

__all__ = ["PUBLISHERS", "Facts", "Publisher"]

PUBLISHERS = {one.name: one for one in (NIH, CHEXPERT, VINDR, RSNA, KERMANY)}
