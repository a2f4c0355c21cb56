// Resampling against the formula in double.
#include "ops/run_op.hpp"

using namespace convlens_tests;

namespace {

double clamped(const Buffer<float>& x, std::int64_t c, double h, double w) {
    const double last_h = x.tensor.height - 1, last_w = x.tensor.width - 1;
    h = h < 0 ? 0 : h > last_h ? last_h : h;
    w = w < 0 ? 0 : w > last_w ? last_w : w;
    return x.get(0, c, static_cast<std::int64_t>(h), static_cast<std::int64_t>(w));
}

void check_resize(int h, int w, int height, int width, std::int64_t mode) {
    Buffer<float> x(tensor_of<float>(Layout::plain, 3, h, w, {1, 1, 1, 1}), 1);
    x.fill_random(2);
    x.poison_halo();
    Buffer<float> y(tensor_of<float>(Layout::plain, 3, height, width), 1);
    Runner<float> runner("resize", {&x.tensor}, {&y.tensor}, {mode});
    run_everywhere<float>(runner, {&x}, {&y}, 1, "resize", [&](const Kernels* kernels) {
        double worst = 0;
        y.each([&](std::int64_t, std::int64_t c, std::int64_t i, std::int64_t j) {
            const double at_h = (i + 0.5) * h / height - 0.5, at_w = (j + 0.5) * w / width - 0.5;
            double want;
            if (mode == 1) {
                const double fh = std::floor(at_h), fw = std::floor(at_w), th = at_h - fh, tw = at_w - fw;
                want = (1 - th) * ((1 - tw) * clamped(x, c, fh, fw) + tw * clamped(x, c, fh, fw + 1)) +
                       th * ((1 - tw) * clamped(x, c, fh + 1, fw) + tw * clamped(x, c, fh + 1, fw + 1));
            } else if (mode == 0) {
                want = clamped(x, c, std::ceil(at_h - 0.5), std::ceil(at_w - 0.5));
            } else {
                want = clamped(x, c, std::floor(at_h + 0.5), std::floor(at_w + 0.5));
            }
            worst = std::fmax(worst, std::fabs(y.get(0, c, i, j) - want));
        });
        // Values within [-1, 1]; two blends of three roundings each.
        CHECK_SAY(worst <= (mode == 1 ? 8 * std::numeric_limits<float>::epsilon() : 0),
                  "%s: %dx%d to %dx%d mode %d errs %g", kernels->isa, h, w, height, width, static_cast<int>(mode),
                  worst);
    });
}

}  // namespace

TEST(resize_reads_half_pixel_positions) {
    for (const std::int64_t mode : {0, 1, 2}) {
        check_resize(7, 7, 224, 224, mode);
        check_resize(3, 5, 20, 36, mode);
        check_resize(1, 1, 6, 5, mode);
        check_resize(6, 9, 6, 9, mode);
        check_resize(12, 11, 5, 4, mode);
    }
}

TEST(resizing_a_constant_gives_that_constant_exactly) {
    Buffer<float> x(tensor_of<float>(Layout::plain, 1, 5, 6), 1), y(tensor_of<float>(Layout::plain, 1, 23, 31), 1);
    x.fill([](auto...) { return 0.1f; });
    Runner<float> runner("resize", {&x.tensor}, {&y.tensor}, {1});
    run_everywhere<float>(runner, {&x}, {&y}, 1, "constant", [&](const Kernels* kernels) {
        bool same = true;
        y.each([&](std::int64_t, std::int64_t, std::int64_t h, std::int64_t w) {
            same = same && y.get(0, 0, h, w) == 0.1f;
        });
        CHECK_SAY(same, "%s changes a constant", kernels->isa);
    });
}
