"""LLVM IR as text, written by small verbs.

A `Module` holds functions and the declarations they need; a `Builder` appends instructions to a function's current
block. Values are `V` (text and type); types are LLVM's own words ("i64", "float", "<8 x float>", "ptr"). Text is
what LLVM reads, so nothing stands between: no object graph is built, and a kernel is written in a millisecond.

Invariants: a `V` is defined before it is used in program order; loops are entered and left through `loop`, which
places the phis of what it carries. Integer arithmetic wraps. Floating-point instructions carry no fast-math flags
but `contract` where the builder was asked for it.
"""

from __future__ import annotations

import struct
from contextlib import contextmanager

SIZES = {"i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "half": 2, "bfloat": 2, "float": 4, "double": 8, "ptr": 8}


class V:
    """A value: its text in the IR and its type."""

    __slots__ = ("text", "type")

    def __init__(self, text, type):
        self.text, self.type = text, type

    def __repr__(self):
        return f"{self.type} {self.text}"


def lanes_of(type):
    """(lanes, element type): ("<8 x float>") gives (8, "float"); scalars have 0 lanes."""
    if type[0] != "<":
        return 0, type
    n, _, element = type[1:-1].partition(" x ")
    return int(n), element


def vector(element, lanes):
    """The type of `lanes` elements; the element itself for 0 lanes."""
    return f"<{lanes} x {element}>" if lanes else element


def like(type, element):
    """`element` with as many lanes as `type` has."""
    return vector(element, lanes_of(type)[0])


def _number(value, element):
    if element in ("float", "double", "half", "bfloat"):
        if element == "float":
            value = struct.unpack("f", struct.pack("f", value))[0] if abs(value) < 3.5e38 or value != value else float("inf") * (1 if value > 0 else -1)
            return f"0x{struct.unpack('Q', struct.pack('d', value))[0]:016X}"
        if element == "double":
            return f"0x{struct.unpack('Q', struct.pack('d', value))[0]:016X}"
        if element == "half":
            return f"0xH{struct.unpack('H', struct.pack('e', value))[0]:04X}"
        return f"0xR{struct.unpack('I', struct.pack('f', value))[0] >> 16:04X}"
    if element == "i1":
        return "true" if value else "false"
    return str(int(value))


def const(value, type):
    """A number in `type`, in every lane of it."""
    lanes, element = lanes_of(type)
    text = _number(value, element)
    if not lanes:
        return V(text, type)
    return V(f"splat ({element} {text})", type)


def i64(n):
    return V(str(n), "i64")


def i32(n):
    return V(str(n), "i32")


NULL = V("null", "ptr")


class Module:
    """Functions, globals and declarations."""

    def __init__(self):
        self.parts, self.declared = [], {}

    def declare(self, name, ret, args):
        """Note that `name` is defined elsewhere (intrinsics, libc)."""
        self.declared.setdefault(name, f"declare {ret} @{name}({', '.join(args)})")

    def add(self, text):
        self.parts.append(text)

    def function(self, name, params, ret="void", internal=False, attributes=""):
        """A new function; `params` are (name, type) or (name, "ptr noalias"). Its Builder is at the entry block."""
        return Builder(self, name, params, ret, internal, attributes)

    def __str__(self):
        return "\n".join([*self.parts, *self.declared.values()]) + "\n"


class Loop:
    """Inside `with b.loop(...) as l`: `l.i` the index, `l.carried` the values carried; set `l.next` to their new values."""

    __slots__ = ("i", "carried", "next", "results")


class Builder:
    """Appends instructions to one function."""

    def __init__(self, module, name, params, ret, internal, attributes):
        self.module, self.name, self.ret_type = module, name, ret
        self.args = [V(f"%{n}", t.split()[0]) for n, t in params]
        text = ", ".join(f"{t} %{n}" for n, t in params)
        self.lines = [f"define {'internal ' if internal else ''}{ret} @{name}({text}) {attributes} {{", "entry:"]
        self.allocas = []  # placed at the entry when the function is done: places of other lines stay until then
        self.block, self.count = "entry", 0
        self.contract = False

    # ---- plumbing

    def fresh(self, hint="v"):
        self.count += 1
        return f"%{hint}{self.count}"

    def emit(self, text, type=None):
        """Append `text`; with a type, as the definition of a new value, which is returned."""
        if type is None:
            self.lines.append("  " + text)
            return None
        name = self.fresh()
        self.lines.append(f"  {name} = {text}")
        return V(name, type)

    def label(self, hint="b"):
        self.count += 1
        return f"{hint}{self.count}"

    def at(self, label):
        """Go on in a new block called `label`."""
        self.lines.append(f"{label}:")
        self.block = label

    def br(self, label):
        self.emit(f"br label %{label}")

    def cbr(self, condition, yes, no, likely=None):
        self.emit(f"br i1 {condition.text}, label %{yes}, label %{no}")

    def ret(self, value=None):
        self.emit("ret void" if value is None else f"ret {value.type} {value.text}")

    def done(self):
        """Close the function and hand it to its module."""
        self.lines[2:2] = self.allocas
        self.lines.append("}")
        self.module.add("\n".join(self.lines))

    # ---- instructions

    def op(self, name, x, y=None):
        """A unary or binary instruction: op("fadd", x, y)."""
        if self.contract and name in ("fadd", "fsub", "fmul"):
            name += " contract"
        rest = "" if y is None else f", {y.text}"
        return self.emit(f"{name} {x.type} {x.text}{rest}", x.type)

    def add(self, x, y):
        """Sum of two integers of one type (constants folded)."""
        if x.text.isdigit() and y.text.isdigit():
            return V(str(int(x.text) + int(y.text)), x.type)
        return x if y.text == "0" else y if x.text == "0" else self.op("add", x, y)

    def sub(self, x, y):
        return x if y.text == "0" else self.op("sub", x, y)

    def mul(self, x, y):
        if x.text.isdigit() and y.text.isdigit():
            return V(str(int(x.text) * int(y.text)), x.type)
        return x if y.text == "1" else y if x.text == "1" else i64(0) if x.type == "i64" and "0" in (x.text, y.text) else self.op("mul", x, y)

    def fma(self, x, y, z):
        return self.intrinsic("fma", x, y, z)

    def cmp(self, predicate, x, y):
        """Compare: floating predicates ("olt", "une") or integer ones ("slt", "eq")."""
        word = "fcmp" if lanes_of(x.type)[1] in ("float", "double", "half", "bfloat") else "icmp"
        return self.emit(f"{word} {predicate} {x.type} {x.text}, {y.text}", like(x.type, "i1"))

    def select(self, c, x, y):
        return self.emit(f"select {c.type} {c.text}, {x.type} {x.text}, {y.type} {y.text}", x.type)

    def cast(self, name, x, element):
        """cast("sext", x, "i64"): lanes stay."""
        type = like(x.type, element)
        return x if type == x.type else self.emit(f"{name} {x.type} {x.text} to {type}", type)

    def intrinsic(self, name, *args, result=None):
        """llvm.<name> on operands of one type: intrinsic("sqrt", x)."""
        lanes, element = lanes_of(args[0].type)
        letter = {"float": "f32", "double": "f64", "half": "f16", "bfloat": "bf16"}.get(element, element)
        suffix = f"v{lanes}{letter}" if lanes else letter
        return self.call(f"llvm.{name}.{suffix}", result or args[0].type, *args)

    def call(self, name, ret, *args, declare=True):
        if declare:
            self.module.declare(name, ret, [a.type for a in args])
        text = f"call {ret} @{name}({', '.join(map(repr, args))})"
        return self.emit(text, None if ret == "void" else ret)

    # ---- memory

    def at_bytes(self, pointer, offset):
        """pointer + offset bytes."""
        return pointer if offset.text == "0" else self.emit(f"getelementptr i8, ptr {pointer.text}, {offset.type} {offset.text}", "ptr")

    def gep(self, pointer, index, element):
        """Address of element `index`."""
        return pointer if index.text == "0" else self.emit(f"getelementptr {element}, ptr {pointer.text}, {index.type} {index.text}", "ptr")

    def load(self, type, pointer, align=None):
        align = align or SIZES[lanes_of(type)[1]]
        return self.emit(f"load {type}, ptr {pointer.text}, align {align}", type)

    def store(self, value, pointer, align=None, nontemporal=False):
        align = align or SIZES[lanes_of(value.type)[1]]
        note = ", !nontemporal !{i32 1}" if nontemporal else ""
        self.emit(f"store {value.type} {value.text}, ptr {pointer.text}, align {align}{note}")

    def alloca(self, type, count=1, align=64):
        """Stack memory, reserved at the function's entry."""
        name = self.fresh("a")
        self.allocas.append(f"  {name} = alloca {type}, i64 {count}, align {align}")
        return V(name, "ptr")

    def prefetch(self, pointer, write=0, locality=3):
        self.call("llvm.prefetch.p0", "void", pointer, i32(write), i32(locality), i32(1))

    # ---- vectors

    def splat(self, x, lanes):
        """A scalar in every lane."""
        if not lanes:
            return x
        type = vector(x.type, lanes)
        if x.text[0] != "%":
            return V(f"splat ({x.type} {x.text})", type)
        one = self.emit(f"insertelement {type} poison, {x.type} {x.text}, i64 0", type)
        return self.emit(f"shufflevector {type} {one.text}, {type} poison, <{lanes} x i32> zeroinitializer", type)

    def extract(self, x, lane):
        return self.emit(f"extractelement {x.type} {x.text}, i64 {lane}", lanes_of(x.type)[1])

    def insert(self, x, value, lane):
        return self.emit(f"insertelement {x.type} {x.text}, {value.type} {value.text}, i64 {lane}", x.type)

    def shuffle(self, x, y, lanes):
        """Lanes of x and y put together: shuffle(x, y, [0, 8, 1, 9])."""
        mask = ", ".join(f"i32 {n}" for n in lanes)
        other = "poison" if y is None else y.text
        return self.emit(f"shufflevector {x.type} {x.text}, {x.type} {other}, <{len(lanes)} x i32> <{mask}>", vector(lanes_of(x.type)[1], len(lanes)))

    # ---- control flow

    def smin(self, x, y):
        return self.intrinsic("smin", x, y)

    @contextmanager
    def loop(self, start, stop, step=1, carried=()):
        """for (i = start; i < stop; i += step), carrying values: set `l.next`; after it `l.results` are the final ones."""
        l = Loop()
        step = i64(step) if isinstance(step, int) else step
        head, body, end = self.label("head"), self.label("body"), self.label("end")
        before = self.block
        self.br(head)
        self.at(head)
        l.i = V(self.fresh("i"), "i64")
        l.carried = [V(self.fresh("c"), c.type) for c in carried]
        l.next, l.results = list(l.carried), l.carried
        place = len(self.lines)
        more = self.cmp("slt", l.i, stop)
        self.cbr(more, body, end)
        self.at(body)
        yield l
        following = self.op("add", l.i, step)
        latch = self.block
        self.br(head)
        phis = [f"  {l.i.text} = phi i64 [{start.text}, %{before}], [{following.text}, %{latch}]"]
        for p, c, n in zip(l.carried, carried, l.next):
            phis.append(f"  {p.text} = phi {p.type} [{c.text}, %{before}], [{n.text}, %{latch}]")
        self.lines[place:place] = phis
        self.at(end)

    @contextmanager
    def whilst(self, condition):
        """while (condition()) { ... }: the test is emitted anew before each round; what changes is in memory (`alloca`)."""
        head, body, end = self.label("head"), self.label("body"), self.label("end")
        self.br(head)
        self.at(head)
        self.cbr(condition(), body, end)
        self.at(body)
        yield
        self.br(head)
        self.at(end)

    @contextmanager
    def when(self, condition):
        """if (condition) { ... }: for effects only, no value leaves it."""
        yes, end = self.label("then"), self.label("end")
        self.cbr(condition, yes, end)
        self.at(yes)
        yield
        self.br(end)
        self.at(end)
