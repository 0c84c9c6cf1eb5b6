"""Mixup and CutMix: the pixels, the shares, and what is unknown."""

from __future__ import annotations

import pytest
import torch

from medloom.recipe.sections.augment import ClassesAugmentConfig
from medloom.transforms.augment import Augment
from medloom.transforms.augment.mixing import Mixing, mix_images, mix_rows
from medloom.transforms.augment.parameters import Drawn

MANY = 4000


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def flat(count, size=(20, 16)):
    """Images of one level each, their number, so that what comes from whom can be counted."""
    return torch.arange(float(count))[:, None, None, None].expand(count, 2, *size).contiguous()


def test_mixup_blends_an_image_with_the_one_before_it_and_its_labels_alike():
    drawn = Mixing(mixup_p=0.6, mixup_alpha=0.8).draw(12, (20, 16), generator())
    images = flat(12)
    mixed, rows = mix_images(images, drawn), mix_rows(images[:, :1, 0, 0], drawn)
    assert 0 < int(drawn.hit.sum()) < 12
    torch.testing.assert_close(mixed, rows[:, :, None, None].expand_as(mixed))
    share = drawn.values[:, 0]
    expected = share * torch.arange(12.0) + (1 - share) * torch.arange(12.0).roll(1)
    torch.testing.assert_close(rows[:, 0], torch.where(drawn.hit, expected, torch.arange(12.0)))


def test_cutmix_pastes_a_rectangle_and_shares_the_labels_by_its_area():
    drawn = Mixing(cutmix_p=1.0).draw(40, (20, 16), generator(1))
    images = flat(40)
    mixed = mix_images(images, drawn)
    pasted = mixed == images.roll(1, 0)
    assert bool((pasted | (mixed == images)).all())
    area = pasted[:, 0].float().mean((1, 2))
    torch.testing.assert_close(1 - drawn.values[:, 0], area)
    assert area.max() > 0.5
    for one in pasted[:, 0]:
        rows, columns = one.any(1), one.any(0)
        assert torch.equal(one, rows[:, None] & columns), "a rectangle"
        assert int((torch.diff(rows.int()) != 0).sum()) <= 2
    torch.testing.assert_close(mix_rows(images[:, :1, 0, 0], drawn)[:, 0], mixed[:, 0].mean((1, 2)))


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_shares_are_drawn_from_the_beta_distribution(alpha):
    drawn = Mixing(mixup_p=1.0, mixup_alpha=alpha).draw(MANY, (8, 8), generator())
    share = drawn.values[:, 0]
    assert share.mean() == pytest.approx(0.5, abs=0.02)
    assert share.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.06)


def test_an_image_that_is_blended_gets_no_rectangle():
    drawn = Mixing(mixup_p=0.5, cutmix_p=0.5).draw(MANY, (16, 16), generator())
    assert drawn.hit.float().mean() == pytest.approx(0.75, abs=0.03)
    assert drawn.values[:, 1].mean() == pytest.approx(0.5, abs=0.03)


def test_a_label_that_is_unknown_in_one_of_two_is_unknown_in_both_together_and_nowhere_else():
    rows = torch.tensor([[1.0, torch.nan], [0.0, 1.0], [1.0, 1.0], [torch.nan, 0.0]])
    whole = torch.tensor([0.0, 1, 0, 1])
    values = torch.stack([torch.tensor([0.25, 0.5, 0.5, 0.5]), torch.ones(4), *whole.expand(4, 4).T], dim=1)
    mixed = mix_rows(rows, Drawn(torch.tensor([True, True, False, False]), values))
    expected = torch.tensor([[torch.nan, torch.nan], [0.5, torch.nan], [1.0, 1.0], [torch.nan, 0.0]])
    torch.testing.assert_close(mixed, expected, equal_nan=True)


def test_one_image_alone_stays_as_it_is():
    drawn = Mixing(mixup_p=1.0).draw(1, (8, 8), generator())
    torch.testing.assert_close(mix_images(flat(1), drawn), flat(1))
    torch.testing.assert_close(mix_rows(torch.ones(1, 2), drawn), torch.ones(1, 2))


def test_what_a_process_mixes_is_drawn_for_the_whole_batch():
    section = ClassesAugmentConfig(mixup={"p": 0.5}, cutmix={"p": 0.5})
    whole = Augment.of(section).sample(9, 2, (16, 16), generator(3))
    again = Augment.of(section).sample(9, 2, (16, 16), generator(3))
    picks = torch.arange(1, 9, 2)
    assert torch.equal(whole.part(picks).mixing.values, again.mixing.values[picks])
