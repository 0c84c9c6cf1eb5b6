"""Takes statistics of one training step: weights, gradients, what the step changes, activations.

Nothing that is computed for the training is touched. Between sampled steps there is no hook in the network, so they
cost nothing; in a sampled one everything is reduced on the device and fetched at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from medloom.training.diagnosis.histograms import GRADIENTS, OUTPUTS
from medloom.training.diagnosis.records import Activation, Layer

__all__ = ["Sampler", "Statistics", "described", "layers_of"]

_HOMES = ("torch.nn.modules.activation", "timm.layers.activations", "monai.networks.blocks.activation")
_NO_ACTIVATIONS = ("MultiheadAttention", "Softmax", "LogSoftmax")
_BOUNDS = {"Sigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Hardsigmoid": (0.0, 1.0), "Softsign": (-1.0, 1.0)}

_MOST_ACTIVATIONS = 48
_MOST_HISTOGRAMS = 12
_VALUES = 2**15
"""So many values of an activation are looked at."""

_COUNTED = 2**12
"""So many of them, and of a gradient, go into a histogram."""

_NEAR = 0.01
"""Within this of a bound, as a share of the range, an activation is saturated."""

_NEARLY_ALL = 0.98


@dataclass(frozen=True)
class Statistics:
    """What was seen in a step.

    Args:
        layers: By name, those with a gradient.
        activations: By name, in the order of computation.
        gradients: Counts in the bins of ``GRADIENTS``, of some of the layers.
        outputs: Counts in the bins of ``OUTPUTS``, of some of the activations.
    """

    layers: dict[str, Layer]
    activations: dict[str, Activation]
    gradients: dict[str, list[int]]
    outputs: dict[str, list[int]]


def layers_of(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights of every layer that multiplies by some, by the layer's name, in order."""
    found: dict[str, nn.Parameter] = {}
    for name, module in network.named_modules():
        weight = module._parameters.get("weight")
        if weight is not None and weight.ndim >= 2:
            found[name or type(module).__name__] = weight
    return found


def _spread_out(names: Sequence[str], most: int) -> list[str]:
    """At most so many of the names, evenly from the first to the last."""
    if len(names) <= most:
        return list(names)
    places = sorted({round(place * (len(names) - 1) / (most - 1)) for place in range(most)})
    return [names[place] for place in places]


