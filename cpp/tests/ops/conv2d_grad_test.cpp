#include <algorithm>

#include "conv_cases.hpp"

using namespace convlens_tests;

namespace {

// The halo of dy that the backward pass reads.
Halo backward_halo(const ConvCase& k) {
    const auto floor_div = [](int a, int b) { return a >= 0 ? a / b : -((-a + b - 1) / b); };
    const auto top = [&](int pad, int taps, int dilation, int stride) {
        return std::max(0, floor_div((taps - 1) * dilation - pad, stride));
    };
    const auto bottom = [&](int size, int pad, int stride, int outputs) {
        return std::max(0, floor_div(size - 1 + pad, stride) + 1 - outputs);
    };
    return {top(k.top, k.r, k.dilation_h, k.stride_h), top(k.left, k.s, k.dilation_w, k.stride_w),
            bottom(k.h, k.top, k.stride_h, k.p()), bottom(k.w, k.left, k.stride_w, k.q())};
}

template <class Real>
void check_grad_input(const ConvCase& k, std::int64_t n, bool mask, bool residual, Halo halo,
                      Layout dx_layout = Layout::blocked) {
    const Tensor dy_tensor = tensor_of<Real>(Layout::blocked, k.k, k.p(), k.q(), backward_halo(k));
    const Tensor dx_tensor = tensor_of<Real>(dx_layout, k.c, k.h, k.w, halo);
    const Tensor m_tensor = tensor_of<Real>(Layout::blocked, k.c, k.h, k.w, {}, true, DType::mask);
    const Tensor r_tensor = tensor_of<Real>(Layout::blocked, k.c, k.h, k.w, {0, 1, 0, 0});
    Buffer<Real> dy(dy_tensor, n), dx(dx_tensor, n), keep(m_tensor, n), rest(r_tensor, n);
    dy.fill_random(1), rest.fill_random(2);
    if (mask && !residual && n > 0) {  // a class alone, in one image
        for (std::int64_t c = 0; c < k.k; ++c) {
            for (std::int64_t p = 0; p < k.p() && c != k.k / 2; ++p) {
                for (std::int64_t q = 0; q < k.q(); ++q) dy.set(0, c, p, q, 0);
            }
        }
    }
    keep.fill([](std::int64_t i, std::int64_t c, std::int64_t h, std::int64_t w) { return (i + c + h + w) % 3 != 0; });
    PackedPair<Real> w(k, 3), own = w.for_gradient(k);
    Runner<Real> runner(k.op("conv2d_grad_input").c_str(),
                        {&dy_tensor, &own.packed.tensor, mask ? &m_tensor : nullptr, residual ? &r_tensor : nullptr},
                        {&dx_tensor}, k.gradient_attributes());
    Sums sums(static_cast<std::size_t>(n) * static_cast<std::size_t>(logical_elements(dx_tensor)));
    each_product(k, n, [&](std::int64_t i, int ko, int p, int q, int c, int yy, int xx, std::int64_t at) {
        sums.add(flat_index(i, c, yy, xx, dx_tensor), dy.get(i, ko, p, q) * w.at(at));
    });
    const std::string what = "conv2d_grad_input " + k.name() + (dx_layout == Layout::plain ? " plain" : "");
    run_everywhere<Real>(runner, {&dy, &own.packed, mask ? &keep : nullptr, residual ? &rest : nullptr}, {&dx}, n, what,
                         [&](const Kernels* kernels) {
                             Errors<Real> errors{k, static_cast<double>(k.k) / k.groups * k.r * k.s};
                             dx.each([&](std::int64_t i, std::int64_t c, std::int64_t y, std::int64_t x) {
                                 const std::size_t at = flat_index(i, c, y, x, dx_tensor);
                                 double value = sums.value[at], magnitude = sums.magnitude[at];
                                 if (residual) value += rest.get(i, c, y, x), magnitude += 1;
                                 if (mask && keep.get(i, c, y, x) == 0) value = 0;
                                 errors.add(dx.get(i, c, y, x), value, magnitude, sums.value[at]);
                             });
                             CHECK_SAY(errors.relative() <= 1, "%s on %s: error is %.3g tolerances", what.c_str(),
                                       kernels->isa, errors.relative());
                             CHECK_SAY(dx.rest_is_zero(), "%s on %s: halo or padded lanes not zero", what.c_str(),
                                       kernels->isa);
                         });
}

template <class Real>
void check_grad_weight(const ConvCase& k, std::int64_t n, Layout x_layout) {
    const Tensor dy_tensor = tensor_of<Real>(Layout::blocked, k.k, k.p(), k.q(), {1, 0, 1, 2});
    const Tensor x_tensor = tensor_of<Real>(x_layout, k.c, k.h, k.w, pads_as_halo(k));
    Buffer<Real> dy(dy_tensor, n), x(x_tensor, n);
    dy.fill_random(1), x.fill_random(2);
    dy.poison_halo();
    PackedPair<Real> w(k, 3);
    Buffer<Real> dw(w.packed.tensor, 1), plain(w.plain.tensor, 1);
    Runner<Real> runner("conv2d_grad_weight", {&dy_tensor, &x_tensor}, {&w.packed.tensor}, k.attributes());
    Runner<Real> unpack("unpack_weight", {&w.packed.tensor}, {&w.plain.tensor}, k.weight_attributes());
    Sums sums(static_cast<std::size_t>(logical_elements(w.plain.tensor)));
    each_product(k, n, [&](std::int64_t i, int ko, int p, int q, int c, int yy, int xx, std::int64_t at) {
        sums.add(static_cast<std::size_t>(at), dy.get(i, ko, p, q) * x.get(i, c, yy, xx));
    });
    const std::string what = "conv2d_grad_weight " + k.name() + (x_layout == Layout::plain ? " plain" : "");
    run_everywhere<Real>(runner, {&dy, &x}, {&dw}, n, what, [&](const Kernels* kernels) {
        CHECK_OK(unpack.run({&dw}, {&plain}, 1, kernels, 1));
        double worst = 0;
        std::int64_t set = 0, want = 0;
        for (std::size_t at = 0; at < sums.value.size(); ++at) {
            Real value;
            std::memcpy(&value, plain.data + at * sizeof(Real), sizeof value);
            const double error = std::fabs(static_cast<double>(value) - sums.value[at]) /
                                 tolerance<Real>(sums.magnitude[at], static_cast<double>(n) * k.p() * k.q());
            worst = std::fmax(worst, std::isnan(error) ? 1e30 : error);
            want += value != 0;
        }
        dw.each([&](std::int64_t, std::int64_t c, std::int64_t, std::int64_t) { set += dw.get(0, c, 0, 0) != 0; });
        CHECK_SAY(worst <= 1, "%s on %s: error is %.3g tolerances", what.c_str(), kernels->isa, worst);
        CHECK_SAY(set == want, "%s on %s: what is no weight is not zero", what.c_str(), kernels->isa);
    });
}

bool is_depthwise(const ConvCase& k) { return k.groups > 1 && k.groups == k.c && k.k == k.c; }

template <class Real>
void check_all_grad_input() {
    int number = 0;
    for (ConvCase k : dense_and_winograd_cases()) {
        check_grad_input<Real>(k, 2, false, false, {});
        if (k.unit == 0 && k.groups == 1) k.transformed = number % 4 < 2;
        check_grad_input<Real>(k, number % 3, true, number % 2 == 0, {1, 2, 0, 1});
        if (k.unit == 0 && !is_depthwise(k)) check_grad_input<Real>(k, number % 3, false, false, {}, Layout::plain);
        ++number;
    }
}

template <class Real>
void check_all_grad_weight() {
    int number = 0;
    for (const ConvCase& k : conv_cases()) {
        check_grad_weight<Real>(k, number % 4, Layout::blocked);
        check_grad_weight<Real>(k, 5, Layout::blocked);
        if (!is_depthwise(k)) check_grad_weight<Real>(k, 3, Layout::plain);
        ++number;
    }
}

}  // namespace

