"""Sorting, reductions, copies, gathers and scans of large tensors give the same with llvmlite and where it cannot be imported."""

import json
import subprocess
import sys

CODE = """
import json, sys
if sys.argv[1] == "without":
    sys.modules["llvmlite"] = sys.modules["llvmlite.binding"] = None
import rushlight as torch
F = torch.nn.functional
torch.manual_seed(0)
x = torch.randn(300, 200)
i = torch.randint(0, 200, (300, 200))
rows = torch.randint(0, 300, (500,))
w = torch.ones(200)
weights = torch.arange(60000.).view(300, 200).remainder(7)
found = {}
def note(name, *tensors):
    found[name] = [float((t.double().flatten() * torch.arange(1, t.numel() + 1).remainder(13)).sum()) for t in tensors]
note("sort", *x.sort(), *x.sort(0, descending=True), *i.flatten().sort(stable=True))
note("topk", *x.topk(7), *x.kthvalue(30, 0), *x.median(1))
note("unique", *torch.unique(i, return_inverse=True, return_counts=True))
note("sums", x.sum(), x.mean(0), x.norm(dim=1), x.var(0), x.std(1), x.logsumexp(0), x.count_nonzero(1), x.amax(0), *x.max(0), x.argmin(0), x.prod(1))
note("copies", x.t().contiguous(), x.view(30, 10, 200).permute(2, 0, 1).contiguous(), x.flip(0, 1), x.repeat(2, 3), x.tril(-3), x.triu(5), torch.cat([x, x], 1), torch.stack([x, x], 1))
note("places", x.gather(1, i), x.scatter_add(1, i, x), x.scatter(1, i * 0 + torch.arange(200), x), x.index_select(0, rows), x[rows], x.index_add(0, rows, x[rows]), F.embedding(rows, x))
note("scans", x.cumsum(0), x.cumprod(1), *x.cummax(0), *x.cummin(1), x.logcumsumexp(1), i.cumsum(1))
for f in (lambda x: F.rms_norm(x, (200,), w), lambda x: F.layer_norm(x, (200,)), lambda x: x.softmax(0), lambda x: x.gather(1, i), lambda x: x[rows], lambda x: x.sort(1)[0], lambda x: x.cumsum(0)):
    y = x.clone().requires_grad_()
    out = f(y)
    (out * torch.randn(out.shape)).sum().backward()
    found[f"gradient {len(found)}"] = [float((y.grad.double() * weights).sum())]
from rushlight.codegen import native
found["compiled"] = [native.available()]
print(json.dumps(found))
"""


def results(how):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CODE, how], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_same_results():
    found, plain = results("with"), results("without")
    assert plain.pop("compiled") == [False]
    found.pop("compiled")
    assert found.keys() == plain.keys()
    for name, values in found.items():
        for a, b in zip(values, plain[name]):
            assert abs(a - b) <= 1e-4 * max(10.0, abs(b)), (name, a, b)
