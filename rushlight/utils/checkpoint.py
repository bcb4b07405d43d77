"""torch.utils.checkpoint: forget what the forward pass saved, and compute it again in backward.

    y = checkpoint(block, x, use_reentrant=False)

Two mechanisms, as in PyTorch.

- use_reentrant=False: the block runs recorded, but inside `saved_tensors_hooks` whose pack keeps only a number. The first
  unpack runs the block again, with hooks that collect what is saved under the same numbers, and stops as soon as all are
  there (early stop). The graph of the first run is the one that backward walks, so `autograd.grad`, `inputs=`, double
  backward and nesting all work.
- use_reentrant=True: the block runs unrecorded inside a custom Function whose backward runs it again, recorded, and calls
  backward inside backward. Works with `.backward()` alone, and only if an input requires grad.

Random numbers are the same both times (`preserve_rng_state`): the state before the block is put back for the second run,
and what it was is restored after that.
"""

import contextlib
import warnings
import weakref

import rushlight
from rushlight import Tensor, autograd

_EARLY_STOP = True
_DEBUG = None
_MISSING = (
    "CheckpointPolicy", "SelectiveCheckpointContext", "create_selective_checkpoint_contexts", "SAC_IGNORED_OPS", "GraphExecGroup",
)  # fmt: skip


class CheckpointError(RuntimeError):
    """The second run of a block did not save what the first one saved."""


class _Stop(Exception):
    """Everything that was wanted has been computed again."""


class DefaultDeviceType:
    """The device type of checkpointed blocks none of whose arguments is on an accelerator."""

    _default_device_type = "cuda"

    @staticmethod
    def set_device_type(device="cuda"):
        """Set it."""
        DefaultDeviceType._default_device_type = device

    @staticmethod
    def get_device_type():
        """The name set last."""
        return DefaultDeviceType._default_device_type


@contextlib.contextmanager
def set_checkpoint_early_stop(enable):
    """Whether second runs stop as soon as all that is needed is there (they do by default), whatever `early_stop` says."""
    global _EARLY_STOP
    before, _EARLY_STOP = _EARLY_STOP, enable
    try:
        yield
    finally:
        _EARLY_STOP = before


@contextlib.contextmanager
def set_checkpoint_debug_enabled(enabled):
    """Whether errors list what was saved in both runs; None leaves it to `debug=` of each call."""
    global _DEBUG
    before, _DEBUG = _DEBUG, enabled
    try:
        yield
    finally:
        _DEBUG = before


