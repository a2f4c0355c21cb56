// Pooling and its gradients against the formula in double, over the edges of windows.
#include "ops/run_op.hpp"

using namespace convlens_tests;

namespace {

struct Case {
    int channels, height, width, kernel_h, kernel_w, stride_h, stride_w, top, left, bottom, right, dilation_h,
        dilation_w;
    bool ceil;
    int out(int in, int kernel, int stride, int before, int after, int dilation) const {
        const int span = in + before + after - dilation * (kernel - 1) - 1;
        int size = (ceil ? span + stride - 1 : span) / stride + 1;
        if (ceil && (size - 1) * stride >= in + before) --size;
        return size;
    }
    int out_height() const { return out(height, kernel_h, stride_h, top, bottom, dilation_h); }
    int out_width() const { return out(width, kernel_w, stride_w, left, right, dilation_w); }
    std::string text() const {
        char text[160];
        std::snprintf(text, sizeof text, "c%d h%d w%d r%d s%d st%dx%d p%d,%d,%d,%d d%dx%d%s", channels, height, width,
                      kernel_h, kernel_w, stride_h, stride_w, top, left, bottom, right, dilation_h, dilation_w,
                      ceil ? " ceil" : "");
        return text;
    }
    std::vector<std::int64_t> attributes() const {
        return {kernel_h, kernel_w, stride_h, stride_w, top, left, dilation_h, dilation_w};
    }
};

const Case kCases[] = {
    {1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, false},
    {3, 5, 7, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1, false},
    {16, 6, 6, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, false},
    {17, 9, 11, 3, 2, 1, 1, 0, 0, 0, 0, 1, 1, false},
    {33, 8, 5, 2, 3, 3, 4, 0, 1, 1, 1, 1, 1, false},
    {5, 7, 7, 3, 3, 2, 2, 0, 0, 0, 0, 1, 1, true},
    {8, 10, 9, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, true},
    {20, 12, 13, 2, 2, 1, 2, 0, 0, 0, 0, 3, 2, false},
    {4, 6, 20, 1, 5, 1, 5, 0, 2, 0, 2, 1, 1, false},
    {48, 7, 7, 7, 7, 1, 1, 0, 0, 0, 0, 1, 1, false},
    // stride and dilation with a common divisor, windows with gaps between them, every pixel in one padded window
    {3, 26, 31, 3, 4, 4, 6, 2, 3, 2, 3, 6, 4, false},
    {7, 11, 10, 2, 2, 3, 3, 1, 1, 1, 1, 1, 1, false},
    {18, 7, 9, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, false},
    {9, 5, 6, 3, 3, 3, 3, 1, 2, 1, 1, 1, 1, true},
    {2, 4, 4, 2, 2, 5, 5, 0, 0, 0, 0, 1, 1, false},
    {6, 9, 9, 3, 3, 1, 1, 1, 0, 0, 1, 2, 2, false},
    // rows of several vectors
    {3, 7, 41, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, false},
    {2, 6, 70, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1, false},
    {2, 5, 37, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, false},
    {1, 3, 1100, 2, 5, 1, 1, 0, 2, 0, 2, 1, 1, false},
};

// Calls f(y, x, ky, kx) for the window positions of output (i, j) that fall inside x.
template <class F>
void each_inside(const Case& c, std::int64_t i, std::int64_t j, F f) {
    for (int ky = 0; ky < c.kernel_h; ++ky) {
        for (int kx = 0; kx < c.kernel_w; ++kx) {
            const std::int64_t y = i * c.stride_h - c.top + ky * c.dilation_h,
                               x = j * c.stride_w - c.left + kx * c.dilation_w;
            if (y >= 0 && y < c.height && x >= 0 && x < c.width) f(y, x, ky, kx);
        }
    }
}
int count_of(const Case& c, std::int64_t i, std::int64_t j, bool padding) {
    int count = 0;
    for (int ky = 0; ky < c.kernel_h; ++ky) {
        for (int kx = 0; kx < c.kernel_w; ++kx) {
            const std::int64_t y = i * c.stride_h - c.top + ky * c.dilation_h,
                               x = j * c.stride_w - c.left + kx * c.dilation_w;
            count += padding ? y >= -c.top && y < c.height + c.bottom && x >= -c.left && x < c.width + c.right
                             : y >= 0 && y < c.height && x >= 0 && x < c.width;
        }
    }
    return count;
}

template <class Real>
void check_max(const Case& c, std::int64_t n, bool ties, Layout layout) {
    Buffer<Real> x(tensor_of<Real>(layout, c.channels, c.height, c.width, {1, 2, 0, 1}), n);
    x.fill_random(3, -2, -1);  // all negative: padding must not win
    if (ties) {
        x.fill([](std::int64_t, std::int64_t ch, std::int64_t h, std::int64_t w) { return (ch + h / 2 + w / 3) % 2; });
    }
    x.poison_halo();
    const Halo halo{0, 1, 2, 1};
    Buffer<Real> y(tensor_of<Real>(layout, c.channels, c.out_height(), c.out_width(), halo), n);
    Buffer<Real> offset(tensor_of<Real>(layout, c.channels, c.out_height(), c.out_width(), {}, true, DType::uint8), n);
    Runner<Real> runner("max_pool2d", {&x.tensor}, {&y.tensor, &offset.tensor}, c.attributes());
    run_everywhere<Real>(runner, {&x}, {&y, &offset}, n, "max " + c.text(), [&](const Kernels* kernels) {
        bool same = true;
        y.each([&](std::int64_t i, std::int64_t ch, std::int64_t h, std::int64_t w) {
            double best = 0;
            int winner = -1;
            each_inside(c, h, w, [&](std::int64_t yy, std::int64_t xx, int ky, int kx) {
                const double v = x.get(i, ch, yy, xx);
                if (winner < 0 || v > best) best = v, winner = ky * c.kernel_w + kx;
            });
            same = same && y.get(i, ch, h, w) == best && offset.get(i, ch, h, w) == winner;
        });
        CHECK_SAY(same, "max %s: %s differs from the formula", c.text().c_str(), kernels->isa);
        // Lanes beyond the channels are zero as everywhere; their winners are nobody's.
        CHECK_SAY(y.rest_is_zero(), "max %s: %s leaves the halo or a lane", c.text().c_str(), kernels->isa);
    });
    if (n == 0) return;
    Buffer<Real> dy(tensor_of<Real>(layout, c.channels, c.out_height(), c.out_width(), {1, 1, 1, 1}), n);
    dy.fill_random(5);
    dy.poison_halo();
    Buffer<Real> dx(tensor_of<Real>(layout, c.channels, c.height, c.width, {2, 1, 0, 3}), n);
    Runner<Real> back("max_pool2d_grad", {&dy.tensor, &offset.tensor}, {&dx.tensor}, c.attributes());
    run_everywhere<Real>(back, {&dy, &offset}, {&dx}, n, "max grad " + c.text(), [&](const Kernels* kernels) {
        Buffer<double> want(tensor_of<double>(layout, c.channels, c.height, c.width), n);
        Buffer<double> size(want.tensor, n);
        want.fill([](auto...) { return 0.0; });
        size.fill([](auto...) { return 0.0; });
        dy.each([&](std::int64_t i, std::int64_t ch, std::int64_t h, std::int64_t w) {
            each_inside(c, h, w, [&](std::int64_t yy, std::int64_t xx, int ky, int kx) {
                if (offset.get(i, ch, h, w) != ky * c.kernel_w + kx) return;
                want.set(i, ch, yy, xx, want.get(i, ch, yy, xx) + dy.get(i, ch, h, w));
                size.set(i, ch, yy, xx, size.get(i, ch, yy, xx) + std::fabs(dy.get(i, ch, h, w)));
            });
        });
        bool same = true;
        dx.each([&](std::int64_t i, std::int64_t ch, std::int64_t h, std::int64_t w) {
            const double bound = 16 * std::numeric_limits<Real>::epsilon() * size.get(i, ch, h, w);
            same = same && std::fabs(dx.get(i, ch, h, w) - want.get(i, ch, h, w)) <= bound;
        });
        CHECK_SAY(same && dx.rest_is_zero(), "max grad %s: %s differs from the formula", c.text().c_str(),
                  kernels->isa);
    });
}

template <class Real>
void check_average(const Case& c, std::int64_t n, bool padding, Layout layout) {
    std::vector<std::int64_t> attributes = c.attributes();
    attributes.insert(attributes.end(), {padding, c.bottom, c.right});
    Buffer<Real> x(tensor_of<Real>(layout, c.channels, c.height, c.width, {1, 0, 2, 1}), n);
    x.fill_random(7);
    x.poison_halo();
    Buffer<Real> y(tensor_of<Real>(layout, c.channels, c.out_height(), c.out_width(), {1, 1, 0, 0}), n);
    Runner<Real> runner("avg_pool2d", {&x.tensor}, {&y.tensor}, attributes);
    run_everywhere<Real>(runner, {&x}, {&y}, n, "average " + c.text(), [&](const Kernels* kernels) {
        bool same = true;
        y.each([&](std::int64_t i, std::int64_t ch, std::int64_t h, std::int64_t w) {
            double total = 0, size = 0;
            each_inside(c, h, w, [&](std::int64_t yy, std::int64_t xx, int, int) {
                total += x.get(i, ch, yy, xx), size += std::fabs(x.get(i, ch, yy, xx));
            });
            const int count = count_of(c, h, w, padding);
            const double bound = 16 * std::numeric_limits<Real>::epsilon() * size / count;
            same = same && std::fabs(y.get(i, ch, h, w) - total / count) <= bound;
        });
        CHECK_SAY(same && y.rest_is_zero(), "average %s: %s differs from the formula", c.text().c_str(), kernels->isa);
    });
    if (n == 0) return;
    Buffer<Real> dy(y.tensor, n);
    dy.fill_random(9);
    dy.poison_halo();
    Buffer<Real> dx(tensor_of<Real>(layout, c.channels, c.height, c.width, {0, 1, 1, 1}), n);
    Runner<Real> back("avg_pool2d_grad", {&dy.tensor}, {&dx.tensor}, attributes);
    run_everywhere<Real>(back, {&dy}, {&dx}, n, "average grad " + c.text(), [&](const Kernels* kernels) {
        // <avg(x), dy> = <x, grad(dy)>
        double left = 0, right = 0, size = 0;
        y.each([&](std::int64_t i, std::int64_t ch, std::int64_t h, std::int64_t w) {
            const double term = y.get(i, ch, h, w) * dy.get(i, ch, h, w);
            left += term, size += std::fabs(term);
        });
        x.each([&](std::int64_t i, std::int64_t ch, std::int64_t h, std::int64_t w) {
            const double term = x.get(i, ch, h, w) * dx.get(i, ch, h, w);
            right += term, size += std::fabs(term);
        });
        CHECK_SAY(std::fabs(left - right) <= 32 * std::numeric_limits<Real>::epsilon() * size && dx.rest_is_zero(),
                  "average grad %s: %s is no adjoint", c.text().c_str(), kernels->isa);
    });
}

template <class Real>
void check_nan(Layout layout) {
    const Case c{3, 4, 4, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1, false};
    Buffer<Real> x(tensor_of<Real>(layout, 3, 4, 4), 1);
    x.fill([](std::int64_t, std::int64_t ch, std::int64_t h, std::int64_t w) {
        return ch == 1 && h == 1 && w == 2 ? std::numeric_limits<double>::quiet_NaN() : ch == 2 ? -HUGE_VAL : 1.0;
    });
    Buffer<Real> y(tensor_of<Real>(layout, 3, 2, 2), 1);
    Buffer<Real> offset(tensor_of<Real>(layout, 3, 2, 2, {}, true, DType::uint8), 1);
    Runner<Real> runner("max_pool2d", {&x.tensor}, {&y.tensor, &offset.tensor}, c.attributes());
    run_everywhere<Real>(runner, {&x}, {&y, &offset}, 1, "nan", [&](const Kernels* kernels) {
        CHECK_SAY(std::isnan(y.get(0, 1, 0, 1)) && offset.get(0, 1, 0, 1) == 2, "%s loses NaN", kernels->isa);
        CHECK_SAY(y.get(0, 1, 0, 0) == 1 && y.get(0, 2, 0, 0) == -HUGE_VAL && offset.get(0, 2, 1, 1) == 0,
                  "%s: a window of -inf", kernels->isa);
    });
}

}  // namespace

