"""Entry point of a Medloom bundle for hosts that call these four functions (such as SageMaker).

It needs Medloom: answers and refusals are those of ``medloom serve``, and images are decoded behind the same fence, in
processes of their own.
"""

from typing import Any

from medloom.serving import hosted


def model_fn(model_dir: str, context: Any = None) -> Any:
    """Load the model from the folder that the bundle was extracted to, after checking every file."""
    return hosted.open_model(model_dir)


def input_fn(request_body: bytes | bytearray | str, content_type: str, context: Any = None) -> Any:
    """Take the body apart; nothing is decoded yet. Some hosts pass JSON as text."""
    return hosted.read(request_body, content_type)


def predict_fn(data: Any, model: Any, context: Any = None) -> Any:
    """Predict in the geometry of the image or volume that came in."""
    return hosted.predict(data, model)


def output_fn(result: Any, accept: str, context: Any = None) -> tuple[bytes, str]:
    """Answer in a form that ``accept`` takes, JSON where it leaves the choice: bytes and their content type."""
    return hosted.encode(result, accept, context)
