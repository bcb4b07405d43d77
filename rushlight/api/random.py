"""Random tensors: factory functions, in-place fills, samplers, generators and their state.

Every draw comes from the generator given, or the default one, in PyTorch's order, so one seed gives PyTorch's numbers.
"""

from __future__ import annotations

import contextlib
import warnings

import numpy as np

from rushlight.api.creation import checked_dtype, sizes
from rushlight.api.devices import allocate, exact, placed
from rushlight.backends import streams
from rushlight.backends.accelerator import active
from rushlight.bind import FUNCTIONS, both, function, method
from rushlight.core import device as device_
from rushlight.core import dtype as D
from rushlight.core import generator as generator_
from rushlight.core.naming import Public, published
from rushlight.core.window import element_strides
from rushlight.dispatch import InPlace, apply
from rushlight.ops.op import TABLE, Spec
from rushlight.tensor import Tensor, wrap


class Generator(generator_.Generator, metaclass=Public):
    """A stream of random numbers; `Generator().manual_seed(0)` gives PyTorch's CPU numbers for seed 0."""

    __slots__ = ()

    def __init__(self, device="cpu"):
        if device_.Device(device).type not in ("cpu", "cuda"):
            raise RuntimeError(f"Device type {device} is not supported for torch.Generator() api.")
        if device_.Device(device).type == "cuda" and active() is None:
            raise RuntimeError("Cannot get CUDA generator: there is no GPU here. Write torch.Generator(), or device='cpu'.")
        super().__init__()

    @property
    def device(self):
        """Where it draws."""
        return device_.CPU

    def get_state(self):
        """The whole state as a uint8 tensor, PyTorch's own bytes."""
        return wrap(self._pack())

    def set_state(self, new_state):
        """Restore what get_state gave."""
        if not isinstance(new_state, Tensor) or new_state.dtype is not D.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        self._unpack(np.ascontiguousarray(new_state._data))

    def __reduce__(self):
        return Generator, (self.device,), (self.initial_seed(), None, self.get_state())

    def __setstate__(self, state):
        self.set_state(state[2])

    def graphsafe_get_state(self):
        """The generator itself."""
        return self

    def __repr__(self):
        return f"<torch._C.Generator object at {hex(id(self))}>"


published(Generator, "Generator", "rushlight._C")
DEFAULT = generator_.DEFAULT
DEFAULT.__class__ = Generator  # the default generator was made on the floor below


def _generator(generator):
    if generator is None:
        return DEFAULT
    if not isinstance(generator, generator_.Generator):
        raise TypeError(f"argument 'generator' must be torch.Generator, not {type(generator).__name__}")
    return generator


@function
def manual_seed(seed):
    """Seed the default generator of every device; returns it. The same seed gives PyTorch's numbers."""
    return DEFAULT.manual_seed(int(seed))


@function
def seed():
    """Seed the default generator from the operating system; returns the seed."""
    return DEFAULT.seed()


@function
def initial_seed():
    """The seed that the default generator was given last."""
    return DEFAULT.initial_seed()


@function
def get_rng_state():
    """The state of the default generator, a uint8 tensor of PyTorch's bytes."""
    return DEFAULT.get_state()


@function
def set_rng_state(new_state):
    """Restore the state of the default generator."""
    DEFAULT.set_state(new_state)


for _name in ("manual_seed", "seed", "initial_seed", "get_rng_state", "set_rng_state"):
    FUNCTIONS[f"random.{_name}"] = FUNCTIONS[_name]


@function(name="random.fork_rng")
@contextlib.contextmanager
def fork_rng(devices=None, enabled=True, device_type="cuda"):
    """Inside, draws do not move the default generator."""
    if not enabled:
        yield
        return
    state = DEFAULT._pack()
    try:
        yield
    finally:
        DEFAULT._unpack(state)


# ---- factories -------------------------------------------------------------------------------------------------


