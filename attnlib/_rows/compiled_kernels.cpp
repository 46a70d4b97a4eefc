// The kernels behind impl="compiled": output and statistics of rows from one pass over the keys, and back.
//
// attnlib compiles this file where it is first asked for, for the processor that it runs on; it needs a C++17
// compiler of GCC's family (vector extensions) and no header of Python or PyTorch.
//
// Lanes of a vector are rows. A strip of ROWS rows, two vectors wide, passes over blocks of KEYS keys: the
// logits of a block lie as (keys, rows), so that every sum over keys is a sum of vectors, and nothing is added
// up across lanes. All matrix products are one kernel (`times`): a register tile of MOST by two vectors.
//
// Logits are kept in bits, each row with its largest so far. Of a block come the sum of the weights
// w = 2^(s - largest), of w x with x = s - largest, of w (x - mean)^2 with the block's own mean, and of w^2; they
// merge in double precision into those of the row as in tiles.py: nothing large is subtracted.
//
// The backward pass makes the logits of a block again, and of them dS = p (a + b x + c x^2 + e p + dO.v) with
// x = s - mean; the gradients of queries and keys are its products with keys and queries.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <utility>
#ifndef _OPENMP
#include <atomic>
#include <thread>
#include <vector>
#endif
#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int BYTES = 64, MOST = 12;
#elif defined(__AVX__)
constexpr int BYTES = 32, MOST = 6;
#else
constexpr int BYTES = 16, MOST = 6;
#endif

#define INLINE inline __attribute__((always_inline))

template <class T> struct Kind;
template <> struct Kind<float> {
    using Int = int32_t;
    typedef float V __attribute__((vector_size(BYTES), may_alias));
    typedef int32_t I __attribute__((vector_size(BYTES), may_alias));
    // 1.5 * 2^23 brings an integer into the lowest bits of a sum; the exponent's bias is added on the way.
    static constexpr float TO_BITS = 12582912.0f + 127.0f;
    static constexpr float NOTHING = -127.0f;  // 2^-127, of which `exp2_of` makes 0
    static constexpr int MANTISSA = 23;
};
template <> struct Kind<double> {
    using Int = int64_t;
    typedef double V __attribute__((vector_size(BYTES), may_alias));
    typedef int64_t I __attribute__((vector_size(BYTES), may_alias));
    static constexpr double TO_BITS = 6755399441055744.0 + 1023.0;
    static constexpr double NOTHING = -1023.0;
    static constexpr int MANTISSA = 52;
};

template <class T> using V = typename Kind<T>::V;
template <class T> constexpr int W = BYTES / sizeof(T);
template <class T> constexpr int ROWS = 2 * W<T>;
constexpr int KEYS = 96;
constexpr int STRIPS = 4;   // strips that share a block of keys while it is in the cache
constexpr int CHUNK = 64;   // columns of queries, keys and values at a time

template <class T> INLINE V<T> load(const T* x) { return *reinterpret_cast<const V<T>*>(x); }
template <class T> INLINE void store(T* x, V<T> y) { *reinterpret_cast<V<T>*>(x) = y; }
template <class T> INLINE V<T> load_anywhere(const T* x) {
    V<T> y;
    std::memcpy(&y, x, BYTES);
    return y;
}
template <class T> INLINE V<T> all(T x) { return x - V<T>{}; }

// The larger of each, `x` where one of them is not a number: a logit that overflowed is not to be lost.
#if defined(__AVX512F__)
INLINE V<float> larger(V<float> least, V<float> x) { return (V<float>)_mm512_max_ps((__m512)least, (__m512)x); }
INLINE V<double> larger(V<double> least, V<double> x) {
    return (V<double>)_mm512_max_pd((__m512d)least, (__m512d)x);
}
#elif defined(__AVX__)
INLINE V<float> larger(V<float> least, V<float> x) { return (V<float>)_mm256_max_ps((__m256)least, (__m256)x); }
INLINE V<double> larger(V<double> least, V<double> x) {
    return (V<double>)_mm256_max_pd((__m256d)least, (__m256d)x);
}
#else
INLINE V<float> larger(V<float> least, V<float> x) { return least > x ? least : x; }
INLINE V<double> larger(V<double> least, V<double> x) { return least > x ? least : x; }
#endif

// 2^x for NOTHING <= x < 100; 1 at 0 and 0 at NOTHING exactly. Of 2^f = 1 + f p(f), |f| <= 1/2, p is p's interpolant
// at Chebyshev's nodes: off by 5.1e-9 of 2^f in single and by 1.2e-19 in double precision, before rounding.
template <class T> INLINE V<T> finish_exp2(V<T> x, V<T> p, V<T> shifted) {
    typename Kind<T>::I power = (typename Kind<T>::I)shifted << Kind<T>::MANTISSA;
    return (1 + x * p) * (V<T>)power;
}
INLINE V<float> exp2_of(V<float> x) {
    V<float> shifted = x + Kind<float>::TO_BITS;
    V<float> f = x - (shifted - Kind<float>::TO_BITS);
    V<float> p = 1.5453162945120690e-4f * f + 1.3390863366671234e-3f;
    p = p * f + 9.6180825572778514913e-3f;
    p = p * f + 5.5503571142190778e-2f;
    p = p * f + 2.4022650760568127e-1f;
    p = p * f + 6.9314718802622879e-1f;
    return finish_exp2<float>(f, p, shifted);
}
INLINE V<double> exp2_of(V<double> x) {
    constexpr double C[] = {
        6.9314718055994530925e-1, 2.4022650695910071233e-1, 5.5504108664821627039e-2, 9.6181291076284794928e-3,
        1.3333558146406470697e-3, 1.5403530393370733411e-4, 1.5252733841556772589e-5, 1.3215486808705562790e-6,
        1.0178057087733941105e-7, 7.0548973041554992774e-9, 4.4558179083360644930e-10, 2.5729324177362304214e-11};
    V<double> shifted = x + Kind<double>::TO_BITS;
    V<double> f = x - (shifted - Kind<double>::TO_BITS);
    V<double> p = all(C[11]);
    for (int i = 10; i >= 0; --i) p = p * f + C[i];
    return finish_exp2<double>(f, p, shifted);
}
template <class T> INLINE V<T> exp2_clamped(V<T> x) { return exp2_of(larger(all(Kind<T>::NOTHING), x)); }

