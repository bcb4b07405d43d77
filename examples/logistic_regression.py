"""Logistic regression twice: where the answer is known, and where it is not.

First on simulated data with known coefficients, then on a real data set (is a breast tumour
malignant, from the shape of its cell nuclei?). Each time the model is fitted by autograd with
mini-batches out of a DataLoader, and held against the maximum-likelihood estimate by Newton's
method, whose Hessian comes from torch.autograd.functional and gives the standard errors as well.

The text is plain PyTorch and runs under it, and on rushlight without a change:

    python examples/logistic_regression.py
    rushlight run examples/logistic_regression.py

Both print the same numbers. matplotlib draws the picture and tqdm the progress bar, where
installed.
"""

import argparse
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

try:
    from tqdm import tqdm
except ImportError:
    tqdm = None

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
except ImportError:
    plt = None

COEFFICIENTS = [-0.5, 1.5, -1.0, 0.5, 0.0]  # of the simulation; the first is the intercept
DATA = pathlib.Path(__file__).parent / "data" / "breast_cancer.csv"
FEATURES = ["mean_texture", "mean_area", "mean_smoothness", "mean_concavity", "mean_symmetry"]
TARGET = "malignant"


# fitting


def fit(x, y, epochs, batch_size, lr, title):
    """Stochastic gradient descent with momentum; the step falls to zero along a cosine.

    x: (n, k), y: (n,) of 0. and 1. Returns the model, a Linear(k, 1), and each epoch's mean loss.
    """
    model = nn.Linear(x.shape[1], 1)
    loss_function = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    loader = DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=True)
    losses = []
    bar = range(epochs) if tqdm is None else tqdm(range(epochs), desc=title, leave=False)
    for epoch in bar:
        optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * epoch / epochs)) / 2
        total = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = loss_function(model(xb).squeeze(1), yb)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(xb)
        losses.append(total / len(x))
        if tqdm is not None:
            bar.set_postfix(loss=f"{losses[-1]:.4f}")
    return model, losses


def with_intercept(x):
    return torch.cat([torch.ones(len(x), 1), x], dim=1)


def newton(x, y, tolerance=1e-10):
    """The maximum-likelihood estimate, its standard errors and the number of steps.

    Newton's method on the negative log-likelihood f: w <- w - H^-1 grad f. At the minimum H is the
    observed information, and the standard errors are the roots of the diagonal of its inverse.
    """
    x = with_intercept(x)

    def negative_log_likelihood(w):
        return F.binary_cross_entropy_with_logits(x @ w, y, reduction="sum")

    w = torch.zeros(x.shape[1])
    steps, step = 0, torch.ones(1)
    while step.abs().max() > tolerance and steps < 30:
        w.requires_grad_()
        (gradient,) = torch.autograd.grad(negative_log_likelihood(w), w)
        hessian = torch.autograd.functional.hessian(negative_log_likelihood, w.detach())
        covariance = torch.inverse(hessian)
        step = covariance @ gradient
        w = w.detach() - step
        steps += 1
    return w, covariance.diag().sqrt(), steps


def coefficients(model):
    """(k + 1,): the intercept first."""
    with torch.no_grad():
        return torch.cat([model.bias, model.weight[0]])


# judging


def accuracy(p, y):
    return ((p > 0.5) == (y > 0.5)).double().mean().item()


def log_loss(p, y):
    return F.binary_cross_entropy(p, y).item()


def auc(p, y):
    """The chance that a positive scores higher than a negative; ties count half (Mann-Whitney)."""
    positive, negative = p[y > 0.5], p[y < 0.5]
    difference = positive.unsqueeze(1) - negative.unsqueeze(0)
    return ((difference > 0).double() + (difference == 0).double() / 2).mean().item()


def roc(p, y):
    """False and true positive rates while the threshold falls from above all scores."""
    order = torch.sort(p, descending=True)[1]
    hit = y[order]
    rates = []
    for count in ((1 - hit).cumsum(0), hit.cumsum(0)):
        rates.append(torch.cat([torch.zeros(1), count / count[-1]]))
    return rates


def calibration(p, y, groups):
    """Samples in groups of equal size by estimated probability: its mean, the share of ones, n."""
    order = torch.sort(p)[1]
    parts = [(p[i], y[i]) for i in torch.chunk(order, groups)]
    means = [torch.stack([part[side].mean() for part in parts]) for side in (0, 1)]
    return means[0], means[1], torch.tensor([float(len(part[0])) for part in parts])


# the two jobs


def table(heads, rows):
    """Right-aligned columns; numbers with five significant digits."""
    cells = [heads] + [[c if isinstance(c, str) else f"{c:.5g}" for c in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    for row in cells:
        print("  " + row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:])))


