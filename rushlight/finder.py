"""`torch` as another name of rushlight: what `rushlight run` and `rushlight.as_torch()` stand on.

A meta-path finder at the front answers for `torch` and every `torch.x.y` with the module
`rushlight` or `rushlight.x.y` itself: one module object under two names, so classes are the same
and `isinstance` holds across both. Nothing is written to disk and nothing outside this process
changes.

What rushlight lacks has to be recognisable as its gap and not look like a bug of the program: a
module handed out under a torch name answers for a missing attribute with an AttributeError, and a
missing module or a name that `from torch import ...` asks for with a ModuleNotFoundError, which say
that it is rushlight which lacks it and name the nearest things there are. For what Python raises by
itself (an attribute of a Tensor, a name missing from a plain module), `explain` adds a note to the
error.

Invariants: taking the finder out again leaves the import system as it was found: `sys.meta_path`,
the `torch` entries of `sys.modules` and the modules' `__getattr__` and `__spec__`.
"""

import contextlib
import difflib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

__all__ = ["as_torch", "explain"]

OURS = "rushlight"
THEIRS = "torch"
CANNOT_IMPORT = re.compile(r"cannot import name '(\w+)' from '([\w.]+)'")


def _inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _ours(home: str) -> bool:
    """Whether a `__module__` is rushlight's: some classes say torch, so as to print alike."""
    return _inside(home, OURS) or _inside(home, THEIRS)


def _renamed(name: str, old: str, new: str) -> str:
    return new + name[len(old) :]


def _as_theirs(name: str) -> str:
    return _renamed(name, OURS, THEIRS) if _inside(name, OURS) else name


def _members(module: ModuleType) -> set[str]:
    """The public names a module has, its submodules on disk included."""
    names = {n for n in dir(module) if not n.startswith("_")}
    names.update(m.name for m in pkgutil.iter_modules(getattr(module, "__path__", [])))
    return {n for n in names if not n.startswith("_")}


def _nearest(name: str, names) -> list[str]:
    """Up to three of `names` that a reader may have meant or can use instead."""
    names = sorted(n for n in names if n != name)
    lower = {}
    for n in names:
        lower.setdefault(n.lower(), n)
    close = [lower[n] for n in difflib.get_close_matches(name.lower(), lower, 3, 0.6)]
    if not close:  # rather something than nothing: what shares its longest word
        close = [lower[n] for n in difflib.get_close_matches(name.lower(), lower, 1, 0.0)]
    return close


def _lacks(where: str, name: str, names) -> str:
    """The sentence about `name`, which is not among the `names` of `where`."""
    near = _nearest(name, names)
    hint = f"; nearest: {', '.join(f'{where}.{n}' for n in near)}" if near else ""
    theirs = _as_theirs(where)
    asked = f" (asked for as {theirs}.{name})" if theirs != where else ""
    return f"{where} has no '{name}'{asked}{hint}"


def _no_module(fullname: str) -> ModuleNotFoundError:
    """The error for `fullname` ("rushlight.x.y"), which does not exist."""
    parent, _, name = fullname.rpartition(".")
    module = sys.modules.get(parent)
    text = _lacks(parent, name, _members(module) if module else ())
    # named as the program named it: an error about a name that importlib did not look for is
    # passed on by `from torch import name`, instead of being replaced by Python's own
    return ModuleNotFoundError(text, name=_as_theirs(fullname))


class _Teaching:
    """Gives loaded modules a `__getattr__` that names what is near, and takes it away again."""

    def __init__(self):
        self.changed: dict[str, tuple[ModuleType, object]] = {}

    def teach(self) -> None:
        """Every module of rushlight that is loaded by now."""
        for name, module in list(sys.modules.items()):
            if _inside(name, OURS) and name not in self.changed and type(module) is ModuleType:
                own = vars(module).get("__getattr__")
                self.changed[name] = module, own
                module.__getattr__ = self._asked(module, own)

    def _asked(self, module, own):
        answers = {}  # programs ask hasattr() again and again, and looking for neighbours is slow

        def __getattr__(name):
            if own is not None:
                try:
                    found = own(name)
                except AttributeError as error:
                    if isinstance(error, NotImplementedError):  # it says so itself
                        raise
                else:
                    if isinstance(found, ModuleType):  # loaded just now
                        self.teach()
                    return found
            if name.startswith("__"):  # asked for by Python itself, all the time
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            if name not in answers:
                answers[name] = _lacks(module.__name__, name, _members(module))
            raise AttributeError(answers[name])

        return __getattr__

    def undo(self) -> None:
        for module, own in self.changed.values():
            if own is None:
                del module.__getattr__
            else:
                module.__getattr__ = own
        self.changed.clear()


class _SameModule(importlib.abc.Loader):
    """Loads "torch.x" by importing "rushlight.x" and handing out that very object."""

    def __init__(self, real: str, teaching: _Teaching):
        self.real, self.teaching = real, teaching

    def create_module(self, spec):
        module = importlib.import_module(self.real)
        self.kept = module.__spec__
        return module

    def exec_module(self, module):
        # importlib has just put torch's spec on it: the module stays what it was
        module.__spec__ = self.kept
        self.teaching.teach()


