import pytest
import torch
from torch import nn

from medloom.models.ensemble import Ensemble, Probabilities, answering


class Scaled(nn.Module):
    """Gives the images, or the table where there is one, times a number."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, images, table=None):
        return self.by * (images if table is None else table)


LOGITS = torch.tensor([[-3.0, 0.5, 20.0], [1.0, 2.0, 3.0]])


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("sigmoid", torch.special.expit),
        ("softmax", lambda x: torch.special.softmax(x, 1)),
        ("identity", lambda x: x),
    ],
)
def test_the_activation_says_what_the_answer_is(activation, expected):
    torch.testing.assert_close(Probabilities(nn.Identity(), activation)(LOGITS), expected(LOGITS))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "identity"])
def test_half_precision_logits_give_float32_answers(activation):
    answer = Probabilities(nn.Identity(), activation)(torch.zeros(2, 3, dtype=torch.bfloat16))
    assert answer.dtype == torch.float32


def test_an_ensemble_gives_the_mean_of_the_answers_not_of_the_logits():
    found = Ensemble([Scaled(1.0), Scaled(-2.0)], "sigmoid")(LOGITS)
    torch.testing.assert_close(found, (LOGITS.sigmoid() + (-2 * LOGITS).sigmoid()) / 2)


def test_each_member_of_an_ensemble_gets_its_own_columns():
    table = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    found = Ensemble([Scaled(1.0), Scaled(1.0)], "identity", [2, 2])(torch.zeros(1, 2), table)
    torch.testing.assert_close(found, torch.tensor([[2.0, 3.0]]))


def test_an_ensemble_answers_as_it_is_and_a_network_through_its_activation():
    ensemble = Ensemble([Scaled(1.0)], "sigmoid")
    assert answering(ensemble, "sigmoid") is ensemble
    torch.testing.assert_close(answering(Scaled(1.0), "softmax")(LOGITS), LOGITS.softmax(1))
    assert not answering(Scaled(1.0).train(), "sigmoid").training