TEST(conv2d_grad_input_equals_its_definition) { check_all_grad_input<float>(); }
TEST(conv2d_grad_input_equals_its_definition_in_float64) { check_all_grad_input<double>(); }
TEST(conv2d_grad_weight_equals_its_definition) { check_all_grad_weight<float>(); }
TEST(conv2d_grad_weight_equals_its_definition_in_float64) { check_all_grad_weight<double>(); }
TEST(conv2d_gradients_equal_their_definition_where_they_are_cut_into_pieces) {
    for (const ConvCase& k : large_conv_cases()) {
        check_grad_input<float>(k, 1, false, false, {});
        if (!is_depthwise(k)) check_grad_input<float>(k, 1, false, false, {}, Layout::plain);
        check_grad_weight<float>(k, 1, Layout::blocked);
    }
    const ConvCase deep{260, 5, 5, 64, 3, 3, 1, 1, 1, 1, 1, 1};  // panels transposed by the task that uses them
    check_grad_input<float>(deep, 3, true, true, {1, 1, 1, 1});
    check_grad_input<float>(deep, 3, false, false, {}, Layout::plain);
    const ConvCase wide{40, 7, 7, 512, 3, 3, 2, 2, 1, 1, 1, 1};  // passes over the channels of dy
    check_grad_input<float>(wide, 1, true, true, {1, 1, 1, 1});
    check_grad_weight<float>({1, 28, 28, 8, 3, 3}, 40, Layout::plain);  // many units a partial
}