// log2 of normal numbers: that of the mantissa in [sqrt(1/2), sqrt(2)) is 2 artanh(s) / ln 2, whose series in
// s^2 <= 0.0295 ends below 2^-60.
INLINE V<double> log2_of(V<double> x) {
    using I = Kind<double>::I;
    I bits = (I)x, up = (bits - 0x3fe6a09e667f3bcdLL) >> 52;
    V<double> m = (V<double>)(bits - (up << 52));
    V<double> s = (m - 1) / (m + 1), square = s * s, sum = all(1.0 / 23);
    for (int i = 21; i > 0; i -= 2) sum = sum * square + 1.0 / i;
    V<double> power;
    for (int i = 0; i < W<double>; ++i) power[i] = (double)up[i];
    V<double> result = power + s * sum * 2.8853900817779268147;
    return x == x ? result : x;
}

// tanh: the continued fraction near 0, where 1 - 2^x would cancel; both are exact to rounding at 1/2.
template <class T> INLINE V<T> tanh_of(V<T> x) {
    V<T> size = x < 0 ? -x : x, square = x * x, quarter = all<T>(0.25);
    square = square > quarter ? quarter : square;
    V<T> over = 135135 + square * (17325 + square * (378 + square));
    V<T> under = 135135 + square * (62370 + square * (3150 + square * 28));
    V<T> fall = exp2_clamped<T>(size * (T)-2.8853900817779268147);
    V<T> far = (1 - fall) / (1 + fall);
    return size < (T)0.5 ? x * (over / under) : (x < 0 ? -far : far);
}

template <class T> INLINE V<double> widen(const T* x) {
    V<double> y;
    for (int i = 0; i < W<double>; ++i) y[i] = x[i];
    return y;
}
template <class T> INLINE void narrow(T* to, V<double> x) {
    for (int i = 0; i < W<double>; ++i) to[i] = (T)x[i];
}

// ---------------------------------------------------------------------------------------------- transposition

template <class T, int STEP, bool HIGH, int... L> INLINE V<T> mixed(V<T> a, V<T> b, std::integer_sequence<int, L...>) {
    // Lanes whose bit STEP is 0 come from a and the others from b, both from their half `HIGH`.
#if defined(__clang__)
    return __builtin_shufflevector(a, b, (((L & STEP) ? W<T> : 0) + ((L & ~STEP) | (HIGH ? STEP : 0)))...);
#else
    typename Kind<T>::I from = {(((L & STEP) ? W<T> : 0) + ((L & ~STEP) | (HIGH ? STEP : 0)))...};
    return __builtin_shuffle(a, b, from);
#endif
}
template <class T, int STEP> INLINE void stage(V<T>* x) {
    using Lanes = std::make_integer_sequence<int, W<T>>;
    for (int i = 0; i < W<T>; ++i)
        if (!(i & STEP)) {
            V<T> a = x[i], b = x[i + STEP];
            x[i] = mixed<T, STEP, false>(a, b, Lanes());
            x[i + STEP] = mixed<T, STEP, true>(a, b, Lanes());
        }
}

// to[j of_to + i] = from[i of_from + j across]
template <class T>
void transpose(T* to, int64_t of_to, const T* from, int64_t of_from, int64_t across, int64_t rows, int64_t columns) {
    constexpr int w = W<T>;
    int64_t whole_rows = across == 1 ? rows / w * w : 0, whole_columns = columns / w * w;
    for (int64_t i = 0; i < whole_rows; i += w)
        for (int64_t j = 0; j < whole_columns; j += w) {
            V<T> x[w];
            for (int l = 0; l < w; ++l) x[l] = load_anywhere(from + (i + l) * of_from + j);
            stage<T, 1>(x);
            if constexpr (w > 2) stage<T, 2>(x);
            if constexpr (w > 4) stage<T, 4>(x);
            if constexpr (w > 8) stage<T, 8>(x);
            for (int l = 0; l < w; ++l) std::memcpy(to + (j + l) * of_to + i, &x[l], BYTES);
        }
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = i < whole_rows ? whole_columns : 0; j < columns; ++j)
            to[j * of_to + i] = from[i * of_from + j * across];
}

// -------------------------------------------------------------------------------------------- matrix products

template <class T> struct Pair { V<T> left, right; };

template <class T, int N, int ACROSS, int ALONG, int OF_B, class Start, class Finish>
INLINE void tile(int64_t i, int64_t count, const T* a, const T* b, Start start, Finish finish) {
    V<T> left[N], right[N];
    for (int n = 0; n < N; ++n) {
        Pair<T> from = start(i + n);
        left[n] = from.left, right[n] = from.right;
    }
    a += i * ACROSS;
    for (int64_t t = 0; t < count; ++t, a += ALONG, b += OF_B) {
        V<T> b0 = load(b), b1 = load(b + W<T>);
        for (int n = 0; n < N; ++n) {
            V<T> x = all(a[n * ACROSS]);
            left[n] += x * b0, right[n] += x * b1;
        }
    }
    for (int n = 0; n < N; ++n) finish(i + n, Pair<T>{left[n], right[n]});
}

