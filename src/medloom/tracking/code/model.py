"""A Medloom bundle as an MLflow model: images in, answers out, as ``medloom serve`` gives them.

It needs Medloom with the extra ``serve``. MLflow loads this file as it stands; nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from medloom.inference import Prediction, Predictor, VolumeAnswer
from medloom.inference.answers import JSON
from medloom.packaging import Manifest, read_bundle


class BundleModel(PythonModel):
    """Answers with the bundle that lies among the model's artifacts."""

    predictor: Predictor
    manifest: Manifest

    def load_context(self, context: PythonModelContext) -> None:
        """Check every file of the bundle and build its predictor."""
        with read_bundle(context.artifacts["bundle"]) as bundle:
            self.predictor, self.manifest = bundle.predictor(), bundle.manifest

    def predict(self, model_input: list[bytes]) -> list[Mapping[str, object]]:
        """Answer each image.

        Args:
            model_input: The bytes of images, over HTTP ``{"inputs": ["<base64>", ...]}``; or of the JSON that
                ``medloom serve`` takes, for an image with metadata.

        Returns:
            For each the JSON of ``medloom serve``; masks are in it as run lengths.
        """
        answers = (self._predicted(data) for data in model_input)
        model = {"name": self.manifest.name, "phantom": self.manifest.phantom}
        return [json.loads(answer.encode(JSON, model=model)) for answer in answers]

    def _predicted(self, data: bytes) -> Prediction | VolumeAnswer:
        if not data.startswith(b"{"):
            return self.predictor.predict(data, page=self.manifest.input.page)
        from medloom.serving import predict, read_request  # not needed for images alone

        return predict(self.predictor, read_request(data, JSON), self.manifest.input.page)


set_model(BundleModel())
