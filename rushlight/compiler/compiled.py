"""compile(): a function that is captured when it is first called, and replayed as one native program afterwards.

A call looks for a program whose guards hold. If there is none, the function runs under a capture (compiler/capture.py), which is
as good as an eager call, and what was captured becomes a program, unless something in it cannot be replayed: then the
function runs eagerly from now on, and one warning says where and why (`fullgraph=True`: an error).

What cannot be replayed: a value that Python looked at in the middle; state outside that the function changed and that is no
tensor; tensors left where no path leads; draws that are no ops; output. The first calls of a program often change
state (an optimizer's moments are made), so a few calls may pass before the first program is kept.
"""

from __future__ import annotations

import functools
import io
import os
import sys
import threading
import warnings

from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.compiler import checking, plan
from rushlight.compiler.capture import Broken, Capture
from rushlight.compiler.discover import Walk, conjunction, failing, state_of
from rushlight.compiler.numbers import Number
from rushlight.compiler.replay import Replay
from rushlight.compiler.results import Unreplayable, tensors
from rushlight.core import dtype as D
from rushlight.core.settings import SETTINGS

CHECK = os.environ.get("RUSHLIGHT_CHECK", "0") == "1"  # compare every replay with eager execution (checking.py)
TRIES = 4  # calls whose captures change state, before the function is left alone
VARIANTS = 8  # programs of one function
WAIT = 10  # seconds for which a call waits for another thread's capture; one that waits for this thread must not hang
_CAPTURE = threading.RLock()  # one capture at a time: it plants windows into tensors that other threads may hold
GENERATION = [0]  # raised by reset(): programs of before are forgotten


