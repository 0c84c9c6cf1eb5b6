from .kinds import augmented_views as augmented_views
from .loop import load_best as load_best
from .loop import train as train
from .result import TrainResult as TrainResult
from .soup import make_soup as make_soup
