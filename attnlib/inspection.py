"""Look into the attention of a PyTorch model as it runs: entropy and sparsity of every head of every layer.

:func:`attnlib.record_attention` watches the calls a model makes and takes the statistics of their rows with
:func:`attnlib.row_statistics`, so that no n x n matrix is formed, whatever kernel the model itself runs on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from attnlib._implementations import Impl, at_least_float32
from attnlib.errors import InvalidArgument, NothingRecorded
from attnlib.rows import RowStatistics, convert, row_statistics

if TYPE_CHECKING:  # matplotlib is no requirement of attnlib
    from matplotlib.axes import Axes

__all__ = ["AttentionReport", "HeadStatistics", "record_attention"]

_SDPA = functional.scaled_dot_product_attention
_MULTIHEAD = functional.multi_head_attention_forward
_MULTIHEAD_SIGNATURE = inspect.signature(_MULTIHEAD)
See: TypeAlias = Callable[..., None]
_ROOT = "(model)"
_TITLES = {
    "entropy": "mean entropy (nats)",
    "effective_tokens": "mean effective tokens",
    "sparsity": "mean sparsity",
}


class HeadStatistics(NamedTuple):
    """Means over the rows of each head of one layer, float64 on the CPU.

    ``entropy`` is Shannon's and ``log_n`` that of rows spread evenly over the keys they see, both in nats;
    ``effective_tokens`` is 1 / sum p^2 and ``sparsity`` S*_{1,2}. ``rows`` counts the rows of a head that see
    a key, over which the means are taken (NaN if there are none), and ``calls`` the calls they come from.

    Shapes: each tensor (heads,); ``calls`` is an int.

    Source: U1-U4, U7.

    >>> import torch
    >>> attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = torch.zeros(1, 5, 8)
    >>> with record_attention(attention) as report:
    ...     output, weights = attention(x, x, x)
    >>> report["(model)"].effective_tokens.round()
    tensor([5., 5.], dtype=torch.float64)
    """

    entropy: Tensor
    log_n: Tensor
    effective_tokens: Tensor
    sparsity: Tensor
    rows: Tensor
    calls: int


class AttentionReport:
    """What :func:`record_attention` saw: ``report[layer]`` is the :class:`HeadStatistics` of one layer.

    ``layers`` lists the layers in the order of their first call. Printed, the report is a table with a line
    for each head; :meth:`to_dict` gives plain numbers and :meth:`plot` a figure. ``row_statistics`` maps a
    layer to the statistics of its single rows, one :class:`attnlib.RowStatistics` a call, if they were kept.
    Entropies are in nats; a layer that was not seen is a ``KeyError``.

    Shapes: every statistic of a layer (heads,).

    Source: U1-U4, U7.

    >>> import torch
    >>> attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = torch.zeros(1, 16, 8)
    >>> with record_attention(attention) as report:
    ...     output, weights = attention(x, x, x)
    >>> print(report)
    layer    head  entropy  log n  tokens  sparsity  rows
    (model)     0    2.773  2.773    16.0     1.000    16
    (model)     1    2.773  2.773    16.0     1.000    16
    """

    def __init__(self) -> None:
        self.row_statistics: dict[str, list[RowStatistics]] = {}
        self._tallies: dict[str, _Tally] = {}

    @property
    def layers(self) -> list[str]:
        """Paths in the model of the layers seen, in the order of their first call."""
        return list(self._tallies)

    def __getitem__(self, layer: str) -> HeadStatistics:
        return self._tallies[layer].means()

    def __len__(self) -> int:
        return len(self._tallies)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tallies)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Lists and numbers only, ready for JSON: layer to name of the statistic to one value a head."""
        return {
            layer: {
                name: value.tolist() if isinstance(value, Tensor) else value
                for name, value in self[layer]._asdict().items()
            }
            for layer in self
        }

    def __str__(self) -> str:
        table = [("layer", "head", "entropy", "log n", "tokens", "sparsity", "rows")]
        for layer in self:
            for head, (entropy, log_n, tokens, sparsity, rows) in enumerate(zip(*self[layer][:5])):
                table.append(
                    (
                        layer,
                        str(head),
                        f"{entropy:.3f}",
                        f"{log_n:.3f}",
                        f"{tokens:.1f}",
                        f"{sparsity:.3f}",
                        str(rows.item()),
                    )
                )
        widths = [max(map(len, column)) for column in zip(*table)]
        return "\n".join(
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in table
        )

    def plot(self, quantity: str = "entropy", *, ax: Axes | None = None) -> Axes:
        """A point for each head over the layers, with a bar where even attention would lie.

        Draws with matplotlib, which attnlib does not require.

        Args:
            quantity: ``"entropy"`` (nats), ``"effective_tokens"`` or ``"sparsity"``.
            ax: axes to draw into; None for axes of their own.

        Returns:
            The axes.

        Raises:
            InvalidArgument: another word for ``quantity``.
        """
        if quantity not in _TITLES:
            raise InvalidArgument(f"quantity must be one of {', '.join(_TITLES)}, got {quantity!r}")
        from matplotlib import pyplot

        if ax is None:
            _, ax = pyplot.subplots()
        for place, layer in enumerate(self):
            means = self[layer]
            heads = getattr(means, quantity)
            offsets = torch.linspace(-0.25, 0.25, len(heads)) if len(heads) > 1 else torch.zeros(1)
            ax.plot((place + offsets).tolist(), heads.tolist(), "o", color="C0", label=layer, zorder=3)
            if quantity == "entropy":
                even = means.log_n.nanmean().item()
                ax.plot([place - 0.4, place + 0.4], [even, even], "-", color="C1", label="log n")
        ax.set_xticks(range(len(self)), self.layers, rotation=30, ha="right", rotation_mode="anchor")
        ax.set_ylabel(_TITLES[quantity])
        ax.margins(y=0.1)
        ax.set_ylim(bottom=0)
        return ax


