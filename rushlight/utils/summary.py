"""What a model is made of: its layers with output shapes, parameters, multiply-adds and memory.

Mechanism: the model runs once, without gradients and in evaluation mode, with hooks around every
module; the engine counts the multiply-adds of the ops that run meanwhile, so functions called
between layers count too. Calls of one module from one place are one row. Without an input only the
parameters are listed.

Invariants: training flags, buffers and the random stream are afterwards what they were (lazy modules
get their parameters, as from any first call). A row's numbers include those of the rows inside it.
A parameter that is used in several places counts once in what encloses them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

import rushlight
from rushlight import Tensor
from rushlight.nn.parameter import UninitializedBuffer, UninitializedParameter

__all__ = ["Layer", "Summary", "summary"]

_UNMADE = (UninitializedParameter, UninitializedBuffer)
_NOT_CALLED = "-"


@dataclass
class Layer:
    """One row: a module as it was called from one place."""

    path: str  # its name in the model, as in named_modules()
    name: str  # what of it is not in the path of the row around it
    kind: str  # its class
    depth: int
    calls: int = 0
    input_shapes: list = field(default_factory=list)
    output_shapes: list = field(default_factory=list)  # of the last call
    parameters: int = 0
    trainable: int = 0
    multiply_adds: int = 0
    output_bytes: int = 0  # new memory of its result, in all calls
    layers: list = field(default_factory=list)  # those inside it, in the order of their first call

    def __iter__(self) -> Iterator["Layer"]:
        """This row and all below it, in the order in which they are printed."""
        yield self
        for layer in self.layers:
            yield from layer


def _tensors(value):
    """The tensors in a result or in arguments, whatever holds them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for v in value.values():
            yield from _tensors(v)
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from _tensors(v)


def _memory(x):
    return x.untyped_storage().data_ptr() or id(x)  # without memory: itself only


def _bytes(tensors):
    return sum(x.numel() * x.element_size() for x in tensors)


def _shapes(tensors):
    return [tuple(x.shape) for x in tensors]


def _row(module, path, around):
    """The row of a module inside the row `around`, with its parameters."""
    inside = around is not None and around.path and path.startswith(around.path + ".")
    name = path[len(around.path) + 1 :] if inside else path
    row = Layer(path, name, type(module).__name__, 0 if around is None else around.depth + 1)
    _count(row, module)
    return row


def _count(row, module):
    made = [p for p in module.parameters() if not isinstance(p, _UNMADE)]
    row.parameters = sum(p.numel() for p in made)
    row.trainable = sum(p.numel() for p in made if p.requires_grad)


class _Recorder:
    """Hooks around every module of a model that grow a tree of rows while it runs."""

    def __init__(self, model, counter):
        self.counter = counter
        self.paths = {m: path for path, m in model.named_modules()}
        self.called = set()
        self.top = None
        self.open = []  # of the calls that are running: (row, count at its start)
        self.rows = {}  # (row around it, module) -> row
        self.handles = []
        for module in model.modules():
            before = module.register_forward_pre_hook(self._enter, with_kwargs=True)
            after = module.register_forward_hook(self._leave, with_kwargs=True)
            self.handles += [before, after]

    def _enter(self, module, args, kwargs):
        around = self.open[-1][0] if self.open else None
        row = self.rows.get((id(around), id(module)))
        if row is None:
            row = _row(module, self.paths[module], around)
            self.called.add(module)
            self.rows[id(around), id(module)] = row
            if around is None:
                self.top = row
            else:
                around.layers.append(row)
        self.open.append((row, self.counter.total))

    def _leave(self, module, args, kwargs, result):
        row, start = self.open.pop()
        given, results = list(_tensors((args, kwargs))), list(_tensors(result))
        held = {_memory(x) for x in given}
        row.calls += 1
        row.input_shapes, row.output_shapes = _shapes(given), _shapes(results)
        row.multiply_adds += self.counter.total - start
        row.output_bytes += _bytes(x for x in results if _memory(x) not in held)
        _count(row, module)  # again: a lazy module has parameters by now

    def remove(self):
        for handle in self.handles:
            handle.remove()