class _First(importlib.abc.MetaPathFinder):
    """In front of all other finders: torch's names."""

    def __init__(self, teaching: _Teaching):
        self.teaching = teaching

    def find_spec(self, fullname, path=None, target=None):
        if not _inside(fullname, THEIRS):
            return None
        real = _renamed(fullname, THEIRS, OURS)
        found = importlib.util.find_spec(real)
        if found is not None:
            folders = found.submodule_search_locations
        else:  # a module that has another name at home: an attribute of its parent all the same
            parent, _, name = real.rpartition(".")
            module = getattr(sys.modules.get(parent), name, None)
            if not isinstance(module, ModuleType):
                raise _no_module(real)
            real, folders = module.__name__, getattr(module, "__path__", None)
        spec = importlib.machinery.ModuleSpec(fullname, _SameModule(real, self.teaching))
        spec.submodule_search_locations = folders
        return spec

    def find_distributions(self, context=None):
        """Answers importlib.metadata.version("torch"), by which libraries find out what they run on."""
        if context is not None and context.name is not None and context.name.lower() != THEIRS:
            return []
        return [_as_distribution()]


def _as_distribution():
    """`torch` as an installed distribution: its name and version, and nothing on disk."""
    version = importlib.import_module(OURS).__version__
    text = {"METADATA": f"Metadata-Version: 2.1\nName: {THEIRS}\nVersion: {version}\n"}
    methods = {"read_text": lambda self, name: text.get(name), "locate_file": lambda self, path: path}
    # only importlib.metadata asks, so it is loaded; to import it above would slow every start
    return type("Torch", (importlib.import_module("importlib.metadata").Distribution,), methods)()


class _Last(importlib.abc.MetaPathFinder):
    """Behind all others: a submodule of rushlight that none of them has found is missing."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.startswith(OURS + ".") and not self._only_asked():
            raise _no_module(fullname)
        return None

    @staticmethod
    def _only_asked():
        """Whether no import statement stands behind it: then there are other answers than this."""
        caller = sys._getframe(2)
        while caller.f_globals.get("__name__") in ("importlib._bootstrap", "_frozen_importlib"):
            caller = caller.f_back
        return caller.f_globals.get("__name__") in ("importlib", "importlib.util")


def install() -> Callable[[], None]:
    """Make `torch` mean rushlight from here on; calling what comes back undoes it."""
    before = {name: m for name, m in sys.modules.items() if _inside(name, THEIRS)}
    teaching = _Teaching()
    first, last = _First(teaching), _Last()

    def clear():
        for name in [n for n in sys.modules if _inside(n, THEIRS)]:
            del sys.modules[name]

    def undo():
        sys.meta_path.remove(first)
        sys.meta_path.remove(last)
        clear()
        sys.modules.update(before)
        teaching.undo()

    clear()
    sys.meta_path.insert(0, first)
    sys.meta_path.append(last)
    return undo


def _refers_to_us(module: ModuleType) -> bool:
    """Whether a module holds rushlight or something of it, under whatever name."""
    for value in list(vars(module).values()):
        try:
            home = value.__name__ if isinstance(value, ModuleType) else value.__module__
        except Exception:  # an object that answers questions in its own way
            continue
        if isinstance(home, str) and _ours(home):
            return True
    return False


@contextlib.contextmanager
def as_torch() -> Iterator[ModuleType]:
    """Inside the `with` block, `import torch` gives rushlight: `with rushlight.as_torch() as
    torch:`.

    Every import in the block is meant, those that imported libraries make included, and submodules
    too (`torch.nn.functional` is `rushlight.nn.functional`). Afterwards `torch` in `sys.modules` is
    again what it was, PyTorch or nothing; a module that was first imported inside and took
    something of rushlight for torch is forgotten, so that its next import finds the real one.
    Blocks may nest.
    """
    names = set(sys.modules)
    undo = install()
    try:
        yield importlib.import_module(THEIRS)
    except (AttributeError, ImportError) as error:
        explain(error)
        raise
    finally:
        undo()
        for name in set(sys.modules) - names:
            module = sys.modules[name]
            if not _inside(name, OURS) and type(module) is ModuleType and _refers_to_us(module):
                del sys.modules[name]


def explain(error: BaseException) -> None:
    """Add a note to an AttributeError or ImportError that came of something rushlight lacks.

    For those that Python raises without asking anybody: a missing attribute of a Tensor or another
    object of rushlight's, and a name that is missing from a module which is no package.
    """
    where = name = names = None
    if isinstance(error, AttributeError) and isinstance(error.name, str):
        kind = error.obj if isinstance(error.obj, type) else type(error.obj)
        if not isinstance(error.obj, ModuleType) and _ours(kind.__module__ or ""):
            names = {n for n in dir(error.obj) if not n.startswith("_")}
            where, name = f"{OURS}'s {kind.__name__}", error.name
    elif isinstance(error, ImportError) and (found := CANNOT_IMPORT.match(str(error))):
        name, where = found.groups()
        module = sys.modules.get(where)
        if module is None or not _inside(where, OURS):
            return
        names = _members(module)
    if names is None:
        return
    near = _nearest(name, names)
    error.add_note(f"{where} has no '{name}'" + (f"; nearest: {', '.join(near)}" if near else ""))
