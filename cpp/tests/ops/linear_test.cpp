// Linear layers and their gradients against sums in double, over the edges of blocks, chunks and tiles.
#include "ops/pack.hpp"
#include "ops/run_op.hpp"

using namespace convlens_tests;

namespace {

struct Case {
    int C, H, W, K;
    std::string text() const {
        char text[80];
        std::snprintf(text, sizeof text, "c%d h%d w%d k%d", C, H, W, K);
        return text;
    }
    std::int64_t products() const { return std::int64_t{C} * H * W; }
};

// One lane; less than a block; the network of digits; a block and one; many chunks in one task; flat and wide; chunks
// within a block of channels; a small layer of many images.
const Case kCases[] = {{1, 1, 1, 1},      {5, 1, 1, 3},   {32, 13, 13, 10}, {17, 2, 3, 33},  {512, 7, 7, 40},
                       {4096, 1, 1, 100}, {3, 40, 41, 5}, {33, 3, 1, 48},   {40, 1, 1, 2100}};

// The packed order, written from its description: [panel][step][h][w][input lane][panel block][output lane].
template <class Real>
std::int64_t packed_index(const Case& c, std::int64_t k, std::int64_t ch, std::int64_t h, std::int64_t w) {
    const std::int64_t lanes = kLanes<Real>, steps = (c.C + lanes - 1) / lanes, blocks = (c.K + lanes - 1) / lanes;
    const std::int64_t panel = k / lanes / 2, width = std::min<std::int64_t>(2, blocks - 2 * panel);
    std::int64_t at = panel * 2 * steps * c.H * c.W * lanes * lanes;
    at += (((ch / lanes * c.H + h) * c.W + w) * lanes + ch % lanes) * width * lanes;
    return at + (k / lanes - 2 * panel) * lanes + k % lanes;
}

template <class Real>
Tensor packed_of(const Case& c) {
    const std::int64_t elements = packed_elements(c.K, c.C, c.H, c.W, 1, kLanes<Real>);
    return apart<Real>(Layout::packed, static_cast<int>(elements), 1, 1, Halo{}, false);
}

// Weights as doubles in the order k, c, h, w.
template <class Real>
struct Weight {
    Case c;
    Buffer<Real> packed;
    std::vector<double> values;
    explicit Weight(const Case& of) : c(of), packed(packed_of<Real>(of), 1) {
        std::memset(packed.data, 0, static_cast<std::size_t>(packed.tensor.bytes));
        Random random(77);
        for (std::int64_t i = 0; i < c.K * c.products(); ++i) {
            const std::int64_t w = i % c.W, h = i / c.W % c.H, ch = i / (c.W * c.H) % c.C;
            const Real value = static_cast<Real>(random.between(-1, 1));
            values.push_back(static_cast<double>(value));
            packed.set(0, packed_index<Real>(c, i / c.products(), ch, h, w), 0, 0, values.back());
        }
    }
};

// Logical elements in the order of the loops, as doubles.
template <class Real>
std::vector<double> values_of(const Buffer<Real>& b) {
    std::vector<double> values;
    b.each(
        [&](std::int64_t i, std::int64_t c, std::int64_t h, std::int64_t w) { values.push_back(b.get(i, c, h, w)); });
    return values;
}

struct Sums {
    std::vector<double> sum, size;  // the result, and the sum of its terms' magnitudes
};
// out[i][m] = sum over j of a[i a_i + m a_m + j a_j] * b[i b_i + m b_m + j b_j]
Sums sums(std::int64_t is, std::int64_t ms, std::int64_t js, const std::vector<double>& a, const std::int64_t (&sa)[3],
          const std::vector<double>& b, const std::int64_t (&sb)[3]) {
    Sums s;
    for (std::int64_t i = 0; i < is; ++i) {
        for (std::int64_t m = 0; m < ms; ++m) {
            double sum = 0, size = 0;
            for (std::int64_t j = 0; j < js; ++j) {
                const double term = a[static_cast<std::size_t>(i * sa[0] + m * sa[1] + j * sa[2])] *
                                    b[static_cast<std::size_t>(i * sb[0] + m * sb[1] + j * sb[2])];
                sum += term, size += std::fabs(term);
            }
            s.sum.push_back(sum), s.size.push_back(size);
        }
    }
    return s;
}

template <class Real>
double tolerance(std::int64_t terms, double size) {
    return 2 * static_cast<double>(std::numeric_limits<Real>::epsilon()) * std::sqrt(double(terms) + 1) * size;
}

struct Variant {
    bool bias, mask;
    int activation;
    Layout x_layout, y_layout;
    Place y_place;
    Halo halo;
};
const Variant kVariants[] = {
    {false, false, 0, Layout::blocked, Layout::blocked, Place::arena, {1, 2, 0, 1}},
    {true, true, 1, Layout::blocked, Layout::plain, Place::arena, {}},
    {true, false, 2, Layout::plain, Layout::plain, Place::external, {}},
    {true, true, 2, Layout::plain, Layout::blocked, Place::arena, {0, 1, 1, 0}},
};
constexpr double kLow = -0.25, kHigh = 1.5;

template <class Real>
void check_forward(const Case& c, std::int64_t n, const Variant& v, const Weight<Real>& weight) {
    const std::string what = "linear " + c.text() + " n" + std::to_string(n);
    // Network inputs lie outside, exact, when they are plain.
    const bool outside = v.x_layout == Layout::plain && v.y_place == Place::external;
    Buffer<Real> x(
        apart<Real>(v.x_layout, c.C, c.H, c.W, v.halo, true, DType::real, outside ? Place::external : Place::arena), n);
    x.fill_random(5);
    x.poison_halo();
    Buffer<Real> w = weight.packed, bias(apart<Real>(Layout::plain, c.K, 1, 1, Halo{}, false), 1);
    bias.fill_random(6);
    Buffer<Real> y(apart<Real>(v.y_layout, c.K, 1, 1, Halo{}, true, DType::real, v.y_place), n);
    Buffer<Real> mask(apart<Real>(Layout::blocked, c.K, 1, 1, Halo{}, true, DType::mask), n);
    Buffer<Real>*b = v.bias ? &bias : nullptr, *m = v.mask ? &mask : nullptr;
    Runner<Real> runner("linear", {&x.tensor, &w.tensor, b ? &bias.tensor : nullptr},
                        {&y.tensor, m ? &mask.tensor : nullptr}, {v.activation, bits_of(kLow), bits_of(kHigh)});
    const std::int64_t F = c.products();
    const Sums want = sums(n, c.K, F, values_of(x), {F, 0, 1}, weight.values, {0, F, 1});
    run_everywhere<Real>(runner, {&x, &w, b}, {&y, m}, n, what, [&](const Kernels* kernels) {
        bool close = true, marked = true;
        y.each([&](std::int64_t i, std::int64_t k, std::int64_t, std::int64_t) {
            const std::size_t at = static_cast<std::size_t>(i * c.K + k);
            double value = want.sum[at] + (b ? bias.get(0, k, 0, 0) : 0);
            const double size = want.size[at] + (b ? std::fabs(bias.get(0, k, 0, 0)) : 0);
            if (v.activation == 1) value = std::fmax(value, 0);
            if (v.activation == 2) value = std::fmin(kHigh, std::fmax(value, kLow));
            const double got = y.get(i, k, 0, 0);
            close = close && std::fabs(got - value) <= tolerance<Real>(F, size);
            const bool clipped = v.activation == 2;
            const bool passes = clipped ? got > static_cast<Real>(kLow) && got < static_cast<Real>(kHigh) : got > 0;
            marked = marked && (!m || mask.get(i, k, 0, 0) == passes);
        });
        CHECK_SAY(close, "%s: %s differs from the sums", what.c_str(), kernels->isa);
        CHECK_SAY(marked, "%s: %s marks other outputs than the positive ones", what.c_str(), kernels->isa);
        CHECK_SAY(y.rest_is_zero() && (!m || mask.rest_is_zero()), "%s: %s leaves a lane", what.c_str(), kernels->isa);
        for (const std::int64_t i : {std::int64_t{0}, n / 2, n - 1}) {
            if (n < 2) continue;
            Buffer<Real> one(x.tensor, 1), y1(y.tensor, 1), m1(mask.tensor, 1);
            std::memcpy(one.data, x.data + i * x.tensor.bytes, static_cast<std::size_t>(x.tensor.bytes));
            CHECK_OK(runner.run({&one, &w, b}, {&y1, m ? &m1 : nullptr}, 1, kernels, 1));
            CHECK_SAY(std::memcmp(y1.data, y.data + i * y.tensor.bytes, static_cast<std::size_t>(y.tensor.bytes)) == 0,
                      "%s: %s: image %d differs alone", what.c_str(), kernels->isa, static_cast<int>(i));
        }
    });
}

template <class Real>
void check_grad_input(const Case& c, std::int64_t n, bool masked, bool added, bool outside,
                      const Weight<Real>& weight) {
    const std::string what = "linear_grad_input " + c.text() + " n" + std::to_string(n);
    const Place place = outside ? Place::external : Place::arena;
    const bool one_pixel = c.H * c.W == 1;
    Buffer<Real> dy(apart<Real>(outside ? Layout::plain : Layout::blocked, c.K, 1, 1, Halo{}, true, DType::real, place),
                    n);
    dy.fill_random(8);
    Buffer<Real> w = weight.packed;
    const Halo halo = one_pixel ? Halo{} : Halo{1, 2, 3, 1};
    Buffer<Real> dx(apart<Real>(one_pixel && outside ? Layout::plain : Layout::blocked, c.C, c.H, c.W, halo, true,
                                DType::real, place),
                    n);
    Buffer<Real> residual(apart<Real>(Layout::blocked, c.C, c.H, c.W, Halo{0, 1, 1, 0}), n);
    residual.fill_random(9);
    residual.poison_halo();
    Buffer<Real> mask(apart<Real>(Layout::blocked, c.C, c.H, c.W, Halo{}, true, DType::mask), n);
    mask.fill(
        [](std::int64_t i, std::int64_t ch, std::int64_t h, std::int64_t x) { return (i + ch + h / 2 + x) % 3 != 0; });
    Buffer<Real>*m = masked ? &mask : nullptr, *r = added ? &residual : nullptr;
    Runner<Real> runner("linear_grad_input",
                        {&dy.tensor, &w.tensor, m ? &mask.tensor : nullptr, r ? &residual.tensor : nullptr},
                        {&dx.tensor}, {});
    const std::int64_t F = c.products();
    const Sums want = sums(n, F, c.K, values_of(dy), {c.K, 0, 1}, weight.values, {0, 1, F});
    run_everywhere<Real>(runner, {&dy, &w, m, r}, {&dx}, n, what, [&](const Kernels* kernels) {
        bool close = true;
        std::size_t at = 0;
        dx.each([&](std::int64_t i, std::int64_t ch, std::int64_t h, std::int64_t x) {
            const double more = r ? residual.get(i, ch, h, x) : 0;
            const double value = m && mask.get(i, ch, h, x) == 0 ? 0 : want.sum[at] + more;
            close = close &&
                    std::fabs(dx.get(i, ch, h, x) - value) <= tolerance<Real>(c.K, want.size[at] + std::fabs(more));
            ++at;
        });
        CHECK_SAY(close, "%s: %s differs from the sums", what.c_str(), kernels->isa);
        CHECK_SAY(dx.rest_is_zero(), "%s: %s leaves the halo or a lane", what.c_str(), kernels->isa);
        for (const std::int64_t i : {std::int64_t{0}, n - 1}) {
            if (n < 2) continue;
            Buffer<Real> one(dy.tensor, 1), mask1(mask.tensor, 1), residual1(residual.tensor, 1), dx1(dx.tensor, 1);
            const auto copy = [i](const Buffer<Real>& from, Buffer<Real>& to) {
                std::memcpy(to.data, from.data + i * from.tensor.bytes, static_cast<std::size_t>(from.tensor.bytes));
            };
            copy(dy, one), copy(mask, mask1), copy(residual, residual1);
            CHECK_OK(runner.run({&one, &w, m ? &mask1 : nullptr, r ? &residual1 : nullptr}, {&dx1}, 1, kernels, 1));
            CHECK_SAY(
                std::memcmp(dx1.data, dx.data + i * dx.tensor.bytes, static_cast<std::size_t>(dx.tensor.bytes)) == 0,
                "%s: %s: image %d differs alone", what.c_str(), kernels->isa, static_cast<int>(i));
        }
    });
}

template <class Real>
void check_grad_weight(const Case& c, std::int64_t n, Layout x_layout) {
    const std::string what = "linear_grad_weight " + c.text() + " n" + std::to_string(n);
    Buffer<Real> dy(apart<Real>(Layout::blocked, c.K, 1, 1), n), dw(packed_of<Real>(c), 1);
    Buffer<Real> x(apart<Real>(x_layout, c.C, c.H, c.W, Halo{1, 0, 1, 2}), n);
    dy.fill_random(3), x.fill_random(4);
    x.poison_halo();
    Runner<Real> runner("linear_grad_weight", {&dy.tensor, &x.tensor}, {&dw.tensor}, {});
    const std::int64_t F = c.products();
    const Sums want = sums(c.K, F, n, values_of(dy), {1, 0, c.K}, values_of(x), {0, 1, F});
    run_everywhere<Real>(runner, {&dy, &x}, {&dw}, n, what, [&](const Kernels* kernels) {
        bool close = true;
        Buffer<Real> rest = dw;
        for (std::int64_t i = 0; i < c.K * F; ++i) {
            const std::int64_t w = i % c.W, h = i / c.W % c.H, ch = i / (c.W * c.H) % c.C;
            const std::int64_t at = packed_index<Real>(c, i / F, ch, h, w);
            const std::size_t s = static_cast<std::size_t>(i);
            close = close && std::fabs(dw.get(0, at, 0, 0) - want.sum[s]) <= tolerance<Real>(n, want.size[s]);
            rest.set(0, at, 0, 0, 0);
        }
        CHECK_SAY(close, "%s: %s differs from the sums", what.c_str(), kernels->isa);
        bool zero = true;
        for (std::int64_t e = 0; e < rest.tensor.channels; ++e) zero = zero && rest.get(0, e, 0, 0) == 0;
        CHECK_SAY(zero, "%s: %s leaves a lane", what.c_str(), kernels->isa);
    });
}

// <linear(x, w), dy> = <x, grad_input(dy, w)> = <w, grad_weight(dy, x)>, by the ops alone.
void check_adjoint(const Case& c, std::int64_t n) {
    Weight<double> weight(c);
    Buffer<double> x(apart<double>(Layout::blocked, c.C, c.H, c.W), n), dx(x.tensor, n);
    Buffer<double> y(apart<double>(Layout::blocked, c.K, 1, 1), n), dy(y.tensor, n), dw(weight.packed.tensor, 1);
    x.fill_random(1), dy.fill_random(2);
    const Kernels* kernels = runnable_kernels().front();
    Runner<double> forward("linear", {&x.tensor, &dw.tensor}, {&y.tensor}, {0, 0, 0});
    Runner<double> input("linear_grad_input", {&dy.tensor, &dw.tensor}, {&dx.tensor}, {});
    Runner<double> weights("linear_grad_weight", {&dy.tensor, &x.tensor}, {&dw.tensor}, {});
    CHECK_OK(forward.run({&x, &weight.packed}, {&y}, n, kernels, 2));
    CHECK_OK(input.run({&dy, &weight.packed}, {&dx}, n, kernels, 2));
    CHECK_OK(weights.run({&dy, &x}, {&dw}, n, kernels, 2));
    const auto dot = [](const Buffer<double>& a, const Buffer<double>& b, double* size) {
        double sum = 0;
        a.each([&](std::int64_t i, std::int64_t ch, std::int64_t h, std::int64_t w) {
            const double term = a.get(i, ch, h, w) * b.get(i, ch, h, w);
            sum += term, *size += std::fabs(term);
        });
        return sum;
    };
    double size = 0;
    const double left = dot(y, dy, &size), middle = dot(x, dx, &size), right = dot(weight.packed, dw, &size);
    CHECK_SAY(std::fabs(left - middle) <= tolerance<double>(c.products() * c.K * n, size) &&
                  std::fabs(left - right) <= tolerance<double>(c.products() * c.K * n, size),
              "%s: %.17g, %.17g, %.17g", c.text().c_str(), left, middle, right);
}

template <class Real>
void check_all_forward() {
    for (const Case& c : kCases) {
        const Weight<Real> weight(c);
        const bool large = c.products() * c.K > 200000;
        for (const std::int64_t n : {0, 1, 2, 15, 33}) {
            for (int v = 0; v < 4; ++v) {
                if (large && (n + v) % 3 != 0 && !(n == 33 && v == 1)) continue;
                check_forward<Real>(c, n, kVariants[v], weight);
            }
        }
    }
}

template <class Real>
void check_all_grad_input() {
    for (const Case& c : kCases) {
        const Weight<Real> weight(c);
        const bool large = c.products() * c.K > 200000;
        for (const std::int64_t n : {0, 1, 2, 15, 33}) {
            for (int v = 0; v < 4; ++v) {
                if (large && (n + v) % 3 != 0) continue;
                check_grad_input<Real>(c, n, v % 2 == 1, v / 2 == 1, v == 0, weight);
            }
        }
    }
}

}  // namespace

