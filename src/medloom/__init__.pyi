from .packaging import load as load
from .pipeline.fitting import fit as fit
from .pipeline.whole import run as run

__version__: str
