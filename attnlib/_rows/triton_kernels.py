# mypy: ignore-errors
"""Triton's kernels behind ``impl='triton'``: output and statistics of rows in one pass, and back.

Imported only where that is asked for: triton is no dependency. A kernel's program takes a block of rows of
one head and passes over the blocks of keys that the band shows it. Logits are kept in bits, each row with its
largest so far, the sum of the weights 2^(s - largest), their mean and variance of s - largest, and the sum of
their squares. A block of keys merges into these as in :func:`attnlib._rows.tiles._merge`: nothing large is
subtracted, and a row that sees no key ends with 0 in each sum.

``settings`` are the factor of a product, which makes it an argument of tanh under a cap and else a logit in
bits; the cap in bits; the scale, by which gradients of q and k are multiplied; and the dtype's lowest number.
They are a tensor because a number would come in float32, and their dtype is the computing one. ``*_b, *_h,
*_n, *_c`` are strides of batch, head, place and column, 0 where a tensor is the same for all.

q, k and v may come in half precision, where the tensor cores form their products exactly and add them up in
float32. What has been computed is multiplied by them in parts (:func:`_times`), never rounded to their dtype.
"""

import triton
import triton.language as tl

_NOTHING = tl.constexpr(-1100.0)  # 2^-1100 is 0 in every dtype, and 0 times it is 0


@triton.jit
def _tanh(x):
    """The continued fraction near 0, where 1 - exp would cancel; both are exact to rounding at 1/2."""
    square = tl.minimum(x * x, 0.25)
    over = 135135.0 + square * (17325.0 + square * (378.0 + square))
    under = 135135.0 + square * (62370.0 + square * (3150.0 + square * 28.0))
    fall = tl.exp2(tl.abs(x) * -2.8853900817779268)
    far = (1.0 - fall) / (1.0 + fall)
    return tl.where(tl.abs(x) < 0.5, x * (over / under), tl.where(x < 0, -far, far))


@triton.jit
def _block(pointer, place, column, of_n, of_c, n, width):
    """Rows of a matrix by their places, 0 beyond its ends."""
    inside = (place < n)[:, None] & (column < width)[None, :]
    at = place.to(tl.int64)[:, None] * of_n + column[None, :] * of_c
    return tl.load(pointer + at, mask=inside, other=0.0)


@triton.jit
def _times(x, y):
    """x y for x in the computing dtype and y in that or a narrower one.

    bfloat16 has the range of float32: x is the sum of two of its numbers, to 2^-17 of its size, and so is y
    where it is wide. Of float16, which has not, the products are formed from three parts in tf32.
    """
    if y.dtype == tl.bfloat16:
        most = x.to(tl.bfloat16)
        rest = (x - most.to(x.dtype)).to(tl.bfloat16)
        return tl.dot(rest, y, out_dtype=x.dtype) + tl.dot(most, y, out_dtype=x.dtype)
    elif y.dtype == tl.float16:
        return tl.dot(x, y.to(x.dtype), input_precision="tf32x3", out_dtype=x.dtype)
    else:
        return tl.dot(x, y, input_precision="ieee", out_dtype=x.dtype)


@triton.jit
def _times_wide(x, y, like):
    """x y for both in the computing dtype, as exact as a product with ``like`` is."""
    if like.dtype == tl.bfloat16:
        most = y.to(tl.bfloat16)
        rest = (y - most.to(y.dtype)).to(tl.bfloat16)
        return tl.dot(x.to(tl.bfloat16), rest, out_dtype=x.dtype) + _times(x, most)
    elif like.dtype == tl.float16:
        return tl.dot(x, y, input_precision="tf32x3", out_dtype=x.dtype)
    else:
        return tl.dot(x, y, input_precision="ieee", out_dtype=x.dtype)


