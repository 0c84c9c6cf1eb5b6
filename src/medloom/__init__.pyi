from .packaging import load as load
from .pipeline.whole import run as run

__version__: str
