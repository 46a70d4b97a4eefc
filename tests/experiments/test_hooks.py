"""The devices that this book runs on, as the ledger asks for them."""

import subprocess

import pytest
import torch

from experiments import hooks
from experiments.hooks import device_name, driver
from proofbook.ledger.hooks import NoSuchDevice, load

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="shows what a machine without CUDA says")


def test_the_ledger_takes_them():
    assert load("experiments.hooks") is hooks


def test_versions_and_the_processor():
    assert hooks.versions() == {"torch": torch.__version__}
    assert device_name("cpu") == device_name("cpu:0") and device_name("cpu").strip()


def test_a_seed_is_that_of_torch():
    hooks.seed(3)
    first = torch.rand(())
    hooks.seed(3)
    assert torch.rand(()) == first


@no_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:3"])
def test_no_cuda_is_said(name):
    with pytest.raises(NoSuchDevice, match="no CUDA device"):
        device_name(name)


@pytest.mark.parametrize("name", ["mps", "meta", "gpu", "", "cuda:x"])
def test_other_devices_are_refused(name):
    with pytest.raises(NoSuchDevice, match="device must be cpu or cuda"):
        device_name(name)


def test_driver_is_of_cuda_only(monkeypatch):
    asked = []

    def answer(command, **how):
        asked.append(command[0])
        return subprocess.CompletedProcess(command, 0, "570.1\n570.1\n", "")

    monkeypatch.setattr(hooks.subprocess, "run", answer)
    assert driver("cpu") is None and asked == []
    assert driver("cuda:1") == "570.1" and asked == ["nvidia-smi"]


def test_driver_is_unknown_without_the_tool(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert driver("cuda") is None
