// Sums, means and maxima over every combination of axes, against sums in double.
#include "ops/run_op.hpp"

using namespace convlens_tests;

namespace {

struct Case {
    Layout layout;
    int channels, height, width;
    bool batched;
    std::int64_t n;
};

template <class Real>
void check_reduce(const Case& c, std::int64_t axes, std::int64_t kind, Layout y_layout, Place y_place) {
    const bool halos = c.layout != Layout::packed && !(axes == 1 && c.height * c.width > 1);
    Buffer<Real> x(
        tensor_of<Real>(c.layout, c.channels, c.height, c.width, halos ? Halo{1, 0, 2, 1} : Halo{}, c.batched), c.n);
    x.fill_random(4, -1, 2);
    if (halos) x.poison_halo();
    const bool y_batched = c.batched && !(axes & 1);
    Buffer<Real> y(tensor_of<Real>(y_layout, axes & 2 ? 1 : c.channels, axes & 4 ? 1 : c.height, axes & 4 ? 1 : c.width,
                                   {}, y_batched, DType::real, y_place),
                   c.n);
    char what[120];
    std::snprintf(what, sizeof what, "layout %d c%d h%d w%d n%d axes %d kind %d", static_cast<int>(c.layout),
                  c.channels, c.height, c.width, static_cast<int>(c.n), static_cast<int>(axes), static_cast<int>(kind));
    Runner<Real> runner("reduce", {&x.tensor}, {&y.tensor}, {axes, kind});
    run_everywhere<Real>(runner, {&x}, {&y}, c.n, what, [&](const Kernels* kernels) {
        bool same = true;
        y.each([&](std::int64_t i, std::int64_t ch, std::int64_t h, std::int64_t w) {
            double total = kind == 2 ? -HUGE_VAL : 0, size = 0, count = 0;
            x.each([&](std::int64_t xi, std::int64_t xc, std::int64_t xh, std::int64_t xw) {
                if ((!(axes & 1) && xi != i) || (!(axes & 2) && xc != ch) || (!(axes & 4) && (xh != h || xw != w)))
                    return;
                const double v = x.get(xi, xc, xh, xw);
                total = kind == 2 ? std::fmax(total, v) : total + v, size += std::fabs(v), count += 1;
            });
            if (kind == 1) total /= count, size /= count;
            const double bound = kind == 2 ? 0 : std::numeric_limits<Real>::epsilon() * 4 * std::sqrt(count + 1) * size;
            const double got = y.get(i, ch, h, w);
            same = same &&
                   (std::fabs(got - total) <= bound || (count == 0 && (kind == 1 ? std::isnan(got) : got == total)));
        });
        CHECK_SAY(same, "%s: %s differs", what, kernels->isa);
        CHECK_SAY(y.rest_is_zero(), "%s: %s leaves a lane or padding", what, kernels->isa);
    });
}

template <class Real>
void check_all() {
    const Case cases[] = {{Layout::blocked, 3, 5, 7, true, 3},   {Layout::blocked, 33, 4, 9, true, 2},
                          {Layout::plain, 6, 8, 8, true, 2},     {Layout::plain, 10, 1, 1, true, 5},
                          {Layout::blocked, 17, 1, 1, true, 2},  {Layout::plain, 3, 40, 50, true, 1},
                          {Layout::plain, 5, 3, 2, false, 1},    {Layout::packed, 4096, 1, 1, false, 1},
                          {Layout::packed, 272, 1, 1, false, 0}, {Layout::blocked, 5, 2, 3, true, 0}};
    for (const Case& c : cases) {
        for (std::int64_t axes = 1; axes < 8; ++axes) {
            const bool pixels = c.height * c.width > 1;
            if (pixels && axes == 3) continue;                            // refused, see below
            if (c.layout == Layout::packed && (axes & 2) == 0) continue;  // packed has no channels to keep
            for (std::int64_t kind = 0; kind < 3; ++kind) {
                const bool one = (axes & 4) || !pixels;
                check_reduce<Real>(c, axes, kind,
                                   Layout::plain == c.layout || c.layout == Layout::packed ? Layout::plain : c.layout,
                                   Place::arena);
                if (one) check_reduce<Real>(c, axes, kind, Layout::plain, Place::external);
                if (axes == 2 && pixels)
                    check_reduce<Real>(c, axes, kind, c.layout == Layout::plain ? Layout::blocked : Layout::plain,
                                       Place::arena);
            }
        }
    }
}

}  // namespace

