"""Calling a kernel from Python at the price of a C function: no ctypes call, no packing.

`launcher(address, kinds)` gives a function f(total, grain, *args) that fills the kernel's slots from `args` and runs it
on the pool. `kinds` says what each slot takes: "p" a NumPy array (where its first element is) or an address (int), "q" an
integer, "d" a float (its 64 bits). f returns None when the kernel is done; it checks how many arguments there are and
that each has its kind (TypeError, OverflowError), nothing else: dtypes and layouts were settled by whoever makes the call.

Mechanism: f is a builtin function (METH_FASTCALL) whose code is LLVM IR; its `self` is a bytes object that holds the
kernel's address and kinds. It reads the pointer out of NumPy's array object, where `native.address` found it. The GIL is
released for total > grain, and where an iteration is a grain of its own; a kernel too short for another thread is also
too short to let another thread of Python in, which may take milliseconds to give the GIL back.

Where this cannot be (another Python than CPython, an array object that looks different) the same
function is made of ctypes: `native_launcher()` is None then. Which of the two it is, is settled by calling a kernel
that hands its slots back before the first real one is called.
"""

from __future__ import annotations

import ctypes
import operator
import struct
import sys

import numpy as np

from rushlight.codegen import native, pool

MOST = 64  # slots that a launcher fills
KINDS = frozenset("pqd")
_FLAG = 0x80  # METH_FASTCALL
_HEAD = object.__basicsize__  # what an object has before its own fields; its type comes last in that
_BYTES = bytes.__basicsize__ - 1  # where the content of a bytes object begins

# what the code calls and compares with, by name; the addresses are stored when it is loaded
_API = (
    "PyLong_AsLongLong PyFloat_AsDouble PyErr_Occurred PyErr_Format PyErr_ExceptionMatches PyType_IsSubtype PyEval_SaveThread PyEval_RestoreThread Py_IncRef"
).split()