TEST(conv2d_and_its_gradients_are_adjoint) {
    for (const ConvCase& k : dense_and_winograd_cases()) {
        const std::int64_t n = 2;
        const Tensor x_tensor = tensor_of<double>(Layout::blocked, k.c, k.h, k.w, pads_as_halo(k));
        const Tensor y_tensor = tensor_of<double>(Layout::blocked, k.k, k.p(), k.q(), backward_halo(k));
        PackedPair<double> w(k, 4), own = w.for_gradient(k);
        std::vector<std::int64_t> attributes = k.attributes();
        attributes.insert(attributes.end(), {0, 0, 0});
        Runner<double> forward(k.op("conv2d").c_str(), {&x_tensor, &w.packed.tensor}, {&y_tensor},
                               k.with_unit(attributes));
        Runner<double> to_input(k.op("conv2d_grad_input").c_str(), {&y_tensor, &own.packed.tensor}, {&x_tensor},
                                k.gradient_attributes());
        Runner<double> to_weight("conv2d_grad_weight", {&y_tensor, &x_tensor}, {&w.packed.tensor}, k.attributes());
        Buffer<double> x(x_tensor, n), y(y_tensor, n), g(y_tensor, n), dx(x_tensor, n), dw(w.packed.tensor, 1);
        x.fill_random(1), g.fill_random(2);
        for (const Kernels* kernels : runnable_kernels()) {
            CHECK_OK(forward.run({&x, &w.packed}, {&y}, n, kernels, 2));
            CHECK_OK(to_input.run({&g, &own.packed}, {&dx}, n, kernels, 2));
            if (k.unit == 0) CHECK_OK(to_weight.run({&g, &x}, {&dw}, n, kernels, 2));
            double yg = 0, xdx = 0, wdw = 0, magnitude = 0;
            const auto dot = [](const Buffer<double>& a, const Buffer<double>& b, double* sum, double* absolute) {
                a.each([&](std::int64_t i, std::int64_t c, std::int64_t h, std::int64_t v) {
                    *sum += a.get(i, c, h, v) * b.get(i, c, h, v);
                    *absolute += std::fabs(a.get(i, c, h, v) * b.get(i, c, h, v));
                });
            };
            dot(y, g, &yg, &magnitude), dot(x, dx, &xdx, &magnitude);
            CHECK_SAY(std::fabs(yg - xdx) <= 1e-13 * magnitude, "%s on %s: <conv x, g> = %.17g, <x, convT g> = %.17g",
                      k.name().c_str(), kernels->isa, yg, xdx);
            if (k.unit != 0) continue;
            dot(w.packed, dw, &wdw, &magnitude);
            CHECK_SAY(std::fabs(yg - wdw) <= 1e-13 * magnitude, "%s on %s: <conv x, g> = %.17g, <w, dw> = %.17g",
                      k.name().c_str(), kernels->isa, yg, wdw);
        }
    }
}

TEST(conv2d_grad_input_gives_an_image_the_same_bits_in_any_batch) {
    for (const ConvCase& k :
         {ConvCase{3, 9, 11, 5, 3, 3, 2, 2, 1, 1, 1, 1}, ConvCase{40, 14, 13, 70, 3, 3, 1, 1, 1, 1, 1, 1},
          ConvCase{40, 14, 13, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4},
          ConvCase{70, 7, 5, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2}}) {
        const Tensor dy_tensor = tensor_of<float>(Layout::blocked, k.k, k.p(), k.q(), backward_halo(k));
        const Tensor dx_tensor = tensor_of<float>(Layout::blocked, k.c, k.h, k.w);
        PackedPair<float> w(k, 4);
        Runner<float> runner(k.op("conv2d_grad_input").c_str(), {&dy_tensor, &w.packed.tensor}, {&dx_tensor},
                             k.gradient_attributes());
        for (const Kernels* kernels : runnable_kernels()) {
            Buffer<float> dy1(dy_tensor, 1), dx1(dx_tensor, 1), dy7(dy_tensor, 7), dx7(dx_tensor, 7);
            dy1.fill_random(1), dy7.fill_random(1);
            CHECK_OK(runner.run({&dy1, &w.packed}, {&dx1}, 1, kernels, 1));
            CHECK_OK(runner.run({&dy7, &w.packed}, {&dx7}, 7, kernels, 2));
            CHECK(std::memcmp(dx1.data, dx7.data, static_cast<std::size_t>(dx_tensor.bytes)) == 0);
        }
    }
}

