"""torch.cuda without a GPU: questions answer no, what needs a GPU raises AssertionError."""

import pytest

import rushlight as torch


def test_questions_answer_no_and_requests_for_all_gpus_do_nothing():
    assert torch.cuda.is_available() is False
    assert torch.cuda.device_count() == 0
    assert torch.device("cuda" if torch.cuda.is_available() else "cpu").type == "cpu"
    torch.cuda.manual_seed(0)
    torch.cuda.manual_seed_all(0)
    torch.cuda.empty_cache()


@pytest.mark.parametrize("name", ["current_device", "synchronize", "get_device_name", "init"])
def test_what_needs_a_gpu_raises(name):
    with pytest.raises(AssertionError, match="not compiled with CUDA enabled"):
        getattr(torch.cuda, name)()


def test_the_older_names_of_amp_are_the_same_tools():
    scaler = torch.cuda.amp.GradScaler(enabled=False)
    assert isinstance(scaler, torch.amp.GradScaler) and not scaler.is_enabled()
    with torch.cuda.amp.autocast(enabled=False):
        assert (torch.ones(2) @ torch.ones(2)).dtype is torch.float32
