from .best import load_best as load_best
from .distillation import Teachers as Teachers
from .kinds import augmented_views as augmented_views
from .loop import train as train
from .result import TrainResult as TrainResult
from .scoring import score_part as score_part
from .soup import make_soup as make_soup