def _static(module, path="", around=None):
    """The rows of a module that has not run."""
    row = _row(module, path, around)
    for name, child in module.named_children():
        row.layers.append(_static(child, f"{path}.{name}" if path else name, row))
    return row


def _add_uncalled(row, model, called):
    """Give the rows those modules with parameters which were not called, each where it stands."""
    rows = {layer.path: layer for layer in row}

    def visit(module, path, above):
        above = rows.get(path, above)
        if not called.isdisjoint(module.modules()):
            for name, child in module.named_children():
                visit(child, f"{path}.{name}" if path else name, above)
        elif any(True for _ in module.parameters()):
            above.layers.append(_static(module, path, above))

    visit(model, "", row)


def _random_inputs(sizes, dtypes, device):
    """Tensors of the sizes asked for: uniform random floats, and zeros of other dtypes."""
    if not isinstance(sizes, (list, tuple)) or not sizes:
        raise TypeError(
            f"summary(): input_size is a shape such as (1, 3, 224, 224) or a list of shapes, but got {sizes!r}"
        )
    sizes = [sizes] if all(isinstance(n, int) for n in sizes) else list(sizes)
    dtypes = dtypes if isinstance(dtypes, (list, tuple)) else [dtypes] * len(sizes)
    if len(dtypes) != len(sizes):
        raise ValueError(
            f"summary(): {len(sizes)} input sizes, but {len(dtypes)} dtypes; give one for each input"
        )
    inputs = []
    for size, dtype in zip(sizes, dtypes):
        dtype = dtype or rushlight.get_default_dtype()
        make = rushlight.rand if dtype.is_floating_point or dtype.is_complex else rushlight.zeros
        inputs.append(make(tuple(size), dtype=dtype, device=device))
    return inputs


def summary(model, input_size=None, *, input_data=None, dtypes=None, depth=3, device=None):
    """What `model` is made of: print the result for a table, or look at its attributes.

    input_size: the shape of the input, batch included, or a list of shapes for several inputs.
    dtypes: their dtype, or a list (float inputs are random, others zeros).
    input_data: the input itself instead: a tensor, a list or tuple of arguments, or a dict of keyword
    arguments. With neither, parameters are listed and nothing runs.
    depth: how many levels of modules the table shows; `layers` has all of them.
    device: where to make the input, by default that of the model's first parameter.

        >>> print(rushlight.summary(model, (1, 3, 224, 224)))

    Returns a `Summary`. Errors: TypeError and ValueError for arguments that do not describe an input;
    what the model itself raises is passed on.
    """
    if input_size is not None and input_data is not None:
        raise ValueError("summary(): give input_size or input_data, not both")
    if input_size is None and input_data is None:
        return Summary(model, _static(model), [], depth)
    if device is None:
        device = next((p.device for p in model.parameters()), None)
    training = {m: m.training for m in model.modules()}
    with rushlight.random.fork_rng(), rushlight.no_grad(), rushlight._C._counting() as counter:
        args, kwargs = (), {}
        if input_data is None:
            args = tuple(_random_inputs(input_size, dtypes, device))
        elif isinstance(input_data, Mapping):
            kwargs = dict(input_data)
        else:
            args = tuple(input_data) if isinstance(input_data, (list, tuple)) else (input_data,)
        recorder = _Recorder(model, counter)
        try:
            model.eval()
            model(*args, **kwargs)
        finally:
            recorder.remove()
            for module, flag in training.items():
                module.training = flag
    _add_uncalled(recorder.top, model, recorder.called)
    return Summary(model, recorder.top, list(_tensors((args, kwargs))), depth)


