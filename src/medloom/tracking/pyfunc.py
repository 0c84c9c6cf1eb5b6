"""A bundle as a model of MLflow's Python flavour: code in a file beside the bundle, no pickle."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import yaml

from medloom import __version__
from medloom.extras import require
from medloom.files import write_text
from medloom.tracking.quiet import quiet

__all__ = ["save_pyfunc"]

_CODE = Path(__file__).parent / "code" / "model.py"


def save_pyfunc(bundle: Path, place: Path, *, run_id: str, model: Any) -> None:  # noqa: ANN401 - of MLflow
    """Write the folder of an MLflow model around a bundle.

    The signature follows from the type hints in its code: a list of bytes in, a list of objects out. The example is the
    one that ``medloom verify`` replays, which shows nobody. It holds no path of this machine.

    Args:
        bundle: The bundle.
        place: A folder that is not there yet.
        run_id: MLflow's id of the run.
        model: MLflow's logged model that it is to become.

    Source: https://mlflow.org/docs/latest/ml/model/models-from-code/
    """
    with quiet():
        described = require("mlflow.models", "track").Model(
            artifact_path=model.artifact_location, run_id=run_id, model_uuid=model.model_id, model_id=model.model_id
        )
        example = _example(bundle)
        require("mlflow.pyfunc", "track").save_model(
            str(place),
            python_model=str(_CODE),
            artifacts={"bundle": str(bundle.absolute())},
            input_example=example,
            pip_requirements=[
                f"medloom[serve]=={__version__}",
                f"mlflow=={require('mlflow.version', 'track').VERSION}",
            ],
            mlflow_model=described,
        )
    _without_paths(place)


def _example(bundle: Path) -> list[bytes] | None:
    """The image of the golden example; a model that sees slices with their neighbours takes no single image."""
    with tarfile.open(bundle) as archive:
        manifest = json.loads(_member(archive, "bundle.json"))
        return None if manifest["input"].get("context") else [_member(archive, manifest["golden"]["input"])]


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    return b"" if file is None else file.read()


def _without_paths(place: Path) -> None:
    """Take out of MLflow's description where the bundle and the code lay; it looks for both beside the description."""
    path = place / "MLmodel"
    said = yaml.safe_load(path.read_text("utf-8"))
    said["artifact_path"] = "model"
    flavor = said["flavors"]["python_function"]
    flavor["model_code_path"] = _CODE.name
    flavor["artifacts"]["bundle"]["uri"] = flavor["artifacts"]["bundle"]["path"]
    write_text(path, yaml.safe_dump(said, sort_keys=False))