def _drawn(name, shape, dtype, device, requires_grad, out, generator, **attrs):
    op = TABLE[name]
    if out is not None:
        if out._data.shape != shape:
            out.resize_(shape)
        dtype = out.dtype
    attrs = {"generator": _generator(generator), "shape": shape, "dtype": dtype, **attrs}
    if out is not None:
        return apply(op, (), attrs, out=out)
    if device is not None and exact(device).type == "meta":
        t = allocate(shape, dtype, device, np.empty)
    else:
        t = placed(apply(op, (), attrs), device)
    return t.requires_grad_(True) if requires_grad else t


def _float_dtype(name, dtype, out):
    d = checked_dtype(dtype, out.dtype if out is not None else None)
    if d.category < D.FLOAT:
        raise NotImplementedError(f'"{name}" not implemented for \'{d.title}\'; draw in a floating-point dtype, then convert')
    return d


def _factory(name, row, kernel, attrs=None):
    def f(*size, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False, names=None, **kw):
        shape = sizes((kw.pop("size"),) if "size" in kw else size, name)
        return _drawn(row, shape, _float_dtype(kernel, dtype, out), device, requires_grad, out, generator, **(attrs or {}))

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"A tensor of {'uniform numbers in [0, 1)' if name == 'rand' else 'standard normal numbers'}."
    return function(f)


rand = _factory("rand", "uniform", "check_uniform_bounds")
randn = _factory("randn", "normal", "normal_kernel_cpu")


def _like(name, make):
    def f(input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None, generator=None, **kw):
        order = _order(input) if memory_format is None or memory_format.name == "preserve_format" else memory_format.order
        return make(tuple(input.shape), dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad, generator=generator, order=order)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{name[:-5]} in the shape and dtype of `input`."
    return function(f)


def _order(x):
    """The order in which memory runs through the dimensions of a dense permuted tensor; None where it is row-major."""
    if x.is_contiguous():
        return None
    strides = element_strides(x._data)
    order = sorted(range(len(strides)), key=lambda d: -strides[d])
    return order


def _rand_like(shape, dtype, device, requires_grad, generator, order):
    return _drawn("uniform", shape, _float_dtype("check_uniform_bounds", dtype, None), device, requires_grad, None, generator, order=order)


def _randn_like(shape, dtype, device, requires_grad, generator, order):
    return _drawn("normal", shape, _float_dtype("normal_kernel_cpu", dtype, None), device, requires_grad, None, generator, order=order, contiguous=order is None or order == sorted(order))


_like("rand_like", _rand_like)
_like("randn_like", _randn_like)


def _check_range(low, high, dtype):
    """RuntimeError where [low, high) is empty or goes beyond the dtype; a warning where a float type cannot hold each of its integers."""
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    if dtype.category == D.COMPLEX:
        raise RuntimeError(f"check_random_bounds handles only integral, floating-point and boolean types ({dtype}: draw real numbers, then convert)")
    least, most = _bounds(dtype)
    for name, value in (("from", low), ("to - 1", high - 1)):
        if not least <= value <= most:
            raise RuntimeError(f"{name} is out of bounds for {dtype.c_name}")
    if dtype.category == D.FLOAT:
        digits = streams.DIGITS[dtype.name]
        for name, value in (("from", low), ("to - 1", high - 1)):
            if abs(value) > 1 << digits:
                warnings.warn(
                    f"{name} is out of bounds [-(2^{digits}), 2^{digits}]. Due to precision limitations {dtype.c_name} can support discrete uniform "
                    f"distribution only within this range: draw integers, then write .to({dtype})",
                    UserWarning,
                    stacklevel=3,
                )


def _bounds(dtype):
    """The least and the greatest integer that a draw in `dtype` may be asked for."""
    if dtype.category == D.BOOL:
        return 0, 1
    if dtype.category == D.FLOAT:
        most = int(float(D.float_limits(dtype).max))
        return -most, most
    info = np.iinfo(dtype.np)
    return int(info.min), int(info.max)


