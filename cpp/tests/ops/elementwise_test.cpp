#include "run_op.hpp"

using namespace convlens_tests;

namespace {

std::int64_t word(int code, int dst, int a = 0, int b = 0, int c = 0) {
    return code | dst << 8 | a << 16 | std::int64_t{b} << 24 | std::int64_t{c} << 32;
}

double apply(int code, double a, double b, double c) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    switch (code) {
        case kElementwise_add:
            return a + b;
        case kElementwise_sub:
            return a - b;
        case kElementwise_mul:
            return a * b;
        case kElementwise_div:
            return a / b;
        case kElementwise_max:
            return a != a || b != b ? nan : a > b ? a : b;
        case kElementwise_min:
            return a != a || b != b ? nan : a < b ? a : b;
        case kElementwise_neg:
            return -a;
        case kElementwise_abs:
            return std::fabs(a);
        case kElementwise_sign:
            return a != a ? nan : (a > 0) - (a < 0);
        case kElementwise_sqrt:
            return std::sqrt(a);
        case kElementwise_exp:
            return std::exp(a);
        case kElementwise_log:
            return std::log(a);
        case kElementwise_sigmoid:
            return 1 / (1 + std::exp(-a));
        case kElementwise_tanh:
            return std::tanh(a);
        case kElementwise_relu:
            return a != a ? nan : a > 0 ? a : 0;
        case kElementwise_greater:
            return a > b;
        case kElementwise_greater_equal:
            return a >= b;
        case kElementwise_less:
            return a < b;
        case kElementwise_less_equal:
            return a <= b;
        case kElementwise_equal:
            return a == b;
        case kElementwise_logical_and:
            return a != 0 && b != 0;
        case kElementwise_logical_or:
            return a != 0 || b != 0;
        case kElementwise_logical_not:
            return a == 0;
        case kElementwise_where:
            return a != 0 ? b : c;
        case kElementwise_expm1:
            return std::expm1(a);
        case kElementwise_log1p:
            return std::log1p(a);
        case kElementwise_erf:
            return std::erf(a);
        case kElementwise_pow:
            return std::pow(a, b);
        case kElementwise_round:
            return std::nearbyint(a);
        case kElementwise_silu:
            return a / (1 + std::exp(-a));
        case kElementwise_hard_swish:
            return a * std::fmin(std::fmax(a + 3, 0), 6) / 6;
        case kElementwise_gelu:
            return a / 2 * (1 + std::erf(a * std::sqrt(0.5)));
        default:
            return nan;
    }
}

bool close(double got, double wanted, double tolerance) {
    if (wanted != wanted) return got != got;
    return got == wanted || std::fabs(got - wanted) <= tolerance * std::fabs(wanted);
}

// Value of operand `b` at the output's element, by NumPy's broadcasting.
template <class Real>
double broadcast(const Buffer<Real>& b, std::int64_t i, std::int64_t c, std::int64_t h, std::int64_t w) {
    const Tensor& t = b.tensor;
    return b.get(t.batched ? i : 0, t.channels == 1 ? 0 : c, t.height == 1 ? 0 : h, t.width == 1 ? 0 : w);
}

template <class Real>
constexpr double eps = sizeof(Real) == 4 ? 0x1p-23 : 0x1p-52;

