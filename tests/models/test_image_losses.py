import pytest
import torch
from monai.losses import FocalLoss
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from medloom.errors import RecipeError
from medloom.models.image_losses import BinaryLoss, ClassesLoss, LabelsLoss, build_label_loss, mse

FORMS = {"binary": BinaryLoss, "multi-class": ClassesLoss, "multi-label": LabelsLoss}
KINDS = tuple(FORMS)


def build(name, kind, counts=None, **args):
    facts = (FORMS[kind], counts) if kind in FORMS else (counts,)
    return build_label_loss(name, kind, facts, args)


def example(kind, count=12, outputs=4):
    torch.manual_seed(0)
    outputs = 1 if kind == "binary" else outputs
    logits = 3 * torch.randn(count, outputs)
    if kind == "multi-class":
        return logits, torch.randint(outputs, (count, 1)).float()
    return logits, (torch.rand(count, outputs) > 0.6).float()


def sigmoid_focal_by_the_paper(logits, targets, gamma, alpha):
    p = logits.sigmoid()
    p_t = torch.where(targets == 1, p, 1 - p)
    alpha_t = 1.0 if alpha is None else torch.where(targets == 1, alpha, 1 - alpha)
    return (-alpha_t * (1 - p_t) ** gamma * p_t.log()).mean()


