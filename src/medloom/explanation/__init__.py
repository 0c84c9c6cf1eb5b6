"""Why a model answers as it does: maps of what speaks for an answer, what metadata add, whether maps can be trusted.

Asks the runtimes of ``medloom.inference`` alone. What needs gradients needs the runtime ``torch``; occlusion and what
metadata add need answers, which every runtime gives.
"""

from __future__ import annotations

from medloom.explanation.asked import Asked, evidence
from medloom.explanation.checking import check_maps
from medloom.explanation.kinds import ask
from medloom.explanation.metadata import Contributions, contributions
from medloom.explanation.methods import Map, Seen, map_of
from medloom.explanation.reading import seen_files
from medloom.explanation.writing import FACTS, Unseen, explain, read_explanation, seen_of

__all__ = [
    "FACTS",
    "Asked",
    "Contributions",
    "Map",
    "Seen",
    "Unseen",
    "ask",
    "check_maps",
    "contributions",
    "evidence",
    "explain",
    "map_of",
    "read_explanation",
    "seen_files",
    "seen_of",
]
