"""What every test may rely on."""

import multiprocessing

import medloom.models.operators  # noqa: F401 - tests that import MONAI or Lightning themselves need it first

# Processes of the tests are forked from one that has imported everything, so each starts in no time. It takes its
# list when it starts, so the list is made before any test can start it.
multiprocessing.set_forkserver_preload(["medloom.training.loop", "medloom.data.building"])