// finish(i, start(i) + sum_t a[i ACROSS + t ALONG] b[t OF_B + lanes]) for i < rows, lanes of two vectors.
template <class T, int ACROSS, int ALONG, int OF_B, class Start, class Finish>
INLINE void times(int64_t rows, int64_t count, const T* a, const T* b, Start start, Finish finish) {
    int64_t i = 0;
    for (; i + MOST <= rows; i += MOST) tile<T, MOST, ACROSS, ALONG, OF_B>(i, count, a, b, start, finish);
    if constexpr (MOST > 8)
        if (i + 8 <= rows) tile<T, 8, ACROSS, ALONG, OF_B>(i, count, a, b, start, finish), i += 8;
    if (i + 4 <= rows) tile<T, 4, ACROSS, ALONG, OF_B>(i, count, a, b, start, finish), i += 4;
    if (i + 2 <= rows) tile<T, 2, ACROSS, ALONG, OF_B>(i, count, a, b, start, finish), i += 2;
    if (i < rows) tile<T, 1, ACROSS, ALONG, OF_B>(i, count, a, b, start, finish);
}

// ------------------------------------------------------------------------------------------------- the caller

// As compiled.py lays it out; strides are in entries, of batch, head, place and column.
struct Call {
    const void *q, *k, *v, *bias;
    const int64_t *row_segments, *key_segments;
    int64_t of_q[4], of_k[4], of_v[4], of_bias[4], of_rows[3], of_keys[3];
    int64_t batch, heads, n_q, n_k, width, value_width;
    int64_t from_low, low, to_high, high;
    int64_t capped;
    double factor, cap;  // logits in bits: factor q.k, or cap tanh(factor q.k)
    int64_t with_moments, with_output, threads;
    // (B, H, Lq) each, of the results in the order of compiled.py, and (B, H, Lq, dv)
    void *lse, *entropy, *largest, *varentropy, *renyi, *output, *mean, *exact_renyi, *log_total;
    // Of the backward pass: a, b, c and e of each row or null, the gradient of the output or null, and the
    // gradients to fill. Those of keys and values have a tensor for each of `splits` shares of the rows.
    const void *constant, *linear, *square, *own, *grad_output;
    void *grad_q, *grad_k, *grad_v, *grad_bias;
    int64_t of_grad_bias[4], split_of_grad_bias;
    int64_t splits, unit_batch, unit_heads;  // heads that add to the same entries of a bias are one unit
    double scale;
};

template <class Work> void in_parallel(int64_t tasks, int64_t threads, const Work& work) {
    // `work(next)` runs tasks for as long as next(i) finds one; a thread keeps its memory for all of them.
    if (threads > tasks) threads = tasks;
#ifdef _OPENMP
    int64_t taken = 0;
#pragma omp parallel num_threads((int)threads)
    work([&](int64_t& i) {
#pragma omp atomic capture
        i = taken++;
        return i < tasks;
    });
#else
    std::atomic<int64_t> taken{0};
    auto next = [&](int64_t& i) { return (i = taken++) < tasks; };
    std::vector<std::thread> others;
    for (int64_t i = 1; i < threads; ++i) others.emplace_back([&] { work(next); });
    work(next);
    for (auto& other : others) other.join();
#endif
}

// Memory of a thread, aligned for vectors. A call that finds none raises in its own thread: see `Arena::ok`.
class Arena {
    char* start = nullptr;
    size_t used = 0;

public:
    template <class T> T* take(int64_t entries) {
        T* part = start ? reinterpret_cast<T*>(start + used) : nullptr;
        used += (entries * sizeof(T) + 63) / 64 * 64;
        return part;
    }
    // Called first without memory, to measure, then again with it.
    bool provide() {
        void* whole = std::malloc(used + 64);
        if (!whole) return false;
        owned.reset(static_cast<char*>(whole));
        start = owned.get() + (64 - reinterpret_cast<uintptr_t>(whole) % 64) % 64;
        used = 0;
        return true;
    }

private:
    struct Free { void operator()(char* x) const { std::free(x); } };
    std::unique_ptr<char, Free> owned;
};

INLINE int64_t chunks(int64_t width) { return (width + CHUNK - 1) / CHUNK; }
INLINE int64_t smaller(int64_t x, int64_t y) { return x < y ? x : y; }
INLINE int64_t greater(int64_t x, int64_t y) { return x > y ? x : y; }

