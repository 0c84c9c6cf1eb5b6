import pytest
import torch
from torch.nn import functional

from medloom.errors import RecipeError
from medloom.models.losses import build_mask_loss
from medloom.registry import LOSSES, load, names_for

NAMES = names_for(LOSSES, "masks")


@pytest.fixture
def example():
    torch.manual_seed(0)
    return torch.randn(3, 1, 16, 16), (torch.rand(3, 16, 16) > 0.7).to(torch.uint8)


def soft_dice(logits, target):
    p = logits.sigmoid()[:, 0]
    return 1 - 2 * (p * target).sum() / (p.sum() + target.sum())


def test_every_name_of_the_registry_has_a_builder():
    assert all(callable(load(LOSSES[name])) for name in LOSSES)


def test_dice_sums_over_the_whole_batch_by_default(example):
    logits, target = example
    assert build_mask_loss("dice", 1)(logits, target) == pytest.approx(float(soft_dice(logits, target)))


def test_dice_ce_is_dice_plus_cross_entropy(example):
    logits, target = example
    expected = soft_dice(logits, target) + functional.binary_cross_entropy_with_logits(logits[:, 0], target.float())
    assert build_mask_loss("dice-ce", 1)(logits, target) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_right_prediction_costs_less_than_a_wrong_one(name, outputs):
    target = torch.zeros(2, 8, 8, dtype=torch.uint8)
    target[:, 2:6, 2:6] = 1
    right = functional.one_hot(target.long(), max(outputs, 2)).permute(0, 3, 1, 2).float() * 20 - 10
    right = right[:, 1:] if outputs == 1 else right
    right = functional.pad(right, (0, 0, 0, 0, 0, outputs - right.shape[1]), value=-10)
    loss = build_mask_loss(name, outputs)
    assert loss(right, target) < 0.5 * loss(-right, target)


def test_half_precision_logits_give_the_float32_loss(example):
    logits, target = example
    loss = build_mask_loss("dice-ce", 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(logits.bfloat16(), target)
    assert value.dtype == torch.float32
    assert value == pytest.approx(float(loss(logits.bfloat16().float(), target)))


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        ("dice-ce", {"lamda_ce": 1}, "did you mean 'lambda_ce'"),
        ("dice-ce", {"lambda_ce": -1}, "cannot be built"),
        ("dice-ce", {"sigmoid": True}, "valid: "),
        ("dicee", {}, "did you mean 'dice'"),
        ("mse", {}, "no loss for masks"),
    ],
)
def test_a_wrong_name_or_argument_is_a_recipe_error_that_says_so(name, args, said):
    with pytest.raises(RecipeError, match=said):
        build_mask_loss(name, 1, args)
