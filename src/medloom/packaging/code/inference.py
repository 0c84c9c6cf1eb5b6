"""Entry point of a Medloom bundle for hosts that call these four functions (such as SageMaker).

It needs Medloom: the predictions are those of ``medloom predict`` and ``medloom serve``.
"""

from typing import Any

from medloom.inference import Prediction, Predictor, VolumeAnswer
from medloom.packaging import Manifest, read_bundle
from medloom.serving import ImageRequest, encode_answer, made_from, predict, read_request, record_of

Model = tuple[Predictor, Manifest]
Answer = tuple[Prediction | VolumeAnswer, ImageRequest, Model]
Refused = tuple[bytes, str]


def model_fn(model_dir: str, context: Any = None) -> Model:
    """Load the model from the folder that the bundle was extracted to, after checking every file."""
    bundle = read_bundle(model_dir)
    return bundle.predictor(), bundle.manifest


def input_fn(request_body: bytes | bytearray | str, content_type: str, context: Any = None) -> tuple[bytes, str]:
    """Keep the raw bytes with their type; the predictor decodes them. Some hosts pass JSON as text."""
    if isinstance(request_body, str):
        request_body = request_body.encode("utf-8", "surrogatepass")  # what is no text is refused where it is read
    return bytes(request_body), content_type.partition(";")[0].strip().lower()


def predict_fn(data: tuple[bytes, str], model: Model, context: Any = None) -> Answer | Refused:
    """Predict in the geometry of the image or volume that came in; in a batch transform, say why one cannot be."""
    predictor, manifest = model
    try:
        asked = read_request(*data)
        return predict(predictor, asked, manifest.input.page), asked, model
    except Exception as error:
        refused = record_of(error, data[1])
        if refused is None:
            raise
        return refused


def output_fn(result: Answer | Refused, accept: str, context: Any = None) -> tuple[bytes, str]:
    """Answer in a form that ``accept`` takes, JSON where it leaves the choice: bytes and their content type."""
    if len(result) == 2:
        return result
    prediction, asked, model = result
    return encode_answer(accept, made_from(prediction, *model, asked))