// What forward and backward pass have in common: strips of queries, blocks of keys, and their logits.
template <class T> struct Strips {
    static constexpr int R = ROWS<T>, w = W<T>;
    static constexpr T INF = std::numeric_limits<T>::infinity();
    const Call& call;
    T *queries, *keys, *values, *scores, *added, *of_keys;
    const T *q_head, *k_head, *v_head, *bias_head;
    const int64_t *rows_head, *keys_head;
    int64_t b, h, row_start, row_end, key_start, key_count;
    bool key_biased, key_hidden;

    explicit Strips(const Call& c) : call(c) {}

    void lay_out(Arena& arena, int64_t columns, int64_t value_columns) {
        queries = arena.take<T>(STRIPS * columns * R);
        keys = arena.take<T>(chunks(columns) * KEYS * CHUNK);
        values = arena.take<T>(chunks(value_columns) * KEYS * CHUNK);
        scores = arena.take<T>(KEYS * R);
        added = arena.take<T>(KEYS * R);
        of_keys = arena.take<T>(KEYS);
    }

    void enter(int64_t b_, int64_t h_, int64_t first_row) {
        b = b_, h = h_, row_start = first_row;
        row_end = smaller(row_start + STRIPS * R, call.n_q);
        q_head = static_cast<const T*>(call.q) + b * call.of_q[0] + h * call.of_q[1];
        k_head = static_cast<const T*>(call.k) + b * call.of_k[0] + h * call.of_k[1];
        v_head = call.v ? static_cast<const T*>(call.v) + b * call.of_v[0] + h * call.of_v[1] : nullptr;
        bias_head =
            call.bias ? static_cast<const T*>(call.bias) + b * call.of_bias[0] + h * call.of_bias[1] : nullptr;
        if (call.row_segments) {
            rows_head = call.row_segments + b * call.of_rows[0] + h * call.of_rows[1];
            keys_head = call.key_segments + b * call.of_keys[0] + h * call.of_keys[1];
        }
        for (int64_t s = 0; s < strips(); ++s) {
            int64_t start = row_start + s * R, n = smaller(R, row_end - start);
            T* to = queries + s * call.width * R;
            if (n < R) std::memset(to, 0, call.width * R * sizeof(T));
            transpose(to, R, q_head + start * call.of_q[2], call.of_q[2], call.of_q[3], n, call.width);
        }
    }

    int64_t strips() const { return (row_end - row_start + R - 1) / R; }
    int64_t rows_of(int64_t s) const { return smaller(R, row_end - row_start - s * R); }

    // Keys that the band shows to some of these rows: from `first` to before `end`.
    void reach(int64_t& first, int64_t& end) const {
        first = call.from_low ? greater(0, row_start + call.low) : 0;
        end = call.to_high ? smaller(call.n_k, row_end + call.high) : call.n_k;
    }

    // Rows of a matrix, CHUNK columns of `of_chunk` rows after each other.
    static void copy(T* to, const T* from, int64_t of_n, int64_t of_c, int64_t n, int64_t columns, int64_t of_chunk) {
        for (int64_t at = 0; at < columns; at += CHUNK, to += of_chunk * CHUNK) {
            int64_t part = smaller(CHUNK, columns - at);
            for (int64_t j = 0; j < n; ++j) {
                const T* source = from + j * of_n + at * of_c;
                int64_t c = 0;
                if (of_c == 1)
                    for (; c + w <= part; c += w) store(to + j * CHUNK + c, load_anywhere(source + c));
                for (; c < part; ++c) to[j * CHUNK + c] = source[c * of_c];
            }
        }
    }

    // False where a bias that is the same for all rows hides every key of the block.
    bool enter_keys(int64_t start, int64_t count, bool with_values) {
        key_start = start, key_count = count;
        key_biased = key_hidden = false;
        if (bias_head && call.of_bias[2] == 0) {
            bool seen = false;
            for (int64_t j = 0; j < count; ++j) {
                T x = bias_head[(start + j) * call.of_bias[3]];
                seen |= x != -INF, key_biased |= x != 0;
                of_keys[j] = x * (T)1.4426950408889634074;
            }
            if (!seen) return false;
        }
        copy(keys, k_head + start * call.of_k[2], call.of_k[2], call.of_k[3], count, call.width, KEYS);
        if (with_values)
            copy(values, v_head + start * call.of_v[2], call.of_v[2], call.of_v[3], count, call.value_width, KEYS);
        return true;
    }

    // a (columns of `from`) by the block's keys or values: (keys, rows) into `to`.
    template <class Finish>
    INLINE void product(const T* block, const T* strip, int64_t columns, T* to, Finish finish) {
        for (int64_t at = 0; at < columns; at += CHUNK, block += KEYS * CHUNK, strip += CHUNK * R) {
            bool last = at + CHUNK >= columns;
            auto start = [&](int64_t j) {
                return at ? Pair<T>{load(to + j * R), load(to + j * R + w)} : Pair<T>{V<T>{}, V<T>{}};
            };
            auto end = [&](int64_t j, Pair<T> x) { finish(j, x, last); };
            times<T, CHUNK, 1, R>(key_count, smaller(CHUNK, columns - at), block, strip, start, end);
        }
    }

    enum Sight { NOTHING, PART, EVERYTHING };
    Sight by_band(int64_t s) const {
        int64_t first = row_start + s * R, last = first + rows_of(s) - 1, end = key_start + key_count - 1;
        if (call.to_high && key_start - last > call.high) return NOTHING;
        if (call.from_low && end - first < call.low) return NOTHING;
        bool cut = (call.to_high && end - first > call.high) || (call.from_low && key_start - last < call.low);
        return cut ? PART : EVERYTHING;
    }

    // What is added to the logits of a strip, -inf where a key is hidden.
    void add_up(int64_t s, bool cut) {
        int64_t first = row_start + s * R, n = rows_of(s);
        if (bias_head && call.of_bias[2] != 0) {
            if (n < R) std::memset(added, 0, key_count * R * sizeof(T));
            const T* from = bias_head + first * call.of_bias[2] + key_start * call.of_bias[3];
            transpose(added, R, from, call.of_bias[2], call.of_bias[3], n, key_count);
            for (int64_t i = 0; i < key_count * R; ++i) added[i] *= (T)1.4426950408889634074;
        } else
            for (int64_t j = 0; j < key_count; ++j)
                for (int r = 0; r < R; ++r) added[j * R + r] = key_biased ? of_keys[j] : 0;
        if (cut) {
            using Int = typename Kind<T>::Int;
            for (int64_t j = 0; j < key_count; ++j) {
                int64_t apart = key_start + j - first;
                // Row r is hidden where apart - r > high or < low; what lies beyond the strip is cut to its ends.
                Int until = call.to_high ? (Int)greater(-1, smaller(R, apart - call.high)) : -1;
                Int after = call.from_low ? (Int)greater(-1, smaller(R, apart - call.low)) : R;
                for (Int r = 0; r < R; ++r) added[j * R + r] = r < until || r > after ? -INF : added[j * R + r];
            }
        }
        if (call.row_segments) {
            int64_t own[R];
            for (int64_t r = 0; r < R; ++r) own[r] = rows_head[(first + smaller(r, n - 1)) * call.of_rows[2]];
            for (int64_t j = 0; j < key_count; ++j) {
                int64_t key = keys_head[(key_start + j) * call.of_keys[2]];
                for (int r = 0; r < R; ++r) added[j * R + r] = own[r] == key ? added[j * R + r] : -INF;
            }
        }
    }

    // The logits of a strip in `scores`, in bits, and each row's largest if that is above `most`.
    // `slopes`: the derivative of capped logits, if wanted.
    INLINE void logits(int64_t s, bool cut, V<T>& most0, V<T>& most1, T* slopes = nullptr) {
        const T factor = (T)call.factor;
        bool plain = !call.capped && !bias_head && !call.row_segments && !cut;
        plain |= !call.capped && !cut && !call.row_segments && bias_head && call.of_bias[2] == 0 && !key_biased;
        V<T> top0 = most0, top1 = most1;
        product(keys, queries + s * call.width * R, call.width, scores, [&](int64_t j, Pair<T> x, bool last) {
            if (last) x.left *= factor, x.right *= factor;
            store(scores + j * R, x.left), store(scores + j * R + w, x.right);
            if (last) top0 = larger(x.left, top0), top1 = larger(x.right, top1);
        });
        if (!plain) {
            bool shifted = bias_head || call.row_segments || cut;
            if (shifted) add_up(s, cut);
            top0 = most0, top1 = most1;
            for (int64_t i = 0; i < key_count * R; i += R)
                for (int half = 0; half < R; half += w) {
                    V<T> x = load(scores + i + half);
                    if (call.capped) {
                        x = tanh_of<T>(x);
                        if (slopes) store(slopes + i + half, 1 - x * x);
                        x *= (T)call.cap;
                    }
                    if (shifted) {
                        V<T> y = load(added + i + half);
                        x = y == -INF ? y : x + y;
                    }
                    store(scores + i + half, x);
                    (half ? top1 : top0) = larger(x, half ? top1 : top0);
                }
        }
        most0 = top0, most1 = top1;
    }
};

