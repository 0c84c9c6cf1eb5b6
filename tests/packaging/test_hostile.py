"""Bundles that were changed and whose checksums were made to fit again: refused in one line, within time and memory."""

import hashlib
import io
import json
import unicodedata

import numpy as np
import pytest
from onnx import TensorProto, helper

import medloom
from medloom.cli.main import main
from medloom.errors import BundleError
from medloom.inference.runtimes import bounds
from medloom.packaging import golden, verify
from medloom.packaging.bundle import checksum_line
from support.bundles import tiny_graph


@pytest.fixture
def swap(folder, rewrite):
    """Put other content in the place of a file of ``folder``, with the checksum that it then has."""

    def swap(name, content):
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        rewrite(lambda manifest: manifest["files"].update({name: digest}))

    return swap


@pytest.fixture
def assert_refused(folder, capsys):
    """Check that ``verify`` refuses ``folder`` in one line that a terminal may show."""

    def check(*options):
        assert main(["verify", str(folder), *options]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert not [one for one in said.err.rstrip("\n") if unicodedata.category(one) == "Cc"]
        with pytest.raises(BundleError):
            verify(folder, runtime=options[-1] if options else None)
        return said.err

    return check


def _array(values):
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=True)
    return buffer.getvalue()


def _constant(name, values, number=TensorProto.INT64):
    values = np.asarray(values)
    return helper.make_tensor(name, number, values.shape, values.ravel().tolist())


def _graph(nodes, constants=(), inputs=("image",)):
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, "h", "w"]) for name in inputs],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, None)],
        list(constants),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def _allocating():
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["much"]),
        helper.make_node("ReduceMean", ["much"], ["mean"], keepdims=0),
        helper.make_node("Add", ["image", "mean"], ["probabilities"]),
    ]
    return _graph(nodes, [_constant("shape", [10**6, 10**6])])


def _looping():
    def info(name, number, shape):
        return helper.make_tensor_value_info(name, number, shape)

    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["x"], ["y"])],
        "body",
        [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("x", TensorProto.FLOAT, None)],
        [info("on", TensorProto.BOOL, []), info("y", TensorProto.FLOAT, None)],
    )
    loop = helper.make_node("Loop", ["times", "start", "image"], ["probabilities"], body=body)
    return _graph([loop], [_constant("times", 2**62), _constant("start", True, TensorProto.BOOL)])


def _endless():
    """Hours of products of matrices, none of them large."""
    products = [helper.make_node("MatMul", [f"p{n}", "p0"], [f"p{n + 1}"]) for n in range(20_000)]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Expand", ["mean", "shape"], ["p0"]),
        *products,
        helper.make_node("ReduceMean", [f"p{len(products)}"], ["last"], keepdims=0),
        helper.make_node("Add", ["image", "last"], ["probabilities"]),
    ]
    return _graph(nodes, [_constant("shape", [1024, 1024])])


def _growing(operator, inputs, *constants, **attributes):
    """A graph in which one operator makes something far too large out of the image or of constants."""
    nodes = [
        helper.make_node(operator, inputs, ["much"], **attributes),
        helper.make_node("ReduceMean", ["much"], ["mean"], keepdims=0),
        helper.make_node("Add", ["image", "mean"], ["probabilities"]),
    ]
    return _graph(nodes, constants)


def _in_a_node(nodes, constant):
    """The same constant, as a node gives it."""
    return _graph([helper.make_node("Constant", [], ["n"], value=constant), *nodes])


def _of_another_maker():
    return _graph(
        [helper.make_node("OpenAIAudioToText", ["image"], ["probabilities"], domain="com.microsoft.extensions")]
    )


def _with_a_function():
    model = tiny_graph()
    opset = [helper.make_opsetid("", 20)]
    body = [helper.make_node("Identity", ["x"], ["y"])]
    model.functions.append(helper.make_function("local", "F", ["x"], ["y"], body, opset))
    return model.SerializeToString()


