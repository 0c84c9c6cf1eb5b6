import pytest
import torch

from medloom.models.answers import probabilities


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("binary", torch.special.expit),
        ("multi-label", torch.special.expit),
        ("multi-class", lambda x: torch.special.softmax(x, 1)),
        ("real", lambda x: x),
    ],
)
def test_the_kind_of_label_says_what_the_answer_is(kind, expected):
    logits = torch.tensor([[-3.0, 0.5, 20.0], [1.0, 2.0, 3.0]])
    torch.testing.assert_close(probabilities(logits, kind), expected(logits))


@pytest.mark.parametrize("kind", ["binary", "multi-class", "multi-label", "real"])
def test_half_precision_logits_give_float32_answers(kind):
    assert probabilities(torch.zeros(2, 3, dtype=torch.bfloat16), kind).dtype == torch.float32