@triton.jit
def _logits(
    q,
    k,
    row,
    key,
    n_q,
    n_k,
    settings,
    bias,
    bias_n,
    bias_c,
    row_segments,
    row_segments_n,
    key_segments,
    key_segments_n,
    low,
    high,
    CAPPED: tl.constexpr,
    BIASED: tl.constexpr,
    IN_SEGMENTS: tl.constexpr,
    FROM_LOW: tl.constexpr,
    TO_HIGH: tl.constexpr,
):
    """(rows, keys) in bits, -inf where a key is hidden, and the slope of a capped logit."""
    factor = tl.load(settings)
    scores = tl.dot(q, tl.trans(k), input_precision="ieee", out_dtype=factor.dtype) * factor
    slope = tl.full(scores.shape, 1.0, scores.dtype)
    if CAPPED:
        bent = _tanh(scores)
        slope = 1.0 - bent * bent
        scores = bent * tl.load(settings + 1)
    visible = tl.broadcast_to((key < n_k)[None, :], scores.shape)
    if BIASED:
        inside = (row < n_q)[:, None] & (key < n_k)[None, :]
        at = bias + row.to(tl.int64)[:, None] * bias_n + key[None, :] * bias_c
        scores += tl.load(at, mask=inside, other=0.0) * 1.4426950408889634
    if FROM_LOW:
        visible = visible & (key[None, :] - row[:, None] >= low)
    if TO_HIGH:
        visible = visible & (key[None, :] - row[:, None] <= high)
    if IN_SEGMENTS:
        own = tl.load(row_segments + row.to(tl.int64) * row_segments_n, mask=row < n_q, other=0)
        other = tl.load(key_segments + key.to(tl.int64) * key_segments_n, mask=key < n_k, other=0)
        visible = visible & (own[:, None] == other[None, :])
    return tl.where(visible, scores, float("-inf")), slope


