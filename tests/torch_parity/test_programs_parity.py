"""Every line that the scripts of tests/programs print under rushlight is the line that they print under PyTorch.

In float64 (the scripts' default dtype is set from outside) all lines of all 50 steps are equal to the character: the
random draws, the initial weights, the batches, the gradients and the optimizers are the same.
As written, in float32, the two libraries add in different orders, and training amplifies the last bit; there the first
steps are compared: the same text, and numbers that agree to one unit in the fourth digit.
"""

import pathlib
import re
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

PROGRAMS = sorted((pathlib.Path(__file__).parent.parent / "programs").glob("*.py"))
NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]\d+)?|-?\d+e[+-]\d+")
IN_FLOAT64 = (
    "import runpy, sys, torch; torch.set_default_dtype(torch.float64); "
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


def outputs(arguments, where):
    """What the program prints under rushlight and under torch, run side by side."""
    python = sys.executable
    commands = ([python, "-m", "rushlight", "run", *arguments], [python, *arguments])
    running = [
        subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=where)
        for c in commands
    ]
    texts = [process.communicate(timeout=300) for process in running]
    for process, (_, errors) in zip(running, texts):
        assert process.returncode == 0, errors
    return [text.splitlines() for text, _ in texts]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.stem)
def test_all_lines_are_equal_in_float64(program, tmp_path):
    ours, theirs = outputs(["-c", IN_FLOAT64, str(program)], tmp_path)
    assert ours == theirs


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.stem)
def test_the_first_steps_agree_in_float32(program, tmp_path):
    ours, theirs = outputs([str(program), "--steps", "10"], tmp_path)
    assert [NUMBER.sub("#", line) for line in ours] == [NUMBER.sub("#", line) for line in theirs]
    for a, b in zip(ours, theirs):
        expected = pytest.approx([float(n) for n in NUMBER.findall(b)], rel=1e-3, abs=1e-4)
        assert [float(n) for n in NUMBER.findall(a)] == expected, (a, b)