TEST(max_pooling_and_its_gradient_follow_the_formula) {
    for (const Layout layout : {Layout::blocked, Layout::plain}) {
        for (const Case& c : kCases) {
            for (const bool ties : {false, true}) {
                check_max<float>(c, 2, ties, layout);
                check_max<double>(c, 1, ties, layout);
            }
            check_max<float>(c, 0, false, layout);
        }
    }
}

TEST(average_pooling_follows_the_formula_and_its_gradient_is_the_adjoint) {
    for (const Layout layout : {Layout::blocked, Layout::plain}) {
        for (const Case& c : kCases) {
            for (const bool padding : {false, true}) {
                check_average<float>(c, 2, padding, layout);
                check_average<double>(c, 1, padding, layout);
            }
        }
    }
}

TEST(max_pooling_lets_nan_through_and_takes_minus_infinity_as_a_value) {
    for (const Layout layout : {Layout::blocked, Layout::plain}) {
        check_nan<float>(layout);
        check_nan<double>(layout);
    }
}

TEST(pooling_is_the_same_to_the_bit_alone_and_in_a_batch) {
    const Case c{19, 9, 8, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, false};
    const Tensor in = tensor_of<float>(Layout::blocked, 19, 9, 8), out = tensor_of<float>(Layout::blocked, 19, 5, 4);
    Buffer<float> alone(in, 1), batch(in, 5), y1(out, 1), y5(out, 5);
    alone.fill_random(11), batch.fill_random(11);
    std::vector<std::int64_t> attributes = c.attributes();
    attributes.insert(attributes.end(), {1, 1, 1});
    Runner<float> runner("avg_pool2d", {&in}, {&out}, attributes);
    const Kernels* kernels = runnable_kernels().front();
    CHECK_OK(runner.run({&alone}, {&y1}, 1, kernels, 1));
    CHECK_OK(runner.run({&batch}, {&y5}, 5, kernels, 2));
    CHECK(std::memcmp(y1.data, y5.data, static_cast<std::size_t>(out.bytes)) == 0);
}

