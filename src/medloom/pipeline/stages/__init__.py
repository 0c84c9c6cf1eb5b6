"""One file a stage: each reads what the one before it wrote into the run directory, and writes its own."""