TEST(depthwise_gradients_refuse_pixels_far_beyond_the_windows) {
    for (std::int64_t stride : {1, 2}) {
        const std::vector<std::int64_t> attributes = {3, 3, stride, stride, 1, 1, 1, 1, 8};
        const Tensor dy = tensor_of<float>(Layout::plain, 8, 7, 8),
                     w = tensor_of<float>(Layout::plain, 72, 1, 1, {}, false);
        const int whole = static_cast<int>(7 * stride + 1), rows = static_cast<int>(6 * stride + 1);
        const auto accepts = [&](int height, int width) {
            const Tensor dx = tensor_of<float>(Layout::plain, 8, height, width);
            return Runner<float>("depthwise_grad_input_plain", {&dy, &w}, {&dx}, attributes).check().ok();
        };
        const int most = static_cast<int>(stride) - 1;
        CHECK(accepts(rows, whole) && accepts(rows + most, whole + most));
        CHECK(!accepts(rows, whole + most + 1 + 1) && !accepts(rows + most + 1 + 1, whole));
        CHECK(!accepts(rows, 20000));
    }
}

TEST(conv2d_gradients_refuse_what_would_leave_the_operands) {
    const ConvCase k{5, 6, 6, 7, 3, 3, 2, 2, 1, 1, 1, 1};
    const Tensor x = tensor_of<float>(Layout::blocked, k.c, k.h, k.w, pads_as_halo(k));
    const Tensor dy = tensor_of<float>(Layout::blocked, k.k, k.p(), k.q(), backward_halo(k));
    const Tensor w =
        tensor_of<float>(Layout::packed, static_cast<int>(packed_elements(7, 5, 3, 3, 1, 16)), 1, 1, {}, false);
    const auto says = [](const char* op, std::vector<const Tensor*> in, const Tensor& out, std::vector<std::int64_t> a,
                         const char* part) {
        Runner<float> runner(op, std::move(in), {&out}, std::move(a));
        const Status status = runner.check();
        CHECK_SAY(!status.ok() && std::strstr(status.message, part) != nullptr, "wanted \"%s\", got \"%s\"", part,
                  status.message);
    };
    const std::vector<std::int64_t> attributes = k.attributes();
    CHECK_OK(Runner<float>("conv2d_grad_input", {&dy, &w}, {&x}, attributes).check());
    CHECK_OK(Runner<float>("conv2d_grad_weight", {&dy, &x}, {&w}, attributes).check());
    Tensor bad = dy;
    bad.halo_bottom = 0;
    says("conv2d_grad_input", {&bad, &w}, x, attributes, "halo");
    bad = x, bad.halo_top = 0;
    says("conv2d_grad_weight", {&dy, &bad}, w, attributes, "halo");
    bad = w, bad.channels += 16, bad.bytes += 64;
    says("conv2d_grad_input", {&dy, &bad}, x, attributes, "packed");
    says("conv2d_grad_weight", {&dy, &x}, bad, attributes, "packed");
    const Tensor mask = tensor_of<float>(Layout::blocked, k.c, k.h, k.w - 1, {}, true, DType::mask);
    says("conv2d_grad_input", {&dy, &w, &mask}, x, attributes, "mask");
    const Tensor plain = tensor_of<float>(Layout::plain, k.c, k.h, k.w),
                 keep = tensor_of<float>(Layout::blocked, k.c, k.h, k.w, {}, true, DType::mask);
    says("conv2d_grad_input", {&dy, &w, &keep}, plain, attributes, "must have layout blocked");
    std::vector<std::int64_t> huge = attributes;
    huge[2] = huge[3] = 1 << 15;
    says("conv2d_grad_input", {&dy, &w}, x, huge, "stride");
    huge[2] = std::int64_t{1} << 40;
    says("conv2d_grad_weight", {&dy, &x}, w, huge, "stride_h");
}
