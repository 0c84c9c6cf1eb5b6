from .client import AsyncClient as AsyncClient
from .client import Client as Client
from .packaging import load as load
from .pipeline.fitting import fit as fit
from .pipeline.preparing import prepare as prepare
from .pipeline.whole import run as run
from .tuning.study import tune as tune

__version__: str
