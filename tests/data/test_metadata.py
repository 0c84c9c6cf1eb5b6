"""Metadata become numbers by the training rows alone, and come through a bundle unchanged."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from medloom.data.metadata import TableEncoding
from medloom.errors import BundleError, DataError, InputError

COLUMNS = {"numeric": ("age", "size"), "categorical": ("sex", "site")}
RNG = np.random.default_rng(0)
ROWS = [
    {
        "age": str(RNG.integers(20, 90)),
        "size": f"{RNG.normal():.3f}",
        "sex": RNG.choice(["f", "m"]),
        "site": f"s{k % 3}",
    }
    for k in range(30)
]


def test_the_numbers_are_those_of_scikit_learn():
    encoding = TableEncoding.fit(ROWS, **COLUMNS)
    frame = pd.DataFrame(ROWS)
    scaled = StandardScaler().fit_transform(frame[["age", "size"]].astype(float))
    hot = OneHotEncoder(sparse_output=False).fit_transform(frame[["sex", "site"]])
    found = encoding.encode(ROWS)
    assert (found.dtype, found.shape) == (np.float32, (30, len(encoding.names)))
    np.testing.assert_allclose(found[:, [0, 2]], scaled, rtol=1e-5, atol=1e-6)
    names = list(encoding.names)
    kept = [
        place for place, name in enumerate(names) if ": " in name and name.split(": ")[1] not in ("missing", "unknown")
    ]
    np.testing.assert_array_equal(found[:, kept], hot)


def test_blanks_and_new_words_have_places_of_their_own():
    encoding = TableEncoding.fit(ROWS, **COLUMNS)
    row = dict(zip(encoding.names, encoding.encode([{"age": " NaN ", "sex": "x", "other": "9"}])[0], strict=True))
    on = {name for name, value in row.items() if value}
    assert on == {"age: missing", "size: missing", "sex: unknown", "site: missing"}


def test_other_rows_change_nothing():
    before = TableEncoding.fit(ROWS, **COLUMNS)
    values = before.encode([{"age": "1000", "sex": "new"}, *ROWS])
    np.testing.assert_array_equal(values[1:], before.encode(ROWS))


def test_blanks_in_training_do_not_move_the_mean():
    rows = [{"age": "40"}, {"age": ""}, {"age": "60"}]
    found = TableEncoding.fit(rows, numeric=("age",)).encode(rows)
    np.testing.assert_allclose(found, [[-1, 0], [0, 1], [1, 0]])


@pytest.mark.parametrize("ages", [["7", "7"], ["", ""], ["1e300", "1e300"]])
def test_a_column_without_spread_stays_finite(ages):
    encoding = TableEncoding.fit([{"age": age} for age in ages], numeric=("age",))
    assert np.isfinite(encoding.encode([{"age": ages[0]}, {"age": ""}])).all()


def test_it_survives_json_and_a_damaged_one_is_refused():
    encoding = TableEncoding.fit(ROWS, **COLUMNS)
    plain = json.loads(json.dumps(encoding.plain(), allow_nan=False))
    assert TableEncoding.from_plain(plain) == encoding
    for damage in (
        {},
        {**plain, "numeric": [{"column": "age"}]},
        {**plain, "categorical": [{"column": 1, "categories": []}]},
    ):
        with pytest.raises(BundleError):
            TableEncoding.from_plain(damage)


@pytest.mark.parametrize("value", ["old", "inf", "1_000", "4,5"])
def test_a_value_that_is_no_number_is_refused_and_not_repeated(value):
    encoding = TableEncoding.fit(ROWS, **COLUMNS)
    with pytest.raises(InputError, match="metadata age: expected a number") as caught:
        encoding.encode([{"age": value}])
    assert value not in str(caught.value)


def test_a_column_of_names_is_not_taken_for_categories():
    with pytest.raises(DataError, match="101 categories"):
        TableEncoding.fit([{"sex": f"name {k}"} for k in range(101)], categorical=("sex",))


def test_without_columns_there_are_no_numbers():
    assert TableEncoding.fit([{}]).encode([{}, {}]).shape == (2, 0)


AGES = TableEncoding.fit([{"age": str(age), "sex": sex} for age, sex in ((18, "male"), (60, "female"), (90, "male"))],
                         numeric=("age",), categorical=("sex",))  # fmt: skip


@pytest.mark.parametrize("encoding", [AGES, TableEncoding.from_plain(json.loads(json.dumps(AGES.plain())))])
@pytest.mark.parametrize(
    ("row", "foreign"),
    [
        ({"age": "18", "sex": "male"}, []),
        ({"age": "92.5", "sex": "MALE "}, []),
        ({"age": "-5"}, ["age"]),
        ({"age": "0"}, ["age"]),
        ({"age": "5500", "sex": "m"}, ["age", "sex"]),
        ({"age": "", "sex": ""}, []),
    ],
)
def test_what_training_never_saw_is_named_without_its_value(encoding, row, foreign):
    found = encoding.foreign(row)
    assert list(found) == foreign
    says = {"age": "outside what training saw (18 to 90)", "sex": "a category that training never saw"}
    assert found == {name: says[name] for name in foreign}


def test_a_range_never_crosses_zero_and_a_column_without_values_saw_none():
    grown = TableEncoding.fit([{"age": "0"}, {"age": "100"}], numeric=("age",))
    assert [list(grown.foreign({"age": text})) for text in ("-1", "104", "106")] == [["age"], [], ["age"]]
    below = TableEncoding.fit([{"t": "-100"}, {"t": "0"}], numeric=("t",))
    assert [list(below.foreign({"t": text})) for text in ("1", "-104", "-106")] == [["t"], [], ["t"]]
    assert TableEncoding.fit([{"age": ""}], numeric=("age",)).foreign({"age": "40"})


def test_encodings_of_older_bundles_say_no_range_and_nothing_of_it():
    plain = AGES.plain()
    plain["numeric"][0].pop("range")
    assert TableEncoding.from_plain(plain).foreign({"age": "5500"}) == {}


@pytest.mark.parametrize("value", [[1, 2], [5, 4, 3, 2, 1], [0, 1, 2, 3, float("nan")], "abc"])
def test_a_damaged_range_is_refused(value):
    plain = AGES.plain()
    plain["numeric"][0]["range"] = value
    with pytest.raises(BundleError):
        TableEncoding.from_plain(plain)


def test_case_and_blanks_of_a_category_are_folded_where_it_is_unambiguous():
    rows = [{"site": word} for word in ("Upper  Limb", "upper limb", "upper limb", "Head")]
    encoding = TableEncoding.fit(rows, categorical=("site",))
    assert encoding.categorical[0].categories == ("Head", "upper limb")
    same = encoding.encode([{"site": word} for word in ("Upper Limb", "UPPER\tLIMB", "upper limb")])
    assert (same == same[0]).all()
    assert (same[0][1], same.sum()) == (1.0, 3.0)
    two = TableEncoding.from_plain({"numeric": [], "categorical": [{"column": "site", "categories": ["A", "a"]}]})
    assert two.encode([{"site": "a"}])[0].tolist() == [0, 1, 0, 0]
    assert list(two.foreign({"site": " A "})) == []
