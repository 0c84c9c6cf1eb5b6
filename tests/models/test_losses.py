import pytest
import torch
from torch.nn import functional

from medloom.errors import RecipeError
from medloom.models.kinds import KINDS, check_network
from medloom.models.losses import EveryScale, KnownPixels, build_mask_loss, sums_in
from medloom.recipe import parse_recipe
from medloom.registry import LOSSES, load, names_for
from medloom.targets import IGNORED

NAMES = sorted(set(names_for(LOSSES, "masks")) - {"boundary", "compound"})
"""Losses that do not look at where a pixel lies, and need no arguments."""


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


@pytest.mark.parametrize("name", NAMES)
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
        ("focal-tversky", {"gamma": 0}, "expected a number above 0"),
        ("focal-tversky", {"gama": 1}, "did you mean 'gamma'"),
        ("focal-tversky", {"reduction": "sum"}, "no argument of loss"),
        ("boundary", {"weight": 1}, "takes none"),
        ("compound", {}, r"expected a list such as \[\{name: dice-ce\}"),
        ("compound", {"terms": [{"name": "dicee"}]}, "did you mean 'dice'"),
        ("compound", {"terms": ["dice"]}, "terms.0: expected a group with name"),
        ("compound", {"terms": [{"name": "dice"}, {"name": "dice", "wait": 1}]}, "did you mean 'weight'"),
        ("compound", {"terms": [{"name": "dice", "weight": 0}]}, "terms.0.weight: expected a number above 0"),
        ("compound", {"terms": [{"name": "dice", "weight": -1, "per_epoch": 1}]}, "weight: expected a number above 0"),
        ("compound", {"terms": [{"name": "dice", "per_epoch": "1"}]}, "terms.0.per_epoch: expected a number; got '1'"),
        ("compound", {"terms": [{"name": "dice", "per_epoch": True}]}, "terms.0.per_epoch: expected a number"),
        ("compound", {"terms": [{"name": "dice", "until": 2}]}, "terms.0.until: it acts only with per_epoch"),
        ("compound", {"terms": [{"name": "dice", "per_epoch": 0.1, "until": 1}]}, "until: expected a number above 1"),
        ("compound", {"terms": [{"name": "dice", "per_epoch": -0.1, "until": 1}]}, "until: .* from 0 to below 1"),
        ("compound", {"terms": [{"name": "dice", "args": {"bach": True}}]}, "did you mean 'batch'"),
        ("compound", {"terms": [{"name": "dice"}], "batch": True}, "no argument of loss 'compound'"),
    ],
)
def test_a_wrong_name_or_argument_is_a_recipe_error_that_says_so(name, args, said):
    with pytest.raises(RecipeError, match=said):
        build_mask_loss(name, 1, args)


def with_ignored(outputs, seed=3):
    """Logits, class indices of which about a third are ignored, and where they are known."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(3, outputs, 12, 10, generator=generator)
    target = torch.randint(0, max(outputs, 2), (3, 12, 10), generator=generator, dtype=torch.uint8)
    known = torch.rand(3, 12, 10, generator=generator) > torch.tensor([0.1, 0.5, 0.4])[:, None, None]
    return logits, torch.where(known, target, IGNORED), known


def by_hand(name, logits, target, known):
    """The losses of the registry in NumPy's way, from sums over the pixels that are known."""
    outputs = logits.shape[1]
    x = logits.double().movedim(1, -1)[known]
    y = functional.one_hot(target[known].long(), max(outputs, 2)).double()
    y = y[:, 1:] if outputs == 1 else y
    p = x.sigmoid() if outputs == 1 else x.softmax(1)
    hits, wrong, missed = (p * y).sum(0), (p * (1 - y)).sum(0), ((1 - p) * y).sum(0)
    dice = (1 - 2 * hits / (p.sum(0) + y.sum(0))).mean()
    entropy = -(y * p.log() + (outputs == 1) * (1 - y) * (1 - p).log()).sum(1).mean()
    q = x.sigmoid()  # MONAI takes the focal loss of each output alone, also beside a Dice of softmax
    focal = (1 - q) ** 2 * y * q.log() + q**2 * (1 - y) * (1 - q).log()
    tversky = (1 - hits / (hits + 0.5 * wrong + 0.5 * missed)).mean()
    found = {"dice": dice, "dice-ce": dice + entropy, "tversky": tversky}
    found["focal-tversky"] = ((1 - hits / (hits + 0.3 * wrong + 0.7 * missed)) ** 0.75).mean()
    return float((found | {"dice-focal": dice - focal.mean()})[name])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("outputs", [1, 4])
