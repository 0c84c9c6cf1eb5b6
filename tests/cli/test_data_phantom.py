import csv

from medloom.cli.main import main


def test_the_share_of_positive_images_can_be_set(tmp_path, capsys):
    few = ["--recipe", "melanoma", "--patients", "6", "--size", "32", "--set", "data.phantom.slices=[4, 4]"]
    assert main(["data", "phantom", str(tmp_path / "few"), *few, "--set", "data.phantom.prevalence=0.5"]) == 0
    with (tmp_path / "few" / "melanoma" / "train.csv").open(encoding="utf-8", newline="") as handle:
        targets = [row["target"] for row in csv.DictReader(handle)]
    assert (len(targets), targets.count("1")) == (24, 12)
    assert "medloom run melanoma" in capsys.readouterr().out


def test_a_recipe_for_images_of_ones_own_has_no_phantoms_and_that_is_said(tmp_path, capsys):
    assert main(["data", "phantom", str(tmp_path / "none"), "--recipe", "dicom-csv"]) == 2
    assert "images of your own" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