// Runs one operation on three operands of the given tensors.
template <class Real>
void check_operation(int code, const Tensor& a, const Tensor& b, const Tensor& c, const Tensor& y_tensor,
                     std::int64_t n) {
    Buffer<Real> ins[3] = {Buffer<Real>(a, n), Buffer<Real>(b, n), Buffer<Real>(c, n)};
    Buffer<Real> y(y_tensor, n);
    const bool positive = code == kElementwise_sqrt || code == kElementwise_log || code == kElementwise_pow;
    const double low = positive ? 0.1 : code == kElementwise_log1p ? -0.9 : -2;
    for (int k = 0; k < 3; ++k) {
        ins[k].fill_random(static_cast<std::uint64_t>(k + 7), low, 2);
        const bool logical = code >= kElementwise_greater && code <= kElementwise_where;
        if (logical || ins[k].tensor.dtype == DType::mask) {  // ties and zeros
            ins[k].each([&](std::int64_t i, std::int64_t ch, std::int64_t h, std::int64_t w) {
                const double value = std::floor(ins[k].get(i, ch, h, w) * 10);
                ins[k].set(i, ch, h, w, std::fmod(value, 2));
            });
        }
        if (ins[k].tensor.dtype == DType::real && has_halo(ins[k].tensor)) ins[k].poison_halo();
    }
    Runner<Real> runner("elementwise", {&a, &b, &c}, {&y_tensor},
                        {0, word(kElementwise_load, 0, 0), word(kElementwise_load, 5, 1), word(kElementwise_load, 2, 2),
                         word(code, 3, 0, 5, 2), word(kElementwise_store, 0, 3)});
    char what[128];
    std::snprintf(what, sizeof what, "elementwise %d on c%d h%d w%d layout %d", code, y_tensor.channels,
                  y_tensor.height, y_tensor.width, int(y_tensor.layout));
    run_everywhere<Real>(runner, {&ins[0], &ins[1], &ins[2]}, {&y}, n, what, [&](const Kernels* kernels) {
        double worst = 0;
        bool right = true;
        y.each([&](std::int64_t i, std::int64_t ch, std::int64_t h, std::int64_t w) {
            const double wanted = apply(code, broadcast(ins[0], i, ch, h, w), broadcast(ins[1], i, ch, h, w),
                                        broadcast(ins[2], i, ch, h, w));
            const double got = y.get(i, ch, h, w);
            worst = std::fmax(worst, std::fabs(got - wanted));
            // A power errs by its logarithm's rounding, |b log a| <= 2 log 10, too; gelu by that of its operand, which
            // is up to 44 times as large.
            const double factor = code == kElementwise_pow ? 10 : code == kElementwise_gelu ? 4 * 44 : 4;
            const double bound = factor * eps<Real>;
            right = right && close(got, y_tensor.dtype == DType::mask ? wanted != 0 : wanted, bound);
        });
        CHECK_SAY(right, "%s: wrong on %s, worst %g", what, kernels->isa, worst);
        CHECK_SAY(y.rest_is_zero(), "%s: halo, padding or padded lanes not zero on %s", what, kernels->isa);
    });
}

template <class Real>
void check_layouts(int code) {
    for (Layout layout : {Layout::plain, Layout::blocked}) {
        for (int c : {1, 5, 16, 21}) {
            const Tensor t = tensor_of<Real>(layout, c, 3, 7);
            check_operation<Real>(code, t, t, t, t, 2);
        }
        const Tensor haloed = tensor_of<Real>(layout, 19, 5, 6, {1, 2, 0, 1});
        const Tensor bare = tensor_of<Real>(layout, 19, 5, 6);
        check_operation<Real>(code, haloed, bare, bare, tensor_of<Real>(layout, 19, 5, 6, {1, 1, 1, 1}), 2);
    }
}

}  // namespace

TEST(elementwise_operations_agree_with_double_on_every_layout) {
    for (int code = kElementwise_add; code < kElementwiseCount; ++code) {
        check_layouts<float>(code);
        check_layouts<double>(code);
    }
    // More than one chunk, exact external arrays, an empty batch.
    const Tensor outside = tensor_of<float>(Layout::plain, 3, 33, 41, {}, true, DType::real, Place::external);
    const Tensor large = tensor_of<float>(Layout::blocked, 20, 33, 41);
    for (std::int64_t n : {0, 1, 3}) {
        check_operation<float>(kElementwise_sub, outside, outside, outside, outside, n);
        check_operation<float>(kElementwise_exp, large, large, large, large, n);
    }
}

