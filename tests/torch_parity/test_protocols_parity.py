"""Python's protocols on tensors against torch: copies, pickles, printing, numbers, NumPy and DLPack, what raises and with which error."""

import copy
import io
import math
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from test_corners_parity import compared, counted  # noqa: E402

import rushlight  # noqa: E402, F401


def state(x):
    return x.tolist(), tuple(x.shape), x.stride(), x.storage_offset(), x._is_view(), x.requires_grad, x.is_leaf, x.untyped_storage().nbytes(), type(x).__name__


def reloaded(t, x):
    file = io.BytesIO()
    t.save(x, file)
    file.seek(0)
    return t.load(file)


def tensors(t):
    x = counted(t, 3, 4)
    return {
        "plain": x, "window": x[1:, ::2], "transposed": x.t(), "expanded": counted(t, 1, 4).expand(3, 4), "empty": t.empty(0, 3), "0-d": t.tensor(5), "bool": x > 3,
        "half": x.half(), "bfloat16": x.bfloat16(), "complex": t.complex(x, x), "leaf": counted(t, 2).requires_grad_(), "parameter": t.nn.Parameter(counted(t, 2)),
        "channels_last": counted(t, 1, 2, 3, 4).contiguous(memory_format=t.channels_last),
    }  # fmt: skip


@pytest.mark.parametrize("how", ["copy", "deepcopy", "pickle", "pickle 2", "clone", "save"])
def test_copies(how):
    def make(t):
        f = {
            "copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x)), "clone": lambda x: x.clone(),
            "pickle 2": lambda x: pickle.loads(pickle.dumps(x, protocol=2)), "save": lambda x: reloaded(t, x),
        }[how]  # fmt: skip
        return {n: (lambda x=x: state(f(x))) for n, x in tensors(t).items()}

    compared(make)


def test_what_copies_share():
    def make(t):
        def deep():
            a = counted(t, 4)
            c, d = copy.deepcopy((a, a[1:3]))
            c[1] = 99
            return d.tolist(), a.tolist()

        def saved():
            a = counted(t, 4)
            d = reloaded(t, {"a": a, "b": a[1:3]})
            d["a"][1] = 99
            return d["b"].tolist()

        def grads():
            a = counted(t, 2).requires_grad_()
            (a * a).sum().backward()
            return copy.deepcopy(a).grad, pickle.loads(pickle.dumps(a)).grad, copy.copy(a).grad

        def attributes():
            a = counted(t, 2)
            a.note = "x"
            return [getattr(c, "note", None) for c in (copy.deepcopy(a), copy.copy(a), pickle.loads(pickle.dumps(a)))]

        def generators():
            g = t.Generator().manual_seed(3)
            return pickle.loads(pickle.dumps(g)).initial_seed(), t.rand(2, generator=copy.deepcopy(g)).equal(t.rand(2, generator=g))

        objects = {o: (lambda o=o: copy.deepcopy(getattr(t, o)) is pickle.loads(pickle.dumps(getattr(t, o)))) for o in ("float32", "strided", "contiguous_format")}
        return {
            "deep": deep, "saved": saved, "grads": grads, "attributes": attributes, "generators": generators, **objects,
            "devices": lambda: (pickle.loads(pickle.dumps(t.device("cpu", 0))), copy.deepcopy(t.device("cuda:1"))),
            "sizes": lambda: (pickle.loads(pickle.dumps(t.Size([1, 2]))), type(t.Size([1]) + (2,)).__name__, t.Size([2, 3]).numel(), type(t.Size([1, 2])[:1]).__name__),
        }  # fmt: skip

    compared(make)


