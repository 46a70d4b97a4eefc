"""Recordings of timm's models, small and with random weights, fused and written out, against weights."""

import importlib
import math
from typing import Any, NamedTuple

import model_zoo as zoo
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from attnlib import record_attention
from attnlib.errors import AttentionWarning

pytestmark = pytest.mark.filterwarnings("ignore:.*(deprecated|meshgrid|should not be instantiated).*")
# Entropies are means of float32 rows; two implementations round their logits of size up to 10 apart.
TOLERANCE = 1e-5
PLAIN = dict(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4)
WINDOWS = dict(img_size=32, patch_size=2, embed_dim=16, depths=(2, 2), num_heads=(2, 4), window_size=4)
STAGES = dict(depths=(1, 1, 1, 1), num_heads=(2, 2, 4, 4))


class Kind(NamedTuple):
    """An entry of timm's, what makes it small, the size of its image and the number of its attention
    layers."""

    entry: str
    settings: dict[str, Any]
    size: int
    layers: int


KINDS = {
    "vit": Kind("vit_tiny_patch16_224", PLAIN, 32, 2),
    "deit": Kind("deit_tiny_distilled_patch16_224", PLAIN, 32, 2),
    "vit, queries normed": Kind("vit_tiny_patch16_224", PLAIN | dict(qk_norm=True), 32, 2),
    "vit, relative positions": Kind("vit_relpos_small_patch16_224", PLAIN, 32, 2),
    "beit": Kind("beit_base_patch16_224", PLAIN, 32, 2),
    "eva, rotary": Kind("eva02_tiny_patch14_224", PLAIN, 32, 2),
    "dinov3": Kind("vit_small_patch16_dinov3", PLAIN, 32, 2),
    # A relative bias for every head, and -100 between what a shift of the windows brings together.
    "swin": Kind("swin_tiny_patch4_window7_224", WINDOWS, 32, 4),
    "swin v2, cosines": Kind("swinv2_tiny_window8_256", WINDOWS, 32, 4),
    "swin v2 cr": Kind("swinv2_cr_tiny_224", WINDOWS, 32, 4),
    "xcit, over channels": Kind("xcit_nano_12_p16_224", PLAIN | dict(patch_size=16, img_size=64), 64, 4),
    "convit, two sets of weights mixed": Kind("convit_tiny", PLAIN | dict(local_up_to_layer=1), 32, 2),
    "pvt": Kind("pvt_v2_b0", STAGES | dict(embed_dims=(16, 16, 32, 32)), 64, 4),
    "twins": Kind("twins_svt_small", STAGES | dict(img_size=64, embed_dims=(16, 16, 32, 32)), 64, 4),
    "coatnet, values first": Kind(
        "coatnet_pico_rw_224", dict(img_size=64, embed_dim=(64, 64, 64, 64), depths=(1, 1, 1, 1)), 64, 2
    ),
    "crossvit": Kind(
        "crossvit_tiny_240", dict(depth=[[1, 1, 0]], embed_dim=(16, 32), num_heads=(4, 4)), 240, 4
    ),
}


def build(name: str) -> nn.Module:
    """Without dropout, by which two runs in training would go two ways."""
    kind = KINDS[name]
    torch.manual_seed(0)
    model = importlib.import_module("timm").create_model(kind.entry, num_classes=5, **kind.settings)
    for module in model.modules():
        for rate in ("p", "drop_prob"):
            if isinstance(getattr(module, rate, None), float):
                setattr(module, rate, 0.0)
    return zoo.sharpen(model.requires_grad_(False)).eval()


def image(name: str, dtype: torch.dtype = torch.float32) -> Tensor:
    size = KINDS[name].size
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(5)).to(dtype)


def fused(model: nn.Module, on: bool) -> nn.Module:
    """The model with its products left to PyTorch's fused kernel, or with its weights written out."""
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = on
    return model


def heads_first(weights: Tensor, heads: int) -> Tensor:
    """(heads, rows, keys), whatever else (windows, blocks) lies before or after the heads."""
    place = next(i for i in range(1, weights.ndim - 2) if weights.shape[i] == heads)
    return weights.movedim(place, 0).flatten(1, -2).double()


