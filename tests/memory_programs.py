"""Training steps whose peak of live buffers is measured: `PROGRAMS[name](t)` makes the step's loss as a function, in library t."""

import gc
import tracemalloc


def mlp(t):
    nn = t.nn
    layers = [m for _ in range(12) for m in (nn.Linear(64, 64), nn.ReLU())]
    net, x, y = nn.Sequential(*layers, nn.Linear(64, 10)), t.randn(1024, 64), t.randint(0, 10, (1024,))
    return net, lambda: nn.functional.cross_entropy(net(x), y)


def normed(t):
    nn = t.nn
    layers = [m for _ in range(6) for m in (nn.Linear(64, 64), nn.GELU(), nn.LayerNorm(64), nn.Dropout(0.1))]
    net, x, y = nn.Sequential(*layers, nn.Linear(64, 10)), t.randn(1024, 64), t.randint(0, 10, (1024,))
    return net, lambda: nn.functional.cross_entropy(net(x), y)


def convolutions(t):
    nn = t.nn
    layers = [m for i in range(4) for m in (nn.Conv2d(16 if i else 3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())]
    net, x, y = nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4096, 10)), t.randn(16, 3, 32, 32), t.randint(0, 10, (16,))
    return net, lambda: nn.functional.cross_entropy(net(x), y)


def transformer(t):
    nn = t.nn
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    net, x = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False), t.randn(16, 64, 32)
    return net, lambda: net(x).square().mean()


def chain(t):
    x = t.nn.Parameter(t.randn(1 << 16))
    net = t.nn.ParameterList([x])

    def loss():
        y = x
        for _ in range(12):
            y = (y * 2 + 1).sin().exp().sigmoid()
        return y.sum()

    return net, loss


PROGRAMS = {f.__name__: f for f in (mlp, normed, convolutions, transformer, chain)}


def prepared(t, name):
    """The step, run twice so that what is made once (kernels, gradients' homes) is there, its gradients dropped."""
    t.manual_seed(0)
    net, loss = PROGRAMS[name](t)
    for _ in range(2):
        net.zero_grad()
        loss().backward()
    net.zero_grad()

    def step():
        z = loss()
        z.backward()
        return z

    return step


def peak(step):
    """Bytes that were allocated at most at one time while `step` ran, beyond those before; NumPy reports its buffers to tracemalloc."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        step()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
