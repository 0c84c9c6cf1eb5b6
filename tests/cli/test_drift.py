import json

import pytest

from medloom.cli.main import main
from medloom.files import write_bytes
from medloom.imaging import encode_png
from support.bundles import write_tiny_bundle
from support.fingerprints import picture, write_known_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_known_bundle(tmp_path_factory.mktemp("known") / "model.tar.gz")


def write_folder(folder, seeds, change=lambda pixels: pixels):
    for seed in seeds:
        write_bytes(folder / f"secret-{seed:04d}.png", encode_png(change(picture(seed)[..., 0])))
    return folder


def asked(bundle, *more, capsys):
    code = main(["drift", str(bundle), *map(str, more), "--json", "--threads", "1"])
    return code, json.loads(capsys.readouterr().out)


def test_usual_images_pass_and_inverted_ones_are_others(bundle, tmp_path, capsys):
    usual = write_folder(tmp_path / "usual", range(2000, 2030))
    code, found = asked(bundle, usual, capsys=capsys)
    assert (code, found["drift"], found["images"], found["flagged"]["images"]) == (0, False, 30, 0)
    inverted = write_folder(tmp_path / "inverted", range(2000, 2030), lambda pixels: 255 - pixels)
    code, found = asked(bundle, inverted, capsys=capsys)
    assert (code, found["drift"], found["flagged"]["images"]) == (4, True, 30)


def test_reports_and_json_name_no_file(bundle, tmp_path, capsys):
    folder = write_folder(tmp_path / "inverted", range(2000, 2022), lambda pixels: 255 - pixels)
    page = tmp_path / "page.html"
    code = main(["drift", str(bundle), str(folder), "-o", str(page), "--json", "--threads", "1"])
    out, text = capsys.readouterr().out, page.read_text("utf-8")
    assert code == 4
    assert "secret" not in out + text
    assert json.loads(out)["flagged_images"][0]["image"] in text
    assert "others than those of the training" in text
    assert "image/svg" in text or "image/png" in text


def test_a_file_that_cannot_be_read_is_reported_and_the_rest_go_on(bundle, tmp_path, capsys):
    folder = write_folder(tmp_path / "usual", range(2000, 2003))
    write_bytes(folder / "broken.png", b"no picture")
    code, found = asked(bundle, folder, capsys=capsys)
    assert (code, found["images"], len(found["set_aside"]), found["tested"]) == (3, 3, 1, False)


def test_patients_are_found_in_names(bundle, tmp_path, capsys):
    folder = write_folder(tmp_path / "usual", range(2000, 2024))
    _, found = asked(bundle, folder, "--patient-pattern", r"secret-(\d{3})", capsys=capsys)
    assert (found["images"], found["patients"], found["patients_known"]) == (24, 3, True)
    assert main(["drift", str(bundle), str(folder), "--patient-pattern", "("]) == 2
    assert "no regular expression" in capsys.readouterr().err


def test_a_bundle_without_a_fingerprint_says_so(tmp_path, capsys):
    write_folder(tmp_path / "usual", [1])
    assert main(["drift", str(write_tiny_bundle(tmp_path / "model.tar.gz")), str(tmp_path / "usual")]) == 2
    assert "holds no fingerprint" in capsys.readouterr().err