@function
def randint(low=None, high=None, size=None, *, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """Integers in [low, high): randint(10, (2, 3)) or randint(5, 10, (2, 3))."""
    if size is None and isinstance(high, (tuple, list)):
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    elif low is None:
        low = 0
    if high is None:
        raise TypeError("randint() received an invalid combination of arguments: missing the argument 'high'")
    if size is None:
        raise TypeError("randint() received an invalid combination of arguments: missing the argument 'size', a tuple of ints")
    low, high = int(low), int(high)
    d = checked_dtype(dtype, out.dtype if out is not None else D.int64)
    _check_range(low, high, d)
    return _drawn("randint", sizes((size,), "randint"), d, device, requires_grad, out, generator, low=low, high=high)


@function
def randint_like(input, low, high=None, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None, generator=None):
    """randint in the shape and dtype of `input`."""
    low, high = (0, low) if high is None else (low, high)
    low, high = (int(v.item() if isinstance(v, Tensor) else v) for v in (low, high))
    _check_range(low, high, dtype or input.dtype)
    return _drawn("randint", tuple(input.shape), dtype or input.dtype, device or input.device, requires_grad, None, generator, low=low, high=high, order=_order(input))


@function
def randperm(n, *, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """A random permutation of 0..n-1."""
    if n < 0:
        raise RuntimeError(f"n must be non-negative, got {n}")
    d = checked_dtype(dtype, out.dtype if out is not None else D.int64)
    if d.category in (D.BOOL, D.COMPLEX) or d in (D.uint16, D.uint32, D.uint64, *D.FLOAT8):
        raise _not_for("randperm", d)
    if d in (D.float16, D.float32, D.float64) and n > (1 << streams.DIGITS[d.name]) + 1:
        raise RuntimeError(f"n cannot be greater than {'2049' if d is D.float16 else f'2^{streams.DIGITS[d.name]}+1'} for {d.title} type (got {n}: draw integers)")
    if d.category == D.INTEGER and n - 1 > np.iinfo(d.np).max:
        raise RuntimeError(f"value cannot be converted to type {d.name}_t without overflow (n is {n}: draw in torch.int64)")
    return _drawn("randperm", (int(n),), d, device, requires_grad, out, generator)


@function
def normal(mean, std=1.0, size=None, *, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """Normal numbers with the given mean and standard deviation, numbers (with `size`) or tensors."""
    if isinstance(std, Tensor) and std.is_complex():
        raise RuntimeError("normal expects standard deviation to be non-complex")
    if size is not None:
        mean, std = (v.item() if isinstance(v, Tensor) else v for v in (mean, std))
        if std < 0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
        return _drawn("normal", sizes((size,), "normal"), _float_dtype("normal_kernel_cpu", dtype, out), device, requires_grad, out, generator, mean=float(mean), std=float(std))
    tensors = [v for v in (mean, std) if isinstance(v, Tensor)]
    if not tensors:
        raise TypeError("normal() received an invalid combination of arguments: two numbers need size=")
    if isinstance(std, Tensor):
        if std.numel() and bool((std < 0).any()):
            raise RuntimeError("normal expects all elements of std >= 0.0")
    elif std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    shape = np.broadcast_shapes(*[t._data.shape for t in tensors])
    d = tensors[0].dtype
    if d.category < D.FLOAT:
        raise _not_for("normal_kernel_cpu", d)
    return apply(TABLE["normal_tensors"], (mean, std), {"generator": _generator(generator), "spec": Spec(shape, d)}, out=out)


# ---- in-place fills --------------------------------------------------------------------------------------------


def _filled(x, name, generator, **attrs):
    order = _order(x)
    if order is not None and 0 in x._data.strides:
        order = None
    if name == "normal":
        attrs["contiguous"] = order is None and x.is_contiguous()
    attrs = {"generator": _generator(generator), "shape": tuple(x._data.shape), "dtype": x.dtype, "order": order, **attrs}
    return apply(TABLE[name], (x,), attrs, out=InPlace(x))


def _not_for(name, dtype):
    return NotImplementedError(f'"{name}" not implemented for \'{dtype.title}\'')


def _float_only(x, name):
    if x.dtype.category < D.FLOAT:
        raise _not_for(name, x.dtype)


@method(name="uniform_")
def uniform_(self, from_=0.0, to=1.0, *, generator=None, **kw):
    """Fill with uniform numbers in [from, to)."""
    low, high = kw.get("from", kw.get("a", from_)), kw.get("b", to)
    _float_only(self, "check_uniform_bounds")
    if low > high:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}")
    return _filled(self, "uniform", generator, low=float(low), high=float(high))


@method(name="normal_")
def normal_(self, mean=0.0, std=1.0, *, generator=None):
    """Fill with normal numbers."""
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    _float_only(self, "normal_kernel_cpu")
    return _filled(self, "normal", generator, mean=float(mean), std=float(std))


@method(name="exponential_")
def exponential_(self, lambd=1.0, *, generator=None):
    """Fill with exponentially distributed numbers of rate `lambd`."""
    if lambd <= 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd:g}")
    if self.dtype.category != D.FLOAT:
        raise RuntimeError(f"Exponential distribution is a continuous probability distribution. dtype must be a floating point but you specified {self.dtype.title}")
    return _filled(self, "exponential", generator, rate=float(lambd))


@method(name="geometric_")
def geometric_(self, p, *, generator=None):
    """Fill with the number of trials to the first success."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    if self.dtype.category in (D.BOOL, D.COMPLEX):
        raise _not_for("geometric_cpu", self.dtype)
    return _filled(self, "geometric", generator, p=float(p))


@method(name="cauchy_")
def cauchy_(self, median=0.0, sigma=1.0, *, generator=None):
    """Fill with Cauchy numbers."""
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    if self.dtype.category != D.FLOAT:
        raise RuntimeError(f"Cauchy distribution is a continuous probability distribution. dtype must be a floating point but you specified {self.dtype.title}")
    return _filled(self, "cauchy", generator, median=float(median), sigma=float(sigma))


@method(name="log_normal_")
def log_normal_(self, mean=1.0, std=2.0, *, generator=None):
    """Fill with the exponentials of normal numbers."""
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
    if self.dtype.category != D.FLOAT:
        raise _not_for("log_normal_cpu", self.dtype)
    return _filled(self, "log_normal", generator, mean=float(mean), std=float(std))


_MISSING = object()


@method(name="random_")
def random_(self, from_=_MISSING, to=_MISSING, *, generator=None, **kw):
    """Fill with integers: all of the dtype's, in [0, to), or in [from, to)."""
    from_ = kw.get("from", from_)
    if from_ is _MISSING and to is _MISSING:
        if self.dtype.category == D.COMPLEX:
            raise _not_for("random_kernel_cpu", self.dtype)
        return _filled(self, "random", generator)
    if to is _MISSING:
        from_, to = 0, from_
    low = int(from_)
    if to is None and self.dtype.category == D.COMPLEX:
        raise RuntimeError("random_from_to handles only integral, floating-point and boolean types")
    high = _past(self.dtype) if to is None else int(to)
    _check_range(low, high, self.dtype)
    return _filled(self, "randint", generator, low=low, high=high)


def _past(dtype):
    """The end of random_(from, None): all that the dtype holds, or the integers that a float type holds one by one."""
    return (1 << streams.DIGITS[dtype.name]) + 1 if dtype.category == D.FLOAT else _bounds(dtype)[1] + 1


def _probabilities(p, dtype, shape):
    if p.numel() and not bool(((p >= 0) & (p <= 1)).all()):
        raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")


@method(name="bernoulli_")
def bernoulli_(self, p=0.5, *, generator=None):
    """Fill with 1 with probability p (a number or a tensor), else 0."""
    if isinstance(p, Tensor):
        if p.dtype.category != D.FLOAT:
            raise RuntimeError(f"expected probabilities tensor to have floating type, got {p.dtype.title}")
        _probabilities(p, None, None)
        if self.dtype.category == D.COMPLEX:
            raise _not_for("bernoulli_tensor_cpu_self_", self.dtype)
        order = _order(self) or list(range(self.dim()))  # draws follow the memory that they are written to
        p = p.expand(self.shape).permute(order).contiguous()
        t = apply(TABLE["bernoulli_tensor"], (p,), {"generator": _generator(generator), "spec": Spec(tuple(p.shape), self.dtype), "dtype": self.dtype})
        return self.copy_(t.permute([order.index(d) for d in range(self.dim())]))
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
    if self.dtype.category == D.COMPLEX:
        raise _not_for("bernoulli_scalar_cpu_", self.dtype)
    return _filled(self, "bernoulli", generator, p=float(p))


@both
def bernoulli(input, p=None, *, generator=None, out=None):
    """1 with the probability given by each element (or by `p`), else 0."""
    if p is not None:
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
        if input.dtype.category == D.COMPLEX:
            raise _not_for("bernoulli_scalar_cpu_", input.dtype)
        return _drawn("bernoulli", tuple(input.shape), input.dtype, None, False, out, generator, p=float(p))
    if input.dtype.category != D.FLOAT:
        raise NotImplementedError(f'"bernoulli_tensor_cpu_p_" not implemented for \'{input.dtype.title}\'')
    _probabilities(input, None, None)
    d = out.dtype if isinstance(out, Tensor) else input.dtype  # drawn as numbers of the dtype that they are written in
    if d.category == D.COMPLEX:
        raise NotImplementedError(f'"bernoulli_tensor_cpu_self_" not implemented for \'{d.title}\'')
    return apply(TABLE["bernoulli_tensor"], (input,), {"generator": _generator(generator), "spec": Spec(tuple(input.shape), d), "dtype": d}, out=out)


# ---- samplers --------------------------------------------------------------------------------------------------


@function
def poisson(input, generator=None):
    """Poisson numbers with the rates given."""
    if input.dtype.category != D.FLOAT:
        raise _not_for("poisson_cpu", input.dtype)
    if input.numel() and bool((input < 0).any()):
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    return apply(TABLE["poisson"], (input,), {"generator": _generator(generator), "spec": Spec(tuple(input.shape), input.dtype)})


@function
def binomial(count, prob, generator=None):
    """Binomial numbers of `count` trials with probability `prob`."""
    count, prob = count.expand(np.broadcast_shapes(count.shape, prob.shape)), prob.expand(np.broadcast_shapes(count.shape, prob.shape))
    return apply(TABLE["binomial"], (count, prob), {"generator": _generator(generator), "spec": Spec(tuple(count.shape), count.dtype)})


@function
def _standard_gamma(input, generator=None):
    """Gamma numbers of rate 1 with the concentrations given (no gradient through the sampling)."""
    return apply(TABLE["standard_gamma"], (input.detach(),), {"generator": _generator(generator), "spec": Spec(tuple(input.shape), input.dtype)})


@function
def _sample_dirichlet(input, generator=None):
    """Dirichlet vectors with the concentrations in the last dimension (no gradient through the sampling)."""
    return apply(TABLE["dirichlet"], (input.detach(),), {"generator": _generator(generator), "spec": Spec(tuple(input.shape), input.dtype)})


@both
def multinomial(input, num_samples, replacement=False, *, generator=None, out=None):
    """`num_samples` indices for each row of weights, with or without replacement."""
    if input.dtype.category != D.FLOAT:
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {input.dtype.title}")
    n = input.dim()
    if n not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > input.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    w = input._data.astype(np.float64)
    if not np.isfinite(w).all() or (w < 0).any():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if (w.sum(-1) <= 0).any():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    spec = Spec((*input.shape[:-1], num_samples), D.int64)
    return apply(TABLE["multinomial"], (input.detach(),), {"generator": _generator(generator), "spec": spec, "n": int(num_samples), "replacement": bool(replacement)}, out=out)