@dataclass
class Sampler:
    """Looks at single steps of a network's training.

    Args:
        network: What is trained.
        hooked: Whether activations can be seen; not in a compiled network, which does not call its parts.
    """

    network: nn.Module
    hooked: bool = True
    _handles: list[RemovableHandle] = field(default_factory=list)
    _seen: dict[str, Tensor] = field(default_factory=dict)
    _gradients: dict[str, Tensor] = field(default_factory=dict)
    _outputs: dict[str, Tensor] = field(default_factory=dict)
    _names: list[str] = field(default_factory=list)
    _before: dict[str, Tensor] = field(default_factory=dict)
    _facts: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._layers = layers_of(self.network)
        self._drawn = frozenset(_spread_out(list(self._layers), _MOST_HISTOGRAMS))
        parts = {name: part for name, part in self.network.named_modules() if _is_activation(part)}
        self._parts = {name: parts[name] for name in _spread_out(list(parts), _MOST_ACTIVATIONS)}
        self._shown = frozenset(_spread_out(list(self._parts), _MOST_HISTOGRAMS))

    @property
    def layers(self) -> dict[str, nn.Parameter]:
        """The weights of the layers by name."""
        return self._layers

    def begin(self) -> None:
        """Before the forward pass: look at what the activation functions give."""
        self.end()
        if self.hooked:
            self._handles = [part.register_forward_hook(self._looking(name)) for name, part in self._parts.items()]

    def before_step(self) -> None:
        """After the backward pass: look at the gradients and keep the weights."""
        self._unhook()
        trained = {name: weight for name, weight in self._layers.items() if weight.grad is not None}
        self._names = list(trained)
        if not trained:
            return
        with torch.no_grad():
            weights: list[Tensor] = list(trained.values())
            gradients = [weight.grad for weight in trained.values() if weight.grad is not None]
            self._facts = {"gradient": torch.stack(torch._foreach_norm(gradients)).float()}
            self._facts["weight"] = torch.stack(torch._foreach_norm(weights)).float()
            self._facts["mean"] = torch.stack([weight.mean() for weight in weights]).float()
            self._before = {name: weight.detach().clone() for name, weight in trained.items()}
            for name, gradient in zip(self._names, gradients, strict=True):
                if name in self._drawn:
                    self._gradients[name] = GRADIENTS.count(_thinned(gradient))

    def after_step(self) -> Statistics:
        """After the optimiser: look at what it changed, and fetch everything."""
        self._unhook()
        with torch.no_grad():
            if self._names:
                changes = [self._layers[name] - before for name, before in self._before.items()]
                self._facts["update"] = torch.stack(torch._foreach_norm(changes)).float()
            statistics = Statistics(
                self._fetched(), self._activations(), _plain(self._gradients), _plain(self._outputs)
            )
        self.end()
        return statistics

    def end(self) -> None:
        """Forget what was seen, and leave no hook behind."""
        self._unhook()
        self._seen, self._gradients, self._outputs = {}, {}, {}
        self._before, self._facts, self._names = {}, {}, []

    def _unhook(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _looking(self, name: str) -> Any:  # noqa: ANN401 - a hook of torch
        bounds, wants_counts = _BOUNDS.get(type(self._parts[name]).__name__), name in self._shown

        def look(part: nn.Module, given: object, output: object) -> None:
            if name in self._seen or not isinstance(output, Tensor) or output.ndim < 2:  # of a part used twice, once
                return
            with torch.no_grad():
                values = _by_unit(output.detach())
                self._seen[name] = described(values, bounds)
                if wants_counts:
                    self._outputs[name] = OUTPUTS.count(_thinned(values))

        return look

    def _fetched(self) -> dict[str, Layer]:
        if not self._names:
            return {}
        keys = ("weight", "gradient", "update", "mean")
        columns = torch.stack([self._facts[key] for key in keys]).tolist()
        found = {}
        for name, weight, gradient, update, mean in zip(self._names, *columns, strict=True):
            size = self._layers[name].numel()
            root, rms = size**0.5, weight / size**0.5
            spread = max(rms**2 - mean**2, 0.0) ** 0.5
            spread = 0.0 if spread < 1e-3 * rms and self._is_constant(name) else spread
            found[name] = Layer(rms, spread, gradient / root, update / root, size)
        return found

    def _is_constant(self, name: str) -> bool:
        """Whether all weights were one value; only asked where rounding may hide that they were not."""
        before = self._before[name]
        return bool((before == before.flatten()[0]).all())

    def _activations(self) -> dict[str, Activation]:
        if not self._seen:
            return {}
        rows = torch.stack(list(self._seen.values())).tolist()
        return {
            name: Activation(row[0], row[1], row[2], row[3], int(row[4]), bool(row[5]))
            for name, row in zip(self._seen, rows, strict=True)
        }


def _plain(counts: dict[str, Tensor]) -> dict[str, list[int]]:
    return {name: one.tolist() for name, one in counts.items()}


def _is_activation(part: nn.Module) -> bool:
    home = type(part).__module__
    return any(home.startswith(one) for one in _HOMES) and type(part).__name__ not in _NO_ACTIVATIONS


def _thinned(values: Tensor) -> Tensor:
    """Some of a tensor's values, evenly over all of it."""
    flat = values.detach().reshape(-1)
    return flat[:: max(1, flat.numel() // _COUNTED)]


def _by_unit(output: Tensor) -> Tensor:
    """Some of the values ``(M, units)``: all images and units, and of larger maps every so many rows and columns."""
    excess = max(1, output.numel() // _VALUES)
    if output.ndim >= 4:  # N, C, H, W
        side = max(1, round(excess**0.5))
        thin = output[..., ::side, ::side]
        return thin.movedim(1, -1).reshape(-1, output.shape[1]).float()
    thin = output[:, ::excess] if output.ndim == 3 else output
    return thin.reshape(-1, output.shape[-1]).float()


def described(values: Tensor, bounds: tuple[float, float] | None = None) -> Tensor:
    """Return mean, spread, dead share, saturated share, number of units and whether all values are finite.

    Args:
        values: ``(M, units)`` float32.
        bounds: What the activation cannot leave; None where it can.

    Returns:
        ``(6,)``.

    Example:
        >>> described(torch.tensor([[0.0, 1.0], [0.0, 3.0]])).tolist()
        [1.0, 1.2247449159622192, 0.5, 0.0, 2.0, 1.0]
    """
    finite = torch.isfinite(values).all().float()
    spread, mean = torch.std_mean(values, correction=0)
    dead = (values == 0).all(dim=0).float().mean()
    saturated = torch.zeros_like(dead) if bounds is None else _saturated(values, *bounds)
    units = torch.full_like(dead, values.shape[1])
    return torch.stack([mean, spread, dead, saturated, units, finite])


def _saturated(values: Tensor, low: float, high: float) -> Tensor:
    near = _NEAR * (high - low)
    at_bound = ((values < low + near) | (values > high - near)).float().mean(dim=0)
    return (at_bound >= _NEARLY_ALL).float().mean()
