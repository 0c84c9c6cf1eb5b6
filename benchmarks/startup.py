"""How long the command line takes to answer: ``medloom --help`` and ``medloom recipes``, in a new process each time."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from machine import describe

COMMANDS: tuple[tuple[str, ...], ...] = (("--help",), ("recipes",), ("run", "--help"))
ROUNDS = 11
GOAL_S = 0.3


def seconds(arguments: tuple[str, ...]) -> float:
    """Return how long one call takes, from starting the process to its end."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "medloom.cli.main", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    """Print the table."""
    for arguments in COMMANDS:
        seconds(arguments)  # fill the file cache
    times: dict[tuple[str, ...], list[float]] = {arguments: [] for arguments in COMMANDS}
    for _ in range(ROUNDS):
        for arguments in COMMANDS:
            times[arguments].append(seconds(arguments))
    print(describe("typer", "pydantic"))
    print(f"seconds to answer, {ROUNDS} rounds; goal below {GOAL_S}")
    print(f"{'command':<24}{'median':>8}{'worst':>8}")
    for arguments, found in times.items():
        print(f"{'medloom ' + ' '.join(arguments):<24}{statistics.median(found):>8.2f}{max(found):>8.2f}")


if __name__ == "__main__":
    main()
