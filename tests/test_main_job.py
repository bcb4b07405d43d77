"""The main job: examples/logistic_regression.py, by `rushlight run` and, where installed, under
torch.

Its printed numbers have to agree to the last printed digit. The quick settings run the same text on
less data.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
SCRIPT = ROOT / "examples" / "logistic_regression.py"
QUICK = ["--quick", "--seed", "1"]


def run(*command, cwd):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "MPLCONFIGDIR": str(cwd)}
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    return folder, run("-m", "rushlight", "run", SCRIPT, *QUICK, "--plot", "out.png", cwd=folder)


def numbers(text, start):
    """The numbers of the first line that begins with `start`."""
    line = next(x for x in text.splitlines() if x.strip().startswith(start))
    return [float(w) for w in line.strip()[len(start) :].split()]


def test_it_finds_the_known_coefficients(ours):
    _, done = ours
    for name in ("intercept", "x1", "x2", "x3", "x4"):
        true, fitted, best, error = numbers(done.stdout, name)
        assert abs(best - true) < 4 * error
        assert abs(fitted - best) < 2 * error
    for judged in ("fitted, test", "maximum likelihood, test"):
        accuracy, loss, auc = numbers(done.stdout, judged)
        assert accuracy > 0.9 and loss < 0.3 and auc > 0.95


def test_it_draws_a_picture(ours):
    pytest.importorskip("matplotlib")
    folder, done = ours
    picture = (folder / "out.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 50_000
    assert "Picture: out.png" in done.stdout


def test_it_shows_progress(ours):
    pytest.importorskip("tqdm")
    assert "simulated" in ours[1].stderr and "real" in ours[1].stderr


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_it_prints_what_it_prints_under_torch(ours, tmp_path):
    theirs = run(SCRIPT, *QUICK, "--plot", "out.png", cwd=tmp_path)
    assert ours[1].stdout == theirs.stdout
