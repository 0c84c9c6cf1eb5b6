"""The event of a serverless pipeline: twelve arguments that mean a recipe, and where its images, labels and model are.

``arguments.py`` reads them, ``meaning.py`` makes the recipe, ``gathering.py`` fetches what lies in buckets.
"""
