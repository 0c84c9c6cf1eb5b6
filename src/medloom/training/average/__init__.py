"""Training by workers that keep nothing: what they compute, and what the coordinator makes of it.

The rounds themselves, which need no torch, are in ``medloom.rounds``.
"""
