"""Pictures of computation graphs: what the walk finds, where the layout puts it, what is written.

Small fake tensors and `grad_fn` nodes stand in for real ones (it reads public attributes only), but for the last test.
"""

import re
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

import rushlight
from rushlight import viz
from rushlight.viz.layout import GAP_X, layers_of, layout, spread
from rushlight.viz.picture import with_copies


class Tensor:
    def __init__(self, shape=(2, 3), grad_fn=None, requires_grad=True, dtype="torch.float32"):
        self.shape, self.grad_fn, self.dtype = shape, grad_fn, dtype
        self.requires_grad = requires_grad


class Parameter(Tensor):
    pass


class AccumulateGrad:
    def __init__(self, variable):
        self.variable, self.next_functions = variable, ()


def op(name, *inputs, shape=(2, 3), results=1):
    """The tensor that op `name` makes of tensors, (tensor, slot) pairs and None for constants."""
    node = type(name, (), {})()
    edges = []
    for x in inputs:
        x, slot = x if isinstance(x, tuple) else (x, 0)
        if x is None:
            edges.append((None, 0))
        elif x.grad_fn is None:
            if not hasattr(x, "accumulator"):
                x.accumulator = AccumulateGrad(x)
            edges.append((x.accumulator, 0))
        else:
            edges.append((x.grad_fn, slot))
    node.next_functions = tuple(edges)
    node._input_metadata = [SimpleNamespace(shape=shape, dtype="torch.float32")] * results
    return Tensor(shape, node)


def edges_of(picture):
    nodes = picture.history.nodes
    return {(nodes[e.source].title, nodes[e.target].title, e.label) for e in picture.history.edges}


def affine():
    x, w, b = Tensor((2, 4)), Parameter((4, 3)), Parameter((3,))
    h = op("AddmmBackward0", b, x, w)
    return x, w, b, h, op("LogSoftmaxBackward0", h)


def test_names_and_edges():
    x, w, b, h, z = affine()
    picture = viz.graph(z, params={"weight": w, "bias": b}, x=x, h=h)
    assert edges_of(picture) == {
        ("x", "h = addmm", ""),
        ("weight", "h = addmm", ""),
        ("bias", "h = addmm", ""),
        ("h = addmm", "log_softmax", ""),
        ("log_softmax", "output", ""),
    }
    specs = {node.title: node.spec for node in picture.history.nodes}
    assert specs["weight"] == "(4, 3) float32" and specs["h = addmm"] == "(2, 3) float32"
    assert repr(picture) == "<graph of output: 2 ops, 3 leaves>"


def test_parameters_by_pairs_and_by_module():
    _, w, b, _, z = affine()
    pairs = [("weight", w), ("bias", b)]
    module = SimpleNamespace(named_parameters=lambda: iter(pairs))
    assert viz.graph(z, pairs).dot == viz.graph(z, module).dot == viz.graph(z, dict(pairs)).dot
    assert {"parameter", "leaf"} <= {node.title for node in viz.graph(z).history.nodes}


def test_names_of_the_result_and_names_that_are_not_in_it():
    x = Tensor()
    z = op("ExpBackward0", x)
    picture = viz.graph(z, {"other": Tensor()}, z=z)
    assert edges_of(picture) == {("leaf", "exp", ""), ("exp", "z", "")}
    assert picture.unreached == ["other"]
    assert repr(picture) == "<graph of z: 1 ops, 1 leaves, does not depend on other>"


def test_repeated_arguments_slots_and_constants():
    x = Tensor()
    parts = op("SplitBackward0", x, results=2)
    z = op("AddBackward0", op("MulBackward0", x, x), op("SinBackward0", (parts, 1)), None)
    assert ("leaf", "mul", "×2") in edges_of(viz.graph(z))
    assert ("split", "sin", "[1]") in edges_of(viz.graph(z))
    assert len(edges_of(viz.graph(z, constants=True)) - edges_of(viz.graph(z))) == 1


def test_several_outputs_and_leaves_as_outputs():
    x = Tensor()
    y, z = op("ExpBackward0", x), op("SinBackward0", x)
    assert edges_of(viz.graph([y, x], x=x)) == {
        ("x", "exp", ""),
        ("exp", "output 0", ""),
        ("x", "x", ""),
    }
    assert ("sin", "loss", "") in edges_of(viz.graph({"loss": z, "aux": y}))


def test_what_has_no_history_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 3\), has no history.*requires_grad_\(\)"):
        viz.graph(Tensor(requires_grad=False))
    with pytest.raises(TypeError, match="tensor, but output is a int"):
        viz.graph(3)
    with pytest.raises(ValueError, match="no tensor to draw"):
        viz.graph([])


def test_depth_is_not_limited():
    x = Tensor()
    z = x
    for _ in range(3000):
        z = op("SinBackward0", z)
    assert viz.graph(z).history.nodes[-1].title == "leaf"
    assert viz.graph(z).dot.count("->") == 2 * 3001