def _with_too_many_nodes():
    nodes = [helper.make_node("Relu", [f"a{n}"], [f"a{n + 1}"]) for n in range(60)]
    return _graph([helper.make_node("Relu", ["image"], ["a0"]), *nodes])


MANY = [10**6, 10**6]
EXPANDED = [
    helper.make_node("Expand", ["image", "n"], ["much"]),
    helper.make_node("ReduceMean", ["much"], ["probabilities"], axes=[0]),
]
UNBOUNDED = {
    "loops": (_looping(), "Loop"),
    "expands": (_growing("Expand", ["image", "n"], _constant("n", [1, 3, *MANY])), "Expand to make more than"),
    "expands to what a node says": (_in_a_node(EXPANDED, _constant("", [1, 3, *MANY])), "Expand"),
    "tiles": (_growing("Tile", ["image", "n"], _constant("n", [1, 1, *MANY])), "Tile"),
    "pads": (_growing("Pad", ["image", "n"], _constant("n", [0, 0, 10**9, 0, 0, 0, 0, 0])), "Pad"),
    "is as large as a number": (_growing("ConstantOfShape", ["n"], _constant("n", [2**40])), "ConstantOfShape"),
    "counts": (
        _growing("Range", ["a", "n", "d"], _constant("a", 0), _constant("n", 10**12), _constant("d", 1)),
        "Range",
    ),
    "is enlarged": (
        _growing("Resize", ["image", "", "f"], _constant("f", [1, 1, 1e5, 1e5], TensorProto.FLOAT)),
        "Resize",
    ),
    "is resized": (_growing("Resize", ["image", "", "", "n"], _constant("n", [1, 3, *MANY])), "Resize"),
    "is padded by a convolution": (
        _growing("Conv", ["image", "w"], helper.make_tensor("w", 1, [3, 3, 1, 1], [0.0] * 9), pads=[10**6] * 4),
        "Conv",
    ),
    "answers at random": (_growing("RandomNormal", [], shape=MANY), "RandomNormal"),
    "has an operator of another maker": (_of_another_maker(), "of com.microsoft.extensions"),
    "has a function": (_with_a_function(), "functions of its own"),
    "has too many nodes": (_with_too_many_nodes(), "more than 50 nodes"),
}


@pytest.mark.parametrize("name", UNBOUNDED)
def test_load_refuses_a_graph_that_is_plainly_out_of_bounds_before_a_runtime_sees_it(name, folder, swap, monkeypatch):
    graph, reason = UNBOUNDED[name]
    swap("model.onnx", graph)
    monkeypatch.setattr("onnxruntime.InferenceSession", None)
    monkeypatch.setattr(bounds, "_MOST_NODES", 50)
    for runtime in ("onnx", "openvino"):
        with pytest.raises(BundleError, match=f"the graph .*{reason}"):
            medloom.load(folder, runtime=runtime)


def _with_orders():
    model = tiny_graph()
    model.graph.node[0].op_type = "\x1b[31mConv\n"
    return model.SerializeToString()