def simulated(quick):
    """Known coefficients: how near do both estimates come?"""
    n, epochs = (600, 12) if quick else (4000, 40)
    true = torch.tensor(COEFFICIENTS)
    names = ["intercept"] + [f"x{i}" for i in range(1, len(true))]

    def draw(n):
        x = torch.randn(n, len(true) - 1)
        p = torch.sigmoid(with_intercept(x) @ true)
        return x, (torch.rand(n) < p).double(), p

    x, y, _ = draw(n)
    model, losses = fit(x, y, epochs, batch_size=100, lr=0.1, title="simulated")
    fitted = coefficients(model)
    best, errors, steps = newton(x, y)
    floor = log_loss(torch.sigmoid(with_intercept(x) @ best), y)
    print(f"Simulated data: {n} samples, {len(true) - 1} features, {epochs} epochs")
    print(f"  mean loss: {losses[0]:.5g} in the first epoch, {losses[-1]:.5g} in the last")
    print(f"  Newton's method: {steps} steps")
    rows = zip(names, true.tolist(), fitted.tolist(), best.tolist(), errors.tolist())
    table(["coefficient", "true", "fitted", "maximum likelihood", "standard error"], rows)
    print(f"  fitted - maximum likelihood: at most {(fitted - best).abs().max().item():.3g}")
    distance = ((best - true) / errors).abs().max().item()
    print(f"  maximum likelihood - true: at most {distance:.3g} standard errors")

    x, y, p = draw(n)  # new samples of the same kind
    estimates = {"fitted": fitted, "maximum likelihood": best, "true": true}
    rows, estimated = [], {}
    for name, w in estimates.items():
        q = estimated[name] = torch.sigmoid(with_intercept(x) @ w)
        off = (q - p).abs()
        row = [name, off.mean().item(), off.max().item(), accuracy(q, y), log_loss(q, y), auc(q, y)]
        rows.append(row)
    print("  estimated against true probabilities of new samples:")
    table(["by coefficients", "mean error", "largest", "accuracy", "log-loss", "AUC"], rows)
    return {
        "losses": losses, "floor": floor, "names": names, "true": true, "fitted": fitted,
        "best": best, "errors": errors, "p": p, "q": estimated["fitted"],
    }  # fmt: skip


def real(path, quick):
    """Which tumours are malignant? Fitted on seven tenths of the cases, judged on the others."""
    epochs = 10 if quick else 100
    cases = np.genfromtxt(path, delimiter=",", names=True)
    x = torch.from_numpy(np.stack([cases[name] for name in FEATURES], axis=1))
    y = torch.from_numpy(cases[TARGET].astype(np.float64))
    order = torch.randperm(len(x))
    train, test = order[: int(0.7 * len(x))], order[int(0.7 * len(x)) :]
    mean, std = x[train].mean(0), x[train].std(0)
    x = (x - mean) / std  # by what the training cases show

    model, losses = fit(x[train], y[train], epochs, batch_size=32, lr=0.3, title="real")
    fitted = coefficients(model)
    best, errors, steps = newton(x[train], y[train])
    print(
        f"Real data: {path.name}, {len(train)} cases to fit, {len(test)} to test, {epochs} epochs"
    )
    print(f"  mean loss: {losses[0]:.5g} in the first epoch, {losses[-1]:.5g} in the last")
    print(f"  Newton's method: {steps} steps")
    rows = zip(
        ["intercept", *FEATURES],
        fitted.tolist(), best.tolist(), errors.tolist(), (best / errors).tolist(),
    )  # fmt: skip
    table(["coefficient", "fitted", "maximum likelihood", "standard error", "z"], rows)
    print(f"  fitted - maximum likelihood: at most {(fitted - best).abs().max().item():.3g}")

    rows, estimated = [], {}
    share = y[train].mean()
    for name, w in {"fitted": fitted, "maximum likelihood": best}.items():
        q = estimated[name] = torch.sigmoid(with_intercept(x) @ w)
        for part, i in (("train", train), ("test", test)):
            judged = accuracy(q[i], y[i]), log_loss(q[i], y[i]), auc(q[i], y[i])
            rows.append([f"{name}, {part}", *judged])
    q, yt = torch.ones(len(test)) * share, y[test]
    rows.append(["share of malignant only, test", accuracy(q, yt), log_loss(q, yt), auc(q, yt)])
    table(["judged", "accuracy", "log-loss", "AUC"], rows)
    q = estimated["fitted"]
    return {
        "losses": losses, "floor": log_loss(estimated["maximum likelihood"][train], y[train]),
        "q": q[test], "y": y[test], "auc": auc(q[test], y[test]),
    }  # fmt: skip