_SOURCE = """
@api = internal global [$N x ptr] zeroinitializer, align 64
@few = private constant $FEW
@array = private constant $ARRAY

define void @rushlight_launch_set(ptr %from) {
  call void @llvm.memcpy.p0.p0.i64(ptr @api, ptr %from, i64 $SIZE, i1 false)
  ret void
}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define ptr @rushlight_launch(ptr %self, ptr %args, i64 %given) {
entry:
  %slots = alloca [$MOST x i64], align 64
  %record = getelementptr i8, ptr %self, i64 $BYTES
  %kernel = load ptr, ptr %record, align 1
  %at.count = getelementptr i8, ptr %record, i64 8
  %count = load i64, ptr %at.count, align 1
  %kinds = getelementptr i8, ptr %record, i64 16
  %want = add i64 %count, 2
  %enough = icmp eq i64 %given, %want
  br i1 %enough, label %sizes, label %wrong.count

sizes:
  %as.int = load ptr, ptr $PyLong_AsLongLong
  %o0 = load ptr, ptr %args
  %total = call i64 %as.int(ptr %o0)
  %a1 = getelementptr ptr, ptr %args, i64 1
  %o1 = load ptr, ptr %a1
  %m0 = icmp eq i64 %total, -1
  br i1 %m0, label %doubt.total, label %second
doubt.total:
  %occurred0 = load ptr, ptr $PyErr_Occurred
  %e0 = call ptr %occurred0()
  %f0 = icmp ne ptr %e0, null
  br i1 %f0, label %fail, label %second
second:
  %grain = call i64 %as.int(ptr %o1)
  %m1 = icmp eq i64 %grain, -1
  br i1 %m1, label %doubt.grain, label %fill
doubt.grain:
  %occurred1 = load ptr, ptr $PyErr_Occurred
  %e1 = call ptr %occurred1()
  %f1 = icmp ne ptr %e1, null
  br i1 %f1, label %fail, label %fill

fill:
  %rest = getelementptr ptr, ptr %args, i64 2
  br label %head
head:
  %i = phi i64 [ 0, %fill ], [ %i.next, %store ]
  %over = icmp eq i64 %i, %count
  br i1 %over, label %ready, label %one
one:
  %at.kind = getelementptr i8, ptr %kinds, i64 %i
  %kind = load i8, ptr %at.kind
  %at = getelementptr ptr, ptr %rest, i64 %i
  %o = load ptr, ptr %at
  switch i8 %kind, label %int [ i8 112, label %pointer
                                i8 100, label %float ]

pointer:
  %at.type = getelementptr i8, ptr %o, i64 $TYPE
  %type = load ptr, ptr %at.type
  %ndarray = load ptr, ptr $ndarray
  %plain = icmp eq ptr %type, %ndarray
  br i1 %plain, label %array, label %derived
derived:
  %subtype = load ptr, ptr $PyType_IsSubtype
  %s = call i32 %subtype(ptr %type, ptr %ndarray)
  %sub = icmp ne i32 %s, 0
  br i1 %sub, label %array, label %int
array:
  %at.data = getelementptr i8, ptr %o, i64 $DATA
  %data = load i64, ptr %at.data
  br label %store

int:
  %v = call i64 %as.int(ptr %o)
  %m = icmp eq i64 %v, -1
  br i1 %m, label %doubt.int, label %store
doubt.int:
  %occurred = load ptr, ptr $PyErr_Occurred
  %e = call ptr %occurred()
  %fi = icmp eq ptr %e, null
  br i1 %fi, label %store, label %wrong.int

float:
  %as.double = load ptr, ptr $PyFloat_AsDouble
  %d = call double %as.double(ptr %o)
  %bits = bitcast double %d to i64
  %md = fcmp oeq double %d, -1.0
  br i1 %md, label %doubt.float, label %store
doubt.float:
  %occurred2 = load ptr, ptr $PyErr_Occurred
  %e2 = call ptr %occurred2()
  %ff = icmp eq ptr %e2, null
  br i1 %ff, label %store, label %fail

store:
  %slot = phi i64 [ %data, %array ], [ %v, %int ], [ -1, %doubt.int ], [ %bits, %float ], [ %bits, %doubt.float ]
  %to = getelementptr i64, ptr %slots, i64 %i
  store i64 %slot, ptr %to
  %i.next = add i64 %i, 1
  br label %head

ready:
  %shared = icmp sgt i64 %total, %grain
  %long = icmp slt i64 %grain, 2                    ; an iteration that is worth a thread, or many
  %free = or i1 %shared, %long
  br i1 %free, label %release, label %alone
alone:
  %some = icmp sgt i64 %total, 0
  br i1 %some, label %call, label %done
call:
  call void %kernel(ptr %slots, i64 0, i64 %total, i64 0)
  br label %done
release:
  %save = load ptr, ptr $PyEval_SaveThread
  %state = call ptr %save()
  %run = load ptr, ptr $run
  call void %run(ptr %kernel, ptr %slots, i64 %total, i64 %grain)
  %restore = load ptr, ptr $PyEval_RestoreThread
  call void %restore(ptr %state)
  br label %done
done:
  %none = load ptr, ptr $none
  %incref = load ptr, ptr $Py_IncRef
  call void %incref(ptr %none)
  ret ptr %none

wrong.count:
  %format = load ptr, ptr $PyErr_Format
  %error = load ptr, ptr $TypeError
  %r0 = call ptr (ptr, ptr, ...) %format(ptr %error, ptr @few, i64 %count, i64 %want, i64 %given)
  ret ptr null
wrong.int:                                          ; another type than a pointer may be: say which are
  %was.pointer = icmp eq i8 %kind, 112
  br i1 %was.pointer, label %which, label %fail
which:
  %matches = load ptr, ptr $PyErr_ExceptionMatches
  %error2 = load ptr, ptr $TypeError
  %w = call i32 %matches(ptr %error2)
  %was.type = icmp ne i32 %w, 0
  br i1 %was.type, label %explain, label %fail
explain:
  %format2 = load ptr, ptr $PyErr_Format
  %at.type2 = getelementptr i8, ptr %o, i64 $TYPE
  %type2 = load ptr, ptr %at.type2
  %place = add i64 %i, 2
  %r1 = call ptr (ptr, ptr, ...) %format2(ptr %error2, ptr @array, i64 %place, ptr %type2)
  ret ptr null
fail:
  ret ptr null
}

; the kernel of the self-test: its last slot says where to write the others, and total says how many there are
define void @rushlight_launch_test(ptr %slots, i64 %begin, i64 %end, i64 %thread) {
entry:
  %at = getelementptr i64, ptr %slots, i64 %end
  %to = load ptr, ptr %at
  %size = mul i64 %end, 8
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %slots, i64 %size, i1 false)
  ret void
}
"""
_FEW = "a kernel of %zd parameters takes %zd arguments, got %zd"
_ARRAY = "argument %zd of a kernel is an array or an address (an int), not of %R"
_NAMES = ["rushlight_launch", "rushlight_launch_set", "rushlight_launch_test"]


def _string(text):
    """A C string as LLVM writes it."""
    return f'[{len(text) + 1} x i8] c"{text}\\00"'


