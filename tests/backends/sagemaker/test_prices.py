"""What something costs is said before it bills, of when and where the price is, and nobody makes one up."""

from __future__ import annotations

import pytest

from medloom.backends.sagemaker import estimate
from medloom.backends.sagemaker.calls import _model
from medloom.backends.sagemaker.prices import _USD_AN_HOUR, cheaper_at_home
from medloom.errors import UserError


def test_an_estimate_is_price_times_machines_times_time():
    found = estimate("ml.g5.xlarge", 2, 1800, "eu-west-1", price=3.0, jobs=5)
    assert found.usd == 15.0
    assert "by --price" in found.text


def test_what_runs_until_it_is_deleted_is_told_by_the_day():
    found = estimate("ml.m5.xlarge", 1, None, "eu-west-1", price=0.5)
    assert found.usd is None
    assert "12.00 a day" in found.text


def test_the_table_says_of_when_and_where_it_is_and_that_other_regions_differ():
    assert "EU (Ireland), December 2023" in estimate("ml.g5.xlarge", 1, 60, "eu-west-1").text
    assert "us-east-1 may differ" in estimate("ml.g5.xlarge", 1, 60, "us-east-1").text


def test_a_price_that_nobody_knows_is_asked_for():
    with pytest.raises(UserError, match="--price USD"):
        estimate("ml.p5.48xlarge", 1, 60, "eu-west-1")


def test_every_machine_of_the_table_is_one_that_sagemaker_has():
    kinds = ("TrainingInstanceType", "ProductionVariantInstanceType")
    known = {word for kind in kinds for word in _model("sagemaker").shape_for(kind).enum}
    assert set(_USD_AN_HOUR) <= known


def test_a_small_training_is_said_to_be_cheaper_at_home_with_both_figures():
    cost = estimate("ml.g5.xlarge", 1, 4 * 3600, "eu-west-1", price=2.0)
    text = cheaper_at_home(1800.0, cost, 10**7, home_usd=0.1)
    assert "30 min here, for 0.05 USD" in text
    assert "the same time costs 1.00 USD" in text
    assert "at most 8.00 USD" in text
    assert cheaper_at_home(1800.0, cost, 10**7, home_usd=5.0) is None
    assert cheaper_at_home(None, cost, 10**10) is None
    assert "only 10 MB" in cheaper_at_home(None, cost, 10**7)
