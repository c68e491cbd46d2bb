"""The processes of one training, as ``torchrun`` starts them: who is who, and how they end together."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from rb2v.errors import InputError, Rb2vError

if TYPE_CHECKING:
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment

_Values = TypeVar("_Values")


def is_first_process() -> bool:
    """Tell whether this process is the one, of those that ``torchrun`` started, that speaks; true without it."""
    return _from_torchrun("RANK", 0) == 0


def _from_torchrun(name: str, alone: int) -> int:
    return int(os.environ[name]) if dist.is_torchelastic_launched() else alone


Precision = Literal["auto", "float32", "bfloat16", "float16"]
_OF_FABRIC: Mapping[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = MappingProxyType(
    {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}
)


def check_precision(precision: str, accelerator: str) -> None:
    """Check that a device trains faster in a precision than in float32.

    Raises
    ------
    InputError
        If it is a CPU and the precision is float16, or bfloat16 for which the CPU has no instructions.
    """
    if accelerator == "cuda" or precision in ("auto", "float32"):
        return
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    knows_bfloat16 = bool(capabilities.get("avx512_bf16"))
    if precision == "float16" or not knows_bfloat16:
        expected = "auto, float32 or bfloat16" if knows_bfloat16 else "auto or float32"
        raise InputError("options", f"{precision} is slower than float32 on this CPU", "precision", expected)


class Placement(Protocol):
    """The part of `lightning_fabric.Fabric` that a training uses."""

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        ...

    def setup(self, module: nn.Module, *optimizers: Optimizer) -> Any:  # noqa: ANN401 - as Fabric has it
        """Return the network and its optimizer, placed on the device."""
        ...

    def to_device(self, obj: _Values) -> _Values:
        """Return tensors on the device."""
        ...

    def backward(self, tensor: Tensor) -> None:
        """Compute the gradients of a loss."""
        ...

    def clip_gradients(
        self, module: nn.Module, optimizer: Optimizer, *, max_norm: float, error_if_nonfinite: bool
    ) -> Tensor | None:
        """Bound the norm of the gradients, and return the norm that they had."""
        ...


class OneCpuProcess:
    """A `Placement` that does what Fabric does for a process alone on a CPU, and spares 1.5 s of imports."""

    device = torch.device("cpu")

    def setup(self, module: nn.Module, *optimizers: Optimizer) -> tuple[nn.Module | Optimizer, ...]:
        """Return the network and its optimizer as they are."""
        return module, *optimizers

    def to_device(self, obj: _Values) -> _Values:
        """Return tensors as they are."""
        return obj

    def backward(self, tensor: Tensor) -> None:
        """Compute the gradients of a loss."""
        torch.autograd.backward(tensor)

    def clip_gradients(
        self,
        module: nn.Module,
        optimizer: Optimizer,
        *,
        max_norm: float,
        error_if_nonfinite: bool,
    ) -> Tensor:
        """Bound the norm of the gradients, and return the norm that they had."""
        return nn.utils.clip_grad_norm_(module.parameters(), max_norm, error_if_nonfinite=error_if_nonfinite)


class Ranks:
    """The place of this process among those that train together; one alone where ``torchrun`` did not start it.

    Parameters
    ----------
    accelerator : {"cpu", "cuda"}
        Where each process computes.
    """

    def __init__(self, accelerator: str) -> None:
        self.accelerator = accelerator
        self._rank, self.size, self._local_size = (
            _from_torchrun(name, alone) for name, alone in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_WORLD_SIZE", 1))
        )
        if self.size > 1 and not dist.is_initialized():
            dist.init_process_group("gloo" if accelerator == "cpu" else "cpu:gloo,cuda:nccl")

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes files and logs."""
        return self._rank == 0

    def check_batch_size(self, n: int) -> None:
        """Check that all processes can share ``n`` rows evenly.

        Raises
        ------
        InputError
            If they cannot.
        """
        if n % self.size:
            problem = f"{n} sequences cannot be shared by {self.size} processes"
            raise InputError("options", problem, "batch_size", f"a multiple of {self.size}")

    def share_of(self, n: int) -> range:
        """Return this process's part of ``n`` rows that all processes share evenly."""
        each = n // self.size
        return range(self._rank * each, (self._rank + 1) * each)

    def make_fabric(
        self, *, all_weights_used: bool = True, mixed: bool = True, precision: Precision = "auto"
    ) -> Placement:
        """Return what places the network on this process's device, and averages the gradients of all processes.

        Parameters
        ----------
        all_weights_used : bool
            Whether every step reaches every weight of the network; otherwise the processes look for those it does not.
        mixed : bool
            Whether CUDA computes in bfloat16 where it can, if the precision is "auto".
        precision : {"auto", "float32", "bfloat16", "float16"}
            What is computed in where it can be.

        Raises
        ------
        InputError
            If there are more processes than devices, or the device does not compute faster in this precision.
        """
        if precision == "auto":
            precision = "bfloat16" if mixed and self.accelerator == "cuda" else "float32"
        check_precision(precision, self.accelerator)
        if self.accelerator == "cuda" and self._local_size > torch.cuda.device_count():
            problem = f"there are {torch.cuda.device_count()} CUDA devices for {self._local_size} processes"
            raise InputError("device", problem, expected="no more processes than devices")
        if self.size == 1 and self.accelerator == "cpu" and precision == "float32":
            return OneCpuProcess()
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment
        from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

        # Alone, a batch system's variables are not meant for this run.
        parallel = "ddp" if all_weights_used else "ddp_find_unused_parameters_true"
        environment: ClusterEnvironment = TorchElasticEnvironment() if self.size > 1 else LightningEnvironment()
        fabric = Fabric(
            accelerator=self.accelerator,
            devices=self._local_size,
            num_nodes=self.size // self._local_size,
            strategy=parallel if self.size > 1 else "auto",
            precision=_OF_FABRIC[precision],
            plugins=[environment],
        )
        if self.size > 1:
            fabric.launch()
        return fabric

    @contextmanager
    def sync_errors(self) -> Iterator[None]:
        """Run a block that may fail on some processes only, and end all of them where it does.

        Raises
        ------
        Rb2vError or OSError
            On the first process, the first error of any; the others end silently, with exit status 2.
        """
        if self.size == 1:
            yield
            return
        error: Exception | None = None
        try:
            yield
        except (Rb2vError, OSError) as caught:
            error = caught
        errors: list[Exception | None] = [None] * self.size
        dist.all_gather_object(errors, error)
        failures = [failure for failure in errors if failure is not None]
        if failures and self.is_main_process:
            # Not before its end, for which the others wait; and not left to the interpreter's end, at which a thread
            # of the group that still lives can abort the process.
            atexit.register(self.destroy)
            raise failures[0]
        if failures:
            self._outlive_first()
            self.destroy()
            raise SystemExit(2)

    def broadcast(self, value: Any) -> Any:  # noqa: ANN401 - whatever can be pickled
        """Return the value of the main process."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def means(self, values: Tensor) -> list[float]:
        """Return the mean over the processes of every value."""
        total = values.detach().clone()
        if self.size > 1:
            dist.all_reduce(total)
        return [value / self.size for value in total.tolist()]

    def gather(self, rows: Tensor) -> NDArray[np.float32]:
        """Return the rows of all processes, one process after the other."""
        rows = rows.detach().float().contiguous()
        if self.size > 1:
            parts = [torch.empty_like(rows) for _ in range(self.size)]
            dist.all_gather(parts, rows)
            rows = torch.cat(parts)
        return rows.cpu().numpy()

    def destroy(self) -> None:
        """Leave the process group; no process waits for another from here on."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def _outlive_first(self) -> None:
        # Whoever started the processes ends all of them with the first that fails: it is to say its message before.
        with suppress(RuntimeError):  # the connection breaks with its end
            dist.barrier()