def source():
    """The launcher's module."""
    named = [*_API, "ndarray", "none", "TypeError", "run"]
    words = {"N": len(named), "SIZE": 8 * len(named), "MOST": MOST, "BYTES": _BYTES, "TYPE": _HEAD - 8, "DATA": _HEAD, "FEW": _string(_FEW), "ARRAY": _string(_ARRAY)}
    words.update({n: f"getelementptr ([{len(named)} x ptr], ptr @api, i32 0, i32 {k})" for k, n in enumerate(named)})
    text = _SOURCE
    for word in sorted(words, key=len, reverse=True):
        text = text.replace("$" + word, str(words[word]))
    return text


class _Method(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (("name", ctypes.c_char_p), ("code", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


def _record(address, kinds):
    """What a launcher keeps as its `self`."""
    return struct.pack("=qq", address, len(kinds)) + kinds.encode()


def _build():
    """(address, kinds) -> builtin function; None where this Python or NumPy is not as it must be."""
    sample = _record(1, "p")
    if sys.implementation.name != "cpython" or struct.calcsize("P") != 8 or ctypes.string_at(id(sample) + _BYTES, len(sample)) != sample:
        return None
    code = native.load(source(), _NAMES, optimise=False)
    functions = [ctypes.cast(getattr(ctypes.pythonapi, n), ctypes.c_void_p).value for n in _API]
    table = (ctypes.c_void_p * (len(_API) + 4))(*functions, id(np.ndarray), id(None), id(TypeError), pool.run_address())
    ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(code["rushlight_launch_set"])(table)
    method = _Method(b"launch", code["rushlight_launch"], _FLAG, b"Run a kernel: launch(total, grain, *args).")
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(("PyCFunction_NewEx", ctypes.pythonapi))
    at = ctypes.addressof(method)

    def make(address, kinds, method=method):  # the functions refer to `method`, which must live as long as they may
        return new(at, _record(address, kinds), None)

    return make if _works(make, code["rushlight_launch_test"]) else None


def _works(make, kernel):
    """Whether a launcher hands over what NumPy says itself."""
    grid = np.arange(60.0).reshape(6, 10)
    arrays = [grid, grid[2:, ::-1], np.array(3, "f"), np.zeros((0, 4)), np.zeros(3, "i1")[1:], grid.view(_Derived)]
    found = np.zeros(len(arrays) + 4, "i8")
    try:
        make(kernel, "p" * len(arrays) + "qqddp")(len(found), len(found), *arrays, -1, 2**63 - 1, 0.5, -1.0, found)
    except TypeError:  # types are not where they should be either
        return False
    expected = [a.__array_interface__["data"][0] for a in arrays] + [-1, 2**63 - 1] + list(struct.unpack("=qq", struct.pack("=dd", 0.5, -1.0)))
    return found.tolist() == expected


class _Derived(np.ndarray):
    """A subclass, for the self-test."""


_MADE: list = []  # what makes launchers, once it is there


def native_launcher():
    """What makes launchers of builtin functions; None where that cannot be.

    Made once, whichever threads ask first at the same time: launchers refer to memory that the first maker keeps.
    """
    with native.LOCK:
        if not _MADE:
            _MADE.append(_build())
        return _MADE[0]


def _pointer(a):
    if isinstance(a, np.ndarray):
        return native.address(a)
    try:
        return _integer(a)
    except TypeError:
        raise TypeError(f"an argument of a kernel is an array or an address (an int), not of {type(a)}") from None


def _float(a):
    if isinstance(a, str | bytes):  # float() would read them
        raise TypeError(f"must be real number, not {type(a).__name__}")
    return float(a)


def _integer(a):
    a = operator.index(a)
    if not -(2**63) <= a < 2**63:
        raise OverflowError("int too big to convert")
    return a


_CONVERT = {"p": _pointer, "q": _integer, "d": _float}


def ctypes_launcher(address, kinds):
    """The same function without code of its own."""
    pack = struct.Struct("=" + kinds.replace("p", "q")).pack
    convert = [_CONVERT[k] for k in kinds]

    def launch(total, grain, *args):
        if len(args) != len(convert):
            raise TypeError(f"a kernel of {len(convert)} parameters takes {len(convert) + 2} arguments, got {len(args) + 2}")
        pool.run(address, pack(*[c(a) for c, a in zip(convert, args)]), _integer(total), _integer(grain))

    return launch


def launcher(address, kinds):
    """f(total, grain, *args) for the kernel at `address`, whose slots take `kinds`, a string of "p", "q" and "d"."""
    if not KINDS.issuperset(kinds):
        raise ValueError(f"kinds of slots are 'p', 'q' and 'd', not {kinds!r}")
    make = native_launcher() if len(kinds) <= MOST else None
    return (make or ctypes_launcher)(operator.index(address), kinds)
