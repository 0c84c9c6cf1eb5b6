"""The doors of a container: what Amazon SageMaker starts, and everything else as the ``medloom`` command.

``python -m medloom.container train`` and ``serve`` are what an image's entry point calls. ``environment`` reads what
SageMaker says of a job into plain values and touches nothing; ``hyperparameters`` and ``channels`` make a recipe and
images of them; ``training`` hands these to the ordinary pipeline. The rules of the contract are in ``docs/aws``.
"""