TEST(elementwise_broadcasts_vectors_maps_and_scalars) {
    for (Layout layout : {Layout::plain, Layout::blocked}) {
        for (int c : {3, 16, 19})
            for (Halo halo : {Halo{}, Halo{1, 1, 1, 1}}) {
                const Tensor full = tensor_of<float>(layout, c, 9, 21, halo);
                const Tensor vector = tensor_of<float>(Layout::plain, c, 1, 1, {}, false, DType::real, Place::external);
                const Tensor pooled = tensor_of<float>(Layout::blocked, c, 1, 1);
                const Tensor plain_map = tensor_of<float>(Layout::plain, 1, 9, 21, {1, 0, 0, 2});
                const Tensor blocked_map = tensor_of<float>(Layout::blocked, 1, 9, 21, {0, 1, 0, 0});
                const Tensor per_image = tensor_of<float>(Layout::plain, 1, 1, 1);
                const Tensor scalar = tensor_of<float>(Layout::plain, 1, 1, 1, {}, false, DType::real, Place::weight);
                const Tensor constant_image = tensor_of<float>(layout, c, 9, 21, {}, false);
                for (const Tensor& b : {vector, pooled, plain_map, blocked_map, per_image, scalar, constant_image}) {
                    check_operation<float>(kElementwise_sub, full, b, full, full, 3);
                    check_operation<float>(kElementwise_where, b, full, b, full, 2);
                }
            }
    }
    const Tensor logits = tensor_of<double>(Layout::plain, 10, 1, 1, {}, true, DType::real, Place::external);
    const Tensor per_image = tensor_of<double>(Layout::plain, 1, 1, 1);
    const Tensor hidden = tensor_of<double>(Layout::blocked, 10, 1, 1);
    check_operation<double>(kElementwise_div, logits, per_image, hidden, hidden, 4);
    check_operation<double>(kElementwise_exp, hidden, hidden, hidden, hidden, 4);
}

template <class Real>
void check_masks() {
    for (Layout layout : {Layout::plain, Layout::blocked})
        for (int c : {1, 7, 16, 37}) {
            const Tensor full = tensor_of<Real>(layout, c, 11, 13);
            const Tensor haloed = tensor_of<Real>(layout, c, 11, 13, {1, 1, 1, 1});
            const Tensor mask = tensor_of<Real>(layout, c, 11, 13, {}, true, DType::mask);
            check_operation<Real>(kElementwise_greater, full, full, full, mask, 3);
            check_operation<Real>(kElementwise_logical_not, mask, mask, mask, mask, 3);
            check_operation<Real>(kElementwise_where, mask, full, full, full, 3);
            if (layout == Layout::blocked) check_operation<Real>(kElementwise_where, mask, haloed, full, haloed, 3);
        }
    const Tensor row = tensor_of<Real>(Layout::plain, 45, 1, 1),
                 bits = tensor_of<Real>(Layout::blocked, 45, 1, 1, {}, true, DType::mask);
    check_operation<Real>(kElementwise_less, row, row, row, bits, 3);
    check_operation<Real>(kElementwise_where, bits, row, row, row, 3);
}

TEST(elementwise_keeps_masks_as_bits) {
    check_masks<float>();
    check_masks<double>();
}

