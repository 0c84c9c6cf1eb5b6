"""Phantoms of published sets: tiny images in the files and folders that their publishers describe."""

from support.publishers import apart, pictures, radiographs, scans, tables, volumes
from support.publishers.facts import Facts, Publisher

__all__ = ["PUBLISHERS", "Facts", "Publisher"]

PUBLISHERS = {
    one.name: one
    for room in (apart, pictures, radiographs, scans, tables, volumes)
    for one in map(vars(room).__getitem__, room.__all__)
}
