"""IR to machine code: one target machine, one compiler, one cache; addresses stay valid for the process.

`load(text, names)` gives the addresses of a module's functions. The object code comes from the disk cache where it is
there (codegen/cache.py), else from LLVM. All calls into LLVM take one lock; fork() waits for it, so that a child never
finds it taken. The compiler and what it loaded are never given back, not even at exit: threads may still run in it.

Only this file, and codegen/pool.py through it, imports llvmlite; without it `available()` is False and everything runs
on NumPy.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from functools import cache

import numpy as np

from rushlight.codegen import cache as disk
from rushlight.core.forking import COMPILER, LLVM, whole_at_fork
from rushlight.core.optional import optional_module
from rushlight.core.version import RUSHLIGHT

LOCK = whole_at_fork(threading.RLock(), COMPILER)  # of LLVM, and of what is made once

# how LLVM is asked to compile: part of the cache's key
_LEVEL = 3
_PASSES = {"speed_level": 2, "loop_vectorization": False, "slp_vectorization": False, "loop_unrolling": False}


@cache
def _llvm():
    with LOCK:
        llvm = optional_module("llvmlite.binding")
        if llvm is None:
            return None
        # llvmlite holds a lock of its own in every call, those of the garbage collector included
        theirs = getattr(getattr(getattr(llvm, "ffi", None), "lib", None), "_lock", None)
        if hasattr(theirs, "_lock"):
            whole_at_fork(theirs._lock, LLVM)
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        return llvm


def available():
    """Whether kernels can be compiled here."""
    return _llvm() is not None


@cache
def host():
    """(CPU name, feature string) of this machine."""
    llvm = _llvm()
    features = llvm.get_host_cpu_features()
    return llvm.get_host_cpu_name(), features.flatten() + (",-prefer-256-bit" if features.get("avx512f") else "")


@cache
def vector_bytes():
    """The width of this machine's vector registers in bytes."""
    flags = host()[1].split(",")
    return 64 if "+avx512f" in flags else 32 if "+avx2" in flags else 16


@cache
def vector_registers():
    """How many vector registers there are: 32 with AVX-512 and on ARM, 16 otherwise."""
    return 32 if vector_bytes() == 64 or not host()[1].count("sse2") else 16


@cache
def _machine():
    llvm = _llvm()
    name, features = host()
    return llvm.Target.from_default_triple().create_target_machine(cpu=name, features=features, opt=_LEVEL, jit=True)


@cache
def _jit():
    jit = _llvm().create_lljit_compiler(_machine())
    if sys.implementation.name == "cpython":
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(jit))  # immortal: see the head of the file
    return jit


@cache
def _about():
    """What decides an object beside its text."""
    llvm = _llvm()
    return (RUSHLIGHT, optional_module("llvmlite").__version__, repr(llvm.llvm_version_info), llvm.get_default_triple(), *host(), str(_LEVEL))


def _module(text, optimise):
    llvm = _llvm()
    module = llvm.parse_assembly(text)
    module.verify()
    if optimise:
        options = llvm.create_pipeline_tuning_options()
        for name, value in _PASSES.items():
            setattr(options, name, value)
        builder = llvm.create_pass_builder(_machine(), options)
        builder.getModulePassManager().run(module, builder)
    return module


def object_code(text, optimise=True):
    """Machine code (an object file's bytes) of a module's text."""
    return _machine().emit_object(_module(text, optimise))


def assembly(text, optimise=True):
    """The assembly of a module's text, to look at."""
    return _machine().emit_assembly(_module(text, optimise))


_COUNT = 0


def load(text, names, optimise=True):
    """The addresses of functions `names` of the module `text`: {name: int}. The code stays loaded.

    Without `optimise` LLVM's passes are left out, for text that they would not improve: half the time. Measured over all
    families (benchmarks/README.md) they gain nothing on what codegen/ writes, whose loops are in order as they are."""
    global _COUNT
    with LOCK:
        about = (*_about(), repr(_PASSES) if optimise else "")
        image = disk.fetch(text, about, lambda text: object_code(text, optimise))
        _COUNT += 1
        builder = _llvm().JITLibraryBuilder().add_object_img(image).add_current_process()
        for name in names:
            builder.export_symbol(name)
        library = builder.link(_jit(), f"rushlight{_COUNT}")
        library.detach()  # the addresses stay good: nobody is left to unload it
        return {name: library[name] for name in names}


def function(address, result, *args):
    """A ctypes function at an address; the GIL is released while it runs."""
    return ctypes.CFUNCTYPE(result, *args)(address)


def _interface_address(array):
    return array.__array_interface__["data"][0]


def _field_address(array, at=object.__basicsize__, field=ctypes.c_size_t.from_address):
    return field(id(array) + at).value


def _quickest_address():
    """The field of NumPy's array object, where that is what it says itself (CPython): six times as quick."""
    sample = np.empty((3, 5))[1:, ::-1]
    try:
        if sys.implementation.name == "cpython" and _field_address(sample) == _interface_address(sample):
            return _field_address
    except ValueError:
        pass
    return _interface_address


#: address(array): where an array's first element is
address = _quickest_address()