class Compiled:
    """A compiled function. `explain()` says what it did; `programs` are the captured ones."""

    stance = "default"

    def __init__(self, function, fullgraph=False):
        functools.update_wrapper(self, function, updated=())
        self._function, self.fullgraph = function, fullgraph
        self.programs, self.reason, self.tries, self.history = [], None, 0, []
        self.loose = set()  # numbers outside that were seen to change: inputs of later programs
        self.generation = GENERATION[0]
        self._torchdynamo_orig_callable = function

    def __get__(self, owner, kind=None):
        return self if owner is None else functools.partial(self, owner)

    def __call__(self, *args, **kwargs):
        if modes.diverted and (STATE.backend is not None or STATE.watcher is not None) or modes.anomaly or self.stance == "force_eager":
            return self._function(*args, **kwargs)
        for check, program in self.programs:
            if check(args, kwargs) and program.lock.acquire(False):
                try:
                    return checking.run(self._function, program, args, kwargs) if CHECK else program.run(args, kwargs)
                finally:
                    program.lock.release()
        return self._other(args, kwargs)

    def _other(self, args, kwargs):
        """No program fits: capture one, or run the function."""
        if self.generation != GENERATION[0]:
            self.programs, self.reason, self.tries, self.generation = [], None, 0, GENERATION[0]
        if self.reason is not None or any(check(args, kwargs) for check, _ in self.programs) or not _CAPTURE.acquire(timeout=WAIT):
            return self._function(*args, **kwargs)
        try:
            if self.reason is None and not any(check(args, kwargs) for check, _ in self.programs):
                return self._capture(args, kwargs)
        finally:
            _CAPTURE.release()
        return self(*args, **kwargs)  # another thread has captured meanwhile what this call needs

    # ---- capture
    def _capture(self, args, kwargs):
        why = self._changed(args, kwargs)
        if len(self.programs) >= VARIANTS:
            return self._give_up(f"more than {VARIANTS} programs were needed; the last one because of {why}", args, kwargs)
        walk = Walk(self._function, args, kwargs)
        if walk.iterator is not None:
            return self._give_up(f"it can reach a {walk.iterator}: what next() gives cannot be replayed", args, kwargs)
        if walk.refused is not None:
            return self._give_up(walk.refused, args, kwargs)
        if STATE.inference or any(i.tensor._hist is None for i in walk.inputs):
            return self._function(*args, **kwargs)  # tensors of inference mode have no versions to go by
        cap = Capture(self.fullgraph)
        state = _state()
        grads = {id(i.tensor): i.tensor._grad for i in walk.inputs if i.grad_of is None and i.tensor._rg}
        error = made = None
        output = _Output()
        numbers = _Slots(walk, self.loose, cap, args, kwargs)
        cap.plant([i.tensor for i in walk.inputs])
        try:
            with output, cap:
                try:
                    result = self._function(*numbers.args, **numbers.kwargs)
                finally:
                    numbers.back()
                if cap.live:
                    cap.stop()
                    try:
                        made = plan.make(cap, walk, result, grads)
                    except Unreplayable as e:
                        error = str(e)
                    if cap.memory is None:
                        cap.realise([*tensors(result), *(i.tensor._grad for i in walk.inputs if i.tensor._grad is not None)])
        except Broken as e:
            raise RuntimeError(str(e)) from None
        finally:
            if cap.memory is None:
                cap.restore(memory={})
        result = _settled(result)
        numbers.settle()
        if cap.reason is not None:
            text, file, line = cap.reason
            return self._broken(f"{text} ({file}:{line})", result)
        error = error or output.written or ("random numbers were drawn that are no op of a tensor" if cap.moved else None)
        error = error or numbers.error
        if any(state_of(g) != before for g, before in walk.generators):
            error = error or "a random generator was seeded, or drawn from in Python"
        if error is None and made[0].joint is None and cap.found:
            error = f"it leaves {len(cap.found)} tensors in places that a replay cannot reach (appended to a list, kept in an attribute)"
        if error is None:
            error = self._side_effects(walk, numbers, args, kwargs)
        if error is not None:
            return self._again(error, result)
        planned, also = made
        planned.stores = numbers.stores
        lines = list(dict.fromkeys([*state, *(line for line in walk.lines if line not in numbers.dropped), *also]))
        constants = {**walk.constants, "STATE": STATE, "SETTINGS": SETTINGS, "D": D}
        program = Replay(planned, constants)
        program.lines, program.constants, program.walk = lines, constants, walk
        self.programs.insert(0, (conjunction(lines, constants), program))
        return result

    def _changed(self, args, kwargs):
        """What made each program unfit; numbers among it are read anew from now on."""
        why = None
        for _, p in self.programs:
            lines = set(failing(p.lines, p.constants, args, kwargs))
            for slot in p.walk.slots.values():
                if slot.line in lines:
                    self.loose.add(slot.key)
            why = why or next((line for line in p.lines if line in lines), None)
        return why

    def _side_effects(self, walk, numbers, args, kwargs):
        """What the function changed that is no tensor; None where a replay can do it too."""
        broken = [line for line in failing(walk.lines, walk.constants, args, kwargs) if line not in numbers.dropped]
        for slot in walk.slots.values():
            if slot.line in broken:
                self.loose.add(slot.key)
        return f"it changes what it depends on: {describe(broken[0])}" if broken else None

    def _again(self, error, result):
        """A capture that is not kept: the next call tries again, a few times."""
        self.tries += 1
        self.history.append(error)
        return self._broken(error, result) if self.tries >= TRIES else result

    def _broken(self, reason, result):
        self.reason = reason
        if self.fullgraph:
            raise RuntimeError(f"fullgraph=True, but {self.__name__} cannot be captured whole: {reason}")
        warnings.warn(f"compile(): {getattr(self, '__name__', 'the function')} runs eagerly: {reason}", UserWarning, stacklevel=4)
        return result

    def _give_up(self, reason, args, kwargs):
        self._broken(reason, None)
        return self._function(*args, **kwargs)

    def explain(self):
        """What was captured and why, as text."""
        name = getattr(self, "__name__", "function")
        lines = [f"{name}: {len(self.programs)} program(s)" + (f", runs eagerly: {self.reason}" if self.reason else "")]
        lines += [f"  not kept: {h}" for h in self.history]
        for _, p in self.programs:
            x = p.executable
            lines.append(f"  program of {len(x.nodes)} ops in {len(x.steps)} kernels, {x.arena_bytes / 1024:.0f} KiB of working memory, {len(p.lines)} guards")
            lines += [f"    {s}" for s in x.steps]
        return "\n".join(lines)


def describe(line):
    """A guard, cut short."""
    return line if len(line) < 120 else line[:117] + "..."