GOLDEN = {
    "objects": ("golden/probabilities.npy", _array(np.array([{}], dtype=object))),
    "no array": ("golden/probabilities.npy", b"probabilities"),
    "a length that lies": ("golden/probabilities.npy", _array(np.zeros(9)).replace(b"(9,)", b"(7,)")),
    "no mask": ("golden/mask.png", b"mask"),
    "an image of objects": ("golden/input.npy", _array(np.array([[[{}] * 3]], dtype=object))),
    "an image of other channels": ("golden/input.npy", _array(np.zeros((8, 8, 4), np.uint8))),
    "an image of NaN": ("golden/input.npy", _array(np.full((8, 8, 3), np.nan))),
    "a large image": ("golden/input.npy", _array(np.zeros((300, 300, 3), np.uint8))),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_example_that_makes_no_sense_is_refused(name, swap, assert_refused):
    swap(*GOLDEN[name])
    assert "golden example" in assert_refused()


GRAPHS = {
    "allocates terabytes": (_allocating(), "ConstantOfShape"),
    "has too many outputs": (tiny_graph(outputs=4).SerializeToString(), r"shape (1, 4, 32, 32); expected (1, 1, 32"),
    "answers one number": (_graph([helper.make_node("GlobalMaxPool", ["image"], ["probabilities"])]), "shape (1, 3, 1"),
    "wants another input": (_graph([helper.make_node("Relu", ["x"], ["probabilities"])], inputs=["x"]), "no graph"),
    "gives orders to the terminal": (_with_orders(), r"\x1b[31mConv"),
    "is empty": (b"", "model"),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_that_is_not_the_models_is_refused(name, swap, assert_refused):
    graph, reason = GRAPHS[name]
    swap("model.onnx", graph)
    assert reason in assert_refused()


def test_a_graph_that_never_ends_is_ended(swap, assert_refused, monkeypatch):
    monkeypatch.setattr(golden, "_LIMIT_OF_VIEW_S", 4.0)
    monkeypatch.setattr(golden, "_LIMIT_S", 0.0)
    swap("model.onnx", _endless())
    assert "may never end" in assert_refused()


def test_weights_of_another_network_are_refused(assert_refused):
    assert "does not hold the weights" in assert_refused("--runtime", "torch")


MANIFESTS = {
    "channels": lambda m: m["model"].update(in_channels=10**12),
    "channels twice": lambda m: m.update(channels=["a"] * 10**5),
    "arguments": lambda m: m["model"]["args"].update(num_res_units=10**9),
    "arguments in lists": lambda m: m["model"]["args"].update(channels=[16, [10**400]]),
    "arguments below zero": lambda m: m["model"]["args"].update(dropout=-1e300),
    "columns": lambda m: m["model"].update(table_features=[10**12]),
    "views": lambda m: m.update(views=10**9),
    "size": lambda m: m["preprocess"].update(size=[10**9, 10**9]),
    "outputs": lambda m: (m["preprocess"].update(size=[4096] * 2), m["target"].update(names=["a"] * 10**4)),
    "keys": lambda m: m.update({f"key{number}": 1 for number in range(10**4)}),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_with_numbers_that_no_recipe_has_is_refused(name, rewrite, assert_refused):
    rewrite(MANIFESTS[name])
    assert len(assert_refused()) < 2000


ORDERS = {
    "name": lambda m: m.update(name="a\x1b[31m"),
    "format": lambda m: m.update(format="\x1b[31m"),
    "key": lambda m: m.update({"\x1b[31m": 1}),
    "channel": lambda m: m.update(channels=["\x1b]0;a\x07", "b", "c"]),
    "class": lambda m: m["target"].update(names=["a\x9b31m", "b"]),
    "file": lambda m: m["files"].update({"\x1b[31m": "0" * 64}),
    "several lines": lambda m: m.update({"a\nb\tc": 1}),
}


@pytest.mark.parametrize("name", ORDERS)
def test_no_text_of_a_manifest_gives_orders_to_the_terminal(name, rewrite, assert_refused):
    rewrite(ORDERS[name])
    assert_refused()


@pytest.mark.parametrize("doubled", [b'"views": 1', b'"threshold": 0.5', b'"name": "tiny"'])
def test_a_manifest_in_which_a_key_comes_twice_is_refused(doubled, folder, assert_refused):
    data = json.dumps(json.loads((folder / "bundle.json").read_bytes())).encode()
    twice = data.replace(doubled, doubled + b", " + doubled)
    assert twice != data
    (folder / "bundle.json").write_bytes(twice)
    (folder / "bundle.json.sha256").write_bytes(checksum_line(twice))
    assert "a key comes twice" in assert_refused()


def test_a_model_that_answers_with_another_shape_predicts_nothing(folder, swap):
    swap("model.onnx", tiny_graph(outputs=4).SerializeToString())
    with pytest.raises(BundleError, match="shape"):
        medloom.load(folder).predict(np.zeros((8, 8, 3), np.uint8))