// ---------------------------------------------------------------------------------------------------- forward

template <class T, bool MOMENTS, bool OUTPUT> class Forward {
    static constexpr int R = ROWS<T>, w = W<T>, wd = W<double>;
    Strips<T> strips;
    T *weights, *outputs, *levels;
    double *totals, *firsts, *seconds, *squares;

public:
    explicit Forward(const Call& call) : strips(call) {}

    void lay_out(Arena& arena) {
        const Call& call = strips.call;
        strips.lay_out(arena, call.width, OUTPUT ? call.value_width : 0);
        weights = arena.take<T>(KEYS * R);
        outputs = arena.take<T>(OUTPUT ? STRIPS * call.value_width * R : 0);
        levels = arena.take<T>(STRIPS * R);
        for (double** x : {&totals, &firsts, &seconds, &squares}) *x = arena.take<double>(STRIPS * R);
    }

    void run(int64_t b, int64_t h, int64_t first_row) {
        const Call& call = strips.call;
        strips.enter(b, h, first_row);
        for (int i = 0; i < STRIPS * R; ++i) {
            levels[i] = std::numeric_limits<T>::lowest();
            totals[i] = firsts[i] = seconds[i] = squares[i] = 0;
        }
        if (OUTPUT) std::memset(outputs, 0, STRIPS * call.value_width * R * sizeof(T));
        int64_t first, end;
        strips.reach(first, end);
        for (int64_t at = first; at < end; at += KEYS) {
            if (!strips.enter_keys(at, smaller(KEYS, end - at), OUTPUT)) continue;
            for (int64_t s = 0; s < strips.strips(); ++s) {
                auto sight = strips.by_band(s);
                if (sight != Strips<T>::NOTHING) block(s, sight == Strips<T>::PART);
            }
        }
        for (int64_t s = 0; s < strips.strips(); ++s) finish(s);
    }

private:
    void block(int64_t s, bool cut) {
        T* level = levels + s * R;
        V<T> old0 = load(level), old1 = load(level + w), level0 = old0, level1 = old1;
        strips.logits(s, cut, level0, level1);
        const V<T> nothing = all(Kind<T>::NOTHING);
        V<T> total0{}, total1{}, first0{}, first1{}, second0{}, second1{}, square0{}, square1{};
        const int64_t end = strips.key_count * R;
        T* x = strips.scores;
        for (int64_t i = 0; i < end; i += R) {
            V<T> x0 = larger(nothing, load(x + i) - level0), x1 = larger(nothing, load(x + i + w) - level1);
            V<T> w0 = exp2_of(x0), w1 = exp2_of(x1);
            total0 += w0, total1 += w1;
            first0 += w0 * x0, first1 += w1 * x1;
            if (MOMENTS) {
                square0 += w0 * w0, square1 += w1 * w1;
                store(x + i, x0), store(x + i + w, x1);
            }
            if (MOMENTS || OUTPUT) store(weights + i, w0), store(weights + i + w, w1);
        }
        if (MOMENTS) {
            const V<T> tiny = all(std::numeric_limits<T>::min());
            V<T> mean0 = first0 / larger(tiny, total0), mean1 = first1 / larger(tiny, total1);
            for (int64_t i = 0; i < end; i += R) {
                V<T> x0 = load(x + i) - mean0, x1 = load(x + i + w) - mean1;
                second0 += load(weights + i) * x0 * x0, second1 += load(weights + i + w) * x1 * x1;
            }
        }
        store(level, level0), store(level + w, level1);
        alignas(64) T of_block[6][R];
        store(of_block[0], old0), store(of_block[0] + w, old1);
        store(of_block[1], total0), store(of_block[1] + w, total1);
        store(of_block[2], first0), store(of_block[2] + w, first1);
        store(of_block[3], second0), store(of_block[3] + w, second1);
        store(of_block[4], square0), store(of_block[4] + w, square1);
        merge(s, of_block);
        if (OUTPUT) attend(s, load(of_block[5]), load(of_block[5] + w));
    }

    // Of a block: the level before it, and its sums; into [5] goes what is left of the sums before it.
    INLINE void merge(int64_t s, T (*of_block)[R]) {
        const V<double> tiny = all(std::numeric_limits<double>::min());
        for (int i = 0; i < R; i += wd) {
            int at = s * R + i;
            V<double> fall = widen(of_block[0] + i) - widen(levels + at);
            fall = larger(all(Kind<double>::NOTHING), fall);
            V<double> share = exp2_of(fall), total = load(totals + at), first = load(firsts + at);
            V<double> more = widen(of_block[1] + i), more_first = widen(of_block[2] + i);
            V<double> old = share * total, sum = old + more;
            if (MOMENTS) {
                V<double> apart = first / larger(tiny, total) + fall - more_first / larger(tiny, more);
                V<double> between = old * more / larger(tiny, sum) * apart * apart;
                store(seconds + at, share * load(seconds + at) + widen(of_block[3] + i) + between);
                store(squares + at, share * share * load(squares + at) + widen(of_block[4] + i));
            }
            store(firsts + at, share * (first + fall * total) + more_first);
            store(totals + at, sum);
            narrow(of_block[5] + i, share);
        }
    }

    void attend(int64_t s, V<T> share0, V<T> share1) {
        const int64_t columns = strips.call.value_width;
        const T* values = strips.values;
        for (int64_t at = 0; at < columns; at += CHUNK, values += KEYS * CHUNK) {
            T* to = outputs + (s * columns + at) * R;
            auto start = [&](int64_t c) {
                return Pair<T>{share0 * load(to + c * R), share1 * load(to + c * R + w)};
            };
            auto end = [&](int64_t c, Pair<T> x) { store(to + c * R, x.left), store(to + c * R + w, x.right); };
            times<T, 1, CHUNK, R>(smaller(CHUNK, columns - at), strips.key_count, values, weights, start, end);
        }
    }

    void finish(int64_t s) {
        const Call& call = strips.call;
        const double LN2 = 0.69314718055994530942;
        const int64_t n = strips.rows_of(s), first = strips.row_start + s * R;
        const int64_t place = (strips.b * call.heads + strips.h) * call.n_q + first;
        const V<double> one = all(1.0), zero{}, missing = all(std::numeric_limits<double>::quiet_NaN());
        alignas(64) T found[8][R];
        alignas(64) T inverse[R];
        for (int i = 0; i < R; i += wd) {
            int at = s * R + i;
            V<double> total = load(totals + at);
            auto none = total == 0;
            total = none ? one : total;
            V<double> mean = load(firsts + at) / total, log_total = log2_of(total);
            V<double> level = none ? zero : widen(levels + at);
            // Whether a row without weights sees no key, or its logits overflowed, the caller knows.
            narrow(found[0] + i, none ? missing : LN2 * (level + log_total));
            V<double> entropy = LN2 * (log_total - mean);
            narrow(found[1] + i, entropy < 0 ? zero : entropy);
            narrow(found[2] + i, LN2 * level);
            narrow(found[3] + i, level + mean);
            narrow(found[4] + i, LN2 * log_total);
            if (MOMENTS) {
                V<double> renyi = LN2 * (2 * log_total - log2_of(none ? one : load(squares + at)));
                narrow(found[5] + i, LN2 * LN2 * load(seconds + at) / total);
                narrow(found[6] + i, renyi < 0 ? zero : renyi);
                narrow(found[7] + i, renyi);
            }
            narrow(inverse + i, one / total);
        }
        void* to[8] = {call.lse, call.entropy, call.largest, call.mean,
                       call.log_total, call.varentropy, call.renyi, call.exact_renyi};
        for (int i = 0; i < (MOMENTS ? 8 : 5); ++i)
            std::memcpy(static_cast<T*>(to[i]) + place, found[i], n * sizeof(T));
        if (OUTPUT) {
            T* from = outputs + s * call.value_width * R;
            V<T> left = load(inverse), right = load(inverse + w);
            for (int64_t i = 0; i < call.value_width * R; i += R)
                store(from + i, left * load(from + i)), store(from + i + w, right * load(from + i + w));
            transpose(static_cast<T*>(call.output) + place * call.value_width, call.value_width, from, R, 1,
                      call.value_width, n);
        }
    }
};

