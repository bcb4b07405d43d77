"""Ordinary training scripts (tests/programs) run unmodified under `python -m rushlight run`, and their loss falls.

Each script is written as users write them for PyTorch; nothing in it knows of rushlight. The equality of every printed
line with PyTorch's is tested in torch_parity/test_programs_parity.py.
"""

import pathlib
import re
import subprocess
import sys

import pytest

PROGRAMS = sorted((pathlib.Path(__file__).parent / "programs").glob("*.py"))
LOSS = re.compile(r"^[^=].*?loss(?:_D)?:?\s+([\d.e+-]+)", re.IGNORECASE)
STEPS = 16


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.stem)
def test_the_loss_falls(program, tmp_path):
    command = [sys.executable, "-m", "rushlight", "run", str(program), "--steps", str(STEPS)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    losses = [float(m[1]) for line in done.stdout.splitlines() if (m := LOSS.match(line))][:STEPS]
    assert len(losses) == STEPS, done.stdout
    assert sum(losses[-3:]) < sum(losses[:3]), losses


def test_the_scripts_know_nothing_of_rushlight():
    assert len(PROGRAMS) == 10
    for program in PROGRAMS:
        assert "rushlight" not in program.read_text(), program.name
