"""The floors: a file imports its own floor and those below it, at the top of the file.

Read off the syntax trees under rushlight/, so nothing is imported and nothing has to run. What the
floors are is written in docs/architecture.md.
"""

import ast
import pathlib
import sys

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "rushlight"

# from the lowest up; a folder or a file of rushlight/
FLOORS = [
    "core",
    "ops",
    "codegen",
    "backends",
    "autograd",
    "storage",
    "tensor",
    "dispatch",
    "bind",
    "api",
    "compiler",
]

# what uses rushlight as a program does: every other folder or file of rushlight/, and of a folder
# that is a floor these files
PUBLIC_FILES = {
    "autograd": {"functional", "gradcheck", "forward_ad", "function", "profiler", "anomaly_mode", "grad_mode", "graph", "variable"},
}
PUBLIC = len(FLOORS) + 1  # above __init__

# modules below the public floor that are public names themselves (torch.autograd)
PUBLIC_NAMES = {"rushlight", "rushlight.autograd"}

# a public file that reaches below the public names on purpose, each with its reason
SEAMS = {
    # 2026-11: rows that only the engine can give (one autograd node each) and that have no public
    # name of their own; the file lists them and nothing else takes them from below
    ("rushlight.nn.functional._primitives", "rushlight.api"),
}

# third parties that may be missing: imported where they are used, and nowhere else so
OPTIONAL = {
    "scipy", "tqdm", "matplotlib", "llvmlite", "ml_dtypes", "cupy", "cuda", "nvmath", "mpi4py",
    "pyarrow", "PIL", "IPython", "pandas", "tensorboardX", "psycopg",
}  # fmt: skip
REQUIRED = {"numpy"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(), str(path)) for name, path in MODULES.items()}


def floor(name):
    """The floor's number of "rushlight.x.y"."""
    _, first, second, *_ = *name.split("."), "", ""
    if not first:
        return len(FLOORS)
    if first not in FLOORS or second in PUBLIC_FILES.get(first, ()):
        return PUBLIC
    return FLOORS.index(first)


def imports(name):
    """(imported module, line, inside a function) for each import of a file."""
    found = []

    def resolve(node):
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        base = node.module or ""
        if node.level:  # relative: from the file's package
            package = name.split(".")
            if MODULES[name].name != "__init__.py":
                package = package[:-1]
            package = package[: len(package) - node.level + 1]
            base = ".".join([*package, base] if base else package)
        # `from package import module` imports the module
        inner = [f"{base}.{alias.name}" for alias in node.names]
        return [i if i in MODULES else base for i in inner]

    def walk(node, inside):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.Import, ast.ImportFrom)):
                found.extend((target, child.lineno, inside) for target in resolve(child))
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue  # for type checkers only
            else:
                deeper = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                walk(child, inside or deeper)

    walk(TREES[name], False)
    return found


def _seam(name, target):
    return any(name == file and f"{target}.".startswith(f"{below}.") for file, below in SEAMS)


def top(target):
    return target.split(".")[0]


def place(name, line):
    return f"{MODULES[name].relative_to(ROOT)}:{line}"


def test_there_are_floors():
    assert "rushlight" in MODULES and "rushlight.core" in MODULES


def test_imports_go_down():
    wrong = []
    for name in MODULES:
        own = floor(name)
        for target, line, _ in imports(name):
            if top(target) != "rushlight":
                continue
            if own == PUBLIC:
                fine = floor(target) == PUBLIC or target in PUBLIC_NAMES or _seam(name, target)
            elif own == len(FLOORS):
                fine = True  # rushlight/__init__.py sees everything
            else:
                fine = floor(target) <= own
            if not fine:
                wrong.append(f"{place(name, line)} imports {target}")
    assert not wrong, "\n".join(["imports that go up, or past the public names:", *wrong])


def test_imports_stand_at_the_top():
    wrong = [
        f"{place(name, line)} imports {target}"
        for name in MODULES
        if name != "rushlight"  # which loads the public packages when they are first asked for
        for target, line, inside in imports(name)
        if inside and top(target) not in OPTIONAL
    ]
    assert not wrong, "\n".join(["imports inside functions:", *wrong])


def test_third_parties_are_the_ones_that_are_named():
    known = OPTIONAL | REQUIRED | {"rushlight", "__future__"} | set(sys.stdlib_module_names)
    wrong = [
        f"{place(name, line)} imports {target}"
        for name in MODULES
        for target, line, _ in imports(name)
        if top(target) not in known
    ]
    assert not wrong, "\n".join(["neither in the standard library nor listed:", *wrong])


def test_every_file_opens_with_its_purpose():
    wrong = [str(MODULES[name]) for name, tree in TREES.items() if not ast.get_docstring(tree)]
    assert not wrong, "\n".join(["no docstring:", *wrong])


def test_no_file_holds_two_ideas():
    lengths = {path: len(path.read_text().splitlines()) for path in MODULES.values()}
    wrong = [f"{path}: {n} lines" for path, n in lengths.items() if n > 800]
    assert not wrong, "\n".join(wrong)
