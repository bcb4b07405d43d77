"""torch.autograd.anomaly_mode: which forward line made the op whose backward fails (published under `autograd.anomaly_mode.`)."""

import rushlight

globals().update(rushlight._namespace("autograd.anomaly_mode"))

__all__ = [*rushlight._namespace("autograd.anomaly_mode")]