namespace {

// Errors in units of the last place of the wanted value, by the largest over a sweep.
template <class Real, class Wanted>
double worst_ulps(int code, const Kernels* kernels, const std::vector<Real>& points, Wanted wanted) {
    const int count = static_cast<int>(points.size());
    const Tensor t = tensor_of<Real>(Layout::plain, count, 1, 1, {}, true, DType::real, Place::external);
    Buffer<Real> x(t, 1), y(t, 1);
    for (int i = 0; i < count; ++i) x.set(0, i, 0, 0, points[static_cast<std::size_t>(i)]);
    Runner<Real> runner("elementwise", {&t}, {&t},
                        {0, word(kElementwise_load, 0, 0), word(code, 1, 0), word(kElementwise_store, 0, 1)});
    CHECK_OK(runner.run({&x}, {&y}, 1, kernels, 1));
    double worst = 0;
    for (int i = 0; i < count; ++i) {
        const long double right = wanted(static_cast<long double>(points[static_cast<std::size_t>(i)]));
        const Real got = static_cast<Real>(y.get(0, i, 0, 0)), rounded = static_cast<Real>(right);
        if (std::fabs(rounded) < std::numeric_limits<Real>::min()) {  // subnormals are flushed
            CHECK_SAY(std::fabs(got) <= std::numeric_limits<Real>::min(), "operation %d at %.17g gives %.17g", code,
                      double(points[static_cast<std::size_t>(i)]), double(got));
            continue;
        }
        const Real ulp = std::nextafter(std::fabs(rounded), std::numeric_limits<Real>::infinity()) - std::fabs(rounded);
        const double error = got == rounded ? 0 : std::fabs(double((static_cast<long double>(got) - right) / ulp));
        if (!(error <= worst)) worst = error;
    }
    return worst;
}

template <class Real>
void check_ulps(double exp_log, double rest) {
    std::vector<Real> signed_points, positive, above_minus_one, around_zero;
    const Real edge = sizeof(Real) == 4 ? Real(88) : Real(708);
    Random random(5);
    for (int i = 0; i < 60000; ++i) {
        signed_points.push_back(static_cast<Real>(random.between(-edge, edge)));
        signed_points.push_back(static_cast<Real>(random.between(-2, 2)));
        const double small = std::ldexp(random.between(1, 2), -static_cast<int>(random.between(0, 60)));
        signed_points.push_back(static_cast<Real>(i % 2 ? small : -small));
        positive.push_back(
            static_cast<Real>(std::ldexp(random.between(1, 2), static_cast<int>(random.between(-120, 120)))));
        positive.push_back(static_cast<Real>(random.between(0.5, 2)));
        positive.push_back(static_cast<Real>(1 + small * (i % 2 ? 1 : -1) / 4));
        above_minus_one.push_back(static_cast<Real>(i % 2 ? small : -small / 2));
        above_minus_one.push_back(static_cast<Real>(random.between(-0.999, 3)));
        above_minus_one.push_back(
            static_cast<Real>(std::ldexp(random.between(1, 2), static_cast<int>(random.between(0, 120)))));
        around_zero.push_back(static_cast<Real>(random.between(-7, 7)));
        around_zero.push_back(static_cast<Real>(random.between(-1.2, 1.2)));
        around_zero.push_back(static_cast<Real>(i % 2 ? small : -small));
    }
    typedef long double Long;
    for (const Kernels* kernels : runnable_kernels()) {
        const bool fused = std::strcmp(kernels->isa, "portable") != 0;
        const double slack = fused ? 1 : 1.5;  // portable rounds a product before it adds
        const double e = worst_ulps<Real>(kElementwise_exp, kernels, signed_points, [](Long x) { return std::exp(x); });
        const double l = worst_ulps<Real>(kElementwise_log, kernels, positive, [](Long x) { return std::log(x); });
        const double s = worst_ulps<Real>(kElementwise_sigmoid, kernels, signed_points,
                                          [](Long x) { return 1 / (1 + std::exp(-x)); });
        const double t =
            worst_ulps<Real>(kElementwise_tanh, kernels, signed_points, [](Long x) { return std::tanh(x); });
        const double m =
            worst_ulps<Real>(kElementwise_expm1, kernels, signed_points, [](Long x) { return std::expm1(x); });
        const double p =
            worst_ulps<Real>(kElementwise_log1p, kernels, above_minus_one, [](Long x) { return std::log1p(x); });
        const double f = worst_ulps<Real>(kElementwise_erf, kernels, around_zero, [](Long x) { return std::erf(x); });
        std::printf("    %s %zu bytes, ulp: exp %.2f log %.2f sigmoid %.2f tanh %.2f expm1 %.2f log1p %.2f erf %.2f\n",
                    kernels->isa, sizeof(Real), e, l, s, t, m, p, f);
        CHECK(e <= exp_log * slack);
        CHECK(l <= exp_log * slack);
        CHECK(s <= rest * slack);
        CHECK(t <= rest * slack);
        CHECK(m <= rest * slack);
        CHECK(p <= rest * slack);
        CHECK(f <= rest * slack);
    }
}

template <class Real>
void check_special(int code, double x, double wanted) {
    const Tensor t = tensor_of<Real>(Layout::plain, 3, 1, 1);
    Runner<Real> runner("elementwise", {&t}, {&t},
                        {0, word(kElementwise_load, 0, 0), word(code, 1, 0, 0), word(kElementwise_store, 0, 1)});
    for (const Kernels* kernels : runnable_kernels()) {
        Buffer<Real> in(t, 1), out(t, 1);
        in.fill([&](std::int64_t, std::int64_t, std::int64_t, std::int64_t) { return x; });
        CHECK_OK(runner.run({&in}, {&out}, 1, kernels, 1));
        const double got = out.get(0, 1, 0, 0);
        CHECK_SAY(wanted != wanted ? got != got : got == wanted, "operation %d of %g is %g, not %g, on %s", code, x,
                  got, wanted, kernels->isa);
    }
}

// Where 1 + erf cancels nothing may be left, but nothing positive.
template <class Real>
void check_negative_gelus() {
    const Tensor t = tensor_of<Real>(Layout::plain, 1, 40, 100);
    Runner<Real> runner(
        "elementwise", {&t}, {&t},
        {0, word(kElementwise_load, 0, 0), word(kElementwise_gelu, 1, 0, 0), word(kElementwise_store, 0, 1)});
    for (const Kernels* kernels : runnable_kernels()) {
        Buffer<Real> in(t, 1), out(t, 1);
        in.fill([&](std::int64_t, std::int64_t, std::int64_t h, std::int64_t w) { return -8 + 0.002 * (h * 100 + w); });
        CHECK_OK(runner.run({&in}, {&out}, 1, kernels, 1));
        bool right = true;
        for (int h = 0; h < 40; ++h) {
            for (int w = 0; w < 100; ++w) right = right && std::signbit(out.get(0, 0, h, w));
        }
        CHECK_SAY(right, "a gelu of a negative number is positive on %s", kernels->isa);
    }
}

// Whatever bits of a NaN's own it has: an operation may shift them.
template <class Real>
void check_nans() {
    const Tensor t = tensor_of<Real>(Layout::plain, 1, 1, 1);
    for (int code : {int(kElementwise_sigmoid), int(kElementwise_silu), int(kElementwise_tanh), int(kElementwise_erf),
                     int(kElementwise_gelu), int(kElementwise_exp)}) {
        Runner<Real> runner("elementwise", {&t}, {&t},
                            {0, word(kElementwise_load, 0, 0), word(code, 1, 0, 0), word(kElementwise_store, 0, 1)});
        for (const Kernels* kernels : runnable_kernels()) {
            for (unsigned char low : {0x01, 0x40, 0xff}) {
                Buffer<Real> in(t, 1), out(t, 1);
                std::memset(in.data, 0xff, sizeof(Real));
                in.data[0] = low, in.data[1] = low;
                CHECK_OK(runner.run({&in}, {&out}, 1, kernels, 1));
                const double got = out.get(0, 0, 0, 0);
                CHECK_SAY(got != got, "operation %d of NaN is %g on %s", code, got, kernels->isa);
            }
        }
    }
}

template <class Real>
void check_specials() {
    const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
    for (double x : {0.0, -0.0, inf, -inf, nan, 1e4, -1e4, 1e30, -1e30}) {
        for (int code = kElementwise_neg; code <= kElementwise_relu; ++code) {
            double wanted = apply(code, x, x, x);
            if ((code == kElementwise_log || code == kElementwise_sqrt || code == kElementwise_neg ||
                 code == kElementwise_abs || code == kElementwise_relu) &&
                std::fabs(x) == 1e30)
                continue;  // rounded: the sweeps cover them
            if (code == kElementwise_log && x == 1e4) continue;
            check_special<Real>(code, x, wanted);
        }
    }
    for (double x : {0.0, inf, -inf, nan, -1.0, -2.0, 1e30, -1e30}) {
        check_special<Real>(kElementwise_expm1, x, x == -1 || x == -2 ? std::expm1(Real(x)) : std::expm1(x));
        if (x != 1e30) check_special<Real>(kElementwise_log1p, x, std::log1p(x));
        if (std::fabs(x) != 1 && std::fabs(x) != 2) check_special<Real>(kElementwise_erf, x, std::erf(x));
    }
    for (double x : {0.0, inf, nan, 1e4, -1e4, 1e30, -1e30}) {
        check_special<Real>(kElementwise_gelu, x, x < 0 ? 0 : double(Real(x)));
        if (x < 1e30) check_special<Real>(kElementwise_silu, x, x < 0 ? 0 : x);
        if (x <= 1e4) check_special<Real>(kElementwise_hard_swish, x, x < 0 ? 0 : Real(x * 6) * Real(1.0 / 6));
    }
    check_special<Real>(kElementwise_gelu, -inf, nan);
    for (double x : {0.5, 1.5, 2.5, -0.5, -1.5, 1048576.5, 1e9, -0.0, inf, -inf, nan}) {
        check_special<Real>(kElementwise_round, x, std::nearbyint(x));
    }
    const double half = sizeof(Real) == 4 ? 0x1p22 + 0.5 : 0x1p51 + 0.5;  // the largest numbers with a half
    check_special<Real>(kElementwise_round, half, half - 0.5);
    check_special<Real>(kElementwise_round, -half - 1, -half - 1.5);
    check_negative_gelus<Real>();
    check_nans<Real>();
    check_special<Real>(kElementwise_max, nan, nan);
    check_special<Real>(kElementwise_min, nan, nan);
}

}  // namespace

