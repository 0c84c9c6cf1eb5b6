import pytest
import torch
from torch.nn import functional

from medloom.errors import RecipeError
from medloom.models import LOSSES
from medloom.models.losses import _CLASSES, build_loss
from medloom.recipe import LossConfig


@pytest.fixture
def example():
    torch.manual_seed(0)
    return torch.randn(3, 1, 16, 16), (torch.rand(3, 16, 16) > 0.7).to(torch.uint8)


def soft_dice(logits, target):
    p = logits.sigmoid()[:, 0]
    return 1 - 2 * (p * target).sum() / (p.sum() + target.sum())


def test_every_name_in_the_registry_can_be_built():
    assert set(LOSSES) == set(_CLASSES)


def test_dice_sums_over_the_whole_batch_by_default(example):
    logits, target = example
    assert build_loss(LossConfig(name="dice"), 1)(logits, target) == pytest.approx(float(soft_dice(logits, target)))


def test_dice_ce_is_dice_plus_cross_entropy(example):
    logits, target = example
    expected = soft_dice(logits, target) + functional.binary_cross_entropy_with_logits(logits[:, 0], target.float())
    assert build_loss(LossConfig(name="dice-ce"), 1)(logits, target) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_right_prediction_costs_less_than_a_wrong_one(name, outputs):
    target = torch.zeros(2, 8, 8, dtype=torch.uint8)
    target[:, 2:6, 2:6] = 1
    right = functional.one_hot(target.long(), max(outputs, 2)).permute(0, 3, 1, 2).float() * 20 - 10
    right = right[:, 1:] if outputs == 1 else right
    right = functional.pad(right, (0, 0, 0, 0, 0, outputs - right.shape[1]), value=-10)
    loss = build_loss(LossConfig(name=name), outputs)
    assert loss(right, target) < 0.5 * loss(-right, target)


def test_half_precision_logits_give_the_float32_loss(example):
    logits, target = example
    loss = build_loss(LossConfig(), 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(logits.bfloat16(), target)
    assert value.dtype == torch.float32
    assert value == pytest.approx(float(loss(logits.bfloat16().float(), target)))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (LossConfig(args={"lamda_ce": 1}), "did you mean 'lambda_ce'"),
        (LossConfig(args={"lambda_ce": -1}), "cannot be built"),
        (LossConfig(args={"sigmoid": True}), "valid: "),
    ],
)
def test_a_wrong_argument_is_a_recipe_error_that_says_so(config, said):
    with pytest.raises(RecipeError, match=said):
        build_loss(config, 1)