def test_ignored_pixels_are_cut_out_of_every_loss(name, outputs):
    logits, target, known = with_ignored(outputs)
    loss = KnownPixels(build_mask_loss(name, outputs))
    value = loss(logits.requires_grad_(), target)
    assert value.item() == pytest.approx(by_hand(name, logits.detach(), target, known), rel=1e-4)
    value.backward()
    assert (logits.grad.movedim(1, -1)[~known] == 0).all()
    assert (logits.grad.movedim(1, -1)[known] != 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("outputs", [1, 4])
def test_what_the_network_says_of_ignored_pixels_does_not_matter(name, outputs, each):
    logits, target, known = with_ignored(outputs)
    loss = KnownPixels(build_mask_loss(name, outputs, {"batch": not each}), each=each)
    other = torch.where(known[:, None], logits, torch.tensor([torch.nan, 1e30, -5.0])[:, None, None, None])
    assert torch.equal(loss(logits, target), loss(other.requires_grad_(), target))
    loss(other, target).backward()
    assert (other.grad.movedim(1, -1)[~known] == 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("outputs", [1, 4])
def test_without_an_ignored_pixel_the_loss_is_what_it_was(name, outputs, each):
    logits, target, known = with_ignored(outputs)
    whole = build_mask_loss(name, outputs, {"batch": not each})
    target = torch.where(known, target, 0)
    assert KnownPixels(whole, each=each)(logits, target).item() == pytest.approx(float(whole(logits, target)), rel=1e-5)


def test_image_by_image_the_loss_is_the_mean_of_the_images_that_have_known_pixels():
    logits, target, known = with_ignored(1)
    target[1] = IGNORED
    whole = build_mask_loss("dice", 1)
    alone = [by_hand("dice", logits[i : i + 1], target[i : i + 1], known[i : i + 1]) for i in (0, 2)]
    assert KnownPixels(whole, each=True)(logits, target).item() == pytest.approx(sum(alone) / 2, rel=1e-4)


@pytest.mark.parametrize("each", [False, True])
def test_a_batch_without_a_known_pixel_costs_nothing_and_teaches_nothing(each):
    logits = torch.randn(2, 1, 4, 4, requires_grad=True)
    value = KnownPixels(build_mask_loss("dice-ce", 1), each=each)(logits, torch.full((2, 4, 4), IGNORED))
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()


def test_a_recipe_without_the_key_keeps_its_loss_and_one_with_it_leaves_pixels_out():
    plain = parse_recipe("name: x")
    assert not isinstance(KINDS["masks"].build_loss(plain, None), KnownPixels)
    ignoring = parse_recipe("name: x", ["target.ignore=254", "loss.args.batch=false"])
    loss = KINDS["masks"].build_loss(ignoring, None)
    assert isinstance(loss, KnownPixels)
    assert loss.each


@pytest.mark.parametrize("outputs", [1, 4])
def test_dice_ce_is_the_sum_of_its_two_parts_as_a_compound(outputs):
    logits, target, known = with_ignored(outputs)
    terms = [{"name": "dice"}, {"name": "dice-ce", "weight": 1.0, "args": {"lambda_dice": 0}}]
    for ignores in (False, True):
        truth = target if ignores else torch.where(known, target, 0)
        both = build_mask_loss("compound", outputs, {"terms": terms}, ignores=ignores)
        whole = build_mask_loss("dice-ce", outputs, ignores=ignores)
        torch.testing.assert_close(both(logits, truth), whole(logits, truth))


def test_terms_count_by_their_weight_and_keep_their_own_arguments():
    logits, target, _ = with_ignored(1)
    target[0] = IGNORED
    terms = [
        {"name": "dice", "weight": 0.25, "args": {"batch": False}},
        {"name": "focal-tversky", "weight": 2},
        {"name": "boundary", "weight": 0.01},
    ]
    value = build_mask_loss("compound", 1, {"terms": terms}, ignores=True)(logits, target)
    alone = [
        build_mask_loss(term["name"], 1, term.get("args"), ignores=True)(logits, target) * term["weight"]
        for term in terms
    ]
    torch.testing.assert_close(value, sum(alone))
    by_image = [by_hand("dice", logits[i : i + 1], target[i : i + 1], target[i : i + 1] != IGNORED) for i in (1, 2)]
    assert alone[0].item() == pytest.approx(0.25 * sum(by_image) / 2, rel=1e-4)


@pytest.mark.parametrize("ignores", [False, True])
def test_weights_rise_and_fall_from_epoch_to_epoch_as_the_authors_of_the_boundary_loss_do(ignores):
    logits, target, _ = with_ignored(1)
    target = target if ignores else target.clamp(max=1)
    region, distance = (build_mask_loss(name, 1, ignores=ignores)(logits, target) for name in ("dice", "boundary"))
    increase = [{"name": "dice"}, {"name": "boundary", "weight": 0.01, "per_epoch": 0.01}]
    rebalance = [
        {"name": "dice", "weight": 0.99, "per_epoch": -0.01, "until": 0.01},
        {"name": "boundary", "weight": 0.01, "per_epoch": 0.01, "until": 0.99},
    ]
    away = [{"name": "dice", "per_epoch": -0.25}, {"name": "boundary", "weight": 0, "per_epoch": 0.5, "until": 1}]
    for epoch in (0, 1, 7, 98, 250):
        alpha = 0.01 * (epoch + 1)
        for terms, expected in (
            (increase, region + alpha * distance),
            (rebalance, (1 - min(alpha, 0.99)) * region + min(alpha, 0.99) * distance),
            (away, max(1 - epoch / 4, 0) * region + min(epoch / 2, 1) * distance),
        ):
            loss = EveryScale(build_mask_loss("compound", 1, {"terms": terms}, ignores=ignores))
            (one,) = sums_in(loss)
            assert one.changes
            one.set_epoch(epoch)
            torch.testing.assert_close(loss(logits, target), expected)


def test_a_loss_that_changes_does_not_pick_the_best_epoch():
    text = "name: x\nloss: {name: compound, args: {terms: [{name: dice-ce}, {name: boundary, weight: 0.01%s}]}}"
    recipe = parse_recipe(text % ", per_epoch: 0.01", ["train.monitor=loss"])
    with pytest.raises(RecipeError, match=r"train\.monitor: a loss whose weights change"):
        check_network(recipe)
    check_network(parse_recipe(text % "", ["train.monitor=loss"]))
    check_network(parse_recipe(text % ", per_epoch: 0.01"))


def test_a_right_answer_of_focal_tversky_has_a_finite_gradient():
    target = torch.zeros(2, 8, 8, dtype=torch.uint8)
    target[:, 2:6, 2:6] = 1
    logits = (200.0 * target[:, None] - 100.0).requires_grad_()
    build_mask_loss("focal-tversky", 1, {"smooth_nr": 0, "smooth_dr": 0})(logits, target).backward()
    assert bool(torch.isfinite(logits.grad).all())


def test_a_recipe_may_sum_losses_and_ignore_pixels():
    recipe = parse_recipe(
        "name: x\ntarget: {ignore: 254}\n"
        "loss: {name: compound, args: {terms: [{name: dice-ce}, {name: boundary, weight: 0.01}]}}"
    )
    logits, target, known = with_ignored(1)
    loss = KINDS["masks"].build_loss(recipe, None)
    other = torch.where(known[:, None], logits, torch.nan).requires_grad_()
    assert torch.equal(loss(logits, target), loss(other, target))
    loss(other, target).backward()
    assert (other.grad.movedim(1, -1)[~known] == 0).all()
    assert (other.grad.movedim(1, -1)[known] != 0).any()


def test_every_scale_counts_half_as_much_as_the_finer_one():
    logits, target, _ = with_ignored(4)
    scales = torch.stack([logits, 0.5 * logits, logits.roll(1, 0)], dim=1)
    loss = build_mask_loss("dice-ce", 4, ignores=True)
    expected = (4 * loss(scales[:, 0], target) + 2 * loss(scales[:, 1], target) + loss(scales[:, 2], target)) / 7
    torch.testing.assert_close(EveryScale(loss)(scales, target), expected)
    assert torch.equal(EveryScale(loss)(logits, target), loss(logits, target))