TEST(elementwise_functions_keep_their_bounds_in_ulps) {
    check_ulps<float>(2, 4);
    if (sizeof(long double) > 8) check_ulps<double>(2, 4);
}

TEST(elementwise_functions_are_right_at_infinities_nan_and_zeros) {
    check_specials<float>();
    check_specials<double>();
}

TEST(elementwise_powers_of_zero_one_and_negative_numbers) {
    const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
    const double cases[][3] = {{0, 0, 1},      {nan, 0, 1},      {1, nan, 1},   {0, 2, 0},  {0, -1, inf},
                               {inf, 2, inf},  {inf, -1, 0},     {-2, 3, -8},   {-2, 2, 4}, {-2, 0.5, nan},
                               {0.5, inf, 0},  {2, inf, inf},    {nan, 2, nan}, {3, 1, 3},  {1e-2, -300, inf},
                               {1e-2, 300, 0}, {-1, 4194305, -1}};
    const int count = sizeof cases / sizeof *cases;
    const Tensor t = tensor_of<float>(Layout::plain, count, 1, 1);
    Buffer<float> a(t, 1), b(t, 1), y(t, 1);
    for (int i = 0; i < count; ++i) a.set(0, i, 0, 0, cases[i][0]), b.set(0, i, 0, 0, cases[i][1]);
    Runner<float> runner("elementwise", {&t, &t}, {&t},
                         {0, word(kElementwise_load, 0, 0), word(kElementwise_load, 1, 1),
                          word(kElementwise_pow, 2, 0, 1), word(kElementwise_store, 0, 2)});
    run_everywhere<float>(runner, {&a, &b}, {&y}, 1, "pow", [&](const Kernels* kernels) {
        for (int i = 0; i < count; ++i) {
            CHECK_SAY(close(y.get(0, i, 0, 0), cases[i][2], 4 * eps<float>),
                      "%g to the power of %g is %g, not %g, on %s", cases[i][0], cases[i][1], y.get(0, i, 0, 0),
                      cases[i][2], kernels->isa);
        }
    });
}

