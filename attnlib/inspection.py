"""Look into the attention of a PyTorch model as it runs: entropy and sparsity of every head of every layer.

:func:`attnlib.record_attention` watches the calls a model makes and takes the statistics of their rows with
:func:`attnlib.row_statistics`, so that no n x n matrix is formed, whatever kernel the model itself runs on.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor

from attnlib._implementations import RECORD_IMPLS, RecordImpl
from attnlib._masks import causal_offset
from attnlib._recording.follow import Met, version
from attnlib._recording.place import Place, Whereabouts, alone, is_compiled
from attnlib._recording.reading import (
    bare,
    fold,
    hidden_everywhere,
    plain_mode,
    read_keys,
    read_met,
    read_modified,
    read_scores,
    received_from,
)
from attnlib._recording.watch import Watch
from attnlib._rows.engine import require
from attnlib._validate import one_of
from attnlib.errors import AttentionNotRecorded, AttentionWarning, InvalidArgument, NothingRecorded
from attnlib.report import KEPT, AttentionReport, HeadStatistics
from attnlib.rows import RowStatistics

__all__ = ["AttentionReport", "HeadStatistics", "record_attention", "record_batches"]


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> None:
    """The arguments of scaled_dot_product_attention, whose own signature Python cannot ask for."""


_VISIBLE = (
    "scaled_dot_product_attention, flex_attention, nn.MultiheadAttention, and a softmax over keys that is "
    "multiplied with values"
)
_SIGNATURE = inspect.signature(_attention)


class _Recording:
    """Puts the calls that a :class:`Watch` sees into a report. Nothing here may reach the model."""

    def __init__(
        self, report: AttentionReport, where: Whereabouts, query_mask: Tensor | None, impl: RecordImpl
    ) -> None:
        self.report, self.where, self.query_mask, self.impl = report, where, query_mask, impl
        self.problems: dict[str, int] = {}

    def note(self, problem: str) -> None:
        self.problems[problem] = self.problems.get(problem, 0) + 1

    def look(self, read: Callable[[], Any], layer: str = "a layer") -> Any:
        """The result of ``read``; what keeps it from being had is noted, and the model goes on."""
        try:
            return read()
        except torch.OutOfMemoryError as error:
            self.note(f"{layer}: no memory was left to look at it ({error})")
        except Exception as error:  # whatever it is, it is no reason to stop somebody's training
            self.note(f"{layer}: {error}" if isinstance(error, ValueError) else f"{layer}: {error!r}")
        return None

    def _at(self, frame: FrameType | None, read: Callable[[Place], None]) -> None:
        """Read a call of the model; others are passed over."""
        place = self.look(lambda: self.where.find(frame))
        if place is not None:
            self.look(lambda: read(place), place.layer)

    def scores(self, frame: FrameType | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._at(frame, lambda place: self._scores(place, args, kwargs))

    def _scores(self, place: Place, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = _SIGNATURE.bind(*args, **kwargs)
        call.apply_defaults()
        q, k, mask, is_causal, scale, gqa = (
            bare(call.arguments[name])
            for name in ("query", "key", "attn_mask", "is_causal", "scale", "enable_gqa")
        )
        with plain_mode(q.device):
            statistics = fold(read_scores(q, k, mask, is_causal, scale, gqa, self.impl), place.heads)
            hidden = None
            n_q, n_k = statistics.lse.shape[-1], k.shape[-2]
            plain = mask is not None and causal_offset(mask, q.shape[-2], k.shape[-2]) is None
            if plain and n_q == n_k and alone(place.running):
                hidden = hidden_everywhere(mask, n_k)
            real = self._real(place, statistics, hidden)
            received = None
            if "keys" in self.report.keep:
                received = read_keys(q, k, mask, is_causal, scale, gqa, real, place.heads)
            self._file(place, statistics, real, received)

    def modified(self, frame: FrameType | None, arguments: dict[str, Any]) -> None:
        self._at(frame, lambda place: self._modified(place, **arguments))

    def _modified(
        self,
        place: Place,
        query: Tensor,
        key: Tensor,
        score_mod: Callable[..., Tensor] | None,
        block_mask: Any,
        scale: float | None,
        sink: Tensor | None,
    ) -> None:
        if sink is not None:
            raise InvalidArgument(
                "flex_attention with a sink outside of it; choose the 'eager' implementation"
            )
        with plain_mode(query.device):
            statistics = fold(
                read_modified(bare(query), bare(key), score_mod, block_mask, scale), place.heads
            )
            self._file(place, statistics, self._real(place, statistics), None)
            if "keys" in self.report.keep:
                raise InvalidArgument("the weight that keys receive is not recorded of flex_attention")

    def written(self, frame: FrameType | None, met: Met) -> None:
        self._at(frame, lambda place: self._written(place, met))

    def _written(self, place: Place, met: Met) -> None:
        weights, before, logits = met.written
        if version(weights) != before:
            raise InvalidArgument("the model has changed its weights in place")
        with plain_mode(weights.device):
            p, columns = bare(weights), met.columns
            statistics = fold(read_met(p, logits and tuple(map(bare, logits)), columns), place.heads)
            real, received = self._real(place, statistics), None
            if "keys" in self.report.keep:
                p = p[..., columns]
                received = received_from(p.reshape(*statistics.lse.shape, p.shape[-1]), real)
            self._file(place, statistics, real, received)

    def _real(self, place: Place, statistics: RowStatistics, hidden: Tensor | None = None) -> Tensor | None:
        """True (batch, n) at rows of real tokens; None where all are."""
        batch, _, n_q = statistics.lse.shape
        real = self.query_mask
        if real is None or real.shape != (batch, n_q):
            real = place.real_rows(batch, n_q)
        if real is None and hidden is not None:
            real = ~hidden.expand(batch, -1)
        return real

    def _file(
        self, place: Place, statistics: RowStatistics, real: Tensor | None, received: Tensor | None
    ) -> None:
        batch, _, n_q = statistics.lse.shape
        self.report.add(place.layer, statistics, real, place.positions(batch, n_q), received)


def _advice(model: torch.nn.Module, names: list[str]) -> str:
    """What to do about attention that is not seen, by what the model offers."""
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    start = f"{len(names)} attention layers ran and were not seen ({listed})"
    if hasattr(model, "set_attn_implementation"):
        way = "sdpa" if getattr(model, "_supports_sdpa", False) else "eager"
        return f"{start}: call model.set_attn_implementation({way!r}), which can be seen"
    return f"{start}: {_VISIBLE} can be seen, and other weights be fed in by report.add_weights"


def _check(
    model: object, query_mask: object, keep: Iterable[str], on_problem: str, impl: str
) -> tuple[str, ...]:
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise TypeError(f"{name or 'model'} is scripted: record the module it was made from")
    if query_mask is not None:
        if not isinstance(query_mask, Tensor) or query_mask.is_floating_point():
            kind = query_mask.dtype if isinstance(query_mask, Tensor) else type(query_mask).__name__
            raise TypeError(f"query_mask must be a tensor of booleans or integers, got {kind}")
        if query_mask.ndim != 2:
            raise InvalidArgument(f"query_mask must have shape (batch, n), got {tuple(query_mask.shape)}")
    if isinstance(keep, str):
        raise TypeError(f"keep must be a tuple of words, got the string {keep!r}")
    listed = tuple(keep)
    for word in listed:
        one_of("keep", word, KEPT)
    one_of("on_problem", on_problem, ("warn", "raise"))
    one_of("impl", impl, RECORD_IMPLS)
    # The device of a call is not known before; what is missing on this machine is.
    require(impl, torch.device("cpu"))
    return listed


@contextmanager
def _uncompiled(model: torch.nn.Module) -> Iterator[None]:
    """Run what torch.compile has made of a model as it was written: compiled code calls nothing to be
    seen."""
    if not any(map(is_compiled, model.modules())):
        yield
        return
    with warnings.catch_warnings(), torch.compiler.set_stance("force_eager"):
        # The recorder's hooks fire once more for what wraps a compiled module, which does no harm.
        warnings.filterwarnings("ignore", "Using `torch.compile.module.` when there are global hooks")
        yield


@contextmanager
def record_attention(
    model: torch.nn.Module,
    *,
    query_mask: Tensor | None = None,
    keep: Iterable[str] = (),
    on_problem: Literal["warn", "raise"] = "warn",
    impl: RecordImpl = "fused",
) -> Iterator[AttentionReport]:
    """Record the statistics of every attention row of ``model`` while the ``with`` block runs.

    Seen are, under any name: ``scaled_dot_product_attention`` with boolean, additive and ``CausalBias``
    masks, ``is_causal``, ``scale``, ``enable_gqa`` and nested tensors; ``torch.nn.MultiheadAttention``, hence
    ``torch.nn.Transformer`` and its layers; ``flex_attention``; and attention that a model writes out, as
    "eager" implementations do: a softmax over the last dimension whose result is multiplied with values. What
    a model makes of it before, such as a mixture, counts where it is still a set of shares, and else is a
    problem. Nothing more is written out than the model does. An attention module that ran and was not seen is
    named as a problem. Layers are named by the path of the innermost module that was running; a module that
    attends more than once in one forward pass gives ``name``, ``name[1]`` and so on, one that changes its
    number of heads ``name (8 heads)``. Repeated calls of a layer are averaged together. Backward passes are
    not seen, so that what a checkpoint computes again in one does not count twice.

    Rows of padding do not count: those that ``query_mask`` leaves out, or else those that the 2-d mask of the
    nearest module around the call leaves out (``attention_mask`` of transformers, ``key_padding_mask`` of
    PyTorch, ``mask`` of x-transformers, which is True at real tokens; one as high as wide is of rows and keys
    if its diagonal hides nothing), or, where a module attends over its one input, those whose key is hidden
    from every row. Neither do rows that see no key. An entry of an additive mask of -1e4 or less hides its
    key.

    The model stays as it is, in its outputs and gradients up to the rounding between torch's fast path for
    inference, which is off inside of the block, and its usual one; it holds no hook and may be copied,
    pickled and saved. Where ``torch.compile`` has made it or a part of it, all that is compiled in the
    process runs as it was written inside of the block. What cannot be read (NaN, an empty batch) never stops
    it: the report says so, and one warning at the end of the block. Calls are seen in the thread that opened
    the block, under vmap and grad too. Statistics are those before dropout, taken without gradient and in
    float32 at least.

    Args:
        model: any ``torch.nn.Module``.
        query_mask: (batch, n), True or non-zero at rows of real tokens, for calls of this batch and length.
        keep: what to keep beside the means: ``"rows"``, the statistics of every row in
            ``report.row_statistics``, on the CPU; ``"positions"`` and ``"steps"``, means for
            ``report.by_position`` and ``report.by_step``; ``"keys"``, the weight that keys receive, for
            ``report.received``, at the price of a second pass.
        on_problem: ``"warn"`` once, or ``"raise"``, at the end of the block, where something was not
            recorded.
        impl: how the statistics are computed, whatever the model runs: ``"fused"`` passes over tiles of the
            logits on a CPU and uses attention kernels on CUDA, ``"compiled"`` is a kernel for CPUs that is
            built where it is first asked for, by the C++ compiler of this machine, ``"blockwise"`` writes
            rows out in blocks of bounded size, ``"reference"`` forms whole matrices in float64.

    Returns:
        A context manager that gives an :class:`AttentionReport`, which fills up as the model runs; entropies
        in nats.

    Raises:
        TypeError: an argument of the wrong type, or ``model`` or a part of it is scripted.
        InvalidArgument: another word for ``keep``, ``on_problem`` or ``impl``, or a ``query_mask`` that is
            not 2-d.
        EngineNotAvailable: ``"compiled"`` without a C++ compiler that builds it.
        NothingRecorded: the block ended without an error and ``model`` was not called in it; with
            ``on_problem="raise"`` also if nothing was recorded.
        AttentionNotRecorded: with ``on_problem="raise"``, something was not recorded.

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
    report = AttentionReport(_check(model, query_mask, keep, on_problem, impl))
    where = Whereabouts(model)
    real = None if query_mask is None else query_mask != 0
    recording = _Recording(report, where, real, impl)
    try:
        with _uncompiled(model), Watch(recording):
            yield report
    finally:
        where.close()
        times = {
            problem: f" ({count} times)" if count > 1 else "" for problem, count in recording.problems.items()
        }
        report.problems += [problem + count for problem, count in times.items()]
    if not where.ran and not report:
        raise NothingRecorded(
            f"{type(model).__name__} was not called inside of the block, or in another thread than opened "
            "it; of a compiled model, record what torch.compile returned"
        )
    tried = [problem.partition(": ")[0] for problem in recording.problems]
    unseen = where.unseen([*report.layers, *tried])
    if unseen:
        report.problems.append(_advice(model, unseen))
    elif not report and not report.problems:
        report.problems.append(
            f"{type(model).__name__} ran, and nothing of its attention was seen: {_VISIBLE} can be"
        )
    if report.problems:
        text = "attention was not recorded in full: " + "; ".join(report.problems)
        if on_problem == "raise":
            raise (AttentionNotRecorded if report else NothingRecorded)(text)
        warnings.warn(text, AttentionWarning, stacklevel=3)


