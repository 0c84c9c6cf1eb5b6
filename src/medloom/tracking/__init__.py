"""Tell trackers what a run directory says: MLflow, Weights & Biases, TensorBoard, none to all at once.

The run directory is the truth. ``read_record`` says what of it trackers may know: no absolute path, no name of a
patient. ``send`` compares that with what a tracker has and sends the rest, so sending twice doubles nothing. While a
run is worked on, a ``Follower`` does the same from threads of its own, so a tracker that is down, slow or full neither
stops nor slows a training; what is missing is sent later from the same files.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