// --------------------------------------------------------------------------------------------------- backward

template <class T, bool OUTPUT> class Backward {
    static constexpr int R = ROWS<T>, w = W<T>;
    static_assert(CHUNK % R == 0, "a chunk is made of whole pairs of vectors");
    static constexpr T LOG2E = (T)1.4426950408889634074;
    Strips<T> strips;
    enum { MEAN, SHARE, CONSTANT, LINEAR, SQUARE, OWN, TERMS };
    T *terms, *slopes, *weights, *from_output, *gathered;
    T *rows_of_q, *rows_of_grad, *grads;  // queries and the output's gradient as they lie, and that transposed
    T *of_keys, *of_values;               // the gradients of a block of keys and of their values

public:
    explicit Backward(const Call& call) : strips(call) {}

    void lay_out(Arena& arena) {
        const Call& call = strips.call;
        const int64_t values = OUTPUT ? call.value_width : 0;
        strips.lay_out(arena, call.width, values);
        terms = arena.take<T>(STRIPS * TERMS * R);
        slopes = arena.take<T>(KEYS * R);
        weights = arena.take<T>(OUTPUT ? KEYS * R : 0);
        from_output = arena.take<T>(OUTPUT ? KEYS * R : 0);
        gathered = arena.take<T>(STRIPS * call.width * R);
        rows_of_q = arena.take<T>(STRIPS * chunks(call.width) * R * CHUNK);
        rows_of_grad = arena.take<T>(STRIPS * chunks(values) * R * CHUNK);
        grads = arena.take<T>(STRIPS * values * R);
        of_keys = arena.take<T>(chunks(call.width) * KEYS * CHUNK);
        of_values = arena.take<T>(chunks(values) * KEYS * CHUNK);
    }

    // All blocks of rows of a split, of all heads of a unit.
    void run(int64_t unit, int64_t split) {
        const Call& call = strips.call;
        const int64_t across = call.heads / call.unit_heads;
        const int64_t first_b = unit / across * call.unit_batch, first_h = unit % across * call.unit_heads;
        for (int64_t b = first_b; b < first_b + call.unit_batch; ++b)
            for (int64_t h = first_h; h < first_h + call.unit_heads; ++h)
                for (int64_t row = split * STRIPS * R; row < call.n_q; row += call.splits * STRIPS * R)
                    rows(b, h, row, split);
    }

private:
    void rows(int64_t b, int64_t h, int64_t first_row, int64_t split) {
        const Call& call = strips.call;
        strips.enter(b, h, first_row);
        const int64_t head = b * call.heads + h, of_split = call.batch * call.heads;
        std::memset(gathered, 0, STRIPS * call.width * R * sizeof(T));
        for (int64_t s = 0; s < strips.strips(); ++s) enter(s, head * call.n_q + first_row + s * R);
        int64_t first, end;
        strips.reach(first, end);
        for (int64_t at = first; at < end; at += KEYS) {
            if (!strips.enter_keys(at, smaller(KEYS, end - at), OUTPUT)) continue;
            std::memset(of_keys, 0, chunks(call.width) * KEYS * CHUNK * sizeof(T));
            if (OUTPUT) std::memset(of_values, 0, chunks(call.value_width) * KEYS * CHUNK * sizeof(T));
            for (int64_t s = 0; s < strips.strips(); ++s) {
                auto sight = strips.by_band(s);
                if (sight != Strips<T>::NOTHING) block(s, sight == Strips<T>::PART, split);
            }
            const int64_t place = (split * of_split + head) * call.n_k + at;
            add(static_cast<T*>(call.grad_k) + place * call.width, of_keys, call.width, (T)call.scale);
            if (OUTPUT)
                add(static_cast<T*>(call.grad_v) + place * call.value_width, of_values, call.value_width, 1);
        }
        for (int64_t s = 0; s < strips.strips(); ++s) {
            T* from = gathered + s * call.width * R;
            for (int64_t i = 0; i < call.width * R; ++i) from[i] *= (T)call.scale;
            T* to = static_cast<T*>(call.grad_q) + (head * call.n_q + first_row + s * R) * call.width;
            transpose(to, call.width, from, R, 1, call.width, strips.rows_of(s));
        }
    }

    // What is read of a strip's rows: 0 beyond their number, which leaves no weight there.
    void enter(int64_t s, int64_t place) {
        const Call& call = strips.call;
        const int64_t n = strips.rows_of(s), first = strips.row_start + s * R;
        T* to = terms + s * TERMS * R;
        std::memset(to, 0, TERMS * R * sizeof(T));
        const void* from[TERMS] = {call.mean, call.entropy, call.constant, call.linear, call.square, call.own};
        for (int i = 0; i < TERMS; ++i)
            if (from[i]) std::memcpy(to + i * R, static_cast<const T*>(from[i]) + place, n * sizeof(T));
        T* share = to + SHARE * R;
        for (int half = 0; half < R; half += w)
            store(share + half, exp2_clamped<T>(load(share + half) * -LOG2E));
        for (int64_t r = n; r < R; ++r) share[r] = 0;
        T* rows = rows_of_q + s * chunks(call.width) * R * CHUNK;
        std::memset(rows, 0, chunks(call.width) * R * CHUNK * sizeof(T));
        strips.copy(rows, strips.q_head + first * call.of_q[2], call.of_q[2], call.of_q[3], n, call.width, R);
        if (OUTPUT) {
            const T* grad = static_cast<const T*>(call.grad_output) + place * call.value_width;
            rows = rows_of_grad + s * chunks(call.value_width) * R * CHUNK;
            std::memset(rows, 0, chunks(call.value_width) * R * CHUNK * sizeof(T));
            strips.copy(rows, grad, call.value_width, 1, n, call.value_width, R);
            T* turned = grads + s * call.value_width * R;
            std::memset(turned, 0, call.value_width * R * sizeof(T));
            transpose(turned, R, grad, call.value_width, 1, n, call.value_width);
        }
    }

    void block(int64_t s, bool cut, int64_t split) {
        const Call& call = strips.call;
        V<T> unused0{}, unused1{};
        strips.logits(s, cut, unused0, unused1, slopes);
        if (OUTPUT)
            strips.product(strips.values, grads + s * call.value_width * R, call.value_width, from_output,
                           [&](int64_t j, Pair<T> x, bool) {
                               store(from_output + j * R, x.left), store(from_output + j * R + w, x.right);
                           });
        for (int half = 0; half < R; half += w) {
            const T* of = terms + s * TERMS * R + half;
            const V<T> mean = load(of + MEAN * R), share = load(of + SHARE * R), a = load(of + CONSTANT * R),
                       b = load(of + LINEAR * R), c = load(of + SQUARE * R), e = load(of + OWN * R);
            const V<T> nothing = all(Kind<T>::NOTHING);
            for (int64_t i = half; i < strips.key_count * R; i += R) {
                V<T> x = larger(nothing, load(strips.scores + i) - mean);
                V<T> p = share * exp2_of(x);
                V<T> factor = a + x * (b + x * c) + p * e;
                if (OUTPUT) {
                    factor += load(from_output + i);
                    store(weights + i, p);
                }
                store(strips.scores + i, p * factor);
            }
        }
        if (call.grad_bias) add_to_bias(s, split);
        if (call.capped)
            for (int64_t i = 0; i < strips.key_count * R; ++i) strips.scores[i] *= slopes[i];
        const T* keys = strips.keys;
        for (int64_t at = 0; at < call.width; at += CHUNK, keys += KEYS * CHUNK)
            accumulate<1, CHUNK, R>(smaller(CHUNK, call.width - at), strips.key_count, keys, strips.scores,
                                    gathered + (s * call.width + at) * R, R);
        over_rows(strips.scores, rows_of_q + s * chunks(call.width) * R * CHUNK, call.width, of_keys);
        if (OUTPUT)
            over_rows(weights, rows_of_grad + s * chunks(call.value_width) * R * CHUNK, call.value_width, of_values);
    }

    template <int ACROSS, int ALONG, int OF_B>
    INLINE void accumulate(int64_t n, int64_t count, const T* a, const T* b, T* to, int64_t of_to) {
        auto start = [&](int64_t i) { return Pair<T>{load(to + i * of_to), load(to + i * of_to + w)}; };
        auto end = [&](int64_t i, Pair<T> x) { store(to + i * of_to, x.left), store(to + i * of_to + w, x.right); };
        times<T, ACROSS, ALONG, OF_B>(n, count, a, b, start, end);
    }

    // (keys, columns) += (keys, rows) (rows, columns): here lanes are columns.
    void over_rows(const T* a, const T* b, int64_t columns, T* to) {
        for (int64_t at = 0; at < columns; at += CHUNK, b += R * CHUNK, to += KEYS * CHUNK)
            for (int64_t c = 0; c < smaller(CHUNK, columns - at); c += R)
                accumulate<R, 1, CHUNK>(strips.key_count, R, a, b + c, to + c, CHUNK);
    }

    void add(T* to, const T* from, int64_t columns, T factor) {
        for (int64_t at = 0; at < columns; at += CHUNK, from += KEYS * CHUNK)
            for (int64_t j = 0; j < strips.key_count; ++j)
                for (int64_t c = 0; c < smaller(CHUNK, columns - at); ++c)
                    to[j * columns + at + c] += factor * from[j * CHUNK + c];
    }

    void add_to_bias(int64_t s, int64_t split) {
        const Call& call = strips.call;
        const int64_t* of = call.of_grad_bias;
        T* to = static_cast<T*>(call.grad_bias) + split * call.split_of_grad_bias + strips.b * of[0] +
                strips.h * of[1] + (strips.row_start + s * R) * of[2] + strips.key_start * of[3];
        for (int64_t r = 0; r < strips.rows_of(s); ++r)
            for (int64_t j = 0; j < strips.key_count; ++j) to[r * of[2] + j * of[3]] += strips.scores[j * R + r];
    }
};

