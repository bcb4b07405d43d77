"""SummaryWriter: what is written can be read back; without the library the error names the extra."""

import struct
import sys

import pytest

import rushlight


def events(folder):
    """The events of the files in a folder: records of (length, checksum, protocol buffer, checksum)."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("*tfevents*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            yield Event.FromString(data[at + 12 : at + 12 + length])
            at += 12 + length + 4


def test_scalars_and_histograms_can_be_read_back(tmp_path):
    pytest.importorskip("tensorboardX")
    from rushlight.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path / "run") as writer:
        assert writer.log_dir == str(tmp_path / "run")
        for step in range(3):
            writer.add_scalar("loss", rushlight.tensor(0.5 * step, requires_grad=True), step)
            writer.add_scalar("rate", 0.1, global_step=step)
        writer.add_scalars("both", {"a": rushlight.tensor(1.0), "b": 2.0}, 7)
        writer.add_histogram("weights", rushlight.arange(10.0, dtype=rushlight.bfloat16), 1)
        writer.add_image("picture", rushlight.rand(3, 4, 4), 0)
        writer.add_text("note", "hello", 0)
        writer.add_hparams({"lr": 0.1}, {"accuracy": rushlight.tensor(0.5)}, run_name="trial")
    scalars, kinds = [], {}
    for event in events(tmp_path / "run"):
        for value in event.summary.value:
            kinds[value.tag] = value.WhichOneof("value")
            if kinds[value.tag] == "simple_value":
                scalars.append((value.tag, event.step, value.simple_value))
            elif value.tag == "weights":
                assert (value.histo.min, value.histo.max, value.histo.num) == (0, 9, 10)
    assert [s for s in scalars if s[0] == "loss"] == [("loss", 0, 0.0), ("loss", 1, 0.5), ("loss", 2, 1.0)]
    assert len([s for s in scalars if s[0] == "rate"]) == 3
    assert kinds["picture"] == "image"
    assert [v.simple_value for e in events(tmp_path / "run" / "both" / "b") for v in e.summary.value] == [2.0]
    assert "accuracy" in {v.tag for e in events(tmp_path / "run" / "trial") for v in e.summary.value}


def test_what_is_missing_says_so(tmp_path):
    pytest.importorskip("tensorboardX")
    from rushlight.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer, pytest.raises(NotImplementedError, match="add_graph"):
        writer.add_graph(rushlight.nn.Linear(2, 2), rushlight.rand(1, 2))


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    from rushlight.utils import tensorboard

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    tensorboard._writer.cache_clear()
    with pytest.raises(ImportError, match=r"rushlight\[tensorboard\]"):
        from rushlight.utils.tensorboard import SummaryWriter  # noqa: F401
