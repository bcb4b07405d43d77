"""DataParallel on one device, which is the module it wraps."""

import rushlight

from ..modules.module import Module


def _devices(device_ids):
    """The GPUs to use, by number: those asked for, or all; NotImplementedError for several."""
    if not rushlight.cuda.is_available():
        return []
    ids = range(rushlight.cuda.device_count()) if device_ids is None else device_ids
    ids = [i if isinstance(i, int) else rushlight.device(i).index or 0 for i in ids]
    if len(ids) > 1:
        raise NotImplementedError(
            f"DataParallel over {len(ids)} GPUs is not implemented: "
            "write device_ids=[0] to use one of them"
        )
    return ids


class DataParallel(Module):
    """Calls `module`, on the one GPU if there is one; its parameters are named "module.*".

    Without GPUs `device_ids` is ignored, as in PyTorch. Several GPUs raise NotImplementedError.
    """

    def __init__(self, module, device_ids=None, output_device=None, dim=0):
        super().__init__()
        self.module = module
        self.device_ids = _devices(device_ids)
        if not self.device_ids:
            return
        self.dim = dim
        self.output_device = self.device_ids[0] if output_device is None else output_device
        self.src_device_obj = rushlight.device("cuda", self.device_ids[0])
        module.to(self.src_device_obj)

    def forward(self, *inputs, **kwargs):
        if self.device_ids:
            inputs, kwargs = _moved((inputs, kwargs), self.src_device_obj)
        return self.module(*inputs, **kwargs)


def _moved(value, device):
    if isinstance(value, rushlight.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {k: _moved(v, device) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_moved(v, device) for v in value)
    return value


def data_parallel(module, inputs, device_ids=None, output_device=None, dim=0, module_kwargs=None):
    """`module(*inputs, **module_kwargs)` on the one GPU; RuntimeError where there is none."""
    devices = _devices(device_ids)
    if not devices:
        raise RuntimeError(
            "device type could not be determined: data_parallel needs a GPU and there is none; "
            "call module(inputs)"
        )
    device = rushlight.device("cuda", devices[0])
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    inputs, kwargs = _moved((inputs, dict(module_kwargs or {})), device)
    return module(*inputs, **kwargs)