def noop_context_fn():
    """Two contexts that do nothing: the default `context_fn`."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def detach_variable(inputs):
    """The inputs with tensors cut from their history, requires_grad kept."""
    if not isinstance(inputs, tuple):
        raise RuntimeError(f"Only tuple of tensors is supported. Got Unsupported input type: {type(inputs).__name__}")
    return tuple(x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs)


def check_backward_validity(inputs):
    """Warn if no input requires grad: a reentrant checkpoint gives no gradients then."""
    if not any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=3)


def get_device_states(*args):
    """(device indices, their random states) of the accelerators that arguments are on: none here."""
    return [], []


def set_device_states(devices, states, *, device_type=None):
    """Put back what get_device_states gave."""
    return None


class _Setting:
    """What surrounded the first run: random state and autocast, to be had again for the second."""

    def __init__(self, preserve_rng_state):
        self.rng = rushlight.get_rng_state() if preserve_rng_state else None
        self.autocast = rushlight.is_autocast_enabled("cpu"), rushlight.get_autocast_dtype("cpu"), rushlight.is_autocast_cache_enabled()

    @contextlib.contextmanager
    def again(self):
        before = rushlight.get_rng_state() if self.rng is not None else None
        if self.rng is not None:
            rushlight.set_rng_state(self.rng)
        enabled, dtype, cache = self.autocast
        try:
            with rushlight.autocast("cpu", dtype=dtype, enabled=enabled, cache_enabled=cache):
                yield
        finally:
            if before is not None:
                rushlight.set_rng_state(before)


# ---- reentrant -------------------------------------------------------------------------------------------------


class CheckpointFunction(autograd.Function):
    """Runs a function unrecorded; its backward runs it again and calls backward."""

    @staticmethod
    def forward(ctx, run_function, preserve_rng_state, *args):
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.setting = _Setting(preserve_rng_state)
        ctx.places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.inputs = [None if isinstance(a, Tensor) else a for a in args]
        ctx.save_for_backward(*[args[i] for i in ctx.places])
        with rushlight.no_grad():
            return run_function(*args)

    @staticmethod
    def backward(ctx, *args):
        if not autograd._is_checkpoint_valid():
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or passing an `inputs` parameter to "
                ".backward(). To resolve this error, you can either set use_reentrant=False, or call .backward() without passing the "
                "`inputs` argument."
            )
        inputs = list(ctx.inputs)
        for i, x in zip(ctx.places, ctx.saved_tensors):
            inputs[i] = x
        inputs = detach_variable(tuple(inputs))
        with rushlight.enable_grad(), ctx.setting.again():
            outputs = ctx.run_function(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = [(o, g) for o, g in zip(outputs, args) if isinstance(o, Tensor) and o.requires_grad]
        if not pairs:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        autograd.backward([o for o, _ in pairs], [g for _, g in pairs])
        return (None, None, *(x.grad if isinstance(x, Tensor) else None for x in inputs))


# ---- without reentering ----------------------------------------------------------------------------------------


def _note(x):
    return {"shape": x.shape, "dtype": x.dtype, "device": x.device}


class _Frame:
    """One checkpointed call: how to run it again, what it saved, what the second run has given so far."""

    def __init__(self, again, early_stop, check, debug):
        self.again, self.early_stop, self.check, self.debug = again, early_stop, check, debug
        self.notes = []  # of each tensor saved in the first run, what must be the same in the second
        self.values = {}  # number -> tensor of the second run, until it is taken

    def pack(self, x):
        self.notes.append(_note(x))
        return len(self.notes) - 1

    def unpack(self, number):
        if number not in self.values:
            self.recompute()
        if number not in self.values:
            raise CheckpointError(f"torch.utils.checkpoint: the second run did not save tensor {number} again.")
        return self.values.pop(number)

    def recompute(self):
        self.values = {}
        found, frame = [], weakref.ref(self)

        def pack(x):
            me, number = frame(), len(found)
            found.append(_note(x))
            if number >= len(me.notes):
                if me.stops():
                    raise _Stop
                raise CheckpointError(
                    "torch.utils.checkpoint: trying to save more tensors during recomputation than during the original forward pass." + me.report(found)
                )
            me.values[number] = x.detach()
            if len(found) == len(me.notes) and me.stops():
                raise _Stop
            return x.detach()

        try:
            with rushlight.enable_grad(), autograd.graph.saved_tensors_hooks(pack, lambda x: x):
                self.again()
            stopped = False
        except _Stop:
            stopped = True  # everything that is needed is there (an op may have been tried in two ways, and saved twice)
        if not stopped and len(found) != len(self.notes):
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and recomputation.\n"
                f"Number of tensors saved during forward: {len(self.notes)}\nNumber of tensors saved during recomputation: {len(found)}."
                + self.report(found)
            )
        if self.check:
            wrong = [i for i, (a, b) in enumerate(zip(self.notes, found)) if a != b]
            if wrong:
                lines = "".join(f"tensor at position {i}:\nsaved metadata: {self.notes[i]}\nrecomputed metadata: {found[i]}\n" for i in wrong)
                raise CheckpointError(
                    "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than during the forward "
                    f"pass.\n{lines}" + self.report(found)
                )

    def stops(self):
        return self.early_stop and _EARLY_STOP

    def report(self, found):
        if not self.debug:
            return "\nThe block must do the same both times (same shapes, same branches). Pass debug=True to see what each run saved.\n"
        rows = [
            f"  {i}: {self.notes[i] if i < len(self.notes) else '-'}  |  {found[i] if i < len(found) else '-'}"
            for i in range(max(len(self.notes), len(found)))
        ]
        return "\nsaved in the forward pass | saved in the second run\n" + "\n".join(rows) + "\n"


def _without_reentering(function, args, kwargs, preserve_rng_state, context_fn, check, debug, early_stop):
    forward_context, again_context = context_fn()
    setting = _Setting(preserve_rng_state)

    def again():
        with setting.again(), again_context:
            function(*args, **kwargs)

    if not rushlight.is_grad_enabled():
        with forward_context:
            return function(*args, **kwargs)
    frame = _Frame(again, early_stop, check, debug)
    with autograd.graph.saved_tensors_hooks(frame.pack, frame.unpack), forward_context:
        return function(*args, **kwargs)


def checkpoint(
    function, *args, use_reentrant=None, context_fn=noop_context_fn, determinism_check="default", debug=False, early_stop=True, **kwargs
):
    """function(*args), whose saved tensors are computed again in backward. See the two mechanisms above.

    context_fn() gives a context for the first run and one for the second; determinism_check "default" compares shapes,
    dtypes and devices of what both save, "none" does not. preserve_rng_state=True puts random states back.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. use_reentrant=False is recommended, but if you "
            "need to preserve the current default behavior, you can pass use_reentrant=True.",
            stacklevel=2,
        )
        use_reentrant = True
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'], but got {determinism_check}")
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs) + " (use_reentrant=False passes them on)")
        if context_fn is not noop_context_fn or debug is not False:
            raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
        return CheckpointFunction.apply(function, preserve, *args)
    debug = debug if _DEBUG is None else _DEBUG
    return _without_reentering(function, args, kwargs, preserve, context_fn, determinism_check == "default", debug, early_stop)


def checkpoint_sequential(functions, segments, input, use_reentrant=None, **kwargs):
    """A chain of functions (or a Sequential) in `segments` parts, all but the last one checkpointed."""
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be passed explicitly. use_reentrant=False is "
            "recommended, but if you need to preserve the current default behavior, you can pass use_reentrant=True.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    functions = list(functions.children()) if hasattr(functions, "children") else list(functions)

    def run(part):
        def forward(x):
            for f in part:
                x = f(x)
            return x

        return forward

    size = len(functions) // segments
    if size == 0:
        raise ValueError(f"checkpoint_sequential: {segments} segments of {len(functions)} functions would be empty; use at most {len(functions)}")
    last = size * (segments - 1)
    for start in range(0, last, size):
        input = checkpoint(run(functions[start : start + size]), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return run(functions[last:])(input)


def __getattr__(name):
    if name in _MISSING:
        raise NotImplementedError(f"torch.utils.checkpoint.{name} is not implemented: ops cannot be kept one by one; checkpoint smaller blocks instead")
    raise AttributeError(f"module 'torch.utils.checkpoint' has no attribute '{name}'")


__all__ = [
    "checkpoint", "checkpoint_sequential", "CheckpointError", "CheckpointFunction", "check_backward_validity", "detach_variable",
    "get_device_states", "set_device_states", "noop_context_fn", "set_checkpoint_early_stop", "DefaultDeviceType",
    "set_checkpoint_debug_enabled",
]  # fmt: skip
