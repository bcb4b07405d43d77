"""torch.func.vmap: a function of one example made a function of a batch.

It is a loop: the function runs once for each example on views of the inputs, and the results are stacked. That gives
PyTorch's results with none of its speed-up, and two things that PyTorch refuses work: `.item()` and branches on values
inside the function. In exchange, what PyTorch's does in one call happens once for each example, side effects included.

randomness: "error" raises if the function drew from the default generator, "same" gives every example the same draws,
"different" lets it run on.
"""

import functools

import rushlight
from rushlight import Tensor
from rushlight.func._tree import describe, flatten, spread, unflatten


def _name(func):
    return getattr(func, "__name__", repr(func))


def vmap(func, in_dims=0, out_dims=0, randomness="error", *, chunk_size=None):
    """A function that maps `func` over dimension `in_dims` of its inputs (an int, or a structure of ints and None that fits
    them) and stacks the results along `out_dims`. ValueError for structures and sizes that do not fit.
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def wrapped(*args, **kwargs):
        leaves, structure, dims = _inputs(func, in_dims, args)
        size = _size(leaves, dims)
        start = rushlight.get_rng_state() if randomness != "different" else None
        rows, out_structure = [], None
        for i in range(max(size, 1)):  # an empty batch runs once, on zeros, for the shapes of the results
            if randomness == "same":
                rushlight.set_rng_state(start)
            example = [_example(x, d, i, size) for x, d in zip(leaves, dims)]
            given = func(*unflatten(example, structure), **kwargs)
            found, out_structure = flatten(given)
            rows.append(found)
            if randomness == "error" and i == 0 and not rushlight.equal(start, rushlight.get_rng_state()):
                rushlight.set_rng_state(start)
                raise RuntimeError(
                    "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' randomness flags on "
                    "vmap or perform the randomness operation out of vmap"
                )
        return _joined(func, rows, out_structure, out_dims, size)

    return wrapped


def _inputs(func, in_dims, args):
    """(leaves, structure, the dimension of each leaf) of the arguments."""
    where = f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>)"
    if not isinstance(in_dims, (int, tuple)) or isinstance(in_dims, bool):
        raise ValueError(f"{where}: expected `in_dims` to be int or a (potentially nested) tuple matching the structure of inputs, got: {type(in_dims)}.")
    if not args:
        raise ValueError(f"vmap({_name(func)})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a function with no inputs. The latter is unsupported.")
    leaves, structure = flatten(args)
    dims = spread(in_dims, structure)
    if dims is None:
        raise ValueError(f"{where}: in_dims is not compatible with the structure of `inputs`. in_dims has structure {describe(flatten(in_dims)[1])} but inputs has structure {describe(structure)}.")
    for k, (x, d) in enumerate(zip(leaves, dims)):
        if d is None:
            continue
        if not isinstance(d, int):
            raise ValueError(f"{where}: Got in_dim={d} for an input but in_dim must be either an integer dimension or None.")
        if not isinstance(x, Tensor):
            raise ValueError(f"{where}: Got in_dim={d} for an input but the input is of type {type(x)}. We cannot vmap over non-Tensor arguments, please use None as the respective in_dim")
        if not -x.dim() <= d < x.dim():
            raise ValueError(f"{where}: Got in_dim={d} for some input, but that input is a Tensor of dimensionality {x.dim()} so expected in_dim to satisfy -{x.dim()} <= in_dim < {x.dim()}.")
        dims[k] = d % x.dim()
    if all(d is None for d in dims):
        raise ValueError(f"{where}: at least one input must be mapped: in_dims is None for all")
    return leaves, structure, dims


def _size(leaves, dims):
    sizes = [x.shape[d] for x, d in zip(leaves, dims) if d is not None]
    if len(set(sizes)) > 1:
        raise ValueError(f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the mapped dimension")
    return sizes[0]


def _example(x, dim, i, size):
    if dim is None:
        return x
    if size:
        return x.select(dim, i)
    return x.new_zeros(x.shape[:dim] + x.shape[dim + 1 :])


def _joined(func, rows, structure, out_dims, size):
    """The results of all examples stacked."""
    dims = spread(out_dims, structure)
    if dims is None:
        raise ValueError(f"vmap({_name(func)}, ..., out_dims={out_dims}): out_dims is not compatible with the structure of `outputs`. outputs has structure {describe(structure)}.")
    out = []
    for k, dim in enumerate(dims):
        column = [r[k] for r in rows]
        first = column[0]
        if dim is None:
            if isinstance(first, Tensor) and any(c is not first for c in column[1:]):
                raise ValueError(f"vmap({_name(func)}, ...): `{_name(func)}` can not return a BatchedTensor when out_dim is None")
            out.append(first)
            continue
        if not isinstance(first, Tensor):
            raise ValueError(f"vmap({_name(func)}, ...): `{_name(func)}` must only return Tensors, got type {type(first)}. Did you mean to set out_dims= to None for output?")
        if any(c.shape != first.shape for c in column):
            raise RuntimeError(f"vmap({_name(func)}, ...): the results of the examples have different shapes, such as {list(first.shape)} and {list(next(c.shape for c in column if c.shape != first.shape))}")
        joined = rushlight.stack(column, dim)
        out.append(joined if size else joined.narrow(dim, 0, 0))
    return unflatten(out, structure)


__all__ = ["vmap"]
