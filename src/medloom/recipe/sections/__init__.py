"""The sections of a recipe, a module for those that belong together; ``schema`` puts them into one recipe."""
