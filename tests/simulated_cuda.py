"""A CUDA device without a GPU: tensors that say they are on CUDA, hold their values on the CPU, and keep CUDA's rules.

Everything computes real values, so that whole trainings run. An operation that is given tensors of both devices fails
as on a GPU, and so does reading values of the device by numpy.
"""

import contextlib

import torch
import torch.nn.functional as F
from torch.autograd.graph import _engine_run_backward
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("cuda", 0)

_ACROSS = {"copy_", "_to_copy"}
"""Operations that may be given tensors of both devices."""
_INDEXED = {"index", "index_put", "index_put_", "_unsafe_index"}
"""Operations on tensors of the device that may be given indices of the CPU."""


class DeviceError(RuntimeError):
    """Tensors of two devices met."""


class _Simulated(torch.Tensor):
    """A tensor of the device; ``held`` has its values."""

    @staticmethod
    def __new__(cls, held):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device="meta",  # for torch itself, which else looks for values before it asks this class
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda _: DEVICE)
    is_cuda = property(lambda _: True)
    is_cpu = property(lambda _: False)
    is_meta = property(lambda _: False)

    def numpy(self, *_, **__):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy

    def tolist(self):
        return self.held.detach().tolist()

    def __reduce_ex__(self, protocol):
        return self.held.detach().__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        leaves, form = pytree.tree_flatten((args, kwargs or {}))
        name = function.overloadpacket.__name__
        if name in _INDEXED:
            args_checked = [args[0]] if isinstance(args[0], cls) else [*leaves, args[0]]
        else:
            args_checked = [] if name in _ACROSS else leaves
        places = {isinstance(leaf, cls) for leaf in args_checked if isinstance(leaf, torch.Tensor) and leaf.ndim}
        if len(places) > 1:
            raise DeviceError(f"{function}: Expected all tensors to be on the same device, found cuda:0 and cpu")
        on_cpu = name == "copy_" and not isinstance(args[0], cls)
        wrappers = {id(leaf.held): leaf for leaf in leaves if isinstance(leaf, cls)}
        plain_args, plain_kwargs = pytree.tree_unflatten(
            [leaf.held if isinstance(leaf, cls) else leaf for leaf in leaves], form
        )
        made = function(*plain_args, **plain_kwargs)
        if on_cpu:
            return made

        def wrap(value):
            if not isinstance(value, torch.Tensor) or isinstance(value, cls):
                return value
            return wrappers[id(value)] if id(value) in wrappers else cls(value)

        return pytree.tree_map(wrap, made)


class _Enter(torch.autograd.Function):
    @staticmethod
    def forward(_, values):
        return _Simulated(values.detach())

    @staticmethod
    def backward(_, gradient):
        return _leave(gradient)


class _Leave(torch.autograd.Function):
    @staticmethod
    def forward(_, values):
        return values.held.detach().clone()

    @staticmethod
    def backward(_, gradient):
        return _enter(gradient)


def _enter(values):
    return values if isinstance(values, _Simulated) else _Enter.apply(values)


def _leave(values):
    return _Leave.apply(values) if isinstance(values, _Simulated) else values


def _is_plain(value):
    return isinstance(value, torch.Tensor) and not isinstance(value, _Simulated)


def _is_cuda(device):
    return device is not None and torch.device(device).type == "cuda"