class _Tally:
    """Running sums of one layer."""

    def __init__(self, layer: str, heads: int):
        self.layer, self.heads, self.calls = layer, heads, 0
        self.sums = torch.zeros(4, heads, dtype=torch.float64)
        self.rows = torch.zeros(heads, dtype=torch.int64)

    def add(self, statistics: RowStatistics) -> None:
        lse = statistics.lse
        heads = lse.shape[-2] if lse.ndim > 1 else 1
        if heads != self.heads:
            raise InvalidArgument(
                f"{self.layer} attended with {self.heads} heads and now with {heads}: record them one by one"
            )
        by_head = (-1, heads, lse.shape[-1])
        sees_a_key = (lse > -torch.inf).reshape(by_head)
        values = (statistics.entropy, statistics.renyi[0.0], statistics.effective_tokens, statistics.sparsity)
        stacked = torch.stack([value.reshape(by_head) for value in values])
        self.sums = self.sums + stacked.masked_fill(~sees_a_key, 0).sum(dim=(1, -1)).cpu().double()
        self.rows = self.rows + sees_a_key.sum(dim=(0, -1)).cpu()
        self.calls += 1

    def means(self) -> HeadStatistics:
        entropy, log_n, tokens, sparsity = self.sums / self.rows
        return HeadStatistics(entropy, log_n, tokens, sparsity, self.rows, self.calls)


class _Watch(TorchFunctionMode):
    """Sees every call of torch's two attention functions, by whatever name the model knows them.

    While it is on, torch takes no fused path around them: ``nn.MultiheadAttention`` and
    ``nn.TransformerEncoderLayer`` leave theirs when a mode wants to see what they call.
    """

    def __init__(self, see: See):
        super().__init__()
        self.see = see

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is _SDPA:
            result = func(*args, **kwargs)
            self.see(*args, **kwargs)
            return result
        if func is _MULTIHEAD:
            return self._multihead(*args, **kwargs)
        return func(*args, **kwargs)

    def _multihead(self, *args: Any, **kwargs: Any) -> Any:
        """Run it as it is; where it writes its weights out, look at its queries and keys in a second run."""
        call = _MULTIHEAD_SIGNATURE.bind(*args, **kwargs)
        call.apply_defaults()
        if not call.arguments["need_weights"]:
            with self._inside():
                return _MULTIHEAD(*args, **kwargs)
        result = _MULTIHEAD(*args, **kwargs)
        call.arguments.update(need_weights=False, dropout_p=0.0)
        with torch.no_grad(), self._inside():
            _MULTIHEAD(*call.args, **call.kwargs)
        return result

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """A function that a mode handles runs without the mode; this lets us see the call it makes."""

        def seen(*args: Any, **kwargs: Any) -> Any:
            result = _SDPA(*args, **kwargs)
            self.see(*args, **kwargs)
            return result

        before = functional.scaled_dot_product_attention
        functional.scaled_dot_product_attention = seen
        try:
            yield
        finally:
            functional.scaled_dot_product_attention = before


@dataclass
class _Running:
    """A module that has been entered, and how often it has attended since."""

    module: torch.nn.Module
    name: str
    calls: int = 0


class _Where:
    """The path of the module that is running, kept by hooks; None while the model is not."""

    def __init__(self, model: torch.nn.Module):
        self.running: list[_Running] = []
        self.was_called = False
        self.handles: list[RemovableHandle] = []
        for name, module in model.named_modules():
            self.handles.append(module.register_forward_pre_hook(self._entering(name or _ROOT)))
            self.handles.append(module.register_forward_hook(self._leaving, always_call=True))

    def _entering(self, name: str) -> Callable[..., None]:
        def enter(module: torch.nn.Module, inputs: Any) -> None:
            self.was_called = True
            self.running.append(_Running(module, name))

        return enter

    def _leaving(self, module: torch.nn.Module, inputs: Any, output: Any) -> None:
        # After an error in another hook, a module is left that was never entered.
        if self.running and self.running[-1].module is module:
            self.running.pop()

    def name_call(self) -> str | None:
        if not self.running:
            return None
        at = self.running[-1]
        at.calls += 1
        return f"{at.name}[{at.calls - 1}]" if at.calls > 1 else at.name

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()


