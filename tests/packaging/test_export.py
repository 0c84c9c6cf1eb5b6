import numpy as np
import onnx
import pytest
import torch
from torch import nn

from medloom.errors import MedloomError
from medloom.inference.runtimes.onnx import OnnxRuntime
from medloom.packaging import export


class _Net(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.conv = nn.Conv2d(2, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, images):
        return self.norm(self.conv(images))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    network = _Net(1).train()
    path = export.export_onnx(network, tmp_path_factory.mktemp("e") / "m.onnx", channels=2, size=(20, 24))
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


def test_a_graph_that_disagrees_is_not_written(exported, tmp_path, monkeypatch):
    network, _ = exported
    monkeypatch.setattr(export, "AGREEMENT", -1.0)
    with pytest.raises(MedloomError, match="differs from the network"):
        export.export_onnx(network, tmp_path / "m.onnx", channels=2, size=(20, 24))
    assert list(tmp_path.iterdir()) == []
