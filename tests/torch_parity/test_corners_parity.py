"""Corners of indexing, views, numbers and autograd against torch: what each program gives, or the kind of its error, and its warnings."""

import math
import re
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rushlight  # noqa: E402


def outcomes(programs):
    """name -> what the program gives as text, or the name of its error, with the categories of its warnings."""
    out = {}
    for name, program in programs.items():
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            try:
                text = " ".join(re.sub("0x[0-9a-f]+", "0x", repr(program())).split())
            except NotImplementedError:
                text = "RuntimeError"  # is one
            except Exception as error:
                text = type(error).__name__
        kinds = {w.category.__name__ for w in seen} - {"RuntimeWarning", "DeprecationWarning"}  # the first are NumPy's
        out[name] = text + "".join(f" {k}" for k in sorted(kinds))
    return out


def compared(make, known=()):
    theirs, ours = outcomes(make(torch)), outcomes(make(rushlight))
    wrong = [f"{n}\n  torch: {theirs[n][:300]}\n  ours:  {ours[n][:300]}" for n in theirs if theirs[n] != ours[n] and n not in known]
    assert not wrong, "\n".join(wrong)
    assert not [n for n in known if theirs[n] == ours[n]], "no longer a difference"


def counted(t, *shape):
    return t.arange(1.0, 1.0 + math.prod(shape)).reshape(shape)


# ---- indexing


def keys(t):
    x = t.arange(60).reshape(3, 4, 5)
    return x, {
        "int": 1, "negative": -1, "slice": slice(1, None), "step": slice(None, None, 2), "...0": (..., 0), "0...": (0, ...), "...": ..., "None": None,
        "None...None": (None, ..., None), "three": (1, 2, 3), "True": True, "False": False, "list": [0, 2], "lists": ([0, 1], [1, 2]),
        "list:list": ([0, 1], slice(None), [1, 2]), ":lists": (slice(None), [0, 1], [1, 2]), "0list": (0, [1, 2]), "0:list": (0, slice(None), [1, 2]),
        "list:0": ([1, 2], slice(None), 0), "tensor": t.tensor([0, 2]), "2-d": t.tensor([[0, 1], [1, 2]]), "0-d": t.tensor(1), "mask": x > 30,
        "rows": t.tensor([True, False, True]), ":mask": (slice(None), t.tensor([True, False, True, True])), "mask 2-d": t.ones(3, 4, dtype=t.bool),
        "mask0": (t.tensor([True, False, True]), 0), "array": np.array([0, 1]), "np.int64": np.int64(1), "range": range(2), "int32": t.tensor([0, 1], dtype=t.int32),
        "float tensor": t.tensor([0.0]), "[]": [], "empty": t.tensor([], dtype=t.long), "3": 3, "0,4": (0, 4), "-4": -4, "[3]": t.tensor([3]), "too many": (0,) * 4,
        "1.0": 1.0, "reversed": slice(None, None, -1), "nested": [[0, 1], [1, 0]], "tuples": ((0, 1), (1, 2)), "short mask": t.tensor([True, False]),
        "None list": (None, [0, 1]), "list None": ([0, 1], None), "list None list": ([0, 1], None, [0, 1]), "...0...": (0, ..., 0), "... ...": (..., ...),
        "broadcast": (t.tensor([[0], [1]]), t.tensor([0, 1, 2])), "misfit": (t.tensor([0, 1]), t.tensor([0, 1, 2])), "wide slice": slice(-100, 100),
        "tensor True": t.tensor(True), "array mask": np.array([True, False, True]),
    }  # fmt: skip


def facts(y):
    strides = [s if n > 1 else 0 for n, s in zip(y.shape, y.stride())]  # those of a dimension of size 1 say nothing
    return y.tolist(), tuple(y.shape), strides, y.is_contiguous(), y._is_view(), str(y.dtype)


def test_reading():
    def make(t):
        x, all_keys = keys(t)
        flat = {f"{n} of a transposed": (lambda k=k: facts(x.transpose(0, 1)[k])) for n, k in all_keys.items() if n in ("list", "lists", "2-d", "list None list")}
        return {n: (lambda k=k: facts(x[k])) for n, k in all_keys.items()} | flat | {"view of a result": lambda: x[:, [0, 1], [1, 2]].view(-1)}

    compared(make)


