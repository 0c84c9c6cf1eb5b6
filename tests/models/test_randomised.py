import torch
from torch import nn

from medloom.models.ensemble import Ensemble
from medloom.models.randomised import cascade


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 1, 1), nn.PReLU()
    )


def changed(one, other):
    return [name for name, value in one.state_dict().items() if not torch.equal(value, other.state_dict()[name])]


def test_layers_lose_what_they_learned_from_the_last_to_the_first():
    original = network()
    before = {name: value.clone() for name, value in original.state_dict().items()}
    stages = [(said, set(changed(original, one))) for said, one in cascade(original, stages=3)]
    assert [said for said, _ in stages] == ["the last layer", "the last 50% of the layers", "all layers"]
    assert stages[0][1] == {"4.weight"}  # a single value, as of the activation behind it, cannot be shuffled
    assert stages[0][1] < stages[1][1] < stages[2][1]
    assert {"0.weight", "3.weight", "4.weight"} <= stages[2][1]
    assert all(torch.equal(value, before[name]) for name, value in original.state_dict().items())


def test_values_are_shuffled_and_stay_of_their_size():
    original = network()
    *_, (_, random) = cascade(original)
    for one, other in zip(original.parameters(), random.parameters(), strict=True):
        torch.testing.assert_close(one.flatten().sort().values, other.flatten().sort().values)


def test_the_same_seed_gives_the_same_and_members_lose_the_same_layers():
    ensemble = Ensemble([network(), network()], "sigmoid")
    first, again = ([one.state_dict() for _, one in cascade(ensemble, seed=3)] for _ in range(2))
    assert all(torch.equal(a[name], b[name]) for a, b in zip(first, again, strict=True) for name in a)
    _, top = next(iter(cascade(ensemble)))
    assert set(changed(ensemble, top)) == {"networks.0.4.weight", "networks.1.4.weight"}