TEST(linear_follows_the_sums_and_an_image_is_the_same_alone) {
    check_all_forward<float>();
    check_all_forward<double>();
}

TEST(linear_grad_input_follows_the_sums_and_an_image_is_the_same_alone) {
    check_all_grad_input<float>();
    check_all_grad_input<double>();
}

TEST(linear_grad_weight_follows_the_sums) {
    for (const Case& c : kCases) {
        for (const std::int64_t n : {0, 1, 2, 15, 33}) {
            if (c.products() * c.K > 200000 && n > 2 && n != 15) continue;
            check_grad_weight<float>(c, n, n == 2 ? Layout::plain : Layout::blocked);
            check_grad_weight<double>(c, n, n == 15 ? Layout::plain : Layout::blocked);
        }
    }
}

TEST(linear_and_its_gradients_are_adjoint) {
    for (const Case& c : kCases) check_adjoint(c, 3);
}

TEST(linear_combines_the_chunks_of_few_outputs_in_a_second_phase_to_the_same_bits) {
    // 40 outputs of 25,088 inputs are two panels: too few to feed the cores, so images have scratch of their own.
    const Case c{512, 7, 7, 40};
    const Tensor x = apart<float>(Layout::blocked, c.C, c.H, c.W), y = apart<float>(Layout::blocked, c.K, 1, 1);
    const Tensor w = packed_of<float>(c);
    Runner<float> narrow("linear", {&x, &w}, {&y}, {0, 0, 0});
    ScratchNeed need;
    CHECK_OK(narrow.op->check(narrow.problem, &need));
    CHECK(need.per_image_bytes > 0 && need.per_thread_bytes == 0);
    const Case wide{512, 7, 7, 512};
    const Tensor wide_y = apart<float>(Layout::blocked, wide.K, 1, 1), wide_w = packed_of<float>(wide);
    Runner<float> task("linear", {&x, &wide_w}, {&wide_y}, {0, 0, 0});
    ScratchNeed task_need;
    CHECK_OK(task.op->check(task.problem, &task_need));
    CHECK(task_need.per_image_bytes == 0 && task_need.per_thread_bytes > 0);

    // The first 40 outputs of both have the same weights.
    const Weight<float> few(c);
    Buffer<float> many(wide_w, 1);
    std::memset(many.data, 0, static_cast<std::size_t>(wide_w.bytes));
    for (std::int64_t i = 0; i < c.K * c.products(); ++i) {
        const std::int64_t k = i / c.products(), ch = i / 49 % 512, h = i / 7 % 7, s = i % 7;
        many.set(0, packed_index<float>(wide, k, ch, h, s), 0, 0, few.values[static_cast<std::size_t>(i)]);
    }
    Buffer<float> images(x, 3), y_few(y, 3), y_many(wide_y, 3), w_few = few.packed;
    images.fill_random(12);
    for (const Kernels* kernels : runnable_kernels()) {
        CHECK_OK(narrow.run({&images, &w_few}, {&y_few}, 3, kernels, 2));
        CHECK_OK(task.run({&images, &many}, {&y_many}, 3, kernels, 2));
        bool same = true;
        y_few.each([&](std::int64_t i, std::int64_t k, std::int64_t, std::int64_t) {
            same = same && y_few.get(i, k, 0, 0) == y_many.get(i, k, 0, 0);
        });
        CHECK_SAY(same, "%s: the phases differ", kernels->isa);
    }
}