@pytest.mark.parametrize("value", [0, 7.9, "tensor", "row", "misfit", 300, float("inf"), 1j])
def test_writing(value):
    def make(t):
        x, all_keys = keys(t)
        v = {"tensor": t.tensor(9), "row": t.arange(5), "misfit": t.ones(7)}.get(value, value)

        def write(k, dtype):
            y = x.to(dtype)
            y[k] = v
            return y.tolist()

        # where both the key and the value are wrong PyTorch and rushlight find them in another order
        good = [n for n in all_keys if not isinstance(value, int | float | complex) or value in (0, 7.9) or n in ("int", "slice", "list", "mask", "rows", "True", "tensor")]
        bad = {"3", "0,4", "-4", "[3]", "too many", "1.0", "reversed", "float tensor", "short mask", "misfit"} if value in ("misfit", "tensor", "row") else set()
        return {f"{n} {d}": (lambda k=all_keys[n], d=d: write(k, getattr(t, d))) for n in good if n not in bad for d in ("int64", "uint8")}

    compared(make)


def test_gradients_of_reading_and_writing():
    def make(t):
        _, all_keys = keys(t)

        def read(k):
            y = counted(t, 3, 4, 5).requires_grad_()
            (y[k] * 2).sum().backward()
            return y.grad.tolist()

        def write(k):
            y, v = counted(t, 3, 4, 5).requires_grad_(), t.tensor(2.0, requires_grad=True)
            z = y * 1
            z[k] = v
            (z * z).sum().backward()
            return y.grad.tolist()

        return {f"{f.__name__} {n}": (lambda k=k, f=f: f(k)) for n, k in all_keys.items() for f in (read, write)}

    compared(make)


# ---- views

VIEWS = {
    "view": lambda t, x: x.view(6, -1), "view bad": lambda t, x: x.view(5, -1), "view t": lambda t, x: x.transpose(0, 1).view(3, 2, 2, 2), "T": lambda t, x: x[0].T,
    "T3": lambda t, x: x.T, "mT": lambda t, x: x.mT, "permute": lambda t, x: x.permute(2, 0, 1), "expand": lambda t, x: x[:, :1].expand(2, 3, 4),
    "squeeze": lambda t, x: x[:1].squeeze(0), "unsqueeze": lambda t, x: x.unsqueeze(-1), "narrow": lambda t, x: x.narrow(2, -2, 2), "select": lambda t, x: x.select(1, -1),
    "diagonal": lambda t, x: x.diagonal(-1, 0, 2), "as_strided": lambda t, x: x.as_strided((2, 2), (1, 2), 3), "split": lambda t, x: x.split(2, 2)[1],
    "tensor_split": lambda t, x: x.tensor_split(3, 2)[0], "unbind": lambda t, x: x.unbind(1)[0], "hsplit": lambda t, x: x.hsplit(3)[1], "unflatten": lambda t, x: x.unflatten(2, (2, 2)),
    "flatten": lambda t, x: x.flatten(1), "flatten t": lambda t, x: x.transpose(0, 1).flatten(1), "as complex": lambda t, x: t.view_as_complex(x.view(2, 3, 2, 2)),
    "part of complex": lambda t, x: t.view_as_complex(x.view(2, 3, 2, 2))[1, :, 1], "detach": lambda t, x: x.detach(), "contiguous": lambda t, x: x.contiguous(),
    "channels_last": lambda t, x: x.unsqueeze(0).contiguous(memory_format=t.channels_last), "step": lambda t, x: x[1:, ::2], "element": lambda t, x: x[0, 0, 0],
    "roll": lambda t, x: x.roll(1), "flip": lambda t, x: x.flip(0), "repeat_interleave": lambda t, x: x.repeat_interleave(2, 1), "movedim": lambda t, x: x.movedim((0, 1), (1, 2)),
    "broadcast_to": lambda t, x: x[0].broadcast_to(2, 3, 4), "rot90": lambda t, x: x.rot90(1, (0, 1)), "swapdims": lambda t, x: x.swapdims(0, 2), "chunk": lambda t, x: x.chunk(2, 2)[0],
    "unsafe_split": lambda t, x: x.unsafe_split(1)[0],
}  # fmt: skip


