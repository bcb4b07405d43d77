"""`torch.__version__` answers the questions that programs ask it: which interface is spoken here."""

import copy
import pathlib
import pickle
import subprocess
import sys
import tomllib

import pytest

import rushlight as torch
from rushlight.torch_version import TorchVersion


def test_it_is_the_interfaces_version():
    assert isinstance(torch.__version__, str) and type(torch.__version__) is TorchVersion
    assert torch.__version__.startswith("2.13.0+")
    assert torch.__version__ == torch.version.__version__ and type(torch.version.__version__) is str
    assert [int(n) for n in torch.__version__.split("+")[0].split(".")] == [2, 13, 0]
    project = tomllib.loads((pathlib.Path(__file__).parent.parent / "pyproject.toml").read_text())
    assert torch.version.rushlight == project["project"]["version"]
    assert repr(TorchVersion) == "<class 'torch.torch_version.TorchVersion'>"


@pytest.mark.parametrize("older", ["1.9", "2.0", "2.9.1", "2.13.0.dev1", "2.13.0rc2", "2.13", "2.13.0+a", (2, 0), (2, 13, 0), [1, 14], ("2", "4"), "2.12.9.post3"])
def test_order(older):
    v = torch.__version__
    assert v > older and v >= older and not v < older and not v <= older and v != older
    assert older < v and not older > v


@pytest.mark.parametrize("newer", ["2.14", "10.0", "2.13.1", (3,), "2.13.0.post1", "1!0"])
def test_order_of_newer_ones(newer):
    assert torch.__version__ < newer and newer >= torch.__version__


def test_what_is_no_version():
    v = torch.__version__
    assert v != "main" and not v == "main" and v < "main"  # as text
    assert v != 2 and v is not None and v != None  # noqa: E711
    for bad in (2.0, None, (2, "x y")):
        with pytest.raises(TypeError):
            bool(v >= bad)


def test_order_of_pep_440():
    ordered = ["1.0.dev1", "1.0a1.dev2", "1.0a1", "1.0b2", "1.0rc1", "1.0", "1.0+abc", "1.0+abc.5", "1.0+7", "1.0.post1.dev1", "1.0.post1", "1.1", "1.10", "2!0.1"]
    versions = [TorchVersion(v) for v in ordered]
    assert sorted(versions[::-1]) == ordered
    assert TorchVersion("1.0") == "1.0.0" and TorchVersion("v1.0-RC.1") == "1.0rc1" and TorchVersion("1.0-2") == "1.0.post2"


def test_it_stays_a_str():
    v = torch.__version__
    assert pickle.loads(pickle.dumps(v)) == v and type(copy.deepcopy(v)) is TorchVersion
    assert hash(v) == hash(str(v)) and {v: 1}[str(v)] == 1 and type(v + "") is str


def test_installed_libraries_find_it_too():
    text = "import importlib.metadata as m; print(m.version('torch'), m.version('numpy').split('.')[0] >= '2')"
    done = subprocess.run([sys.executable, "-m", "rushlight", "run", "-c", text], capture_output=True, text=True)
    assert done.stdout.split() == [torch.__version__, "True"], done.stderr
    done = subprocess.run([sys.executable, "-m", "rushlight", "--version"], capture_output=True, text=True)
    assert torch.version.rushlight in done.stdout and torch.__version__ in done.stdout
