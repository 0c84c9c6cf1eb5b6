"""PyTorch: the network itself, rebuilt from safetensors. The reference that the others are measured against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medloom.errors import BundleError, RecipeError, UserError
from medloom.extras import require
from medloom.inference.runtimes import NetworkSpec
from medloom.models.ensemble import Ensemble, answering
from medloom.models.features import WithFeatures, gives_features
from medloom.models.kinds import KINDS
from medloom.targets import Activation
from medloom.wording import one_line

__all__ = ["TorchRuntime"]

Floats32 = NDArray[np.float32]

_CPU, _COMPILER = "cpu", "inductor"
"""What is taken by default, and what compiles the network for a device; see ``torch.compile``."""

_REDUCED = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TorchRuntime:
    """Runs a network.

    Args:
        network: Gives logits; on any device, put into evaluation mode.
        activation: What is applied to its logits; see ``Target``.
        threads: Threads of PyTorch's own pool, for the whole process; left as they are by default.
        precision: ``fp32``, or ``bf16`` or ``fp16`` for convolutions and matrices; what follows them is float32.
        compiled: Whether the network is compiled, which takes a minute and is faster from then on. It is compiled at
            most three times: for one image, a few and many.

    Raises:
        UserError: If PyTorch cannot compute in that precision.
    """

    name = "torch"
    most_providers = 2

    def __init__(
        self,
        network: nn.Module,
        *,
        activation: Activation,
        threads: int | None = None,
        precision: str = "fp32",
        compiled: bool = False,
    ) -> None:
        if precision not in ("fp32", *_REDUCED):
            raise UserError(
                f"the runtime torch computes in fp32, bf16 or fp16, not in {precision}; take package.runtime=onnx or "
                "openvino"
            )
        if threads is not None:
            torch.set_num_threads(threads)
        self._reduced = _REDUCED.get(precision)
        self._network, self._activation = network, activation
        self.model = answering(network, activation)
        self._device = next((p.device for p in network.parameters()), torch.device("cpu"))
        self._run: Callable[..., Tensor] = torch.compile(self.model, dynamic=True) if compiled else self.model

    @classmethod
    def available(cls) -> tuple[str, ...]:
        """Return the devices on this machine, and the compiler, which may come beside one of them."""
        if not torch.accelerator.is_available():
            return (_CPU, _COMPILER)
        kind = torch.accelerator.current_accelerator()
        numbered = (f"{kind}:{number}" for number in range(torch.accelerator.device_count()))
        return (_CPU, str(kind), *numbered, _COMPILER)

    @classmethod
    def open(
        cls,
        model_path: Path,
        *,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        network: NetworkSpec | None = None,
        precision: str = "fp32",
    ) -> TorchRuntime:
        """Rebuild ``network`` and load the safetensors at ``model_path``.

        Raises:
            BundleError: If the weights do not belong to that network.
            UserError: If PyTorch cannot compute in that precision, or on two devices.
        """
        devices = [one for one in providers or () if one != _COMPILER] or [_CPU]
        if len(devices) > 1:
            raise UserError(f"providers is {list(providers or ())!r}; expected one device, and {_COMPILER} beside it")
        if network is None:
            raise ValueError("the torch runtime needs the network to rebuild")
        model = _rebuild(network)
        load_file = require("safetensors.torch", "serve").load_file
        try:
            model.load_state_dict(load_file(model_path))
        except Exception as error:  # safetensors' own error and torch's RuntimeError share no base
            raise BundleError(
                f"{model_path.name} does not hold the weights of {network.name}: {one_line(str(error))}"
            ) from error
        return cls(
            model.to(devices[0]),
            activation=network.target.activation,
            threads=threads,
            precision=precision,
            compiled=_COMPILER in (providers or ()),
        )

    def heatmap(self, image_nchw: Floats32, table_nf: Floats32 | None, output: int) -> Floats32 | None:
        """Return where in one image the network found evidence for an output; see ``Network.heatmap``."""
        drawn: Callable[..., Floats32 | None] | None = getattr(self._network, "heatmap", None)
        return drawn(image_nchw, table_nf, output) if drawn else None

    def integrated_gradients(
        self,
        image_nchw: Floats32,
        table_nf: Floats32 | None,
        output: int,
        *,
        against: bool = False,
        region: NDArray[np.bool_] | None = None,
    ) -> tuple[Floats32, float]:
        """Return what each pixel of one image adds to an output; see ``medloom.models.attribution``."""
        from medloom.models.attribution import integrated_gradients  # brings Captum

        table = None if table_nf is None else torch.from_numpy(table_nf).to(self._device)
        asked = None if region is None else torch.from_numpy(region).to(self._device)
        image = torch.from_numpy(np.ascontiguousarray(image_nchw)).to(self._device)
        found, gap = integrated_gradients(
            self._network, self._activation, image, table, output=output, against=against, region=asked
        )
        map_hw: Floats32 = found.cpu().numpy()
        return map_hw, gap

    def randomised(self, stages: int = 5, seed: int = 0) -> Iterator[tuple[str, TorchRuntime]]:
        """Yield the same with more and more layers made random; see ``medloom.models.randomised``."""
        from medloom.models.randomised import cascade

        for said, network in cascade(self._network, stages, seed):
            yield said, TorchRuntime(network, activation=self._activation)

    def members(self, batch_nchw: Floats32, table_nf: Floats32 | None = None) -> Floats32 | None:
        """Return what each network of an ensemble answers, ``(M, N, K, ...)``; None for a single network."""
        apart = getattr(self._network, "answers", None)
        return None if apart is None else self._ask(apart, batch_nchw, table_nf)

    def run(self, batch_nchw: Floats32, table_nf: Floats32 | None = None) -> Floats32:
        """Return the network's answer to a float32 batch and its metadata; see ``Runtime.run``."""
        return self._ask(self._run, batch_nchw, table_nf)

    def run_with_features(
        self, batch_nchw: Floats32, table_nf: Floats32 | None = None
    ) -> tuple[Floats32, Floats32 | None]:
        """Return the answer, and what the deepest layer makes of the images; None where it is not known which it is."""
        if not gives_features(self._network):
            return self.run(batch_nchw, table_nf), None
        kept: list[Tensor] = []
        both = WithFeatures(self.model, self._network)

        def answer(*given: Tensor) -> Tensor:
            first, features = both(*given)
            kept.append(features)
            found: Tensor = first
            return found

        return self._ask(answer, batch_nchw, table_nf), np.asarray(kept[0].float().cpu().numpy(), np.float32)

    def _ask(self, what: Callable[..., Tensor], batch_nchw: Floats32, table_nf: Floats32 | None) -> Floats32:
        parts = [batch_nchw] if table_nf is None else [batch_nchw, table_nf]
        kind, reduced = self._device.type, self._reduced
        with torch.inference_mode(), torch.autocast(kind, dtype=reduced, enabled=reduced is not None):
            given = [torch.from_numpy(np.ascontiguousarray(part)).to(self._device) for part in parts]
            answer: Floats32 = what(*given).float().cpu().numpy()
        return answer


def _rebuild(network: NetworkSpec) -> nn.Module:
    rebuild = KINDS[network.target.kind].rebuild
    try:
        members = [rebuild(network, features) for features in network.table_features]
    except RecipeError as error:
        raise BundleError(
            f"the network {network.name!r} of this bundle cannot be built here: {one_line(str(error))}"
        ) from error
    return members[0] if len(members) == 1 else Ensemble(members, network.target.activation, network.table_features)