def inplace_programs(t, name, f):
    def written():
        base = counted(t, 2, 3, 4)
        y = f(t, base)
        y.mul_(10)
        return base.tolist(), base._version, y._version

    def recorded():
        base = counted(t, 2, 3, 4).requires_grad_()
        c = base * 1
        y = f(t, c)
        y.mul_(3)
        z = f(t, c)
        y.add_(z.detach())
        loss = (c * c).sum() + (y * y).real.sum() if y.is_complex() else (c * c).sum() + (y * y).sum()
        (g,) = t.autograd.grad(loss, base, create_graph=True)
        (gg,) = t.autograd.grad((g * g).sum(), base)
        return g.tolist(), gg.tolist(), c.grad_fn.name()

    def unrecorded_view():
        c = counted(t, 2, 3, 4).requires_grad_() * 1
        with t.no_grad():
            y = f(t, c)
        y.mul_(3)

    def stale():
        base = counted(t, 2, 3, 4).requires_grad_()
        c = base * 1
        y = f(t, c)
        c.add_(1)
        (y * y).real.sum().backward() if y.is_complex() else (y * y).sum().backward()
        return base.grad.tolist()

    def leaf():
        f(t, counted(t, 2, 3, 4).requires_grad_()).mul_(2)

    programs = (written, recorded, unrecorded_view, stale, leaf)
    return {name: lambda: facts(f(t, counted(t, 2, 3, 4)))} | {f"{name} {p.__name__}": p for p in programs}


def test_views():
    # a name of the region of memory, not of the view that was taken, for what PyTorch makes anew from the view's own function
    compared(lambda t: {n: p for name, f in VIEWS.items() for n, p in inplace_programs(t, name, f).items()})


@pytest.mark.parametrize(
    "f",
    [
        lambda t, c: t.view_as_real(c), lambda t, c: c.real, lambda t, c: c.imag, lambda t, c: c[1].t().imag[1:], lambda t, c: c[:, 1:].real[..., ::2],
        lambda t, c: t.view_as_real(c)[1, ..., 1], lambda t, c: c[1:, ::2], lambda t, c: t.view_as_complex(t.view_as_real(c)[1:]),
    ],
)  # fmt: skip
def test_in_place_on_real_views_of_complex_tensors(f):
    def make(t):
        def program():
            base = counted(t, 2, 3, 4).requires_grad_()
            c = t.complex(base * 1, base * 2)
            y = f(t, c)
            y.mul_(3)
            y.add_(f(t, c).detach())
            loss = (c * c).real.sum() + (y * y).real.sum() if y.is_complex() else (c * c).real.sum() + (y * y).sum()
            (g,) = t.autograd.grad(loss, base, create_graph=True)
            (gg,) = t.autograd.grad((g * g).sum(), base)
            return g.tolist(), gg.tolist(), c._version

        return {"program": program}

    compared(make)


# ---- numbers

NUMBERS = [-1, -255, -256, 300, 70000, 2**31, 2**40, 2**63, 1.5, -1.5, 300.7, float("nan"), float("inf"), 1e10, True, 1j]
WRITES = {
    "tensor": lambda t, v, d: t.tensor(v, dtype=d), "list": lambda t, v, d: t.tensor([v], dtype=d), "full": lambda t, v, d: t.full((1,), v, dtype=d),
    "fill_": lambda t, v, d: t.zeros(1, dtype=d).fill_(v), "masked_fill": lambda t, v, d: t.zeros(1, dtype=d).masked_fill(t.tensor([True]), v),
    "index_fill": lambda t, v, d: t.zeros(1, dtype=d).index_fill(0, t.tensor([0]), v), "scatter": lambda t, v, d: t.zeros(1, dtype=d).scatter(0, t.tensor([0]), v),
    "where": lambda t, v, d: t.where(t.tensor([True]), t.zeros(1, dtype=d), v), "clamp": lambda t, v, d: t.zeros(1, dtype=d).clamp(max=v),
    "full_like": lambda t, v, d: t.full_like(t.zeros(1, dtype=d), v), "new_full": lambda t, v, d: t.zeros(1, dtype=d).new_full((1,), v),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "float32"])
def test_numbers_written_into_tensors(dtype):
    def make(t):
        d = getattr(t, dtype)
        return {f"{n} {v}": (lambda f=f, v=v: f(t, v, d)) for n, f in WRITES.items() for v in NUMBERS}

    compared(make)


