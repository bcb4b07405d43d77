"""torch.__config__: what this build is made of, and how many threads it uses."""

import numpy

import rushlight

__all__ = ["parallel_info", "show"]


def show():
    """A text about the libraries underneath."""
    return f"PyTorch's interface {rushlight.__version__} by rushlight {rushlight._version.RUSHLIGHT}, built with:\n  - Python, no compiler\n  - NumPy {numpy.__version__}\n"


def parallel_info():
    """A text about threads."""
    return f"Threads of one op (get_num_threads) : {rushlight.get_num_threads()}\nOps at once (get_num_interop_threads) : {rushlight.get_num_interop_threads()}\n"


def _cxx_flags():
    """The flags of the C++ compiler: none was used."""
    return ""