def _state():
    """Guards on the modes of the thread."""
    s, autocast = STATE, "None" if STATE.autocast is None else f"D.{STATE.autocast.name}"
    return [
        f"STATE.grad is {s.grad} and STATE.inference is {s.inference} and STATE.autocast is {autocast} and not STATE.saved_hooks "
        f"and SETTINGS.threads == {SETTINGS.threads} and D.get_default_dtype() is D.{D.get_default_dtype().name}"
    ]


def _settled(result):
    """The result with real numbers in place of Numbers."""
    if result.__class__ is Number:
        return result.real()
    if result.__class__ in (list, tuple):
        return result.__class__(_settled(v) for v in result)
    if result.__class__ is dict:
        return {k: _settled(v) for k, v in result.items()}
    return result


class _Slots:
    """Numbers outside that are read anew at every call: `Number`s stand in their places while the function is captured."""

    def __init__(self, walk, loose, cap, args, kwargs):
        self.args, self.kwargs, self.cap, self.error = list(args), kwargs, cap, None
        self.planted, self.stores, self.dropped, self.pending = [], [], set(), None
        for path, slot in walk.slots.items():
            if slot.key not in loose:
                continue
            number = Number(cap, None, slot.value.__class__ is int, path, slot.value)
            self.dropped.add(slot.line)
            walk.lines.append(f"{path}.__class__ is {slot.value.__class__.__name__}")
            if slot.container is args:
                self.args[slot.place] = number
            else:
                slot.container[slot.place] = number
                self.planted.append((path, slot, number))

    def back(self):
        """Put numbers back where Numbers stand; what the function made of them is written by replays as well."""
        for path, slot, number in self.planted:
            now = slot.container.get(slot.place, number) if slot.container.__class__ is dict else slot.container[slot.place]
            if now is number:
                slot.container[slot.place] = slot.value
            elif now.__class__ is Number and now.source is not None:
                slot.container[slot.place] = now.value
                self.stores.append((path, now.source))
            elif now.__class__ is Number:
                self.error = "it keeps the value of a tensor in a Python number"
                slot.container[slot.place] = now
                self.pending = (slot, now)
            elif now != slot.value:
                self.error = "it sets a number that it also reads"

    def settle(self):
        """The value of what was kept of a tensor, now that there is one."""
        if self.pending is not None:
            slot, now = self.pending
            slot.container[slot.place] = now.real()


def eagerly(reason):
    """End the capture that is running in this thread, if there is one."""
    if isinstance(STATE.backend, Capture) and STATE.backend.live:
        STATE.backend.asked(reason)


class _Output:
    """Notices what is written to standard output and error during a capture."""

    written = None

    def __enter__(self):
        self.before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (_Tee(s, self) for s in self.before)
        return self

    def __exit__(self, *error):
        sys.stdout, sys.stderr = self.before


class _Tee(io.TextIOBase):
    def __init__(self, stream, output):
        self._stream, self._output = stream, output

    def write(self, text):
        self._output.written = "it prints, and a replay would not"
        return self._stream.write(text)

    def __getattr__(self, name):
        return getattr(self._stream, name)


def compile(model=None, *, fullgraph=False, dynamic=None, backend="rushlight", mode=None, options=None, disable=False):
    """A function or module that is captured on its first calls and then runs as one native program.

    model: a function, a method or a Module; left out, compile() is a decorator. A whole training step (forward, backward,
        optimizer) is the normal case.
    fullgraph: raise a RuntimeError where the function cannot be captured whole, instead of running it eagerly with a warning.
    disable: return `model` as it is. dynamic, backend, mode, options: accepted as PyTorch has them; there is one backend,
        and sizes need no hint.

    Results are those of eager execution to rounding (kernels are fused), random numbers are the same numbers.
    """
    if model is None:
        return lambda model: compile(model, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode, options=options, disable=disable)
    if not callable(model):
        raise RuntimeError(f"compile() takes a function or a Module, not {type(model).__name__}")
    if disable or os.environ.get("RUSHLIGHT_COMPILE", "1") == "0":
        return model
    if hasattr(model, "_optimized"):
        return model._optimized(Compiled(model.__call__, fullgraph))
    if isinstance(model, Compiled):
        return model
    return Compiled(model, fullgraph)


__all__ = ["Compiled", "compile", "eagerly"]
