from medloom.reports.calibration import calibration_table


def estimate(value, low=None, high=None):
    return {"value": value, "low": low, "high": high, "n": 10, "patients": 5}


def test_a_report_says_what_a_calibration_changed_and_nothing_without_one():
    one = {"before": {"ece": estimate(0.3, 0.2, 0.4)}, "after": {"ece": estimate(0.05)}}
    one["change"] = {"ece": estimate(-0.25, -0.3, -0.2)}
    summary = {
        "part": "test",
        "calibration": {"fitted": {}, "text": "ill temperature 3: on the validation cases."},
        "test": {"calibration": {**one, "per_target": {"ill": one}}},
    }
    table = calibration_table(summary)
    assert table["text"] == "Ill temperature 3: on the validation cases."
    before, after = "0.300 (0.200\u00a0to\u00a00.400)", "0.050"
    assert table["rows"] == [
        ["Calibration error", before, after, "-0.250 (-0.300 to -0.200)"],
        ["Calibration error: ill", before, after, "-0.250 (-0.300 to -0.200)"],
    ]
    assert table["chance"] == ""
    summary["test"]["calibration"]["chance"] = 0.0451
    assert calibration_table(summary)["chance"] == "0.045"
    assert calibration_table({**summary, "test": {"calibration": {}}}) == {}
    assert calibration_table({"part": "test", "test": {}}) == {}