def test_dot():
    x, w, b, _, z = affine()
    dot = viz.graph(z, params={'we"ight': w}).dot
    assert dot.startswith("digraph {") and dot.endswith("}\n")
    assert 'label="we\\"ight\\n(4, 3) float32\\n.grad"' in dot
    assert dot.count("style=dashed") == 5 and dot.count("->") == 10
    assert viz.graph(z, gradients=False).dot.count("->") == 5


def test_svg():
    x, w, b, _, z = affine()
    picture = viz.graph(z, params={"a<b&c": w}, x=x)
    svg = "{http://www.w3.org/2000/svg}"
    root = ElementTree.fromstring(picture.svg)
    texts = [t.text for t in root.iter(svg + "text")]
    assert {"a<b&c", "x", "addmm", "AddmmBackward0", "(2, 3) float32", "gradients"} <= set(texts)
    lines = [p for p in root.iter(svg + "path") if p.get("marker-end")]
    dashed = [p for p in lines if p.get("stroke-dasharray")]
    assert len(lines) == 10 and len(dashed) == 5
    width, height = float(root.get("width")), float(root.get("height"))
    for box in list(root.iter(svg + "rect"))[1:]:
        assert 0 <= float(box.get("x")) <= width - float(box.get("width"))
        assert 0 <= float(box.get("y")) <= height - float(box.get("height"))
    assert picture._repr_svg_() is picture.svg
    plain = viz.graph(z, gradients=False).svg
    assert "AddmmBackward0</text>" not in plain and "gradients" not in plain


def test_save(tmp_path):
    picture = viz.graph(affine()[-1])
    for name, text in [("a.svg", picture.svg), ("a.dot", picture.dot), ("a.gv", picture.dot)]:
        picture.save(tmp_path / name)
        assert (tmp_path / name).read_text(encoding="utf-8") == text
    with pytest.raises(ValueError, match=r"\.svg, \.dot and \.gv files, but got 'a\.png'"):
        picture.save("a.png")


def test_a_leaf_used_far_and_wide_is_drawn_again():
    w, h = Tensor(), Tensor()
    for _ in range(9):
        h = op("TanhBackward0", op("MmBackward0", h, w))
    history = viz.graph(h, w=w).history
    nodes, edges = with_copies(history.nodes, history.edges)
    assert len(edges) == len(history.edges) and nodes[: len(history.nodes)] == history.nodes
    layer = layers_of(len(nodes), [(e.source, e.target) for e in edges])
    assert [n.title for n in nodes].count("w") == 5
    assert max(layer[e.target] - layer[e.source] for e in edges) <= 4


def test_layers():
    # 0 -> 1 -> 2 -> 3, 0 -> 3, 4 -> 2: a source stands just above its topmost consumer
    assert layers_of(5, [(0, 1), (1, 2), (2, 3), (0, 3), (4, 2)]) == [0, 1, 2, 3, 1]


def test_boxes_of_a_layer_do_not_touch_and_a_tree_has_no_crossing():
    edges = [(i, i // 2) for i in range(1, 31) if i > 1]
    sizes = [(60 + i, 30) for i in range(31)]
    plan = layout([*sizes], edges)
    rows = {}
    for i in range(1, 31):
        rows.setdefault(plan.centers[i][1], []).append(i)
    for row in rows.values():
        row.sort(key=lambda i: plan.centers[i][0])
        for left, right in zip(row, row[1:]):
            apart = plan.centers[right][0] - plan.centers[left][0]
            assert apart >= (sizes[left][0] + sizes[right][0]) / 2 + GAP_X - 1e-6
        parents = [i // 2 for i in row]
        places = [plan.centers[p][0] for p in parents]
        assert places == sorted(places)


def test_spread_is_the_constrained_least_squares():
    assert spread([5.0, 200.0], [1, 1], [10, 10]) == [5.0, 200.0]
    apart = 10 + GAP_X
    assert spread([0.0, 0.0], [1, 1], [10, 10]) == [-apart / 2, apart / 2]
    assert spread([0.0, 0.0], [1, 3], [10, 10]) == [-apart * 3 / 4, apart / 4]


def test_every_op_of_a_real_graph_says_shape_and_dtype():
    model = rushlight.nn.Sequential(rushlight.nn.Linear(4, 8), rushlight.nn.ReLU(), rushlight.nn.Linear(8, 3))
    h = model(rushlight.randn(5, 4))
    first, rest = h.split([1, 2], 1)
    y = rushlight.zeros(5)
    y[1:3] = first[1:3, 0] * 2
    w = model[0].weight
    z = rest.double().tanh().mean() + y.sum() + (w @ w.t()).exp().sum() + h.max(1)[0].sum(0) + rushlight.linalg.norm(w)
    boxes = [b for b in re.findall(r'label="([^"]*)"', rushlight.viz.graph(z, model).dot) if "Backward" in b or "CopySlices" in b]
    assert len(boxes) > 15
    for box in boxes:
        assert re.search(r"\\n\([\d, ]*\) float(32|64)", box), box
    assert any("(8, 8) float32" in b and "MmBackward0" in b for b in boxes)
    assert any("(5, 2) float64" in b and "TanhBackward0" in b for b in boxes)
    assert any("(5,) float32" in b and "CopySlices" in b for b in boxes)
