"""torch.autograd.profiler: `record_function` as a label without effect; nothing is profiled here yet.

Everything else raises NotImplementedError by name, so that no program believes an empty profile.
"""

import functools

_MISSING = (
    "profile", "emit_itt", "emit_nvtx", "load_nvprof", "parse_nvprof_trace", "EnforceUnique", "KinetoStepTracker", "EventList",
    "FunctionEvent", "MemRecordsAcc",
)  # fmt: skip


class record_function:
    """A named range, as a context manager or decorator. Nothing listens to it."""

    def __init__(self, name, args=None):
        self.name, self.args = name, args

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None

    def __call__(self, f):
        @functools.wraps(f)
        def labelled(*args, **kwargs):
            with self:
                return f(*args, **kwargs)

        return labelled


def __getattr__(name):
    if name in _MISSING:
        raise NotImplementedError(f"torch.autograd.profiler.{name} is not implemented; time the program with cProfile or time.perf_counter")
    raise AttributeError(f"module 'torch.autograd.profiler' has no attribute '{name}'")


__all__ = ["record_function"]