def printed(t):
    p, nan, inf = t.tensor, float("nan"), float("inf")
    return {
        "floats": p([1.0, 2.5]), "large": p([1e10, 1.0]), "small": p([1e-10, 1.0]), "mixed": p([1e-5, 1e5]), "ints": p([1, -20, 300]), "nan": p([nan, 1.0]), "inf": p([inf, -1.0]),
        "-0": p([-0.0]), "bool": p([True, False]), "complex": p([1 + 2j, -3.5j]), "empty": t.empty(0), "2, 0": t.empty(2, 0), "0-d": p(3.14159265), "3-d": counted(t, 2, 2, 2),
        "long": t.arange(2000), "square": t.zeros(50, 50), "half": p([1.5, 2]).half(), "bfloat16": p([1.1]).bfloat16(), "uint8": p([200], dtype=t.uint8),
        "grad": p([1.0], requires_grad=True), "grad_fn": p([1.0], requires_grad=True) * 2, "double": p([1.0], dtype=t.double), "meta": t.empty(2, device="meta"),
        "float8": p([1.5, 2.0]).to(t.float8_e5m2), "wide": t.zeros(40) + 0.123, "column": counted(t, 30, 1), "table": p([[1.0, nan], [inf, -2.0]]), "parameter": t.nn.Parameter(counted(t, 2)),
        "whole floats": p([1.0, 2.0, 3.0]), "1e8": p([1e8, 2e8]), "1e-3": p([1e-3, 2e-3]), "complex ends": p([1e-8 + 1e8j]), "complex nan": p([nan + 1j]),
    }  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [{}, {"precision": 2}, {"sci_mode": True}, {"sci_mode": False}, {"threshold": 5, "edgeitems": 1}, {"linewidth": 20}, {"profile": "short"}, {"profile": "full"}],
    ids=str,
)
def test_printing(options):
    def make(t):
        def shown(x):
            t.set_printoptions(**options)
            try:
                return repr(x), str(x), f"{x}"
            finally:
                t.set_printoptions(profile="default", sci_mode=None)

        return {n: (lambda x=x: shown(x)) for n, x in printed(t).items() if n != "square" or options != {"profile": "full"}}

    compared(make)


def test_numpy_and_dlpack():
    def make(t):
        def a(*shape):
            return counted(t, *shape)

        def shares(x, y):
            y[0] = 9
            return x.tolist()

        return {
            "dlpack": lambda: shares(x := a(3), t.from_dlpack(x)), "to numpy": lambda: np.from_dlpack(a(3)).tolist(), "from numpy": lambda: t.from_dlpack(np.arange(3.0)),
            "device": lambda: a(2).__dlpack_device__(), "requires grad": lambda: t.from_dlpack(a(2).requires_grad_()), "of bool": lambda: t.from_dlpack(t.tensor([True])),
            "of bfloat16": lambda: t.from_dlpack(a(2).bfloat16()), "strides": lambda: t.from_dlpack(a(3, 4).t()).stride(), "copy": lambda: shares(x := a(2), t.from_dlpack(x, copy=True)),
            "capsule twice": lambda: (c := t.utils.dlpack.to_dlpack(a(2)), t.utils.dlpack.from_dlpack(c), t.utils.dlpack.from_dlpack(c)),
            "interface": lambda: sorted(a(2, 3).__array_interface__), "asarray": lambda: shares(x := a(2), np.asarray(x)), "array": lambda: np.array(a(2)), "sin": lambda: type(np.sin(a(2))).__name__,
            "np + t": lambda: type(np.ones(2) + a(2)).__name__, "t + np": lambda: type(a(2) + np.ones(2)).__name__, "np * t": lambda: np.float64(2) * a(2), "bfloat16": lambda: np.asarray(a(2).bfloat16()),
            "grad": lambda: np.asarray(a(2).requires_grad_()), "forced": lambda: a(2).requires_grad_().numpy(force=True), "index": lambda: np.arange(5)[t.tensor([1, 2])],
            "negative strides": lambda: t.from_numpy(np.ones(3)[::-1]), "text": lambda: t.from_numpy(np.array(["a"])), "big endian": lambda: t.from_numpy(np.ones(2, dtype=">f4")),
            "0-d": lambda: t.from_numpy(np.array(1.0)), "buffer": lambda: t.frombuffer(bytearray(b"\x01\x02\x03\x04"), dtype=t.int16), "beyond": lambda: t.frombuffer(bytearray(8), dtype=t.int16, count=9),
            "odd": lambda: t.frombuffer(bytearray(8), dtype=t.int16, offset=3), "shared": lambda: shares(x := np.ones(2), t.asarray(x)), "no copy": lambda: t.asarray([1, 2], copy=False),
        }  # fmt: skip

    compared(make)


