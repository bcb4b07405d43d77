"""What went wrong in a worker, told where the loop is: exceptions, and ends of processes.

An exception travels as its type, its text with the worker's traceback, the worker and the index of
the sample that was being fetched, and is raised as the same type. A process that is gone is named by
its signal or exit code, what it was fetching, and its memory: the kernel kills for memory without a
word, and that is what most dead workers died of.
"""

import pickle
import signal
import traceback

from rushlight.utils.data._utils.shared import memory_left

__all__ = ["Failure", "exit_text", "shortened", "timeout_text"]

MB = 2**20


def shortened(index, most=8):
    """An index, or a list of them with its middle left out."""
    if isinstance(index, (list, tuple)) and len(index) > most:
        first = ", ".join(map(repr, index[: most - 1]))
        return f"[{first}, ... {index[-1]!r}] ({len(index)} of them)"
    return repr(index)


class Failure:
    """An exception of a worker, on its way to the loop."""

    def __init__(self, error, where, at=None):
        """where: "in DataLoader worker process 0"; at: what was being fetched, as a phrase."""
        kind = type(error)
        trace = "".join(traceback.format_exception(kind, error, error.__traceback__))
        self.name = kind.__qualname__
        place = f" ({at})" if at else ""
        self.text = f"Caught {self.name} {where}{place}.\nOriginal {trace}"
        try:
            self.kind = pickle.dumps(kind)
        except Exception:
            self.kind = None  # a class inside a function: nobody else can name it

    def error(self):
        """The exception to raise: of the same type wherever such an object can be made."""
        text = self.text
        try:
            kind = pickle.loads(self.kind)
        except Exception:
            return RuntimeError(text)
        if issubclass(kind, KeyError):
            return kind(_Verbatim(text))
        try:
            made = kind(text)
            if text in str(made):
                return made
        except Exception:
            pass  # its constructor wants something else
        try:
            made = kind.__new__(kind, text)
            made.args = (text,)
            if text not in str(made):
                made.add_note(text)
            return made
        except Exception:
            return RuntimeError(text)


class _Verbatim(str):
    """A KeyError prints the repr of its argument: this one's is the text itself."""

    def __repr__(self):
        return str(self)


def _signal_name(number):
    try:
        return f"{signal.strsignal(number)} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


_HINTS = {
    "SIGKILL": "Most often this is the kernel's out-of-memory killer (dmesg says so): use fewer workers, a smaller batch_size or prefetch_factor, or a data set that is not copied into each worker (memory maps, rushlight.data).",
    "SIGBUS": "A mapped file became shorter than it was, or shared memory ran out: look at the files that the data set maps and at the size of /dev/shm.",
    "SIGSEGV": "A library crashed in the worker: PYTHONFAULTHANDLER=1 prints where, and multiprocessing_context='spawn' helps where a library does not survive fork().",
}


def exit_text(worker, count, pid, code, doing, peak):
    """The message for a worker process that has ended by itself.

    code: its exit code, negative for a signal. doing: what it was fetching. peak: its largest
    memory in bytes or None.
    """
    if code is not None and code < 0:
        head = f"DataLoader worker (pid {pid}) is killed by signal: {_signal_name(-code)}."
        try:
            hint = _HINTS.get(signal.Signals(-code).name, "")
        except ValueError:
            hint = ""
    else:
        how = "" if code is None else f" with exit code {code}"
        head = f"DataLoader worker (pid(s) {pid}) exited unexpectedly{how}."
        hint = "The data set, collate_fn or a library ended the process (sys.exit, os._exit)."
    parts = [head, f"It was worker {worker} of {count}, {doing}."]
    left, total = memory_left()
    memory = [] if peak is None else [f"its memory had been {peak / MB:.0f} MB at most"]
    if left is not None:
        memory.append(f"the machine has {left / MB:.0f} of {total / MB:.0f} MB left")
    if memory:
        text = ", ".join(memory)
        parts.append(text[0].upper() + text[1:] + ".")
    if hint:
        parts.append(hint)
    return " ".join(parts)


def timeout_text(timeout, worker, pid, doing):
    """The message for a worker that gave nothing for `timeout` seconds."""
    who = f"worker {worker}" + ("" if pid is None else f" (pid {pid})")
    return (
        f"DataLoader timed out after {timeout} seconds: {who} is {doing}. Raise timeout, or look at "
        "what that sample waits for; timeout=0 waits without end."
    )
