"""Every line that the scripts of tests/programs print under rushlight is the line that they print under PyTorch.

So it is with those of tests/public_programs, which are in the manner of widely used repositories (MobileNet, BERT,
DCGAN, the word language model, Q-learning, graph networks) and stop before their training turns chaotic.

In float64 (the scripts' default dtype is set from outside) all lines of all 50 steps are equal to the character: the
random draws, the initial weights, the batches, the gradients and the optimizers are the same.
As written, in float32, the two libraries add in different orders, and training amplifies the last bit: the same text
over all steps, and numbers that agree to 5 digits, or to one unit in the last digit that is printed. PyTorch runs in
one thread there, because with two its own losses vary from run to run by up to 2 units in the third digit (ResNet).
"""

import os
import pathlib
import re
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

HERE = pathlib.Path(__file__).parent.parent
PROGRAMS = [p for folder in ("programs", "public_programs") for p in sorted((HERE / folder).glob("*.py"))]
NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]\d+)?|-?\d+e[+-]\d+")
IN_FLOAT64 = (
    "import runpy, sys, torch; torch.set_default_dtype(torch.float64); "
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def outputs(arguments, where):
    """What the program prints under rushlight and under torch, run side by side."""
    python = sys.executable
    commands = ([python, "-m", "rushlight", "run", *arguments], [python, *arguments])
    running = [
        subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=where, env=ONE_THREAD)
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
def test_all_numbers_agree_to_5_digits_in_float32(program, tmp_path):
    ours, theirs = outputs([str(program)], tmp_path)
    assert [NUMBER.sub("#", line) for line in ours] == [NUMBER.sub("#", line) for line in theirs]
    for a, b in zip(ours, theirs):
        for x, y in zip(NUMBER.findall(a), NUMBER.findall(b)):
            assert abs(float(x) - float(y)) <= max(5e-5 * abs(float(y)), 1.01 * unit(y)), (a, b)


def unit(number):
    """One unit in the last digit of a printed number."""
    mantissa, _, exponent = number.partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