// 0, or 1 where there was no memory. `task(pass, i)` is one of so many.
template <class Pass, class Task> int run_pass(const Call& call, int64_t tasks, Task task) {
    int failed = 0;
    in_parallel(tasks, call.threads, [&](auto next) {
        Arena arena;
        Pass pass(call);
        pass.lay_out(arena);
        if (!arena.provide()) {
            __atomic_store_n(&failed, 1, __ATOMIC_RELAXED);
            return;
        }
        pass.lay_out(arena);
        for (int64_t i; next(i);) task(pass, i);
    });
    return failed;
}

template <class T, bool MOMENTS, bool OUTPUT> int forward_of(const Call& call) {
    const int64_t rows = STRIPS * ROWS<T>, blocks = (call.n_q + rows - 1) / rows;
    return run_pass<Forward<T, MOMENTS, OUTPUT>>(
        call, call.batch * call.heads * blocks, [&](auto& pass, int64_t i) {
            pass.run(i / blocks / call.heads, i / blocks % call.heads, i % blocks * rows);
        });
}

template <class T> int forward(const Call& call) {
    if (call.with_moments) return call.with_output ? forward_of<T, true, true>(call) : forward_of<T, true, false>(call);
    return call.with_output ? forward_of<T, false, true>(call) : forward_of<T, false, false>(call);
}

