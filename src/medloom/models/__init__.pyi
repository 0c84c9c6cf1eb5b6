from .ensemble import Ensemble as Ensemble
from .ensemble import Probabilities as Probabilities
from .kinds import KINDS as KINDS
from .kinds import build_network as build_network
from .kinds import check_network as check_network
from .network import Network as Network
