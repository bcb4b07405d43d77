"""torch.utils.tensorboard: event files that TensorBoard reads.

tensorboardX writes them (the extra `tensorboard`); here is what its methods need to take rushlight's
tensors and PyTorch's argument names. It is imported when SummaryWriter is asked for, so that
`from rushlight.utils.tensorboard import SummaryWriter` fails with an ImportError where it is
missing, as programs expect.

Invariants: what is given is only read; tensors are written from the CPU, without their history,
bfloat16 as float32.
"""

from collections.abc import Mapping
from functools import cache, wraps

from rushlight import Tensor, bfloat16

__all__ = ["FileWriter", "SummaryWriter"]

#: tensorboardX's methods that take tensors somewhere in their arguments
_WRITES = """add_audio add_embedding add_figure add_histogram add_histogram_raw add_image
    add_image_with_boxes add_images add_mesh add_pr_curve add_pr_curve_raw add_scalars add_text
    add_video""".split()


def _plain(value):
    """A value with its tensors as NumPy arrays."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == bfloat16 else value).numpy()
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_plain(v) for v in value]) if type(value) in (list, tuple) else value
    return value


def _taking_tensors(method):
    @wraps(method)
    def write(self, *args, **kwargs):
        return method(self, *_plain(args), **_plain(kwargs))

    return write


def _library():
    try:
        import tensorboardX
    except ImportError as error:
        raise ImportError(
            "torch.utils.tensorboard needs tensorboardX; "
            "install it with: pip install 'rushlight[tensorboard]'"
        ) from error
    return tensorboardX


@cache
def _writer():
    """The class SummaryWriter over the library's."""
    base = _library().SummaryWriter

    class SummaryWriter(base):
        """Writes event files for TensorBoard into `log_dir` (by default runs/DATE_HOST with `comment` behind).

        purge_step: hide events from this step on, when a run that crashed goes on. max_queue,
        flush_secs: how many events and seconds may pass before they are on disk. filename_suffix:
        behind the file's name. Usable in a `with` statement; otherwise call `close()`.
        """

        def __init__(
            self,
            log_dir=None,
            comment="",
            purge_step=None,
            max_queue=10,
            flush_secs=120,
            filename_suffix="",
        ):
            super().__init__(
                logdir=None if log_dir is None else str(log_dir),
                comment=comment,
                purge_step=purge_step,
                max_queue=max_queue,
                flush_secs=flush_secs,
                filename_suffix=filename_suffix,
            )
            self.log_dir = self.logdir
            self.purge_step, self.max_queue = purge_step, max_queue
            self.flush_secs, self.filename_suffix = flush_secs, filename_suffix

        def get_logdir(self):
            """The folder of the event files."""
            return self.logdir

        def add_scalar(
            self,
            tag,
            scalar_value,
            global_step=None,
            walltime=None,
            new_style=False,
            double_precision=False,
        ):
            """A number, or a tensor with one element, at a step."""
            if new_style or double_precision:
                raise NotImplementedError(
                    "add_scalar() writes float32 scalars only: leave out new_style and double_precision"
                )
            if isinstance(scalar_value, Tensor):
                scalar_value = scalar_value.item()
            super().add_scalar(tag, scalar_value, global_step, walltime)

        def add_hparams(
            self,
            hparam_dict,
            metric_dict,
            hparam_domain_discrete=None,
            run_name=None,
            global_step=None,
        ):
            """Hyperparameters with the metrics they led to, in a run of their own (`run_name`)."""
            if hparam_domain_discrete is not None:
                raise NotImplementedError(
                    "add_hparams(hparam_domain_discrete=) is not implemented: leave it out"
                )
            super().add_hparams(
                _plain(hparam_dict),
                {k: float(v) for k, v in metric_dict.items()},
                run_name,
                global_step,
            )

        def add_graph(self, model, input_to_model=None, verbose=False, use_strict_trace=True):
            """Not implemented: there is no traced graph to write."""
            raise NotImplementedError(
                "add_graph() is not implemented; rushlight.viz.graph(model(x)) draws the graph of a result, print(rushlight.summary(model, x.shape)) lists the layers"
            )

        def add_tensor(self, tag, tensor, global_step=None, walltime=None):
            """Not implemented: the library has no event for a whole tensor."""
            raise NotImplementedError(
                "add_tensor() is not implemented; save tensors with torch.save, or write add_histogram()"
            )

    for name in _WRITES:
        setattr(SummaryWriter, name, _taking_tensors(getattr(base, name)))
    SummaryWriter.__qualname__, SummaryWriter.__module__ = "SummaryWriter", __name__
    return SummaryWriter


def __getattr__(name):
    if name == "SummaryWriter":
        return _writer()
    if name == "FileWriter":
        return _library().FileWriter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