template <class T, bool OUTPUT> int backward_of(const Call& call) {
    const int64_t units = call.batch / call.unit_batch * (call.heads / call.unit_heads);
    return run_pass<Backward<T, OUTPUT>>(call, units * call.splits, [&](auto& pass, int64_t i) {
        pass.run(i / call.splits, i % call.splits);
    });
}

template <class T> int backward(const Call& call) {
    return call.grad_output ? backward_of<T, true>(call) : backward_of<T, false>(call);
}

// ----------------------------------------------------------------------------------------- a common part of keys

// Whether the keys of some head share so large a part that they are better centred: n |mean|^2 > sum |k|^2 / 4.
template <class T> int shares_much(const Call& call) {
    int found = 0;
    in_parallel(call.batch * call.heads, call.threads, [&](auto next) {
        Arena arena;
        T* sums = arena.take<T>(call.width);
        if (!arena.provide()) return;
        sums = arena.take<T>(call.width);
        for (int64_t i; next(i);) {
            const T* k = static_cast<const T*>(call.k) + i / call.heads * call.of_k[0] + i % call.heads * call.of_k[1];
            T squares = 0, common = 0;
            for (int64_t c = 0; c < call.width; ++c) sums[c] = 0;
            for (int64_t j = 0; j < call.n_k; ++j, k += call.of_k[2]) {
                V<T> square{};
                int64_t c = 0;
                if (call.of_k[3] == 1)
                    for (; c + W<T> <= call.width; c += W<T>) {
                        V<T> x = load_anywhere(k + c);
                        store(sums + c, load(sums + c) + x);
                        square += x * x;
                    }
                for (; c < call.width; ++c) {
                    T x = k[c * call.of_k[3]];
                    sums[c] += x, squares += x * x;
                }
                for (int l = 0; l < W<T>; ++l) squares += square[l];
            }
            for (int64_t c = 0; c < call.width; ++c) common += sums[c] * sums[c];
            if (common > call.n_k * squares / 4) __atomic_store_n(&found, 1, __ATOMIC_RELAXED);
        }
    });
    return found;
}

}  // namespace

extern "C" {
int64_t attnlib_size_of_call() { return sizeof(Call); }
int attnlib_forward_float(const Call* call) { return forward<float>(*call); }
int attnlib_forward_double(const Call* call) { return forward<double>(*call); }
int attnlib_shares_much_float(const Call* call) { return shares_much<float>(*call); }
int attnlib_shares_much_double(const Call* call) { return shares_much<double>(*call); }
int attnlib_backward_float(const Call* call) { return backward<float>(*call); }
int attnlib_backward_double(const Call* call) { return backward<double>(*call); }
}
