"""The `rushlight` command.

    rushlight run script.py args...     an unmodified PyTorch script, on rushlight
    rushlight run -m package.module     the same for a module, as `python -m`
    rushlight run -c "text"             the same for a line of Python

`python -m rushlight` is the same command. The program runs in this process and finds everything as
under `python script.py`: `__main__`, `sys.argv`, `sys.path[0]`, exit code, and tracebacks that
begin at its own first line. The one difference is that `torch` and its submodules are rushlight
(finder.py).
"""

import argparse
import importlib
import importlib.machinery
import io
import os
import runpy
import sys
import traceback
import types

from rushlight import _version, finder

OURS = {__file__, runpy.__file__, finder.__file__, runpy.run_module.__code__.co_filename}


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code comes back (SystemExit of the program passes through)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["run"] and argv[1:] and argv[1] not in ("-h", "--help"):
        return run(argv[1:])
    parser().parse_args(argv or ["--help"])
    return 2  # "run" without anything to run


def parser() -> argparse.ArgumentParser:
    """The help. `run` reads its own arguments: everything after the script is the script's."""
    top = argparse.ArgumentParser(
        prog="rushlight", description="PyTorch's API on an engine of its own."
    )
    top.add_argument("--version", action="version", version=f"rushlight {_version.RUSHLIGHT} (PyTorch's interface {_version.INTERFACE})")
    commands = top.add_subparsers(metavar="command", required=True)
    one = commands.add_parser(
        "run",
        help="run an unmodified PyTorch program, with `torch` meaning rushlight",
        usage="rushlight run [-m module | -c command | script.py] [arguments ...]",
        description="Run a PyTorch program as `python` would, with `torch` and every `torch.x.y` "
        "import resolving to rushlight in this process only.",
    )
    one.add_argument("-m", metavar="module", help="run a library module as a script")
    one.add_argument("-c", metavar="command", help="run a line of Python")
    one.add_argument("script", help="a file, or a folder or zip file with a __main__.py")
    one.add_argument("arguments", nargs=argparse.REMAINDER, help="the program's own")
    return top


def run(argv: list[str]) -> int:
    """`rushlight run`: install the finder, become the program, report what it raises."""
    option, rest = argv[0], argv[1:]
    if option in ("-m", "-c"):
        if not rest:
            print(f"rushlight run: argument expected for the {option} option", file=sys.stderr)
            return 2
        target, rest = rest[0], rest[1:]
    elif option.startswith("-"):
        print(f"rushlight run: unknown option {option} (see rushlight run -h)", file=sys.stderr)
        return 2
    else:
        option, target = "", option
        if not os.path.exists(target):
            print(
                f"rushlight run: can't open file {os.path.abspath(target)!r}: "
                "[Errno 2] No such file or directory",
                file=sys.stderr,
            )
            return 2

    finder.install()  # for the rest of the process
    try:
        {"-m": _module, "-c": _command, "": _file}[option](target, rest)
    except SystemExit:
        raise
    except KeyboardInterrupt as error:
        _report(error)
        sys.excepthook = lambda *_: None  # it has been shown
        raise  # Python ends the process by the signal
    except BaseException as error:
        _report(error)
        return 1
    return 0


def _search_first(folder: str) -> None:
    """Put the program's folder where Python puts it, in place of this command's own."""
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0:1] = [folder]


def _new_main(**names) -> types.ModuleType:
    """A fresh `__main__`, which stays until the process ends (threads and pickles look for it)."""
    main = types.ModuleType("__main__")
    vars(main).update(names, __builtins__=sys.modules["builtins"], __annotations__={})
    sys.modules["__main__"] = main
    return main


def _file(path: str, arguments: list[str]) -> None:
    sys.argv[:] = [path, *arguments]
    if importlib.machinery.PathFinder.find_spec("__main__", [path]) is not None:
        sys.path[0:1] = []  # a folder or zip file with a __main__.py, which runpy puts there
        runpy.run_path(path, run_name="__main__")
        return
    _search_first(os.path.dirname(os.path.realpath(path)))
    path = os.path.abspath(path)
    with io.open_code(path) as file:
        source = file.read()
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    main = _new_main(__file__=path, __loader__=loader, __cached__=None)
    exec(compile(source, path, "exec", dont_inherit=True), vars(main))


def _module(name: str, arguments: list[str]) -> None:
    sys.argv[:] = ["-m", *arguments]
    _search_first(os.getcwd())
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except ImportError as error:
        if error.__traceback__ is not None and _program_frames(error.__traceback__) is None:
            # nothing of the program has run: it is the module itself that is not there
            sys.exit(f"rushlight run: {error}")
        raise


def _command(text: str, arguments: list[str]) -> None:
    sys.argv[:] = ["-c", *arguments]
    _search_first("")
    exec(compile(text + "\n", "<string>", "exec", dont_inherit=True), vars(_new_main()))


def _program_frames(frames):
    """The traceback from the program's first frame on, and without the finder's at its end."""
    while frames is not None and frames.tb_frame.f_code.co_filename in OURS:
        frames = frames.tb_next
    last = frames
    while last is not None and last.tb_next is not None:
        if last.tb_next.tb_frame.f_code.co_filename == finder.__file__:
            last.tb_next = None
        last = last.tb_next
    return frames


def _report(error: BaseException) -> None:
    """Show an uncaught exception as `python` shows it."""
    finder.explain(error)
    error.__traceback__ = _program_frames(error.__traceback__)
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except Exception:  # the program's own hook failed
        traceback.print_exception(error)
