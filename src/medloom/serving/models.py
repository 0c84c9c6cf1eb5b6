"""The models that a server answers with, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medloom.errors import UserError
from medloom.imaging.fence import DecodeFence
from medloom.inference import Predictor
from medloom.inference.fingerprint import Fingerprint
from medloom.packaging import Manifest, read_bundle
from medloom.packaging.golden import replay
from medloom.serving.fencing import behind
from medloom.serving.problems import Problem

__all__ = ["Model", "Models", "Opening", "check_model_name", "fenced", "is_model_name"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Model:
    """One model that is ready.

    Args:
        name: What requests call it.
        predictor: What answers.
        manifest: The manifest of its bundle.
        path: Where its bundle lies; None if it was not loaded from one.
    """

    name: str
    predictor: Predictor
    manifest: Manifest
    path: Path | None = None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what the network sees."""
        predictor = self.predictor
        height, width = predictor.preprocess.input_size
        return len(predictor.channels) * (2 * predictor.context + 1), height, width

    @property
    def table_features(self) -> int:
        """Columns of encoded metadata; 0 if it takes none."""
        return sum(len(table.names) for table in self.predictor.tables)


@dataclass(frozen=True)
class Opening:
    """How bundles are loaded.

    Args:
        runtime: ``onnx``, ``openvino`` or ``torch``; each bundle's own choice by default.
        threads: Threads of one call of the network; all cores that this process may use by default.
        providers: What the runtime computes with; see ``medloom.load``.
        strict: Refuse images and metadata unlike those of the training.
    """

    runtime: str | None = None
    threads: int | None = None
    providers: Sequence[str] | None = None
    strict: bool = False

    def open(self, path: str | Path, name: str | None = None) -> Model:
        """Load a bundle after checking every file of it, and have its model answer the golden example.

        So it is known to be sound, and warm, before anybody asks.

        Args:
            path: A ``model.tar.gz``, or the folder that it was extracted to.
            name: What requests shall call it; the bundle's own name by default.

        Raises:
            BundleError: If the bundle is damaged, tampered with or of another format.
            VerifyError: If the model gives another answer than when it was packaged.
            UserError: If it cannot be run as asked, or the name cannot stand in an address.
        """
        if name is not None:
            check_model_name(name)
        with read_bundle(path) as bundle:
            predictor = bundle.predictor(runtime=self.runtime, threads=self.threads, providers=self.providers)
            replay(bundle, predictor)
            return Model(
                name or bundle.manifest.name, replace(predictor, strict=self.strict), bundle.manifest, Path(path)
            )


class Models:
    """The models of a server.

    Args:
        models: Those that it begins with, each under its name.

    Raises:
        UserError: If two have one name.
    """

    def __init__(self, models: Iterable[Model] = ()) -> None:
        self._models: dict[str, Model] = {}
        for model in models:
            if model.name in self._models:
                raise UserError(f"two models are called {model.name!r}; name one of them: OTHER={model.path}")
            self._models[model.name] = model

    def names(self) -> tuple[str, ...]:
        """Return their names, in the order in which they were given."""
        return tuple(self._models)

    def all(self) -> tuple[Model, ...]:
        """Return all of them."""
        return tuple(self._models.values())

    def get(self, name: str | None = None) -> Model:
        """Return one.

        Args:
            name: Its name; None where there is only one.

        Raises:
            Problem: 404 if there is no such model, or several and none was named.
        """
        models = self.all()
        if name is None:
            if len(models) == 1:
                return models[0]
            said = "no model is loaded" if not models else "several models are served and the request names none"
            raise Problem(404, "unknown_model", said, self._hint(), close=True)
        found = self._models.get(name)
        if found is None:
            raise Problem(404, "unknown_model", "no model of that name is served", self._hint(), close=True)
        return found

    def fingerprint(self, name: str) -> Fingerprint | None:
        """Return what images are tested against; None for a model that does not know, or is not there."""
        found = self._models.get(name)
        return None if found is None else found.predictor.fingerprint

    def put(self, model: Model) -> None:
        """Add a model, or put it in the place of the one of its name; requests in progress finish with the old one."""
        self._models = {**self._models, model.name: model}

    def remove(self, name: str) -> None:
        """Take a model away; requests in progress finish with it.

        Raises:
            Problem: 404 if there is no such model.
        """
        self.get(name)
        self._models = {other: model for other, model in self._models.items() if other != name}

    def _hint(self) -> str | None:
        names = self.names()
        return f"POST to /models/NAME/invocations; NAME is one of {', '.join(names)}." if names else None


def check_model_name(name: str) -> None:
    """Raise if a name cannot stand in an address as it is.

    Raises:
        UserError: If it is not 1 to 128 letters, digits, dots, dashes and underscores, with a letter or digit first.
    """
    if not is_model_name(name):
        raise UserError(
            f"{name!r} is no name for a model; expected at most 128 letters, digits, dots, dashes and underscores, "
            "beginning with a letter or digit"
        )


def is_model_name(name: str) -> bool:
    """Whether a name can stand in an address as it is."""
    return _NAME.fullmatch(name) is not None


def fenced(model: Model, fence: DecodeFence) -> Model:
    """Return a model whose predictor is ``behind`` a fence."""
    return replace(model, predictor=behind(model.predictor, fence))
