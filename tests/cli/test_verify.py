import json

import pytest

from medloom.cli.main import main
from support.bundles import write_tiny_bundle


@pytest.fixture(scope="module")
def bundle_path(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "model.tar.gz", phantom=True)


def test_a_sound_bundle_is_said_to_be_sound_and_phantom(bundle_path, capsys):
    assert main(["verify", str(bundle_path)]) == 0
    text = capsys.readouterr().out
    assert "tiny (learned from phantoms): sound" in text
    assert "8 files match" in text
    assert "Not validated elsewhere." in text


def test_json_gives_the_numbers(bundle_path, capsys):
    assert main(["verify", str(bundle_path), "--json", "--runtime", "openvino"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["runtime"] == "openvino"
    assert report["max_difference"] <= report["tolerance"]


def test_a_tampered_bundle_exits_with_2_and_names_the_file(bundle_path, tmp_path, capsys):
    data = bytearray(bundle_path.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.tar.gz").write_bytes(data)
    assert main(["verify", str(tmp_path / "bad.tar.gz")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "bad.tar.gz" in captured.err


def test_a_missing_bundle_exits_with_2(tmp_path, capsys):
    assert main(["verify", str(tmp_path / "none.tar.gz")]) == 2
    assert "expected a model.tar.gz" in capsys.readouterr().err