TEST(max_pooling_names_the_first_of_several_nan) {
    for (const Layout layout : {Layout::blocked, Layout::plain}) {
        const Case c{1, 3, 3, 3, 3, 1, 1, 0, 0, 0, 0, 1, 1, false};
        Buffer<float> x(tensor_of<float>(layout, 1, 3, 3), 1), y(tensor_of<float>(layout, 1, 1, 1), 1);
        Buffer<float> offset(tensor_of<float>(layout, 1, 1, 1, {}, true, DType::uint8), 1);
        x.fill([](std::int64_t, std::int64_t, std::int64_t h, std::int64_t w) {
            return h == 1 && w != 1 ? std::numeric_limits<double>::quiet_NaN() : double(h * 3 + w);
        });
        Runner<float> runner("max_pool2d", {&x.tensor}, {&y.tensor, &offset.tensor}, c.attributes());
        run_everywhere<float>(runner, {&x}, {&y, &offset}, 1, "nan twice", [&](const Kernels* kernels) {
            CHECK_SAY(std::isnan(y.get(0, 0, 0, 0)) && offset.get(0, 0, 0, 0) == 3, "%s names %g", kernels->isa,
                      offset.get(0, 0, 0, 0));
        });
    }
}

TEST(pooling_refuses_windows_without_an_element) {
    const Tensor x = tensor_of<float>(Layout::blocked, 4, 6, 6);
    const auto refused = [&](int height, int width, std::vector<std::int64_t> attributes) {
        const Tensor y = tensor_of<float>(Layout::blocked, 4, height, width);
        Runner<float> runner("max_pool2d", {&x}, {&y}, std::move(attributes));
        return !runner.check().ok();
    };
    CHECK(!refused(3, 3, {2, 2, 2, 2, 0, 0, 1, 1}));
    CHECK(refused(4, 3, {2, 2, 2, 2, 0, 0, 1, 1}));  // the last window starts below
    CHECK(refused(3, 3, {2, 2, 2, 2, 2, 0, 1, 1}));  // the first ends above
    CHECK(refused(1, 1, {2, 2, 1, 1, 1, 1, 7, 7}));  // one element on either side of x
    CHECK(refused(3, 3, {2, 2, 2, 2, 0, 0, 1, std::int64_t{1} << 40}));
}

TEST(pooling_refuses_windows_that_offsets_cannot_name) {
    const Tensor x = tensor_of<float>(Layout::blocked, 4, 40, 40), y = tensor_of<float>(Layout::blocked, 4, 24, 24);
    const Tensor offset = tensor_of<float>(Layout::blocked, 4, 24, 24, {}, true, DType::uint8);
    Runner<float> runner("max_pool2d", {&x}, {&y, &offset}, {17, 17, 1, 1, 0, 0, 1, 1});
    const Status status = runner.check();
    CHECK(status.code == Code::unsupported && std::strstr(status.message, "at most 256") != nullptr);
    Runner<float> zero("max_pool2d", {&x}, {&y}, {2, 2, 0, 1, 0, 0, 1, 1});
    CHECK(std::strstr(zero.check().message, "`stride_h` (=0)") != nullptr);
}