TEST(reductions_follow_the_formula_over_every_combination_of_axes) {
    check_all<float>();
    check_all<double>();
}

TEST(a_mean_over_a_hundred_thousand_pixels_is_accurate) {
    Buffer<float> x(tensor_of<float>(Layout::blocked, 16, 320, 320), 1),
        y(tensor_of<float>(Layout::blocked, 16, 1, 1), 1);
    x.fill([](std::int64_t, std::int64_t c, std::int64_t h, std::int64_t w) {
        return 0.1 * c + 1e-3 * ((h * 7 + w) % 11);
    });
    Runner<float> runner("reduce", {&x.tensor}, {&y.tensor}, {4, 1});
    CHECK_OK(runner.run({&x}, {&y}, 1, runnable_kernels().front(), 2));
    for (int c = 0; c < 16; ++c) {
        double total = 0;
        for (int h = 0; h < 320; ++h)
            for (int w = 0; w < 320; ++w) total += x.get(0, c, h, w);
        CHECK(std::fabs(y.get(0, c, 0, 0) - total / 102400) <= 2e-6 * total / 102400);
    }
}

TEST(reduce_lets_nan_through_and_refuses_what_it_cannot_do) {
    Buffer<float> x(tensor_of<float>(Layout::blocked, 3, 4, 4), 1), y(tensor_of<float>(Layout::blocked, 3, 1, 1), 1);
    x.fill([](std::int64_t, std::int64_t c, std::int64_t h, std::int64_t w) {
        return c == 1 && h == 2 && w == 1 ? std::numeric_limits<double>::quiet_NaN() : 1.0;
    });
    for (const std::int64_t kind : {0, 2}) {
        Runner<float> runner("reduce", {&x.tensor}, {&y.tensor}, {4, kind});
        run_everywhere<float>(runner, {&x}, {&y}, 1, "nan", [&](const Kernels* kernels) {
            CHECK_SAY(std::isnan(y.get(0, 1, 0, 0)) && !std::isnan(y.get(0, 0, 0, 0)), "%s loses NaN", kernels->isa);
        });
    }
    const Tensor out = tensor_of<float>(Layout::plain, 1, 4, 4, {}, false);
    Runner<float> both("reduce", {&x.tensor}, {&out}, {3, 0});
    CHECK(both.check().code == Code::unsupported);
    Runner<float> shape("reduce", {&x.tensor}, {&out}, {4, 0});
    CHECK(std::strstr(shape.check().message, "these axes of `x` leave 3 x 1 x 1") != nullptr);
}

TEST(reductions_give_an_image_the_same_bits_in_every_batch) {
    for (const Layout layout : {Layout::plain, Layout::blocked}) {
        const Tensor in = tensor_of<float>(layout, 21, 13, 17);
        for (const std::int64_t axes : {2, 4, 6}) {
            const Tensor out = tensor_of<float>(axes == 2 ? layout : Layout::plain, axes & 2 ? 1 : 21,
                                                axes & 4 ? 1 : 13, axes & 4 ? 1 : 17);
            Buffer<float> alone(in, 1), batch(in, 5), y1(out, 1), y5(out, 5);
            alone.fill_random(8), batch.fill_random(8);
            Runner<float> runner("reduce", {&in}, {&out}, {axes, 1});
            for (const Kernels* kernels : runnable_kernels()) {
                CHECK_OK(runner.run({&alone}, {&y1}, 1, kernels, 1));
                CHECK_OK(runner.run({&batch}, {&y5}, 5, kernels, 2));
                CHECK(std::memcmp(y1.data, y5.data, static_cast<std::size_t>(out.bytes)) == 0);
            }
        }
    }
}
