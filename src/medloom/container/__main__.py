"""What an image's entry point calls: ``python -m medloom.container train``, ``serve``, or a command of ``medloom``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from medloom.cli.main import main as medloom
from medloom.cli.output import fail
from medloom.container.serving import serve_arguments
from medloom.errors import MedloomError

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Do what a container was started for.

    ``lambda`` answers the events of AWS Lambda. ``train`` and ``serve`` alone are what SageMaker calls, and read what
    it says of the job. Anything else, such as ``serve BUNDLE`` or ``batch BUNDLE IMAGES``, is the ``medloom`` command
    with the same arguments.

    Args:
        arguments: As the container was given them.

    Returns:
        The exit code.
    """
    words = list(arguments)
    if words[:1] == ["train"] and (len(words) == 1 or words[1].startswith("--")):
        from medloom.container.training import train  # pandas and more, which an image that only serves lacks

        return train(words[1:])
    try:
        if words == ["lambda"]:
            from medloom.container.lambda_ import run  # what serves, which an image that only trains lacks

            run()
            return 0
        if words == ["serve"]:
            words = serve_arguments(os.environ)
    except MedloomError as error:
        return fail(error)
    return medloom(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
