"""Corners of optimizers and schedulers that programs meet; see nn_programs for the comparison."""

import pytest

pytest.importorskip("torch")

from nn_programs import check  # noqa: E402

NAMES = ["SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Adagrad", "Adadelta", "RMSprop", "Rprop", "ASGD"]


@pytest.mark.parametrize("name", NAMES)
def test_foreach_and_differentiable_exclude_each_other(name):
    def program(T):
        p = T.nn.Parameter(T.ones(2))
        o = getattr(T.optim, name)([p], lr=0.1, foreach=True, differentiable=True)
        p.grad = T.ones(2)
        try:
            o.step()
        except (AssertionError, RuntimeError) as error:
            return type(error).__name__

    check(program)


@pytest.mark.parametrize("name", NAMES)
def test_a_group_may_have_keys_that_the_optimizer_does_not_know(name):
    def program(T):
        p = T.nn.Parameter(T.ones(2))
        o = getattr(T.optim, name)([{"params": [p], "weight_decay": 0.5, "mine": 3}], lr=0.1)
        p.grad = T.ones(2)
        o.step()
        return p, o.state_dict(), repr(o)

    check(program)


@pytest.mark.parametrize("options", [{}, {"line_search_fn": "strong_wolfe"}, {"max_iter": 0}, {"max_iter": 5, "history_size": 3, "lr": 0.5}])
def test_the_state_of_lbfgs_has_torchs_order(options):
    def program(T):
        p = T.nn.Parameter(T.randn(5, dtype=T.float64))
        o = T.optim.LBFGS([p], **options)

        def closure():
            o.zero_grad()
            loss = ((p - 1) ** 2 * T.arange(1, 6)).sum() + 0.1 * (p**4).sum()
            loss.backward()
            return loss

        losses = [o.step(closure) for _ in range(2)]
        return losses, p, list(o.state_dict()["state"][0])

    check(program)


def test_the_base_of_old_schedulers():
    def program(T):
        L = T.optim.lr_scheduler

        class Warm(L._LRScheduler):
            def get_lr(self):
                return [b * min(1, (self.last_epoch + 1) / 4) for b in self.base_lrs]

        o = T.optim.SGD([T.nn.Parameter(T.ones(1))], lr=0.1)
        s = Warm(o)
        rates = []
        for _ in range(6):
            o.step()
            s.step()
            rates.append(s.get_last_lr())
        return rates, isinstance(s, L.LRScheduler), issubclass(L.StepLR, L._LRScheduler), L._LRScheduler.__name__

    check(program)
