"""`torch` as another name of rushlight: the finder, `as_torch()` and the `rushlight` command.

Whether a real torch is installed must not matter, so one is put on the path of some tests: a file
torch.py that says so when it is imported.
"""

import os
import subprocess
import sys
import textwrap
import types

import pytest

import rushlight
from rushlight import finder


def python(*arguments, cwd, **environment):
    """Run python in a folder; output, errors and exit code."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(finder.__file__)))
    path = os.pathsep.join([folder, *environment.pop("path", [])])
    env = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def script(tmp_path):
    """Write a script and run it by `rushlight run`."""

    def run(text, *arguments, name="script.py", **environment):
        (tmp_path / name).write_text(textwrap.dedent(text))
        return python("-m", "rushlight", "run", name, *arguments, cwd=tmp_path, **environment)

    return run


def prints(done, text):
    assert done.stdout == text, done.stderr
    assert done.returncode == 0, done.stderr


# the command


def test_modules_are_the_same_objects(script):
    done = script("""
        import sys
        import torch
        import torch.nn as nn
        import torch.nn.functional as F
        from torch import optim
        from torch.utils.data import DataLoader
        import torch.utils.data.sampler
        import rushlight
        import rushlight.utils.data as data
        print(torch is rushlight, nn is rushlight.nn, F is rushlight.nn.functional)
        print(optim is rushlight.optim, DataLoader is data.DataLoader, torch.nn is nn)
        print(sys.modules["torch.utils.data"] is data, torch.__name__, torch.__spec__.name)
        print(torch.tensor([1., 2.]).sum())
    """)
    prints(done, "True True True\nTrue True True\nTrue rushlight rushlight\ntensor(3.)\n")


def test_real_torch_is_not_imported(script, tmp_path):
    (tmp_path / "torch.py").write_text("raise RuntimeError('the real torch')")
    prints(script("import torch; print(torch.__name__)"), "rushlight\n")


def test_main_is_as_under_python(script, tmp_path):
    text = """
        '''A script.'''
        import sys, os
        import beside
        main = sys.modules["__main__"]
        print(sys.argv, os.path.abspath(sys.path[0]) == os.path.dirname(os.path.abspath(__file__)))
        print(__name__, os.path.basename(__file__), __doc__, __package__, __spec__, __cached__)
        print(main.__dict__ is globals(), type(__loader__).__name__, beside.x, __annotations__)
        print(os.path.isabs(__file__), type(__builtins__).__name__)
    """
    (tmp_path / "beside.py").write_text("x = 3")
    done = script(text, "a", "--b", "-m", "c")
    plain = python("script.py", "a", "--b", "-m", "c", cwd=tmp_path)
    assert (done.stdout, done.stderr) == (plain.stdout, plain.stderr)
    assert done.returncode == plain.returncode == 0


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    1 / 0\n\nf()\n",
        "x = (1,\n",
        "raise SystemExit(3)\n",
        "import sys; sys.exit('words')\n",
        "import sys; sys.exit(None)\n",
        "import atexit; atexit.register(print, 'end'); import no_such_module\n",
        "try:\n    {}[1]\nexcept KeyError:\n    raise ValueError('second')\n",
        "import sys\nsys.excepthook = lambda k, e, t: print('own', k, e)\n1 / 0\n",
        "raise KeyboardInterrupt\n",
    ],
)
def test_errors_are_as_under_python(script, tmp_path, text):
    done = script(text)
    plain = python("script.py", cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (
        plain.stdout,
        plain.stderr,
        plain.returncode,
    )


def test_module(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "job.py").write_text(
        "import sys, torch\nfrom . import other\n"
        "print(__name__, sys.argv[1:], torch.__name__, __package__, __spec__.name)\n"
        "if sys.argv[1:] == ['fail']: 1 / 0\n"
    )
    (package / "other.py").write_text("")
    run = ["-m", "rushlight", "run", "-m", "package.job"]
    prints(
        python(*run, "x", "-m", cwd=tmp_path),
        "__main__ ['x', '-m'] rushlight package package.job\n",
    )
    failed = python(*run, "fail", cwd=tmp_path)
    assert failed.returncode == 1
    assert "cli.py" not in failed.stderr and "runpy" not in failed.stderr
    missing = python("-m", "rushlight", "run", "-m", "no_such", cwd=tmp_path)
    assert missing.returncode == 1 and "No module named no_such" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_folder_and_command(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text(
        "import torch, sys; print(torch.__name__, sys.argv)"
    )
    prints(python("-m", "rushlight", "run", "app", "1", cwd=tmp_path), "rushlight ['app', '1']\n")
    line = "import torch, sys; print(torch.__name__, sys.argv, __name__)"
    prints(
        python("-m", "rushlight", "run", "-c", line, "2", cwd=tmp_path),
        "rushlight ['-c', '2'] __main__\n",
    )


def test_usage(tmp_path):
    missing = python("-m", "rushlight", "run", "none.py", cwd=tmp_path)
    assert missing.returncode == 2 and "can't open file" in missing.stderr
    assert python("-m", "rushlight", "run", cwd=tmp_path).returncode == 2
    assert python("-m", "rushlight", "run", "-m", cwd=tmp_path).returncode == 2
    assert python("-m", "rushlight", "run", "--what", cwd=tmp_path).returncode == 2
    assert "script.py" in python("-m", "rushlight", "run", "-h", cwd=tmp_path).stdout
    assert "run" in python("-m", "rushlight", cwd=tmp_path).stdout


def test_what_is_missing_is_named(script):
    done = script("""
        def show(text):
            try:
                exec(text)
            except (AttributeError, ImportError) as error:
                print(type(error).__name__, "|", error)
        show("import torch; torch.sigmoidd")
        show("import torch; torch.nn.Linaer")
        show("from torch import sigmoidd")
        show("from torch.nn import Linaer")
        show("import torch.nnn")
        show("import torch.nn.functionall as F")
        show("from torch.utils.dataa import DataLoader")
        import torch
        print(hasattr(torch, "sigmoidd"), getattr(torch.nn, "Linaer", None))
    """)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    expected = [
        ("AttributeError", "rushlight", "sigmoidd", "rushlight.sigmoid"),
        ("AttributeError", "rushlight.nn", "Linaer", "rushlight.nn.Linear"),
        ("ModuleNotFoundError", "rushlight", "sigmoidd", "rushlight.sigmoid"),
        ("ModuleNotFoundError", "rushlight.nn", "Linaer", "rushlight.nn.Linear"),
        ("ModuleNotFoundError", "rushlight", "nnn", "rushlight.nn"),
        ("ModuleNotFoundError", "rushlight.nn", "functionall", "rushlight.nn.functional"),
        ("ModuleNotFoundError", "rushlight.utils", "dataa", "rushlight.utils.data"),
    ]
    for line, (kind, where, name, near) in zip(lines, expected):
        assert line.startswith(f"{kind} | {where} has no '{name}'"), line
        assert near in line.split("nearest:")[1].replace(",", " ").split(), line
    assert lines[-1] == "False None"


def test_what_python_raises_by_itself_gets_a_note(script):
    done = script("import torch\ntorch.ones(1).sigmoidd()\n")
    assert done.returncode == 1
    assert "rushlight's Tensor has no 'sigmoidd'" in done.stderr and "sigmoid" in done.stderr
    done = script("from torch.nn.functional import sigmoidd\n")
    assert done.returncode == 1
    assert "rushlight.nn.functional has no 'sigmoidd'" in done.stderr


# as_torch()


def snapshot():
    return (
        {n: m for n, m in sys.modules.items() if not n.startswith("rushlight.")},
        list(sys.meta_path),
        {
            n: vars(m).get("__getattr__")
            for n, m in sys.modules.items()
            if n.startswith("rushlight")
        },
        rushlight.__spec__,
    )


def test_as_torch_restores():
    before = snapshot()
    with finder.as_torch() as torch:
        import torch as same
        import torch.utils.data as data

        assert same is torch is rushlight
        assert data is rushlight.utils.data
        assert data.sampler is sys.modules["torch.utils.data"].sampler
        with finder.as_torch() as again:
            assert again is rushlight
        assert sys.modules["torch"] is rushlight
    modules, path, hooks, spec = snapshot()
    assert modules == before[0] and path == before[1] and spec is before[3]
    assert all(hook is before[2].get(name, hook) for name, hook in hooks.items())
    assert "nearest" not in str(
        pytest.raises(AttributeError, getattr, rushlight.utils, "dta").value
    )


def test_as_torch_restores_after_an_error():
    before = snapshot()
    with pytest.raises(ZeroDivisionError), finder.as_torch():
        import torch.nn  # noqa: F401

        1 / 0  # noqa: B018
    assert snapshot()[:2] == before[:2]


def test_as_torch_beside_a_real_torch(monkeypatch):
    real, inner = types.ModuleType("torch"), types.ModuleType("torch.nn")
    for name in [n for n in sys.modules if n == "torch" or n.startswith("torch.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", real)
    monkeypatch.setitem(sys.modules, "torch.nn", inner)
    with finder.as_torch():
        import torch.nn

        assert torch is rushlight and torch.nn is rushlight.nn
    import torch

    assert torch is real and sys.modules["torch.nn"] is inner


def test_as_torch_forgets_what_took_it_for_torch(tmp_path, monkeypatch):
    (tmp_path / "borrower.py").write_text("from torch.utils.data import Dataset\n")
    (tmp_path / "holder.py").write_text("from torch import ones\nx = ones(2)\ndel ones\n")
    (tmp_path / "bystander.py").write_text("import json\n")
    monkeypatch.syspath_prepend(tmp_path)
    with finder.as_torch():
        import borrower
        import bystander
        import holder  # noqa: F401

        assert borrower.Dataset is rushlight.utils.data.Dataset
    assert "borrower" not in sys.modules and "holder" not in sys.modules
    assert sys.modules.pop("bystander") is bystander


def test_find_spec_answers_without_an_error():
    import importlib.util

    with finder.as_torch():
        assert importlib.util.find_spec("torch").name in ("torch", "rushlight")
        assert importlib.util.find_spec("rushlight.nothing") is None
    with finder.as_torch(), pytest.raises(ModuleNotFoundError, match="rushlight has no 'nothing'"):
        import torch.nothing  # noqa: F401
