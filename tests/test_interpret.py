"""The loop IR's specification (codegen/interpret.py) and its LLVM emitter agree on every primitive and every dtype."""

import itertools

import numpy as np
import pytest

from rushlight.codegen import interpret, loops, native
from rushlight.codegen.interpret import NUMPY
from rushlight.codegen.loops import (
    Acc,
    Buffer,
    Grid,
    Kernel,
    Lanes,
    Let,
    Loop,
    Number,
    Store,
    Update,
    bitcast,
    call,
    cast,
    const,
    load,
    number,
    ref,
    seldom,
    select,
)
from rushlight.codegen.program import Program

INTEGERS = ("i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64")
FLOATS = ("f32", "f64")
HALVES = ("f16", "bf16")
AT = (("i", 1),)

compiled = pytest.mark.skipif(not native.available(), reason="llvmlite is not installed")


def samples(dtype, count, seed):
    """Edge cases and random bits of a dtype; bf16 as its bits."""
    g = np.random.default_rng([seed, ord(dtype[0]), len(dtype), loops.SIZE[dtype]])
    size = loops.SIZE[dtype]
    if dtype == "b1":
        return g.integers(0, 2, count).astype(bool)
    noise = g.integers(0, 256, count * size, dtype=np.uint8).view(NUMPY[dtype])
    if dtype in INTEGERS:
        info = np.iinfo(NUMPY[dtype])
        edges = np.array([0, 1, 2, 3, info.max, info.min, info.max - 1, info.min + 1, 7, 8 * size, 8 * size - 1], NUMPY[dtype])
        small = g.integers(max(info.min, -9), 70, count).astype(NUMPY[dtype])
        return np.concatenate([edges, small[: count // 2], noise])[:count]
    if dtype == "bf16":
        return np.concatenate([np.array([0, 0x8000, 0x7F80, 0xFF80, 0x3F80, 1, 0x0080], np.uint16), noise])[:count]
    info = np.finfo(NUMPY[dtype])
    edges = [0.0, -0.0, 1, -1, 0.5, 2.5, -2.5, 1e9, -1e9, 2**31, -(2**31), np.inf, -np.inf, np.nan, info.max, info.tiny, info.smallest_subnormal]
    with np.errstate(over="ignore"):
        edges = np.array(edges, NUMPY[dtype])
        mid = (g.standard_normal(count // 2) * 50).astype(NUMPY[dtype])
    return np.concatenate([edges, mid, noise])[:count]


def fresh(dtype, count):
    return np.zeros(count, NUMPY[dtype])


def agree(value, params, arrays, count):
    """The compiled kernel of out[i] = value, and the same interpreted, give the same bits (any NaN is a NaN)."""
    kernel = Kernel("k", (Buffer("out", value.dtype), *params), (Lanes("i", None, None, (Store("out", AT, value),)),))
    assert str(loops.rebuild(str(kernel))) == str(kernel)
    out, expected = fresh(value.dtype, count), fresh(value.dtype, count)
    Program(kernel)(count, count, out, *arrays)
    interpret.run(kernel, [expected, *arrays], 0, count)
    if value.dtype in FLOATS or value.dtype == "f16":
        np.testing.assert_array_equal(np.isnan(out), np.isnan(expected))
        out, expected = np.where(np.isnan(out), 0, out), np.where(np.isnan(expected), 0, expected)
    bits = np.dtype(f"u{loops.SIZE[value.dtype]}")
    wrong = np.flatnonzero(out.view(bits) != expected.view(bits))
    assert not wrong.size, [(a[wrong[:4]], out[wrong[:4]], expected[wrong[:4]]) for a in arrays]


def operations():
    for op, arity in {**loops.ARITHMETIC, **loops.BITS, **dict.fromkeys(loops.COMPARISONS, 2)}.items():
        for dtype in (*INTEGERS, *FLOATS, "b1"):
            if op in loops.BITS and dtype in FLOATS or op in ("sqrt", "copysign") and dtype not in FLOATS:
                continue
            if dtype == "b1" and op in ("div", "rem", "fma", "neg", "abs", "shl", "lshr", "ashr", "floor", "ceil", "trunc", "rint"):
                continue
            yield pytest.param(op, arity, dtype, id=f"{op}-{dtype}")


@compiled
@pytest.mark.parametrize("op, arity, dtype", list(operations()))
def test_primitive(op, arity, dtype):
    count = 203  # whole vectors, and a rest
    arrays = [samples(dtype, count, seed) for seed in range(arity)]
    if arity > 1:
        g = np.random.default_rng(0)
        arrays = [g.permutation(a) for a in arrays]
    xs = [load(f"x{k}", AT, dtype) for k in range(arity)]
    agree(call(op, *xs), [Buffer(f"x{k}", dtype) for k in range(arity)], arrays, count)


@compiled
@pytest.mark.parametrize("source", (*INTEGERS, *FLOATS, *HALVES, "b1"))
def test_casts(source):
    count = 203
    x = samples(source, count, 5)
    for target in (*INTEGERS, *FLOATS, *HALVES, "b1"):
        if target != source:
            agree(cast(load("x", AT, source), target), [Buffer("x", source)], [x], count)


@compiled
@pytest.mark.parametrize("dtype", (*INTEGERS, *FLOATS, "b1"))
def test_select_and_bitcast(dtype):
    count = 203
    x, y, c = samples(dtype, count, 1), samples(dtype, count, 2)[::-1].copy(), samples("b1", count, 3)
    params = [Buffer("c", "b1"), Buffer("x", dtype), Buffer("y", dtype)]
    agree(select(load("c", AT, "b1"), load("x", AT, dtype), load("y", AT, dtype)), params, [c, x, y], count)
    other = {"f32": "i32", "f64": "i64", "i32": "f32", "i64": "f64"}.get(dtype)
    if other:
        agree(bitcast(load("x", AT, dtype), other), [Buffer("x", dtype)], [x], count)


@compiled
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("divisor", [1, 3, 7, 0])
def test_constant_divisors_and_shifts(dtype, divisor):
    count = 203
    x, params = load("x", AT, dtype), [Buffer("x", dtype)]
    a = samples(dtype, count, 1)
    for op in ("div", "rem", "shl", "lshr", "ashr"):
        agree(call(op, x, const(divisor, dtype)), params, [a], count)
    agree(call("shl", x, const(8 * loops.SIZE[dtype], dtype)), params, [a], count)
    if dtype[0] == "i":
        agree(call("div", x, const(-1, dtype)), params, [a], count)


@compiled
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", loops.OUTSIDE)
def test_seldom(dtype, name):
    count = 203
    x = np.where(np.arange(count) % 50 == 7, 1e7, 1).astype(NUMPY[dtype])
    e = load("x", AT, dtype)
    agree(seldom(e > 1e5, name, e, e + 1), [Buffer("x", dtype)], [x], count)


def test_constants_that_no_integer_holds():
    assert cast(const(300.7, "f64"), "i8").op == "cast"
    assert cast(const(float("nan"), "f64"), "i32").op == "cast"
    assert cast(const(-7.9, "f64"), "i8").args == (-7,)
    assert const(0.1, "f32").args == (float(np.float32(0.1)),)
    assert const(1e300, "f32").args == (float("inf"),)


def test_fma_rounds_once():
    g = np.random.default_rng(1)
    x, y = (g.standard_normal(2000).astype(np.float32) for _ in range(2))
    z = -(x * y) + g.standard_normal(2000).astype(np.float32) * np.float32(1e-9)
    got = interpret._fma(x, y, z, "f32")
    wide = (x.astype(np.longdouble) * y + z).astype(np.float32)
    np.testing.assert_array_equal(got, wide)
    assert interpret._fma64(1 + 2.0**-52, 1 + 2.0**-52, -(1 + 2.0**-51)) == 2.0**-104


# ---- kernels


def both(kernel, total, outs, *rest):
    expected = [o.copy() for o in outs]
    Program(kernel)(total, total, *outs, *rest)
    interpret.run(kernel, [*expected, *rest], 0, total)
    for a, b in zip(outs, expected):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@compiled
def test_row_sums_and_strides():
    n, m = 7, 61
    x = np.random.default_rng(0).random((n, m)).astype(np.float32)
    at = (("i", "m"), ("j", 1))
    i0 = const(0, "i64")
    body = (
        Acc("t", "add", "f64"),
        Acc("top", "max", "f32"),
        Lanes("j", i0, number("m"), (Let("y", load("x", at, "f32") * 2.0), Update("t", cast(ref("y", "f32"), "f64")), Update("top", ref("y", "f32")))),
        Store("out", (("i", 2),), cast(ref("t", "f64"), "f32")),
        Store("out", (("i", 2),), ref("top", "f32") + cast(ref("t", "f64"), "f32")),
    )
    kernel = Kernel("k", (Buffer("out", "f32"), Buffer("x", "f32"), Number("m", "i64")), (Grid(("i",), (const(n, "i64"),), body),))
    both(kernel, n, [np.zeros(2 * n, np.float32)], x, m)


@compiled
@pytest.mark.parametrize("op, dtype", list(itertools.product(("add", "mul", "max", "min"), ("f32", "f64", "i32", "i64"))))
def test_columns(op, dtype):
    n, m = 5, 45
    x = (np.random.default_rng(0).random((n, m)) * 5 + 1).astype(NUMPY[dtype])
    value = load("x", (("j", "m"), ("i", 1)), dtype)
    body = (Acc("t", op, dtype), Loop("j", const(0, "i64"), number("n"), (Update("t", value),)), Store("out", AT, ref("t", dtype)))
    kernel = Kernel("k", (Buffer("out", dtype), Buffer("x", dtype), Number("n", "i64"), Number("m", "i64")), (Lanes("i", None, None, body),))
    both(kernel, m, [np.zeros(m, NUMPY[dtype])], x, n, m)
