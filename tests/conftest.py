"""What every test may rely on."""

import medloom.models.operators  # noqa: F401 - tests that import MONAI or Lightning themselves need it first
