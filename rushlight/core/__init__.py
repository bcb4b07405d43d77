"""The lowest floor: dtypes, promotion, shapes, devices, windows on memory. Knows no op and no Tensor."""
