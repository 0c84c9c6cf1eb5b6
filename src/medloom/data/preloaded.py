"""Imported by the server that worker processes are forked from, and by nothing else; see ``medloom.data.workers``."""

import importlib
import signal

# Ctrl-C goes to every process of a terminal, and the one that started this answers it. Until it has imported what is
# asked for, the server itself would end with a traceback.
_before = signal.signal(signal.SIGINT, signal.SIG_IGN)
importlib.import_module("medloom.data.building")
signal.signal(signal.SIGINT, _before)