def _hide_what_underflows(attn_mask: Tensor | None) -> Tensor | None:
    """Turn entries near the dtype's lowest number, which many models mask with, into the -inf they mean."""
    if attn_mask is None or not attn_mask.dtype.is_floating_point:
        return attn_mask
    return attn_mask.masked_fill(attn_mask < torch.finfo(attn_mask.dtype).min / 2, -torch.inf)


@contextmanager
def record_attention(
    model: torch.nn.Module, *, keep_rows: bool = False, impl: Impl = "fused"
) -> Iterator[AttentionReport]:
    """Record the statistics of every attention row of ``model`` while the ``with`` block runs.

    Caught is what goes through ``torch.nn.functional.scaled_dot_product_attention``, under any name, and
    ``torch.nn.MultiheadAttention``, hence ``torch.nn.Transformer`` and its layers: queries and keys of shape
    (..., heads, n, d), with boolean and additive masks, ``is_causal``, ``scale`` and ``enable_gqa``. Layers
    are named by the path of the innermost module that was running; a module that attends more than once in
    one forward pass gives ``name``, ``name[1]`` and so on. Repeated calls of a layer are averaged together.

    Not caught is attention a model writes out itself or takes from another library (flash-attn, xformers,
    flex attention, an "eager" implementation), and calls made by other threads. If nothing was caught, the
    end of the block raises. Compiled and scripted models are refused: record the one they were made from.

    The model's outputs and gradients stay as they are, up to the rounding between torch's fast path for
    inference, which is off inside of the block, and its usual one. Statistics are those before dropout, taken
    without gradient and in float32 at least. Entries of an additive mask below half of the dtype's lowest
    number count as hidden. Rows that see no key are left out of the means.

    Args:
        model: any ``torch.nn.Module``; its hooks are removed at the end, whatever happens.
        keep_rows: keep the statistics of the single rows too, in ``report.row_statistics``; they are moved
            to the CPU and take 6 numbers a row. Without it, the report holds means over rows only.
        impl: how the statistics are computed, whatever the model runs: ``"fused"`` passes over tiles of the
            logits on a CPU and uses attention kernels on CUDA, ``"blockwise"`` writes rows out in blocks of
            bounded size, ``"reference"`` forms whole matrices in float64.

    Returns:
        A context manager that gives an :class:`AttentionReport`, which fills up as the model runs; entropies
        in nats.

    Raises:
        TypeError: ``model`` is not a ``torch.nn.Module``, or it or a part of it is compiled or scripted.
        NothingRecorded: the block ended without an error and no attention was caught.
        InvalidArgument: queries and keys that :func:`attnlib.row_statistics` refuses, such as those with NaN;
            nested tensors; a layer that changes its number of heads.

    Shapes: every statistic of a layer (heads,).

    Source: U1-U4, U7.

    >>> import torch
    >>> layer = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    >>> model = torch.nn.TransformerEncoder(layer, 2).eval()
    >>> with record_attention(model) as report:
    ...     output = model(torch.randn(3, 10, 16))
    >>> report.layers
    ['layers.0.self_attn', 'layers.1.self_attn']
    >>> bool((report["layers.1.self_attn"].entropy <= torch.tensor(10.0).log()).all())
    True
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    for name, module in model.named_modules():
        # torch.compile keeps the module it was given under this name; asking for its class loads a compiler.
        if hasattr(module, "_orig_mod") or isinstance(module, torch.jit.ScriptModule):
            raise TypeError(f"{name or 'model'} is compiled or scripted: record the module it was made from")
    report = AttentionReport()
    where = _Where(model)

    @torch.no_grad()
    def see(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> None:
        layer = where.name_call()
        if layer is None:
            return
        if query.is_nested or key.is_nested:
            raise InvalidArgument(f"{layer} attends over nested tensors, which cannot be recorded; pad them")
        wide = at_least_float32(query.dtype)  # row_statistics rounds to what it is given
        statistics = row_statistics(
            query.to(wide),
            key.to(wide),
            attn_mask=_hide_what_underflows(attn_mask),
            is_causal=is_causal,
            scale=scale,
            enable_gqa=enable_gqa,
            orders=(0.0, 2.0),
            impl=impl,
        )
        heads = statistics.lse.shape[-2] if statistics.lse.ndim > 1 else 1
        report._tallies.setdefault(layer, _Tally(layer, heads)).add(statistics)
        if keep_rows:
            kept = convert(statistics, lambda x: x.cpu())
            report.row_statistics.setdefault(layer, []).append(kept)

    try:
        with _Watch(see):
            yield report
    finally:
        where.remove()
    if not report:
        raise NothingRecorded(
            f"{type(model).__name__} ran, but none of its attention went through "
            "torch.nn.functional.scaled_dot_product_attention or torch.nn.MultiheadAttention; if it writes "
            "its attention out or is compiled, choose its 'sdpa' implementation or pass the uncompiled model"
            if where.was_called
            else f"{type(model).__name__} was not called inside of the block"
        )
