"""Dtypes of the loop IR in LLVM, and conversions between them: the rules of C, of x86 where C leaves it open, and of half types.

TYPE is what a dtype is in a register, STORED what it is in memory.
"""

from __future__ import annotations

from rushlight.codegen import llvm as L
from rushlight.codegen.llvm import const
from rushlight.codegen.loops import SIZE

TYPE = {"b1": "i1", "i8": "i8", "u8": "i8", "i16": "i16", "u16": "i16", "i32": "i32", "u32": "i32", "i64": "i64", "u64": "i64", "f16": "half", "bf16": "bfloat", "f32": "float", "f64": "double"}
STORED = {**TYPE, "b1": "i8", "bf16": "i16"}
_FLOAT = ("f16", "bf16", "f32", "f64")


def kind(dtype):
    """'f', 'i', 'u' or 'b'."""
    return "f" if dtype in _FLOAT else dtype[0]

def bitcast(b, x, element):
    """The bits of x (or of its lanes) as another type of its size."""
    type = L.like(x.type, element)
    return b.emit(f"bitcast {x.type} {x.text} to {type}", type)


def cast(b, x, source, target):
    """x, of dtype `source`, in dtype `target`."""
    a, c = kind(source), kind(target)
    if source == "bf16":
        x = bitcast(b, b.op("shl", b.cast("zext", x, "i32"), const(16, L.like(x.type, "i32"))), "float")
        source = "f32"
    if target == "b1":
        return b.cmp("une" if a == "f" else "ne", x, const(0, x.type))
    t = TYPE[target]
    if a == "f":
        x = b.cast("fpext", x, "float") if source == "f16" else x
        source = "f32" if source == "f16" else source
    if target in ("f16", "bf16"):
        if source != "f32":
            x = b.cast("fptrunc" if source == "f64" else "uitofp" if a in "ub" else "sitofp", x, "float")
        return _to_bfloat(b, x) if target == "bf16" else b.cast("fptrunc", x, t)
    if a == "f" and c == "f":
        return x if source == target else b.cast("fpext" if SIZE[target] > SIZE[source] else "fptrunc", x, t)
    if a == "f":
        return _to_integer(b, x, target)
    if c == "f":
        return b.cast("uitofp" if a in "ub" else "sitofp", x, t)
    if SIZE[target] > SIZE[source] or source == "b1":
        return b.cast("zext" if a in "ub" else "sext", x, t)
    return b.cast("trunc", x, t)


def _to_integer(b, x, target):
    """To int32 (int64 for 8 bytes and u32), then cut off; what does not fit is the smallest one, as on x86."""
    wide = 64 if SIZE[target] == 8 or target == "u32" else 32
    fits = b.cmp("olt", b.intrinsic("fabs", x), const(2.0 ** (wide - 1), x.type))
    whole = b.cast("fptosi", x, f"i{wide}")
    return b.cast("trunc", b.select(fits, whole, const(-(2 ** (wide - 1)), whole.type)), TYPE[target])


def _to_bfloat(b, x):
    """The upper half of a float32's bits, rounded to nearest even; NaN stays NaN."""
    bits = bitcast(b, x, "i32")
    t = bits.type
    odd = b.op("and", b.op("lshr", bits, const(16, t)), const(1, t))
    rounded = b.op("lshr", b.op("add", bits, b.op("add", odd, const(0x7FFF, t))), const(16, t))
    out = b.select(b.cmp("uno", x, x), const(0x7FC0, t), rounded)
    return b.cast("trunc", out, "i16")
