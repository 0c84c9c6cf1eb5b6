"""The losses of a distillation, against torch's own divergences and MONAI's Dice."""

from __future__ import annotations

import pytest
import torch
from monai.losses import DiceLoss
from torch.distributions import Bernoulli, Categorical, kl_divergence

from medloom.models.soft_losses import DistilledLoss, SoftLoss


@pytest.fixture
def logits():
    return torch.randn((6, 3, 5, 4), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def other():
    return torch.randn((6, 3, 5, 4), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_each_output_is_compared_by_the_divergence_of_its_probabilities(logits, other, temperature):
    found = SoftLoss("sigmoid", temperature=temperature)(logits, other.sigmoid())
    asked, given = (Bernoulli(logits=one / temperature) for one in (other, logits))
    torch.testing.assert_close(found, temperature**2 * kl_divergence(asked, given).mean(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_classes_are_compared_by_the_divergence_of_their_distributions(logits, other, temperature):
    found = SoftLoss("softmax", temperature=temperature)(logits, other.softmax(1))
    asked, given = (Categorical(logits=(one / temperature).movedim(1, -1)) for one in (other, logits))
    torch.testing.assert_close(found, temperature**2 * kl_divergence(asked, given).mean(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_overlap_is_the_dice_loss_where_answers_are_certain(logits, outputs):
    truth = torch.randint(0, max(2, outputs), (6, 5, 4), generator=torch.Generator().manual_seed(2))
    certain = torch.nn.functional.one_hot(truth, max(2, outputs)).movedim(-1, 1).float()[:, -outputs:]
    given, activation = logits[:, :outputs], "sigmoid" if outputs == 1 else "softmax"
    with_it, without = (SoftLoss(activation, overlap=overlap)(given, certain) for overlap in (True, False))
    dice = DiceLoss(
        include_background=outputs == 1,
        sigmoid=outputs == 1,
        softmax=outputs > 1,
        batch=True,
        smooth_nr=0,
        smooth_dr=1e-8,
    )
    torch.testing.assert_close(with_it - without, dice(given, certain))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_it_is_least_and_flat_where_the_answers_are_those_asked_for(logits, activation):
    given = logits.clone().requires_grad_()
    asked = logits.sigmoid() if activation == "sigmoid" else logits.softmax(1)
    for temperature in (1.0, 3.0):
        loss = SoftLoss(activation, temperature=temperature)(given, asked)
        loss.backward()
        assert loss.item() == pytest.approx(0.0, abs=1e-6)
        assert given.grad.abs().max() < 1e-6
    assert SoftLoss(activation, overlap=True)(logits, asked) < SoftLoss(activation, overlap=True)(logits + 0.1, asked)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "identity"])
def test_what_is_not_known_counts_nowhere(logits, other, activation):
    answers = {"sigmoid": torch.sigmoid, "softmax": lambda one: one.softmax(1), "identity": lambda one: one}
    asked = answers[activation](other)
    asked[:, :, 2:] = torch.nan
    loss = SoftLoss(activation, overlap=activation != "identity")
    given = logits.clone().requires_grad_()
    found = loss(given, asked)
    found.backward()
    assert torch.isfinite(given.grad).all()
    assert not given.grad[:, :, 2:].any()
    torch.testing.assert_close(found, loss(logits[:, :, :2], asked[:, :, :2]))
    assert loss(logits, torch.full_like(asked, torch.nan)) == 0


def test_numbers_are_compared_in_their_unit():
    given, asked = torch.tensor([[10.0, 0.1]]), torch.tensor([[14.0, 0.3]])
    assert SoftLoss("identity", deviations=[2.0, 0.1])(given, asked).item() == pytest.approx((2**2 + 2**2) / 2)


def test_coarser_scales_count_half_as_much_each(logits, other):
    loss, asked = SoftLoss("sigmoid", overlap=True), other.sigmoid()
    found = loss(torch.stack([logits, other], dim=1), asked)
    torch.testing.assert_close(found, (loss(logits, asked) + 0.5 * loss(other, asked)) / 1.5)


def test_validation_is_by_the_truth(logits):
    loss = DistilledLoss(SoftLoss("sigmoid"), torch.nn.BCEWithLogitsLoss())
    truth = (logits > 0).float()
    assert loss.train()(logits, logits.sigmoid()).item() == pytest.approx(0.0, abs=1e-6)
    torch.testing.assert_close(loss.eval()(logits, truth), torch.nn.BCEWithLogitsLoss()(logits, truth))
