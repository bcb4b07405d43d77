"""The stub that editors read is the one that tools/stubs.py writes, and says what there is."""

import ast
import pathlib
import subprocess
import sys

import rushlight as torch

ROOT = pathlib.Path(__file__).parent.parent
STUB = ROOT / "rushlight" / "__init__.pyi"


def test_the_stub_is_current():
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "stubs.py"), "--check"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_it_parses_and_names_what_programs_use():
    tree = ast.parse(STUB.read_text())
    top = {getattr(n, "name", None) or getattr(getattr(n, "target", None), "id", None) for n in tree.body}
    assert {"Tensor", "add", "zeros", "float32", "cat", "device", "Size", "no_grad"} <= top
    (tensor,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Tensor")
    methods = {n.name for n in tensor.body if isinstance(n, ast.FunctionDef)}
    assert {"add_", "backward", "view", "shape", "__add__", "item"} <= methods
    assert {m for m in methods if not hasattr(torch.Tensor, m)} == {"__init__"} - {"__init__" if hasattr(torch.Tensor, "__init__") else ""}
