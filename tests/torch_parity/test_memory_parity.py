"""The peak of live buffers in a training step against torch's, which its profiler counts."""

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent.parent))
from memory_programs import PROGRAMS, peak, prepared  # noqa: E402

import rushlight  # noqa: E402

#: how much more than torch's peak ours may be, of 2026-11: objects of Python count as well, and the numpy kernels of attention
#: and convolution have scratch memory of their own
ROOM = {"convolutions": 1.5, "transformer": 1.1}


def torchs(step, path):
    """torch's peak, from the allocations and releases that its profiler saw."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    seen.export_chrome_trace(str(path))
    events = [e for e in json.loads(path.read_text())["traceEvents"] if e.get("name") == "[memory]"]
    now = most = 0
    for e in sorted(events, key=lambda e: e["ts"]):
        now += e["args"]["Bytes"]
        most = max(most, now)
    return most


@pytest.mark.parametrize("name", PROGRAMS)
def test_peak(name, tmp_path):
    theirs = torchs(prepared(torch, name), tmp_path / "trace.json")
    ours = peak(prepared(rushlight, name))
    assert ours < ROOM.get(name, 1.05) * theirs, f"{ours / 1e6:.2f} MB, torch {theirs / 1e6:.2f} MB"
