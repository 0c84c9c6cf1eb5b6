"""AWS Lambda: a function, what may call it and what tells it of images, as one stack of CloudFormation.

``template`` builds the stack as plain data, ``events`` and ``rights`` parts of it, ``stacks`` makes, changes, lists and
deletes it, ``prices`` estimates. Clients, checks of requests and names are those of ``backends.sagemaker``.
"""

from __future__ import annotations

from medloom.backends.lambda_.prices import estimate
from medloom.backends.lambda_.template import Code, Function, Watched, template

__all__ = ["Code", "Function", "Watched", "estimate", "template"]