class Summary:
    """The rows of a model and its totals; prints as a table, and shows as HTML in a notebook.

    top: the model's row, with the others inside it; layers: all rows in order.
    total_params, trainable_params, total_mult_adds: numbers.
    input_bytes, output_bytes (of the layers that hold no others), param_bytes, buffer_bytes: memory.
    """

    def __init__(self, model, top, inputs, depth=3):
        self.top, self.depth = top, depth
        self.layers = list(top)
        self.ran = top.calls > 0
        self.total_params, self.trainable_params = top.parameters, top.trainable
        self.total_mult_adds = top.multiply_adds
        self.input_bytes = _bytes(inputs)
        self.output_bytes = sum(
            r.output_bytes for r in self.layers if not any(c.calls for c in r.layers)
        )
        self.param_bytes = _bytes(p for p in model.parameters() if not isinstance(p, _UNMADE))
        self.buffer_bytes = _bytes(b for b in model.buffers() if not isinstance(b, _UNMADE))

    @property
    def total_bytes(self):
        """Input, parameters, buffers and the outputs of all layers."""
        return self.input_bytes + self.output_bytes + self.param_bytes + self.buffer_bytes

    def _cells(self):
        """The heading and the rows to show, as texts."""
        heading = ["Layer", "Output shape", "Parameters", "Multiply-adds"]
        rows = []
        for layer in self.layers:
            if layer.depth >= self.depth and layer.depth > 0:
                continue
            title = f"{layer.name}: {layer.kind}" if layer.name else layer.kind
            if layer.calls > 1:
                title += f" (called {layer.calls} times)"
            shown = [str(list(s)) for s in layer.output_shapes[:3]]
            more = len(layer.output_shapes) - len(shown)
            shapes = ", ".join(shown) + (f", {more} more" if more else "")
            rows.append(
                (
                    layer.depth,
                    title,
                    shapes if layer.calls else _NOT_CALLED,
                    f"{layer.parameters:,}" if layer.parameters else "",
                    f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
                )
            )
        if not self.ran:
            heading = heading[:1] + heading[2:3]
            rows = [(d, title, parameters) for d, title, _, parameters, _ in rows]
        return heading, rows

    def _totals(self):
        """What stands below the table: (name, text)."""
        trained, total = self.trainable_params, self.total_params
        totals = [("Parameters", f"{total:,} ({trained:,} trainable, {total - trained:,} frozen)")]
        memory = [("parameters", self.param_bytes), ("buffers", self.buffer_bytes)]
        if self.ran:
            totals.append(("Multiply-adds", f"{self.total_mult_adds:,}"))
            memory = [("input", self.input_bytes), ("outputs", self.output_bytes), *memory]
        parts = " + ".join(f"{name} {_megabytes(n)}" for name, n in memory)
        totals.append(("Memory", f"{_megabytes(self.total_bytes)} MB = {parts}"))
        return totals

    def __repr__(self):
        heading, rows = self._cells()
        texts = [heading] + [["  " * d + title, *rest] for d, title, *rest in rows]
        widths = [max(map(len, column)) for column in zip(*texts)]
        numbers = 2 if self.ran else 1  # columns from here on are set to the right
        lines = []
        for line in texts:
            cells = (
                text.ljust(w) if i < numbers else text.rjust(w)
                for i, (text, w) in enumerate(zip(line, widths))
            )
            lines.append("  ".join(cells).rstrip())
        rule = "-" * max(map(len, lines))
        foot = [f"{name + ':':<15}{text}" for name, text in self._totals()]
        return "\n".join([lines[0], rule, *lines[1:], rule, *foot])

    def _repr_html_(self):
        heading, rows = self._cells()
        left, right = 'style="text-align:left"', 'style="text-align:right"'
        numbers = 2 if self.ran else 1
        aligned = [left if i < numbers else right for i in range(len(heading))]
        html = ["<table><thead><tr>"]
        html += [f"<th {a}>{escape(text)}</th>" for a, text in zip(aligned, heading)]
        html.append("</tr></thead><tbody>")
        for depth, title, *rest in rows:
            indent = f'style="text-align:left;padding-left:{0.5 + 1.5 * depth}em"'
            cells = [f"<td {indent}>{escape(title)}</td>"]
            cells += [f"<td {a}>{escape(text)}</td>" for a, text in zip(aligned[1:], rest)]
            html.append(f"<tr>{''.join(cells)}</tr>")
        html.append("</tbody><tfoot>")
        span = f'colspan="{len(heading)}" {left}'
        for name, text in self._totals():
            html.append(f"<tr><td {span}>{escape(name)}: {escape(text)}</td></tr>")
        html.append("</tfoot></table>")
        return "".join(html)


def _megabytes(n):
    return f"{n / 1e6:.2f}"