class Weights(TorchFunctionMode):
    """The weights of every layer in the order of their calls: those that the model hands to the dropout of
    its weights, which is off, and in float64 those of its calls of scaled_dot_product_attention."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.found: list[Tensor] = []
        self.handles = [
            module.register_forward_hook(lambda module, given, weights: self.found.append(weights.detach()))
            for name, module in model.named_modules()
            if name.endswith("attn_drop")
        ]

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for handle in self.handles:
            handle.remove()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is nn.functional.scaled_dot_product_attention:
            q, k = args[0].double(), args[1].double()
            mask, scale = kwargs.get("attn_mask"), kwargs.get("scale") or 1 / math.sqrt(q.shape[-1])
            scores = scale * (q @ k.mT)
            if mask is not None:
                assert mask.is_floating_point()
                scores = scores + mask.double()
            self.found.append(torch.softmax(scores, -1))
        return func(*args, **kwargs)


def check(report, weights: list[Tensor]) -> None:
    assert len(report) == len(weights)
    for layer, p in zip(report, weights, strict=True):
        means = report[layer]
        p = heads_first(p, len(means.entropy))
        p = p / p.sum(-1, keepdim=True)
        want = torch.special.entr(p).sum(-1).mean(-1)
        torch.testing.assert_close(means.entropy, want, rtol=0, atol=TOLERANCE)
        assert means.rows.tolist() == [p.shape[1]] * len(p)
    # Heads that spread evenly, or all alike, would make this easy.
    assert max(float((report[x].log_n - report[x].entropy).max()) for x in report) > 0.2
    assert max(float(report[x].entropy.std()) for x in report) > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("on", [True, False], ids=["fused", "written"])
@pytest.mark.parametrize("name", KINDS)
def test_entropies_are_those_of_weights_written_out(name, on, train):
    model, x = build(name).train(train), image(name)
    with Weights(fused(model, False)) as weights:
        model(x)
    plain = fused(model, on)(x)
    with record_attention(model, on_problem="raise") as report:
        recorded = model(x)
    assert torch.equal(recorded, plain) and len(report) == KINDS[name].layers
    check(report, weights.found)


@torch.no_grad()
@pytest.mark.parametrize("on", [True, False], ids=["fused", "written"])
@pytest.mark.parametrize("name", KINDS)
def test_in_half_precision_they_are_those_of_its_own_tensors(name, on):
    """What a model writes out in half precision is rounded to it, and those are its weights."""
    model, x = fused(build(name).bfloat16(), on), image(name, torch.bfloat16)
    with Weights(model) as weights:
        model(x)
    with record_attention(model, on_problem="raise") as report:
        model(x)
    check(report, weights.found)


@pytest.mark.parametrize("name", ["vit", "swin", "swin v2, cosines"])
def test_checkpoints_count_once(name):
    model, x = build(name).train().requires_grad_(True), image(name)
    with torch.no_grad(), Weights(fused(model, False)) as weights:
        model(x)
    fused(model, True).set_grad_checkpointing()
    with record_attention(model, on_problem="raise") as report:
        model(x).square().sum().backward()
    assert {report[layer].calls for layer in report} == {1}
    check(report, weights.found)


@torch.no_grad()
@pytest.mark.parametrize("name", ["vit", "swin"])
def test_what_is_compiled_runs_as_it_was_written(name):
    model, x = build(name), image(name)
    with Weights(fused(model, False)) as weights:
        model(x)
    compiled = torch.compile(fused(model, True), backend="eager")
    compiled(x)
    with record_attention(compiled, on_problem="raise") as report:
        compiled(x)
    assert not any("_orig_mod" in layer for layer in report)
    check(report, weights.found)


@torch.no_grad()
def test_heads_that_are_mixed_after_the_softmax_are_named():
    """What CaiT makes of its weights are none; those of its last layers are left as they are."""
    timm = importlib.import_module("timm")
    settings = PLAIN | dict(depth_token_only=1)
    model = zoo.sharpen(timm.create_model("cait_xxs24_224", **settings).requires_grad_(False)).eval()
    said = r"2 attention layers ran and were not seen \(blocks.0.attn, blocks.1.attn\)"
    with pytest.warns(AttentionWarning, match=said), record_attention(model) as report:
        model(torch.randn(1, 3, 32, 32))
    assert report.layers == ["blocks_token_only.0.attn"]
