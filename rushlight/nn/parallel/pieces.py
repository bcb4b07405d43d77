"""What DataParallel is made of where there are several GPUs: not implemented, each by its name."""


def _missing(name, instead):
    raise NotImplementedError(
        f"torch.nn.parallel.{name} is not implemented: there is one device; {instead}"
    )


def replicate(network, devices, detach=False):
    """Not implemented: copies of a module on several GPUs."""
    _missing("replicate", "copy a module with copy.deepcopy(network)")


def scatter(inputs, target_gpus, dim=0):
    """Not implemented: chunks of the inputs on several GPUs."""
    _missing("scatter", f"split a tensor with inputs.chunk(n, {dim})")


def gather(outputs, target_device, dim=0):
    """Not implemented: the outputs of several GPUs as one tensor."""
    _missing("gather", f"join tensors with torch.cat(outputs, {dim})")


def parallel_apply(modules, inputs, kwargs_tup=None, devices=None):
    """Not implemented: modules on several GPUs, each with its input."""
    _missing("parallel_apply", "call one after the other: [m(x) for m, x in zip(modules, inputs)]")
