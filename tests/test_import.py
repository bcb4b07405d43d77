"""What `import rushlight` does not do: drag in what a program may never need."""

import subprocess
import sys

import pytest

# what only part of the programs use, and is slow to import or has side effects
LATER = [
    "llvmlite",
    "scipy",
    "matplotlib",
    "tqdm",
    "torch",
    "cupy",
    "cuda",
    "mpi4py",
    "pyarrow",
    "PIL",
    "multiprocessing",
    "concurrent.futures",
    "subprocess",
    "asyncio",
    "unittest",
]


@pytest.fixture(scope="module")
def loaded():
    text = "import sys, rushlight; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def numpys():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, numpy; print(*sys.modules)"],
        capture_output=True,
        text=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("name", LATER)
def test_import_leaves_it_out(name, loaded, numpys):
    if name in numpys:
        pytest.skip("numpy imports it")
    assert name not in loaded


def test_optional_parts_load_when_they_are_asked_for():
    text = (
        "import sys, rushlight\n"
        "rushlight.nn.Linear, rushlight.optim.SGD, rushlight.utils.data.DataLoader\n"
        "rushlight.nn.functional.relu\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_import_is_silent():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import rushlight"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
