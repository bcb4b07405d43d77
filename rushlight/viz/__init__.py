"""Pictures of computation graphs: how a tensor was computed, and how gradients flow back.

    picture = rushlight.viz.graph(loss, params=model, x=x)
    picture                    # a notebook shows it
    picture.save("loss.svg")   # or "loss.dot"

Mechanism.  `history` walks `grad_fn` and `next_functions` into a plain list of nodes and edges,
`layout` gives each node a place, `picture` draws the result as SVG and writes it as DOT. Only the
first knows tensors, only the last knows colours; neither a plotting library nor a program of the
system is needed.
"""

from collections.abc import Mapping

from rushlight.viz.history import trace
from rushlight.viz.picture import Picture

__all__ = ["Picture", "graph"]


def graph(z, /, params=None, *, gradients=True, constants=False, **named):
    """The picture of how `z` was computed, down to the leaves that require gradients.

    Values flow down along solid lines; the gradient flows back up along dashed ones and ends in the
    `.grad` of the leaves. A box shows the op, the shape and dtype of its result, and the function
    that takes the gradient back through it.

    - z: a tensor that has a history, or a list, tuple or dict of such tensors.
    - params: names of leaves: a dict `{name: tensor}`, pairs such as `model.named_parameters()`, or
      the module itself. Names of tensors that `z` does not depend on are listed in `.unreached`.
    - gradients: draw the way back as well.
    - constants: draw a dot for each argument that required no gradient, too.
    - named: further names, for leaves and for intermediate results: `graph(z, x=x, hidden=h)`.

    Returns a `Picture` with `.svg`, `.dot` and `.save(path)`. Draw before `backward()`, which may
    free the history. Raises TypeError for what is not a tensor, ValueError for one without history.
    """
    if params is None:
        names = {}
    elif isinstance(params, Mapping):
        names = dict(params)
    else:
        names = dict(params.named_parameters() if hasattr(params, "named_parameters") else params)
    names.update(named)
    if isinstance(z, Mapping):
        outputs = [(str(name), value) for name, value in z.items()]
    elif isinstance(z, (list, tuple)):
        outputs = [(f"output {i}", value) for i, value in enumerate(z)]
    else:
        outputs = [("output", z)]
    return Picture(trace(outputs, names, constants), gradients=gradients)