def record_batches(
    model: torch.nn.Module,
    batches: Iterable[Any],
    *,
    progress: Callable[[int, AttentionReport], None] | None = None,
    keep: Iterable[str] = (),
    on_problem: Literal["warn", "raise"] = "warn",
    impl: RecordImpl = "fused",
) -> AttentionReport:
    """Record a model over many batches, without gradients and dropout: one report for a whole corpus.

    Args:
        model: any ``torch.nn.Module``; its training modes are put back at the end.
        batches: what the model is called with, one after the other: a mapping by name, a tuple or list by
            position, anything else as the one argument.
        progress: called after every batch with the number of batches done and the report so far.
        keep: what to keep beside the means: ``"rows"``, ``"positions"``, ``"steps"``, ``"keys"``.
        on_problem: ``"warn"`` once, or ``"raise"``, at the end, where something was not recorded.
        impl: how the statistics are computed: ``"fused"``, ``"compiled"``, ``"blockwise"`` or
            ``"reference"``.

    Returns:
        The :class:`AttentionReport`; entropies in nats.

    Raises:
        TypeError: an argument of the wrong type, or ``model`` or a part of it is scripted.
        InvalidArgument: another word for ``keep``, ``on_problem`` or ``impl``.
        EngineNotAvailable: ``"compiled"`` without a C++ compiler that builds it.
        NothingRecorded: there was no batch; with ``on_problem="raise"`` also if nothing was recorded.
        AttentionNotRecorded: with ``on_problem="raise"``, something was not recorded.

    Shapes: every statistic of a layer (heads,).

    Source: U1-U4, U7.

    >>> import torch
    >>> layer = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    >>> corpus = [torch.randn(3, n, 16) for n in (10, 20)]
    >>> report = record_batches(torch.nn.TransformerEncoder(layer, 2), corpus)
    >>> report["layers.0.self_attn"].rows
    tensor([90, 90, 90, 90])
    """
    with record_attention(model, keep=keep, on_problem=on_problem, impl=impl) as report:
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        try:
            with torch.no_grad():
                for done, batch in enumerate(batches, 1):
                    if isinstance(batch, Mapping):
                        model(**batch)
                    elif isinstance(batch, (tuple, list)):
                        model(*batch)
                    else:
                        model(batch)
                    if progress is not None:
                        progress(done, report)
        finally:
            for module, mode in modes:
                module.training = mode
    return report
