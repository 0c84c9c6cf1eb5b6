"""Entry point of a Medloom bundle for hosts that call these four functions (such as SageMaker).

It needs Medloom: the predictions are those of ``medloom predict`` and ``medloom serve``.
"""

from typing import Any

from medloom.inference import Prediction, Predictor, VolumeAnswer
from medloom.packaging import Manifest, read_bundle
from medloom.serving import ImageRequest, encode_answer, made_from, predict, read_request

Model = tuple[Predictor, Manifest]
Answer = tuple[Prediction | VolumeAnswer, ImageRequest, Model]


def model_fn(model_dir: str, context: Any = None) -> Model:
    """Load the model from the folder that the bundle was extracted to, after checking every file."""
    bundle = read_bundle(model_dir)
    return bundle.predictor(), bundle.manifest


def input_fn(request_body: bytes | bytearray | str, content_type: str, context: Any = None) -> tuple[bytes, str]:
    """Keep the raw bytes with their type; the predictor decodes them. Some hosts pass JSON as text."""
    if isinstance(request_body, str):
        request_body = request_body.encode("utf-8", "surrogatepass")  # what is no text is refused where it is read
    return bytes(request_body), content_type.partition(";")[0].strip().lower()


def predict_fn(data: tuple[bytes, str], model: Model, context: Any = None) -> Answer:
    """Predict in the geometry of the image or volume that came in."""
    predictor, manifest = model
    asked = read_request(*data)
    return predict(predictor, asked, manifest.input.page), asked, model


def output_fn(result: Answer, accept: str, context: Any = None) -> tuple[bytes, str]:
    """Answer in a form that ``accept`` takes, JSON where it leaves the choice: bytes and their content type."""
    prediction, asked, model = result
    return encode_answer(accept, made_from(prediction, *model, asked))