# the picture


def draw_losses(ax, job, title):
    ax.plot(range(1, len(job["losses"]) + 1), job["losses"], color=BLUE, label="mini-batches")
    ax.axhline(job["floor"], color=RED, ls="--", lw=1, label="maximum likelihood")
    ax.set(title=title, xlabel="epoch", ylabel="mean loss")
    ax.legend(frameon=False)


def draw_coefficients(ax, job):
    at = np.arange(len(job["names"]))
    spread = 1.96 * job["errors"].numpy()
    best = {"color": GREY, "fmt": "o", "ms": 5, "capsize": 4}
    ax.hlines(job["true"].numpy(), at - 0.36, at + 0.36, color=RED, label="true")
    ax.plot(at - 0.13, job["fitted"].numpy(), "x", color=BLUE, ms=7, mew=2, label="fitted")
    ax.errorbar(at + 0.13, job["best"].numpy(), spread, label="maximum likelihood, 95 %", **best)
    ax.axhline(0, color="0.85", lw=1, zorder=0)
    ax.set_xticks(at, job["names"])
    ax.set(title="Simulated: coefficients", xlim=(-0.6, at[-1] + 0.6))
    ax.legend(frameon=False)


def draw_probabilities(ax, job):
    ax.plot([0, 1], [0, 1], color="0.6", lw=1, ls="--")
    ax.scatter(job["p"].numpy(), job["q"].numpy(), s=5, color=BLUE, alpha=0.3, lw=0)
    ax.set(title="Simulated: probabilities", xlabel="true (of new samples)", ylabel="estimated")
    ax.set_aspect("equal")


def draw_calibration(ax, job):
    expected, seen, n = (t.numpy() for t in calibration(job["q"], job["y"], 6))
    spread = 1.96 * np.sqrt(expected * (1 - expected) / n)
    spread = [np.minimum(spread, seen), np.minimum(spread, 1 - seen)]  # a share is in [0, 1]
    ax.plot([0, 1], [0, 1], color="0.6", lw=1, ls="--")
    ax.errorbar(expected, seen, spread, color=BLUE, fmt="o", ms=5, capsize=4, elinewidth=1)
    ax.set(title="Real: calibration on test cases", xlabel="estimated probability")
    ax.set(ylabel="share malignant", xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
    ax.set_aspect("equal")


def draw_roc(ax, job):
    false, true = (rate.numpy() for rate in roc(job["q"], job["y"]))
    ax.plot([0, 1], [0, 1], color="0.6", lw=1, ls="--")
    ax.step(false, true, color=BLUE, where="post")
    ax.fill_between(false, true, step="post", color=BLUE, alpha=0.12, lw=0)
    ax.text(0.6, 0.3, f"AUC {job['auc']:.4f}", ha="center", fontsize=11)
    ax.set(title="Real: ROC on test cases", xlabel="false positive rate")
    ax.set(ylabel="true positive rate", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.set_aspect("equal")


BLUE, RED, GREY = "#2463a6", "#c8372d", "#5f6b76"


def picture(path, first, second):
    """Both jobs, a row each: loss, what was estimated, how good it is."""
    style = {
        "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11,
        "axes.titleweight": "bold", "font.size": 9, "legend.fontsize": 8.5,
    }  # fmt: skip
    with plt.rc_context(style):
        figure, axes = plt.subplots(2, 3, figsize=(12.5, 7.8), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
        draw_losses(axes[0, 0], first, "Simulated: loss")
        draw_coefficients(axes[0, 1], first)
        draw_probabilities(axes[0, 2], first)
        draw_losses(axes[1, 0], second, "Real: loss")
        draw_calibration(axes[1, 1], second)
        draw_roc(axes[1, 2], second)
        figure.savefig(path, dpi=130)
        plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, default=DATA, help="the real data, a CSV file")
    parser.add_argument("--plot", default="logistic_regression.png", help="where the picture goes")
    parser.add_argument("--no-plot", action="store_true", help="numbers only")
    parser.add_argument("--quick", action="store_true", help="fewer samples and epochs")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.set_default_dtype(torch.float64)
    torch.manual_seed(arguments.seed)
    first = simulated(arguments.quick)
    print()
    second = real(arguments.data, arguments.quick)
    if arguments.no_plot:
        return
    if plt is None:
        print("\nNo picture: matplotlib is not installed")
        return
    picture(arguments.plot, first, second)
    print(f"\nPicture: {arguments.plot}")


if __name__ == "__main__":
    main()
