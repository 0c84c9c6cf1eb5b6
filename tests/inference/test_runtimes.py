"""One suite for every runtime: a new one is a line in ``registry.RUNTIMES`` and is tested here without a new test."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import safetensors.torch
import torch

from medloom.errors import BundleError, MissingExtraError, UserError
from medloom.inference import NetworkSpec, build_runtime, needs_weights
from medloom.inference.runtimes import members_of
from medloom.inference.runtimes.torch import TorchRuntime
from medloom.models.ensemble import Ensemble
from medloom.models.networks import build_mask_network
from medloom.packaging.export import export_onnx
from medloom.registry import RUNTIMES
from medloom.targets import Target
from support.bundles import tiny_graph

ARGS = {"channels": [4, 8], "num_res_units": 1}
TARGET = Target("masks", ("background", "core", "edema"))
TWO_CLASSES = Target("masks", ("background", "lesion"))
SPEC = NetworkSpec("unet", 3, (32, 32), TARGET, ARGS)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_mask_network(SPEC.name, SPEC.in_channels, TARGET.outputs, SPEC.size, ARGS).eval()


@pytest.fixture(scope="module")
def files(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    weights = folder / "model.safetensors"
    safetensors.torch.save_file(network.state_dict(), weights)
    graph = export_onnx(network, folder / "model.onnx", channels=3, size=SPEC.size, target=TARGET)
    return {"torch": weights, "onnx": graph, "openvino": graph}


@pytest.fixture(scope="module", params=list(RUNTIMES))
def runtime(request, files):
    return build_runtime(request.param, files[request.param], threads=1, network=SPEC)


def _images(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 3, 32, 32)).astype(np.float32)


def test_gives_the_networks_probabilities(runtime, network):
    images = _images(2)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).softmax(1).numpy()
    np.testing.assert_allclose(runtime.run(images), expected, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_takes_batches_of_any_size(runtime, count):
    found = runtime.run(_images(count))
    assert found.shape == (count, 3, 32, 32)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)


def test_an_image_gets_the_same_answer_alone_and_in_a_batch(runtime):
    images = _images(3)
    alone = np.concatenate([runtime.run(image[None]) for image in images])
    np.testing.assert_allclose(runtime.run(images), alone, atol=1e-5)


def test_takes_a_view_and_leaves_it_alone(runtime):
    images = _images(1)
    before = images.copy()
    mirrored = images[..., ::-1]
    np.testing.assert_allclose(runtime.run(mirrored), runtime.run(np.ascontiguousarray(mirrored)), atol=1e-6)
    np.testing.assert_array_equal(images, before)


def test_an_answer_is_not_overwritten_by_the_next(runtime):
    first = runtime.run(_images(1))
    kept = first.copy()
    runtime.run(_images(1, seed=1))
    np.testing.assert_array_equal(first, kept)


def test_threads_do_not_get_each_others_answers(runtime):
    images = [_images(1, seed) for seed in range(8)]
    expected = [runtime.run(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(runtime.run, images))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_says_its_name(runtime):
    assert runtime.name in RUNTIMES


@pytest.mark.parametrize("name", list(RUNTIMES))
def test_a_damaged_model_is_refused(name, files, tmp_path):
    data = files[name].read_bytes()
    damaged = tmp_path / files[name].name
    damaged.write_bytes(data[: len(data) // 2])
    with pytest.raises(BundleError):
        build_runtime(name, damaged, network=SPEC)


def test_torch_refuses_the_weights_of_another_network(files):
    with pytest.raises(BundleError, match="does not hold the weights of unet"):
        build_runtime("torch", files["torch"], network=NetworkSpec("unet", 3, (32, 32), TWO_CLASSES, ARGS))


def test_torch_refuses_a_network_that_it_does_not_know(files):
    with pytest.raises(BundleError, match="knows no network 'vnet'"):
        build_runtime("torch", files["torch"], network=NetworkSpec("vnet", 3, (32, 32), TWO_CLASSES))


def test_torch_refuses_arguments_that_its_network_does_not_take(files):
    with pytest.raises(BundleError, match=r"'unet' of this bundle cannot be built here.*chanels"):
        build_runtime("torch", files["torch"], network=NetworkSpec("unet", 3, (32, 32), TARGET, {"chanels": [4, 8]}))


def test_without_torch_its_runtime_names_the_extra_that_brings_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match="train"):
        build_runtime("torch", tmp_path / "model.safetensors")


def test_a_runtime_says_whether_it_takes_weights_or_a_graph():
    assert {name: needs_weights(name) for name in ("onnx", "openvino", "torch")} == {
        "onnx": False, "openvino": False, "torch": True,
    }  # fmt: skip
    with pytest.raises(UserError, match="no runtime 'tensor'"):
        needs_weights("tensor")


def test_an_unknown_runtime_names_the_nearest_and_all(tmp_path):
    with pytest.raises(UserError, match=r"'onx', did you mean 'onnx'\?; valid: onnx, openvino, torch"):
        build_runtime("onx", tmp_path / "model.onnx")


def _external():
    model = tiny_graph(data_location=1)
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    return model


def _external_in_a_subgraph():
    model, holder = _external(), tiny_graph()
    node = holder.graph.node[0]
    node.attribute.add(name="body", type=5).g.CopyFrom(model.graph)
    return holder


def _external_in_a_constant():
    model = tiny_graph()
    constant = model.graph.node.add(op_type="Constant", output=["c"])
    constant.attribute.add(name="value", type=4).t.CopyFrom(_external().graph.initializer[0])
    return model


@pytest.mark.parametrize("name", ["onnx", "openvino"])
@pytest.mark.parametrize("make", [_external, _external_in_a_subgraph, _external_in_a_constant])
def test_weights_in_other_files_are_refused(name, make, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(make().SerializeToString())
    with pytest.raises(BundleError, match="other files"):
        build_runtime(name, path)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_link_is_refused(name, tmp_path):
    real, link = tmp_path / "real.onnx", tmp_path / "model.onnx"
    real.write_bytes(tiny_graph().SerializeToString())
    link.symlink_to(real)
    with pytest.raises(BundleError, match="regular file"):
        build_runtime(name, link)


PROVIDERS = {"onnx": "CPUExecutionProvider", "openvino": "CPU", "torch": "cpu"}


@pytest.mark.parametrize("name", list(RUNTIMES))
def test_a_runtime_computes_with_the_provider_that_it_is_given(name, files, runtime):
    chosen = build_runtime(name, files[name], threads=1, providers=[PROVIDERS[name]], network=SPEC)
    np.testing.assert_allclose(chosen.run(_images(1)), runtime.run(_images(1)), atol=1e-5)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"threads": 0}, "threads is 0; expected a whole number from 1 to 1024"),
        ({"threads": -1}, "threads"),
        ({"threads": True}, "threads"),
        ({"threads": 1.5}, "threads"),
        ({"threads": 10**6}, "threads"),
        ({"providers": ["NoSuch"]}, "no {name} provider 'NoSuch'; valid: "),
        ({"providers": []}, "expected"),
        ({"providers": "CPU"}, "the text 'CPU'; expected a list"),
        ({"providers": ["AzureExecutionProvider"]}, "valid: "),
    ],
)
@pytest.mark.parametrize("name", list(RUNTIMES))
def test_threads_and_providers_that_cannot_be_are_refused_before_the_model_is_looked_at(name, asked, message, tmp_path):
    with pytest.raises(UserError, match=message.format(name=name)):
        build_runtime(name, tmp_path / "there is no model", network=SPEC, **asked)


@pytest.mark.parametrize("name", list(RUNTIMES))
def test_a_provider_comes_once(name, tmp_path):
    with pytest.raises(UserError, match="none of them twice"):
        build_runtime(name, tmp_path / "none", providers=[PROVIDERS[name]] * 2, network=SPEC)


def test_threads_are_those_that_are_asked_for(files, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    build_runtime("torch", files["torch"], threads=1, network=SPEC)
    session = build_runtime("onnx", files["onnx"], threads=1)._session
    model = build_runtime("openvino", files["openvino"], threads=1)._model
    threads = session.get_session_options().intra_op_num_threads
    assert (asked, threads, model.get_property("INFERENCE_NUM_THREADS")) == ([1], 1, 1)


@pytest.mark.parametrize("name", list(RUNTIMES))
def test_the_networks_of_an_ensemble_are_told_apart(name, tmp_path):
    torch.manual_seed(1)
    networks = [build_mask_network(SPEC.name, 3, TARGET.outputs, SPEC.size, ARGS).eval() for _ in range(3)]
    ensemble = Ensemble(networks, TARGET.activation).eval()
    spec = NetworkSpec(SPEC.name, 3, SPEC.size, TARGET, ARGS, table_features=(0, 0, 0))
    path = tmp_path / "model.safetensors"
    if needs_weights(name):
        safetensors.torch.save_file(ensemble.state_dict(), path)
    else:
        path = export_onnx(ensemble, tmp_path / "model.onnx", channels=3, size=SPEC.size, target=TARGET)
    runtime, images = build_runtime(name, path, threads=1, network=spec), _images(2)
    with torch.inference_mode():
        expected = np.stack([one(torch.from_numpy(images)).softmax(1).numpy() for one in networks])
    found = members_of(runtime, images)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(runtime.run(images), found.mean(axis=0), atol=1e-6)


def test_a_single_network_is_its_own_only_member(runtime):
    images = _images(2)
    np.testing.assert_array_equal(members_of(runtime, images), runtime.run(images)[None])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # the compiler's own
def test_a_compiled_network_is_compiled_for_one_image_for_a_few_and_for_many_and_never_again(files, runtime):
    if runtime.name != "torch":
        pytest.skip("the others compile when they load")
    compiled = build_runtime("torch", files["torch"], threads=1, providers=["cpu", "inductor"], network=SPEC)
    for count in (1, 3, 40):
        np.testing.assert_allclose(compiled.run(_images(count)), runtime.run(_images(count)), atol=1e-5)
    with torch.compiler.set_stance("fail_on_recompile"):
        for count in (2, 5, 8, 1, 32):
            np.testing.assert_allclose(compiled.run(_images(count)), runtime.run(_images(count)), atol=1e-5)


def test_torch_takes_one_device(files):
    with pytest.raises(UserError, match="expected one device, and inductor beside it"):
        TorchRuntime.open(files["torch"], providers=["cpu", "cuda"], network=SPEC)


def test_memory_that_large_batches_took_is_given_back_when_they_become_small(files):
    runtime = build_runtime("onnx", files["onnx"], threads=1)
    runtime.run(_images(64))
    assert runtime._how(40) is runtime._keeping
    assert all(runtime._how(size) is runtime._keeping for size in (4, 1, 40) * 100)  # as a server's batches come
    assert [runtime._how(4) is runtime._shrinking for _ in range(130)].count(True) == 1
    assert runtime._how(8) is runtime._keeping
    np.testing.assert_array_equal(
        runtime.run(_images(3)), build_runtime("onnx", files["onnx"], threads=1).run(_images(3))
    )


@pytest.mark.parametrize("name", list(RUNTIMES))
def test_a_precision_that_there_is_not_is_refused_by_its_nearest(name, files):
    with pytest.raises(UserError, match="no precision 'int9', did you mean 'int8'"):
        build_runtime(name, files[name], network=SPEC, precision="int9")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_torch_computes_in_fewer_bits_and_answers_in_float32(files, runtime, precision):
    if runtime.name != "torch":
        pytest.skip("of the others the graph, or the processor, decides")
    reduced = build_runtime("torch", files["torch"], threads=1, network=SPEC, precision=precision)
    found, expected = reduced.run(_images(3)), runtime.run(_images(3))
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 0.05