def test_numbers_and_operators():
    def make(t):
        p = t.tensor

        def a(*shape):
            return counted(t, *shape)

        x = a(3, 4)
        return {
            "hash": lambda: (hash(x) == hash(x), {x: 1}[x], len({x, x, a(3, 4)})), "== None": lambda: x == None, "!= text": lambda: x != "a", "== list": lambda: a(2) == [1, 2],  # noqa: E711
            "< text": lambda: x < "a", "in": lambda: (3.0 in x, 100 in x, x in [x]), "in misfit": lambda: a(2) in [a(3)], "bools": lambda: (bool(p([[0.0]])), bool(p(1))), "bool of 2": lambda: bool(a(2)),
            "bool of 0": lambda: bool(t.empty(0)), "int of 2": lambda: int(a(2)), "float of 2": lambda: float(a(2)), "item of 2": lambda: a(2).item(), "int nan": lambda: int(p(float("nan"))),
            "float of complex": lambda: float(p(1 + 2j)), "int of complex": lambda: int(p(1 + 0j)), "complex": lambda: complex(p(1 + 2j)), "index": lambda: ([1, 2, 3][p(1)], list(range(p(3)))),
            "index of float": lambda: [1][p(0.0)], "iteration": lambda: ([type(i).__name__ for i in a(2)], list(reversed(a(3))), sum(a(3)), max(a(3)), sorted(p([3, 1, 2]))),
            "len of 0-d": lambda: len(p(1)), "iteration of 0-d": lambda: list(p(1)), "divmod": lambda: divmod(p([5.0]), 2), "round": lambda: round(p(2.567), 2), "pow of 3": lambda: pow(p(2), 3, 5),
            "-bool": lambda: -p([True]), "~": lambda: (~p([True]), ~p([5])), "~float": lambda: ~p([1.0]), "+": lambda: +p([1.0]), "+bool": lambda: +p([True]), "shifts": lambda: (p([1]) << 2, p([8]) >> 1),
            "logic": lambda: (p([True]) & p([False]), p([6]) & 3, p([True]) | False, p([True]) ^ True), "shape": lambda: setattr(x, "shape", (1,)), "T": lambda: setattr(x, "T", 1),
            "formats": lambda: (f"{p(1.5):>10}", f"{p(3):05d}", f"{p(True)}"), "format of 2": lambda: f"{a(2):.2f}", "math": lambda: (math.sqrt(p(4.0)), math.floor(p(2.5))),
            "kinds": lambda: (isinstance(x, t.FloatTensor), isinstance(x, t.nn.Parameter), x.type(), (x > 1).type(), x.type(t.int32).dtype, x.type("torch.DoubleTensor").dtype),
            "new": lambda: (x.new(2).shape, x.new([1, 2]), x.new_tensor([1]), x.new_full((2,), 3)), "constructors": lambda: (t.Tensor([1, 2]), t.Tensor(2, 3).shape, t.LongTensor([1]), t.Tensor().shape),
            "of a float": lambda: t.Tensor(5.0), "lists": lambda: (p(1).tolist(), a(1, 2).tolist(), t.empty(2, 0).tolist(), p([1j]).tolist(), p([1.5]).half().tolist()), "names": lambda: x.names,
            "set_": lambda: (y := a(2), y.set_(a(5)), y.shape)[2], "resize_": lambda: (y := a(4), y.resize_(6), y[:4].tolist())[2], "same": lambda: (x.is_set_to(x.view(3, 4)), x.is_set_to(x[0])),
            "unpacked": lambda: (lambda u, v: (u, v))(*a(2)), "size": lambda: (x.size(-1), x.size(), x.stride(0), x.dim(), x.nelement()), "del": lambda: x.__delitem__(0),
        }  # fmt: skip

    compared(make)
