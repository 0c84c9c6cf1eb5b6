"""Functions of AWS Lambda as zips: ``zipped`` writes one, ``code`` holds the module that Lambda calls in it.

What a zip installs, leaves out and says of itself is that of the serving image, and comes from ``packaging.images``.
"""