@triton.jit
def forward(
    q, q_b, q_h, q_n, q_c,
    k, k_b, k_h, k_n, k_c,
    v, v_b, v_h, v_n, v_c,
    bias, bias_b, bias_h, bias_n, bias_c,
    row_segments, row_segments_b, row_segments_h, row_segments_n,
    key_segments, key_segments_b, key_segments_h, key_segments_n,
    settings, sums, best, output,
    rows_in_all, heads, n_q, n_k, width, value_width, low, high,
    CAPPED: tl.constexpr, BIASED: tl.constexpr, IN_SEGMENTS: tl.constexpr,
    FROM_LOW: tl.constexpr, TO_HIGH: tl.constexpr,
    WITH_MOMENTS: tl.constexpr, WITH_OUTPUT: tl.constexpr, WITH_PLACE: tl.constexpr,
    ROWS: tl.constexpr, KEYS: tl.constexpr, COLUMNS: tl.constexpr, VALUE_COLUMNS: tl.constexpr,
):  # fmt: skip
    """``sums`` (5 or 3, B H Lq): largest, total, mean, [variance, squares]; ``best``: the largest's key."""
    blocks = tl.cdiv(n_q, ROWS)
    of_head = tl.program_id(0) // blocks
    start = tl.program_id(0) % blocks * ROWS
    b, h = (of_head // heads).to(tl.int64), (of_head % heads).to(tl.int64)
    q += b * q_b + h * q_h
    k += b * k_b + h * k_h
    v += b * v_b + h * v_h
    bias += b * bias_b + h * bias_h
    row_segments += b * row_segments_b + h * row_segments_h
    key_segments += b * key_segments_b + h * key_segments_h
    row = start + tl.arange(0, ROWS)
    column, value_column = tl.arange(0, COLUMNS), tl.arange(0, VALUE_COLUMNS)
    own = _block(q, row, column, q_n, q_c, n_q, width)

    dtype = settings.dtype.element_ty
    top = tl.zeros([ROWS], dtype) + tl.load(settings + 3)
    total = tl.zeros([ROWS], dtype)
    mean = tl.zeros([ROWS], dtype)
    variance = tl.zeros([ROWS], dtype)
    squares = tl.zeros([ROWS], dtype)
    place = tl.zeros([ROWS], tl.int32)
    weighted = tl.zeros([ROWS, VALUE_COLUMNS], dtype)
    first, end = 0, n_k
    if FROM_LOW:
        first = tl.maximum(start + low, 0) // KEYS * KEYS
    if TO_HIGH:
        end = tl.minimum(start + ROWS + high, n_k)
    for at in range(first, end, KEYS):
        key = at + tl.arange(0, KEYS)
        keys = _block(k, key, column, k_n, k_c, n_k, width)
        scores, _ = _logits(
            own, keys, row, key, n_q, n_k, settings, bias, bias_n, bias_c,
            row_segments, row_segments_n, key_segments, key_segments_n, low, high,
            CAPPED, BIASED, IN_SEGMENTS, FROM_LOW, TO_HIGH,
        )  # fmt: skip
        largest = tl.max(scores, axis=1)
        if WITH_PLACE:
            place = tl.where(largest > top, at + tl.argmax(scores, axis=1), place)
        new = tl.maximum(top, largest)
        fall = tl.maximum(top - new, _NOTHING)
        below = tl.maximum(scores - new[:, None], _NOTHING)
        weight = tl.exp2(below)
        found = tl.sum(weight, axis=1)
        centre = tl.sum(weight * below, axis=1) / tl.where(found > 0, found, 1.0)
        kept = tl.exp2(fall)
        old = total * kept
        total = old + found
        whole = tl.where(total > 0, total, 1.0)
        of_old, of_found = old / whole, found / whole
        if WITH_MOMENTS:
            apart = fall + mean - centre
            deviation = below - centre[:, None]
            own_variance = tl.sum(weight * deviation * deviation, axis=1) / tl.where(found > 0, found, 1.0)
            variance = of_old * variance + of_found * own_variance + of_old * of_found * apart * apart
            squares = squares * kept * kept + tl.sum(weight * weight, axis=1)
        mean = of_old * (fall + mean) + of_found * centre
        if WITH_OUTPUT:
            values = _block(v, key, value_column, v_n, v_c, n_k, value_width)
            weighted = weighted * kept[:, None] + _times(weight, values)
        top = new

    at = of_head.to(tl.int64) * n_q + row
    inside = row < n_q
    tl.store(sums + at, top, mask=inside)
    tl.store(sums + rows_in_all + at, total, mask=inside)
    tl.store(sums + 2 * rows_in_all + at, mean, mask=inside)
    if WITH_PLACE:
        tl.store(best + at, place, mask=inside)
    if WITH_MOMENTS:
        tl.store(sums + 3 * rows_in_all + at, variance, mask=inside)
        tl.store(sums + 4 * rows_in_all + at, squares, mask=inside)
    if WITH_OUTPUT:
        result = weighted / tl.where(total > 0, total, 1.0)[:, None]
        inside_output = inside[:, None] & (value_column < value_width)[None, :]
        tl.store(output + at[:, None] * value_width + value_column[None, :], result, mask=inside_output)


@triton.jit
def _term(terms, number, at, inside, rows_in_all):
    return tl.load(terms + number * rows_in_all + at, mask=inside, other=0.0)[:, None]


@triton.jit
def _weights_and_gradient(
    scores, terms, at, inside, rows_in_all, grad_output, values, WITH_OUTPUT: tl.constexpr
):  # fmt: skip
    """p, and the logits' gradient p (dO v + a + b x + c x^2 + e p), x being bits from the mean.

    ``terms`` (6, B H Lq): mean, e^-H, a, b, c, e. Rows beyond the last have e^-H = 0, and so p = 0.
    """
    x = tl.maximum(scores - _term(terms, 0, at, inside, rows_in_all), _NOTHING)
    p = tl.exp2(x) * _term(terms, 1, at, inside, rows_in_all)
    factor = _term(terms, 3, at, inside, rows_in_all) + x * _term(terms, 4, at, inside, rows_in_all)
    factor = _term(terms, 2, at, inside, rows_in_all) + x * factor
    factor += p * _term(terms, 5, at, inside, rows_in_all)
    if WITH_OUTPUT:
        factor += _times(grad_output, tl.trans(values))
    return p, p * factor


@triton.jit
def backward_of_rows(
    q, q_b, q_h, q_n, q_c,
    k, k_b, k_h, k_n, k_c,
    v, v_b, v_h, v_n, v_c,
    bias, bias_b, bias_h, bias_n, bias_c,
    row_segments, row_segments_b, row_segments_h, row_segments_n,
    key_segments, key_segments_b, key_segments_h, key_segments_n,
    settings, terms, grad_output, grad_q, grad_bias,
    grad_bias_b, grad_bias_h, grad_bias_n, grad_bias_c,
    rows_in_all, heads, n_q, n_k, width, value_width, low, high,
    CAPPED: tl.constexpr, BIASED: tl.constexpr, IN_SEGMENTS: tl.constexpr,
    FROM_LOW: tl.constexpr, TO_HIGH: tl.constexpr,
    WITH_OUTPUT: tl.constexpr, WITH_GRAD_BIAS: tl.constexpr,
    ROWS: tl.constexpr, KEYS: tl.constexpr, COLUMNS: tl.constexpr, VALUE_COLUMNS: tl.constexpr,
):  # fmt: skip
    """The gradient of a block of queries, and what its rows add to that of the bias."""
    blocks = tl.cdiv(n_q, ROWS)
    of_head = tl.program_id(0) // blocks
    start = tl.program_id(0) % blocks * ROWS
    b, h = (of_head // heads).to(tl.int64), (of_head % heads).to(tl.int64)
    q += b * q_b + h * q_h
    k += b * k_b + h * k_h
    v += b * v_b + h * v_h
    bias += b * bias_b + h * bias_h
    grad_bias += b * grad_bias_b + h * grad_bias_h
    row_segments += b * row_segments_b + h * row_segments_h
    key_segments += b * key_segments_b + h * key_segments_h
    grad_output += of_head.to(tl.int64) * n_q * value_width
    row = start + tl.arange(0, ROWS)
    column, value_column = tl.arange(0, COLUMNS), tl.arange(0, VALUE_COLUMNS)
    inside, place = row < n_q, of_head.to(tl.int64) * n_q + row
    own = _block(q, row, column, q_n, q_c, n_q, width)
    of_output = own
    if WITH_OUTPUT:
        of_output = _block(grad_output, row, value_column, value_width, 1, n_q, value_width)
    gathered = tl.zeros([ROWS, COLUMNS], settings.dtype.element_ty)
    first, end = 0, n_k
    if FROM_LOW:
        first = tl.maximum(start + low, 0) // KEYS * KEYS
    if TO_HIGH:
        end = tl.minimum(start + ROWS + high, n_k)
    for at in range(first, end, KEYS):
        key = at + tl.arange(0, KEYS)
        keys = _block(k, key, column, k_n, k_c, n_k, width)
        values = keys
        if WITH_OUTPUT:
            values = _block(v, key, value_column, v_n, v_c, n_k, value_width)
        scores, slope = _logits(
            own, keys, row, key, n_q, n_k, settings, bias, bias_n, bias_c,
            row_segments, row_segments_n, key_segments, key_segments_n, low, high,
            CAPPED, BIASED, IN_SEGMENTS, FROM_LOW, TO_HIGH,
        )  # fmt: skip
        _, gradient = _weights_and_gradient(
            scores, terms, place, inside, rows_in_all, of_output, values, WITH_OUTPUT
        )  # fmt: skip
        if WITH_GRAD_BIAS:
            # Rows, heads or keys that share an entry of the bias add to it in any order.
            to = grad_bias + row.to(tl.int64)[:, None] * grad_bias_n + key[None, :] * grad_bias_c
            tl.atomic_add(to, gradient, mask=inside[:, None] & (key < n_k)[None, :])
        gathered += _times(gradient * slope, keys)
    gathered *= tl.load(settings + 2)
    inside_q = inside[:, None] & (column < width)[None, :]
    tl.store(grad_q + place[:, None] * width + column[None, :], gathered, mask=inside_q)


@triton.jit
def backward_of_keys(
    q, q_b, q_h, q_n, q_c,
    k, k_b, k_h, k_n, k_c,
    v, v_b, v_h, v_n, v_c,
    bias, bias_b, bias_h, bias_n, bias_c,
    row_segments, row_segments_b, row_segments_h, row_segments_n,
    key_segments, key_segments_b, key_segments_h, key_segments_n,
    settings, terms, grad_output, grad_k, grad_v,
    rows_in_all, heads, n_q, n_k, width, value_width, low, high,
    CAPPED: tl.constexpr, BIASED: tl.constexpr, IN_SEGMENTS: tl.constexpr,
    FROM_LOW: tl.constexpr, TO_HIGH: tl.constexpr,
    WITH_OUTPUT: tl.constexpr,
    ROWS: tl.constexpr, KEYS: tl.constexpr, COLUMNS: tl.constexpr, VALUE_COLUMNS: tl.constexpr,
):  # fmt: skip
    """The gradients of a block of keys and of their values."""
    blocks = tl.cdiv(n_k, KEYS)
    of_head = tl.program_id(0) // blocks
    start = tl.program_id(0) % blocks * KEYS
    b, h = (of_head // heads).to(tl.int64), (of_head % heads).to(tl.int64)
    q += b * q_b + h * q_h
    k += b * k_b + h * k_h
    v += b * v_b + h * v_h
    bias += b * bias_b + h * bias_h
    row_segments += b * row_segments_b + h * row_segments_h
    key_segments += b * key_segments_b + h * key_segments_h
    grad_output += of_head.to(tl.int64) * n_q * value_width
    key = start + tl.arange(0, KEYS)
    column, value_column = tl.arange(0, COLUMNS), tl.arange(0, VALUE_COLUMNS)
    keys = _block(k, key, column, k_n, k_c, n_k, width)
    values = keys
    if WITH_OUTPUT:
        values = _block(v, key, value_column, v_n, v_c, n_k, value_width)
    gathered = tl.zeros([KEYS, COLUMNS], settings.dtype.element_ty)
    gathered_values = tl.zeros([KEYS, VALUE_COLUMNS], settings.dtype.element_ty)
    first, end = 0, n_q
    if TO_HIGH:
        first = tl.maximum(start - high, 0) // ROWS * ROWS
    if FROM_LOW:
        end = tl.minimum(start + KEYS - low, n_q)
    for at in range(first, end, ROWS):
        row = at + tl.arange(0, ROWS)
        inside, place = row < n_q, of_head.to(tl.int64) * n_q + row
        own = _block(q, row, column, q_n, q_c, n_q, width)
        of_output = own
        if WITH_OUTPUT:
            of_output = _block(grad_output, row, value_column, value_width, 1, n_q, value_width)
        scores, slope = _logits(
            own, keys, row, key, n_q, n_k, settings, bias, bias_n, bias_c,
            row_segments, row_segments_n, key_segments, key_segments_n, low, high,
            CAPPED, BIASED, IN_SEGMENTS, FROM_LOW, TO_HIGH,
        )  # fmt: skip
        p, gradient = _weights_and_gradient(
            scores, terms, place, inside, rows_in_all, of_output, values, WITH_OUTPUT
        )  # fmt: skip
        gathered += _times(tl.trans(gradient * slope), own)
        if WITH_OUTPUT:
            gathered_values += _times_wide(tl.trans(p), of_output, own)
    gathered *= tl.load(settings + 2)
    at_key = of_head.to(tl.int64) * n_k + key
    inside_k = (key < n_k)[:, None] & (column < width)[None, :]
    tl.store(grad_k + at_key[:, None] * width + column[None, :], gathered, mask=inside_k)
    if WITH_OUTPUT:
        inside_v = (key < n_k)[:, None] & (value_column < value_width)[None, :]
        tl.store(
            grad_v + at_key[:, None] * value_width + value_column[None, :], gathered_values, mask=inside_v
        )  # fmt: skip