TEST(elementwise_max_and_min_let_nan_through_from_either_side) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const Tensor t = tensor_of<float>(Layout::plain, 2, 1, 1);
    for (int code : {int(kElementwise_max), int(kElementwise_min)}) {
        Buffer<float> a(t, 1), b(t, 1), y(t, 1);
        a.fill([&](std::int64_t, std::int64_t c, std::int64_t, std::int64_t) { return c == 0 ? nan : 1; });
        b.fill([&](std::int64_t, std::int64_t c, std::int64_t, std::int64_t) { return c == 0 ? 1 : nan; });
        Runner<float> runner("elementwise", {&t, &t}, {&t},
                             {0, word(kElementwise_load, 0, 0), word(kElementwise_load, 1, 1), word(code, 2, 0, 1),
                              word(kElementwise_store, 0, 2)});
        run_everywhere<float>(runner, {&a, &b}, {&y}, 1, "max or min", [&](const Kernels*) {
            CHECK(y.get(0, 0, 0, 0) != y.get(0, 0, 0, 0));
            CHECK(y.get(0, 1, 0, 0) != y.get(0, 1, 0, 0));
        });
    }
}

namespace {

// Adam, in place: w, m and v are inputs and outputs at once; the old w is read after the new m and v are written.
template <class Real>
void check_in_place(int count, Layout layout, Place place) {
    Tensor t = tensor_of<Real>(layout, count, 1, 1, {}, false, DType::real, place);
    Tensor w_tensor = t, m_tensor = t, g_tensor = t;
    m_tensor.slot = 1, g_tensor.slot = 2;
    w_tensor.offset = 0, m_tensor.offset = t.bytes, g_tensor.offset = 2 * t.bytes;
    const std::vector<std::int64_t> program = {2,
                                               bits_of(0.9),
                                               bits_of(0.1),
                                               word(kElementwise_load, 0, 0),
                                               word(kElementwise_load, 1, 1),
                                               word(kElementwise_load, 2, 2),
                                               word(kElementwise_constant, 3, 0),
                                               word(kElementwise_constant, 4, 1),
                                               word(kElementwise_mul, 5, 1, 3),
                                               word(kElementwise_mul, 6, 2, 4),
                                               word(kElementwise_add, 7, 5, 6),
                                               word(kElementwise_store, 1, 7),  // m = 0.9 m + 0.1 g
                                               word(kElementwise_sub, 8, 0, 1),
                                               word(kElementwise_sub, 8, 8, 7),  // w - old m - new m
                                               word(kElementwise_store, 0, 8)};
    Runner<Real> runner("elementwise", {&w_tensor, &m_tensor, &g_tensor}, {&w_tensor, &m_tensor}, program);
    for (const Kernels* kernels : runnable_kernels())
        for (int threads : {1, 2}) {
            Buffer<Real> w(w_tensor, 1), m(m_tensor, 1), g(g_tensor, 1);
            w.fill_random(1), m.fill_random(2), g.fill_random(3);
            const Buffer<Real> old_w = w, old_m = m;
            CHECK_OK(runner.run({&w, &m, &g}, {&w, &m}, 1, kernels, threads));
            bool right = true;
            w.each([&](std::int64_t, std::int64_t c, std::int64_t, std::int64_t) {
                const double next = Real(Real(old_m.get(0, c, 0, 0) * Real(0.9)) + Real(g.get(0, c, 0, 0) * Real(0.1)));
                right = right && close(m.get(0, c, 0, 0), next, 4 * eps<Real>);
                const double wanted = old_w.get(0, c, 0, 0) - old_m.get(0, c, 0, 0) - m.get(0, c, 0, 0);
                right = right && std::fabs(w.get(0, c, 0, 0) - wanted) < 8 * eps<Real>;
            });
            CHECK_SAY(right, "in place, %d elements on %s", count, kernels->isa);
            CHECK(w.rest_is_zero() && m.rest_is_zero() && w.guards_hold() && m.guards_hold());
        }
}

}  // namespace

