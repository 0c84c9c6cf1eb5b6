import numpy as np
import onnx
import pytest
import torch
from torch import nn

from medloom.data.metadata import TableEncoding
from medloom.errors import MedloomError
from medloom.inference import default_point
from medloom.inference.runtimes.onnx import OnnxRuntime
from medloom.models.kinds import build_network
from medloom.models.network import Network
from medloom.packaging import export, verify, write_bundle
from medloom.targets import Target
from support.bundles import tiny_label_recipe, tiny_recipe

TARGET = Target("masks", ("background", "lesion"))


class _Net(Network):
    def __init__(self, outputs):
        super().__init__()
        self.conv = nn.Conv2d(2, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, images, table=None):
        return self.norm(self.conv(images))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    network = _Net(1).train()
    path = export.export_onnx(
        network, tmp_path_factory.mktemp("e") / "m.onnx", channels=2, size=(20, 24), target=TARGET
    )
    return network, path


def test_a_binary_network_becomes_a_graph_that_gives_sigmoid_probabilities_for_any_batch(exported):
    network, path = exported
    images = np.random.default_rng(0).standard_normal((7, 2, 20, 24)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).sigmoid().numpy()
    np.testing.assert_allclose(OnnxRuntime.open(path).run(images), expected, atol=1e-6)


def test_the_graph_is_sound_stands_alone_and_names_no_file_of_this_machine(exported):
    _, path = exported
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert [file.name for file in path.parent.iterdir()] == ["m.onnx"]
    assert b".py" not in path.read_bytes()


def test_one_learned_slope_is_written_as_a_given_one_and_several_are_left(tmp_path):
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.PReLU(init=0.3), nn.Conv2d(4, 4, 1), nn.PReLU(4, 0.2))
    network.append(nn.Conv2d(4, 1, 1)).eval()
    path = export.export_onnx(network, tmp_path / "m.onnx", channels=2, size=(20, 24), target=TARGET)
    nodes = onnx.load(path).graph.node
    assert [node.op_type for node in nodes if "elu" in node.op_type.lower()] == ["LeakyRelu", "PRelu"]
    onnx.checker.check_model(onnx.load(path), full_check=True)
    images = np.random.default_rng(0).standard_normal((3, 2, 20, 24)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).sigmoid().numpy()
    np.testing.assert_allclose(OnnxRuntime.open(path).run(images), expected, atol=1e-6)


def test_a_graph_that_disagrees_is_not_written(exported, tmp_path, monkeypatch):
    network, _ = exported
    monkeypatch.setattr(export, "AGREEMENT", -1.0)
    with pytest.raises(MedloomError, match="differs from the network"):
        export.export_onnx(network, tmp_path / "m.onnx", channels=2, size=(20, 24), target=TARGET)
    assert list(tmp_path.iterdir()) == []


def _bundle(folder, recipe, table=None):
    """A bundle around the recipe's own network, with random weights."""
    channels, features = len(recipe.data.channels), len(table.names) if table else 0
    torch.manual_seed(0)
    network = build_network(recipe, channels, features)
    graph = export.export_onnx(
        network,
        folder / "m.onnx",
        channels=channels,
        size=recipe.preprocess.input_size,
        target=recipe.predicts(),
        table_features=features,
    )
    return write_bundle(
        folder / "m.tar.gz",
        onnx=graph,
        weights={name: tensor.numpy() for name, tensor in network.state_dict().items()},
        recipe=recipe,
        point=default_point(recipe.predicts()),
        tables=[table],
        metrics={},
        fingerprint="",
        phantom=True,
    )


@pytest.mark.parametrize("kind", ["masks", "binary", "multi-class", "multi-label", "regression"])
def test_every_runtime_gives_the_same_answer_from_the_bundles_own_files(tmp_path, kind):
    recipe = tiny_recipe() if kind == "masks" else tiny_label_recipe(kind, names=("a", "b"), metadata=True, views=3)
    table = None if kind == "masks" else TableEncoding.fit([{"age": "40", "sex": "f"}], ["age"], ["sex"])
    path = _bundle(tmp_path, recipe, table)
    for runtime in ("onnx", "openvino", "torch"):
        assert verify(path, runtime=runtime).max_difference < 1e-4
