from .driver import combine as combine
from .driver import evaluate as evaluate
from .family import Choice as Choice
from .family import Family as Family
from .kinds import KINDS as KINDS
from .metrics import Metric as Metric
from .text import metric_rows as metric_rows
from .text import point_lines as point_lines