TEST(elementwise_updates_state_in_place) {
    for (int count : {1, 10, 16, 1000, 70001}) {
        check_in_place<float>(count, Layout::plain, Place::state);
        check_in_place<float>(count, Layout::packed, Place::state);
        check_in_place<double>(count, Layout::plain, Place::external);
        check_in_place<float>(count, Layout::plain, Place::arena);
    }
}

TEST(elementwise_gives_an_image_the_same_bits_in_every_batch) {
    const Tensor t = tensor_of<float>(Layout::blocked, 20, 30, 30, {1, 1, 1, 1});
    Runner<float> runner(
        "elementwise", {&t}, {&t},
        {0, word(kElementwise_load, 0, 0), word(kElementwise_sigmoid, 1, 0), word(kElementwise_store, 0, 1)});
    for (const Kernels* kernels : runnable_kernels()) {
        Buffer<float> x3(t, 3), y3(t, 3), x1(t, 1), y1(t, 1);
        x3.fill_random(9), x1.fill_random(9);
        CHECK_OK(runner.run({&x3}, {&y3}, 3, kernels, 2));
        CHECK_OK(runner.run({&x1}, {&y1}, 1, kernels, 1));
        CHECK(std::memcmp(y3.data, y1.data, static_cast<std::size_t>(t.bytes)) == 0);
    }
}