@pytest.mark.parametrize("kind", ["binary", "multi-label"])
def test_cross_entropy_of_labels_is_torchs(kind):
    logits, targets = example(kind)
    expected = functional.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(build("cross-entropy", kind)(logits, targets), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_classes_is_torchs(smoothing):
    logits, targets = example("multi-class")
    expected = functional.cross_entropy(logits, targets[:, 0].long(), label_smoothing=smoothing)
    got = build("cross-entropy", "multi-class", label_smoothing=smoothing)(logits, targets)
    torch.testing.assert_close(got, expected)


def test_label_smoothing_of_a_yes_or_no_moves_both_answers_towards_a_half():
    logits, targets = example("binary")
    expected = functional.binary_cross_entropy_with_logits(logits, targets * 0.8 + 0.1)
    torch.testing.assert_close(build("cross-entropy", "binary", label_smoothing=0.2)(logits, targets), expected)


def test_smoothed_cross_entropy_of_a_yes_or_no_is_that_of_two_classes():
    logits, targets = example("binary")
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    args = {"label_smoothing": 0.2, "class_weights": [1.0, 3.0]}
    got = build("cross-entropy", "binary", **args)(logits, targets)
    torch.testing.assert_close(got, build("cross-entropy", "multi-class", **args)(two, targets))


@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("kind", ["binary", "multi-label"])
def test_focal_is_the_papers_formula_and_monais(kind, alpha):
    logits, targets = example(kind)
    got = build("focal", kind, gamma=1.5, **({} if alpha is None else {"alpha": alpha}))(logits, targets)
    torch.testing.assert_close(got, sigmoid_focal_by_the_paper(logits, targets, 1.5, alpha))
    torch.testing.assert_close(got, FocalLoss(gamma=1.5, alpha=alpha)(logits, targets))


def test_focal_of_classes_is_monais_softmax_form():
    logits, targets = example("multi-class")
    theirs = FocalLoss(gamma=2.0, use_softmax=True, to_onehot_y=True, reduction="none")(logits, targets)
    torch.testing.assert_close(build("focal", "multi-class")(logits, targets), theirs.sum(dim=1).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_focal_with_gamma_zero_is_cross_entropy(kind):
    logits, targets = example(kind)
    torch.testing.assert_close(
        build("focal", kind, gamma=0)(logits, targets), build("cross-entropy", kind)(logits, targets)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_of_extreme_logits_and_its_gradient_are_finite(kind, gamma):
    logits, targets = example(kind)
    logits = (logits.sign() * 200).requires_grad_()
    loss = build("focal", kind, gamma=gamma)(logits, targets)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_mse_is_of_the_numbers_in_the_unit_of_each():
    torch.manual_seed(0)
    values, targets = torch.randn(5, 2), 100 * torch.randn(5, 2)
    torch.testing.assert_close(build("mse", "regression")(values, targets), functional.mse_loss(values, targets))
    unit = [1.0 + number for number in range(values.shape[1])]
    found = mse(unit)(values, targets)
    divided = torch.tensor(unit)
    torch.testing.assert_close(found, functional.mse_loss(values / divided, targets / divided))


def test_weights_of_classes_multiply_each_images_loss():
    logits, targets = example("multi-class")
    weights = [1.0, 2.0, 0.5, 4.0]
    each = functional.cross_entropy(logits, targets[:, 0].long(), weight=torch.tensor(weights), reduction="none")
    got = build("cross-entropy", "multi-class", class_weights=weights)(logits, targets)
    torch.testing.assert_close(got, each.mean())


def test_weights_of_a_yes_or_no_are_of_no_and_of_yes():
    logits, targets = example("binary")
    each = functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=torch.tensor(3.0))
    torch.testing.assert_close(build("cross-entropy", "binary", class_weights=[1, 3])(logits, targets), each)


@pytest.mark.parametrize(("kind", "counts"), [("binary", [90, 10]), ("multi-class", [70, 20, 10])])
def test_balanced_lets_every_class_weigh_alike_and_keeps_the_mean_weight_at_one(kind, counts):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    loss = build("cross-entropy", kind, counts, class_weights="balanced")
    expected = compute_class_weight("balanced", classes=labels.unique().numpy(), y=labels.numpy())
    assert loss.weights.tolist() == pytest.approx(expected)
    assert loss.weights[labels].mean() == pytest.approx(1.0)


def test_balanced_labels_weigh_more_the_rarer_they_are():
    loss = build("cross-entropy", "multi-label", [10, 30], class_weights="balanced")
    assert loss.weights.tolist() == pytest.approx([1.5, 0.5])
    logits, targets = example("multi-label", outputs=2)
    each = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    torch.testing.assert_close(loss(logits, targets), (each * torch.tensor([1.5, 0.5])).mean())


@pytest.mark.parametrize("name", ["cross-entropy", "focal"])
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_logits_give_the_float32_loss(name, kind):
    logits, targets = example(kind)
    loss = build(name, kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(logits.bfloat16(), targets)
    assert value.dtype == torch.float32
    assert value == pytest.approx(float(loss(logits.bfloat16().float(), targets)))


def test_weights_are_no_part_of_the_saved_state():
    assert not build("cross-entropy", "binary", class_weights=[1, 2]).state_dict()


@pytest.mark.parametrize(
    ("kind", "logits", "targets", "args"),
    [
        ("binary", (4, 1), (4,), {}),
        ("multi-label", (4, 3), (4, 1), {}),
        ("multi-class", (4, 3), (4, 2), {}),
        ("multi-label", (4, 3), (4, 3), {"class_weights": [2.0]}),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(kind, logits, targets, args):
    with pytest.raises(ValueError, match=r"expected targets|weights for"):
        build("cross-entropy", kind, **args)(torch.zeros(logits), torch.zeros(targets))


@pytest.mark.parametrize(
    ("name", "kind", "args", "said"),
    [
        ("mse", "binary", {}, "no loss for binary.*cross-entropy, focal"),
        ("cross-entropy", "regression", {}, "no loss for regression.*mse"),
        ("dice", "binary", {}, "no loss for binary"),
        ("mse", "regression", {"gamma": 1}, "takes none"),
        ("focal", "binary", {"gama": 1}, "did you mean 'gamma'"),
        ("cross-entropy", "binary", {"gamma": 1}, "no argument of loss"),
        ("focal", "binary", {"gamma": -1}, "loss.args.gamma"),
        ("focal", "binary", {"alpha": 1.5}, "loss.args.alpha"),
        ("focal", "multi-class", {"alpha": 0.5}, "class_weights"),
        ("cross-entropy", "binary", {"label_smoothing": 1.0}, "loss.args.label_smoothing"),
        ("cross-entropy", "binary", {"label_smoothing": True}, "loss.args.label_smoothing"),
        ("cross-entropy", "binary", {"class_weights": "balance"}, "expected balanced or a list"),
        ("cross-entropy", "binary", {"class_weights": [1, 2, 3]}, "expected 2 numbers"),
        ("cross-entropy", "binary", {"class_weights": [1, 0]}, "above 0"),
        ("cross-entropy", "binary", {"class_weights": [1, "2"]}, "above 0"),
        ("cross-entropy", "binary", {"class_weights": "balanced"}, "needs the training images"),
    ],
)
def test_a_wrong_loss_or_argument_is_a_recipe_error_that_says_so(name, kind, args, said):
    with pytest.raises(RecipeError, match=said):
        build(name, kind, **args)


def test_balanced_without_an_image_of_a_class_is_a_recipe_error():
    with pytest.raises(RecipeError, match="class 1"):
        build("cross-entropy", "binary", [5, 0], class_weights="balanced")


@pytest.mark.parametrize(("name", "kind"), [("cross-entropy", "multi-label"), ("focal", "multi-label"), ("mse", None)])
def test_unknown_labels_count_nowhere_and_have_no_gradient(name, kind):
    logits, targets = example("multi-label")
    loss = build(name, kind) if kind else build_label_loss(name, "regression", (None,))
    known = torch.rand(targets.shape, generator=torch.Generator().manual_seed(1)) > 0.4
    logits.requires_grad_()
    got = loss(logits, torch.where(known, targets, torch.nan))
    alone = torch.stack([loss(logits[i : i + 1, j : j + 1], targets[i : i + 1, j : j + 1]) for i, j in known.nonzero()])
    torch.testing.assert_close(got, alone.mean())
    got.backward()
    assert (logits.grad[~known] == 0).all()
    assert (logits.grad[known] != 0).all()


def test_a_batch_without_a_known_label_has_the_loss_zero():
    logits = torch.randn(3, 2, requires_grad=True)
    loss = build("cross-entropy", "multi-label")(logits, torch.full((3, 2), torch.nan))
    loss.backward()
    assert loss.item() == 0.0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("cross-entropy", {}),
        ("cross-entropy", {"label_smoothing": 0.1, "class_weights": True}),
        ("focal", {"gamma": 1.5}),
        ("focal", {"gamma": 0.5, "alpha": 0.3, "label_smoothing": 0.1}),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_mixed_images_is_the_mean_of_the_losses_of_both_answers(kind, name, args):
    logits, targets = example(kind)
    outputs = logits.shape[1]
    given = {key: value for key, value in args.items() if kind != "multi-class" or key != "alpha"}
    if "class_weights" in given:
        given["class_weights"] = [1.0, 3.0] if kind == "binary" else [1.0, 2.0, 0.5, 4.0]
    loss = build(name, kind, **given)
    share, other = torch.linspace(0, 1, len(logits))[:, None], targets.roll(1, 0)
    as_shares = (lambda rows: functional.one_hot(rows[:, 0].long(), outputs).float()) if kind == "multi-class" else None
    first, second = (as_shares(one) if as_shares else one for one in (targets, other))
    mixed = loss(logits, share * first + (1 - share) * second)
    alone = [
        sum(
            part * loss(logits[i : i + 1], one[i : i + 1])
            for part, one in ((share[i, 0], targets), (1 - share[i, 0], other))
        )
        for i in range(len(logits))
    ]
    torch.testing.assert_close(mixed, torch.stack(alone).mean())
    torch.testing.assert_close(loss(logits, first), loss(logits, targets))


def test_cross_entropy_of_shares_is_torchs():
    logits, targets = example("multi-class")
    shares = 0.7 * functional.one_hot(targets[:, 0].long(), 4) + 0.3 * torch.tensor([0.0, 0.0, 1.0, 0.0])
    got = build("cross-entropy", "multi-class", label_smoothing=0.1)(logits, shares)
    torch.testing.assert_close(got, functional.cross_entropy(logits, shares, label_smoothing=0.1))


def test_a_mixed_class_that_is_unknown_counts_nowhere():
    logits, targets = example("multi-class")
    shares = functional.one_hot(targets[:, 0].long(), 4).float()
    shares[::2] = torch.nan
    loss = build("cross-entropy", "multi-class")
    torch.testing.assert_close(loss(logits, shares), loss(logits[1::2], targets[1::2]))