TEST(linear_lets_nan_through_to_its_own_image_alone) {
    const Case c{20, 3, 3, 21};
    const Weight<float> weight(c);
    Buffer<float> x(apart<float>(Layout::blocked, c.C, c.H, c.W), 3), y(apart<float>(Layout::blocked, c.K, 1, 1), 3);
    x.fill_random(1);
    x.set(1, 19, 2, 2, std::nan(""));
    Buffer<float> w = weight.packed;
    Runner<float> runner("linear", {&x.tensor, &w.tensor}, {&y.tensor}, {1, 0, 0});
    run_everywhere<float>(runner, {&x, &w}, {&y}, 3, "nan", [&](const Kernels* kernels) {
        bool right = true;
        y.each([&](std::int64_t i, std::int64_t k, std::int64_t, std::int64_t) {
            right = right && std::isnan(y.get(i, k, 0, 0)) == (i == 1);
        });
        CHECK_SAY(right && y.rest_is_zero(), "%s: NaN is lost or leaks", kernels->isa);
    });
}

TEST(linear_refuses_weights_of_other_sizes_and_outputs_in_place) {
    const Case c{17, 2, 3, 33};
    const Tensor x = apart<float>(Layout::blocked, 17, 2, 3), w = packed_of<float>(c);
    const Tensor y = apart<float>(Layout::blocked, 33, 1, 1);
    const auto message = [&](const char* op, std::vector<const Tensor*> ins, std::vector<const Tensor*> outs,
                             std::vector<std::int64_t> attributes) {
        Runner<float> runner(op, std::move(ins), std::move(outs), std::move(attributes));
        return std::string(runner.check().message);
    };
    CHECK(message("linear", {&x, &w}, {&y}, {0, 0, 0}).empty());
    Tensor other = packed_of<float>({17, 2, 3, 32});
    CHECK(message("linear", {&x, &other}, {&y}, {0, 0, 0}).find("`w` must be one packed tensor of") == 0);
    CHECK(message("linear_grad_input", {&y, &other}, {&x}, {}).find("`w` must be one packed tensor of") == 0);
    CHECK(message("linear_grad_weight", {&y, &x}, {&other}, {}).find("`dw` must be one packed tensor of") == 0);
    const Tensor two = apart<float>(Layout::blocked, 33, 1, 2);
    CHECK(message("linear", {&x, &w}, {&two}, {0, 0, 0}).find("`y` is 33 x 1 x 2") == 0);
    CHECK(message("linear", {&x, &w}, {&y}, {3, 0, 0}).find("`activation` (=3)") == 0);
    const Tensor bias = apart<float>(Layout::plain, 32, 1, 1, Halo{}, false);
    CHECK(message("linear", {&x, &w, &bias}, {&y}, {0, 0, 0}).find("`bias` must be plain") == 0);
    Tensor there = y;
    there.offset = x.offset;
    CHECK(message("linear", {&x, &w}, {&there}, {0, 0, 0}) == "`y` must not lie in place of `x`");
    CHECK(message("linear_grad_input", {&there, &w}, {&x}, {}) == "`dx` must not lie in place of `dy`");
    const Tensor plain = apart<float>(Layout::plain, 17, 2, 3);
    CHECK(message("linear_grad_input", {&y, &w}, {&plain}, {}).find("`dx` (17 x 2 x 3) must have layout blocked") == 0);
    // dy's lanes are loaded whole.
    const Tensor exact = apart<float>(Layout::plain, 33, 1, 1, Halo{}, true, DType::real, Place::external);
    CHECK(message("linear_grad_weight", {&exact, &x}, {&w}, {}).find("`dy` (33 channels, external)") == 0);
}
