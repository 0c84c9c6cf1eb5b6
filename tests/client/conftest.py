"""A real server of tiny bundles in a thread, and the predictors that it must agree with."""

import pytest

from medloom.packaging import read_bundle
from medloom.serving import Limits, Model, Models, Service, create_app
from support.bundles import tiny_label_recipe, write_tiny_bundle, write_tiny_label_bundle
from support.served import served_at


@pytest.fixture(scope="package")
def served(tmp_path_factory):
    """Predictor and manifest by the name of the model."""
    folder = tmp_path_factory.mktemp("bundles")
    paths = {
        "masks": write_tiny_bundle(folder / "masks.tar.gz", phantom=True),
        "labels": write_tiny_label_bundle(folder / "labels.tar.gz", tiny_label_recipe(metadata=True), phantom=True),
    }
    found = {}
    for name, path in paths.items():
        with read_bundle(path) as bundle:
            found[name] = bundle.predictor(threads=1), bundle.manifest
    return found


@pytest.fixture(scope="package")
def address(served):
    models = Models([Model(name, predictor, manifest) for name, (predictor, manifest) in served.items()])
    with Service(models, Limits(max_body_bytes=2**20)) as service, served_at(create_app(service)) as address:
        yield f"http://{address}"