def test_data_of_tensors():
    def make(t):
        one, zero_dim, two, nested = t.tensor([1.0]), t.tensor(2.0), t.tensor([1.0, 2.0]), t.tensor([[3.0]])
        values = {
            "one": [one], "ones": [one, one], "two": [two, two], "deep": [[one], [one]], "nested": [nested, nested], "mixed": [zero_dim, one], "number": [1.0, one],
            "zero-dim": [[zero_dim, 1], [2, zero_dim]], "kinds": [zero_dim.long(), zero_dim], "bools": [zero_dim.bool(), zero_dim.long()], "ragged": [[1, 2], [3]],
            "empty": [[], []], "text": "a", "None": None, "dict": {}, "set": {1}, "ranges": [range(2), range(2)], "bytes": b"ab", "complex": [1, 1j], "size": t.Size([1, 2]),
            "big": 2**63, "bigs": [2**63], "arrays": [np.array([1.0, 2.0]), np.array([3.0, 4.0])],
        }  # fmt: skip
        made = {f"tensor {n}": (lambda v=v: t.tensor(v)) for n, v in values.items()}
        return made | {f"as_tensor {n}": (lambda v=v: t.as_tensor(v)) for n, v in values.items() if n in ("ones", "two", "mixed")}

    compared(make)


def test_bools_and_copies():
    def make(t):
        b, one = t.ones(2).bool(), t.ones(2)
        return {
            "b-1": lambda: b - 1, "1-b": lambda: 1 - b, "b-one": lambda: b - one, "one-b": lambda: one - b, "sub_": lambda: t.ones(2).sub_(b), "rsub": lambda: t.rsub(b, 1),
            "b-uint8": lambda: b - t.ones(2, dtype=t.uint8), "copy up": lambda: t.zeros(3).copy_(t.ones(1, 3)), "copy 0-d": lambda: t.zeros(()).copy_(t.ones(1)),
            "copy": lambda: t.zeros(1, 3).copy_(t.ones(3)), "equal": lambda: (t.equal(t.tensor([2]), t.tensor([2.0])), t.equal(b, one), t.equal(b, one[:1])),
            "heaviside": lambda: t.heaviside(one, one.double()), "ldexp": lambda: t.ldexp(one.half(), t.ones(2, dtype=t.int32)), "type": lambda: t.result_type(b, np.float64(2)),
            "isclose": lambda: t.isclose(one, np.float64(1)), "floor_divide": lambda: t.ones(1, requires_grad=True) // 2, "mod": lambda: t.tensor([5.5], requires_grad=True) % 2,
        }  # fmt: skip

    compared(make)


# ---- autograd


def test_warnings_and_nodes():
    def make(t):
        def leaf(*v):
            return t.tensor(v, requires_grad=True)

        def names():
            x = leaf(1.0, 2.0)
            a, b = x * x, x.exp()
            return a.grad_fn._saved_self, a.grad_fn._saved_other, b.grad_fn._saved_result, x.sum(0).grad_fn._saved_dim, x.softmax(0).grad_fn._saved_dim

        def raw():
            x = leaf(1.0, 2.0)
            y = x * x
            y.grad_fn._raw_saved_self.register_hooks(lambda v: v * 1, lambda v: v * 10)
            y.sum().backward()
            return x.grad

        def called():
            x = leaf(1.0, 2.0)
            return (x * x).grad_fn(t.ones(2)), x.exp().grad_fn(t.ones(2)).detach()

        class Old(t.autograd.Function):
            pass

        return {
            "grad of an inner one": lambda: (leaf(1.0) * 2).grad, "of a view": lambda: leaf(1.0).view(1, 1).grad, "of a constant": lambda: t.ones(1).grad,
            "retained": lambda: (y := leaf(1.0) * 2, y.retain_grad(), y.grad)[2], "create_graph": lambda: leaf(1.0).exp().sum().backward(create_graph=True),
            "var of one": lambda: t.ones(1).var(), "std": lambda: t.ones(2, 1).std(1), "var": lambda: t.ones(3).var(correction=3), "var_mean": lambda: t.var_mean(t.ones(1)),
            "saved": names, "raw": raw, "called": called, "instance": lambda: type(Old()).__name__,
            "grad shape": lambda: setattr(leaf(1.0), "grad", t.ones(3)), "grad dtype": lambda: setattr(leaf(1.0), "grad", t.ones(1).double()),
            "1 - x": lambda: (1 - leaf(1.0), 2 / leaf(3.0), 2 ** leaf(1.0), 2 + leaf(1.0), 2 * leaf(1.0)),
        }  # fmt: skip

    compared(make)