class _Factories(TorchFunctionMode):
    """Lets what is made on, or moved to, CUDA be of the simulated device."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        if name in {"to", "cuda", "cpu"} and args and isinstance(args[0], torch.Tensor):
            return self._move(name, args, kwargs)
        if function is F.embedding_bag:
            return _sum_rows(*args, **kwargs)
        if name == "new_tensor" and isinstance(args[0], _Simulated):
            return _Simulated(args[0].held.new_tensor(*args[1:], **kwargs))
        if name in {"__getitem__", "__setitem__"} and isinstance(args[0], _Simulated):
            # Indices of the CPU are allowed; torch moves them to the device by itself.
            moved = pytree.tree_map(lambda index: _enter(index) if _is_plain(index) else index, args[1])
            return function(args[0], moved, *args[2:])
        if function is torch.autograd.backward:
            # Gradients of our own operators make tensors too.
            (loss,) = args[0] if isinstance(args[0], tuple | list) else [args[0]]
            with self:
                return _engine_run_backward(
                    (loss,),
                    (torch.ones_like(loss),),
                    False,
                    False,
                    (),
                    allow_unreachable=True,
                    accumulate_grad=True,
                )
        if _is_cuda(kwargs.get("device")):
            kwargs["device"] = "cpu"
            return pytree.tree_map(
                lambda made: _enter(made) if isinstance(made, torch.Tensor) else made, function(*args, **kwargs)
            )
        return function(*args, **kwargs)

    @staticmethod
    def _move(name, args, kwargs):
        values, *others = args
        if name != "to":
            return _enter(values) if name == "cuda" else _leave(values)
        target, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
        if others and isinstance(others[0], torch.Tensor):
            target, dtype = others[0].device, others[0].dtype
        elif others and isinstance(others[0], torch.dtype):
            dtype = others[0]
        elif others:
            target = others[0] if others[0] is not None else target
            dtype = next((each for each in others[1:2] if isinstance(each, torch.dtype)), dtype)
        if target is not None:
            values = _enter(values) if _is_cuda(target) else _leave(values)
        kwargs.pop("non_blocking", None)
        kwargs.pop("memory_format", None)
        return values.to(dtype=dtype, **kwargs) if dtype is not None or kwargs.get("copy") else values


def _sum_rows(index, table, *, per_sample_weights, mode, **_):
    # As torch has it, but that the first place of every bag would be made on a true device.
    assert mode == "sum"
    first = _enter(torch.arange(0, index.numel(), index.shape[1], dtype=index.dtype))
    first = first if isinstance(table, _Simulated) else first.held
    return torch.embedding_bag(table, index.reshape(-1), first, False, 0, False, per_sample_weights.reshape(-1))[0]


class SimulatedPlacement:
    """A `Placement` of a process alone with the device."""

    device = DEVICE

    def setup(self, module, *optimizers):
        """Move the network; its optimizers see the moved weights."""
        before = list(module.parameters())
        module.to(DEVICE)
        moved = {id(old): new for old, new in zip(before, module.parameters(), strict=True)}
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["params"] = [moved.get(id(weight), weight) for weight in group["params"]]
        return module, *optimizers

    def to_device(self, obj):
        return pytree.tree_map(lambda leaf: leaf.to(DEVICE) if isinstance(leaf, torch.Tensor) else leaf, obj)

    def backward(self, tensor):
        torch.autograd.backward(tensor)

    def clip_gradients(self, module, optimizer, *, max_norm, error_if_nonfinite):
        return torch.nn.utils.clip_grad_norm_(module.parameters(), max_norm, error_if_nonfinite=error_if_nonfinite)


class _TorchsOwn(TorchDispatchMode):
    """Gives values to what torch itself makes beside a simulated tensor."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if str(kwargs.get("device", "")) != "meta":
            return function(*args, **kwargs)
        kwargs["device"] = torch.device("cpu")
        made = function(*args, **kwargs)
        return made if isinstance(made, _Simulated) else _Simulated(made)


@contextlib.contextmanager
def simulated_cuda(monkeypatch):
    """Let torch find one CUDA device in the block."""
    from rb2v.interpolation.learned.cdfi import collaboration
    from rb2v.training.ranks import Ranks

    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch, "inference_mode", torch.no_grad)  # views of such classes cannot be made in it
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        patch.setattr(torch.cuda, "current_device", lambda: 0)
        patch.setattr(torch.cuda, "get_rng_state", lambda *_: torch.zeros(1))
        patch.setattr(torch.cuda, "set_rng_state", lambda *_: None)
        patch.setattr(Ranks, "make_fabric", lambda *_, **__: SimulatedPlacement())
        patch.setattr(collaboration, "has_triton", lambda: False)
        with _TorchsOwn(), _Factories():
            yield