TEST(elementwise_refuses_programs_that_would_leave_its_operands) {
    const Tensor t = tensor_of<float>(Layout::plain, 4, 3, 3);
    const auto refused = [&](const Tensor& x, const Tensor& y, std::vector<std::int64_t> program) {
        Runner<float> runner("elementwise", {&x}, {&y}, std::move(program));
        return !runner.check().ok();
    };
    const std::int64_t load = word(kElementwise_load, 0, 0), store = word(kElementwise_store, 0, 0);
    CHECK(!refused(t, t, {0, load, store}));
    CHECK(refused(t, t, {0, word(kElementwise_load, 0, 1), store}));   // no such input
    CHECK(refused(t, t, {0, word(kElementwise_load, 16, 0), store}));  // no such register
    CHECK(refused(t, t, {0, load, word(kElementwise_store, 1, 0)}));   // no such output
    CHECK(refused(t, t, {0, load, word(kElementwise_store, 0, 3)}));   // never written
    CHECK(refused(t, t, {0, load}));                                   // never stored
    CHECK(refused(t, t, {0, load, store, store}));
    CHECK(refused(t, t, {0, load, word(200, 1, 0), store}));
    CHECK(refused(t, t, {0, load, word(kElementwise_constant, 1, 0), store}));
    CHECK(refused(t, t, {5, load, store}));
    CHECK(refused(t, t, {-1, load, store}));
    CHECK(refused(t, t, {}));
    CHECK(refused(tensor_of<float>(Layout::blocked, 4, 3, 3), t, {0, load, store}));
    CHECK(refused(tensor_of<float>(Layout::plain, 4, 3, 2), t, {0, load, store}));
    CHECK(refused(t, tensor_of<float>(Layout::plain, 4, 3, 3, {}, false), {0, load, store}));
    CHECK(refused(tensor_of<float>(Layout::plain, 35, 1, 1, {}, false),
                  tensor_of<float>(Layout::plain, 36, 1, 1, {}, false), {0, load, store}));
}
