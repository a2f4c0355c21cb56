#include "conv_cases.hpp"

using namespace convlens_tests;

namespace {

struct Options {
    Layout x_layout = Layout::blocked, y_layout = Layout::blocked;
    bool bias = false, residual = false, mask = false;
    int activation = 0;
    double low = 0, high = 0;
    Halo y_halo{}, x_more{};  // halo beyond what the convolution reads
};

template <class Real>
void check_forward(const ConvCase& k, std::int64_t n, const Options& o) {
    Halo x_halo = pads_as_halo(k);
    x_halo.top += o.x_more.top, x_halo.left += o.x_more.left;
    x_halo.bottom += o.x_more.bottom, x_halo.right += o.x_more.right;
    const Tensor x_tensor = tensor_of<Real>(o.x_layout, k.c, k.h, k.w, x_halo);
    const Tensor y_tensor = tensor_of<Real>(o.y_layout, k.k, k.p(), k.q(), o.y_halo);
    const Tensor r_tensor = tensor_of<Real>(Layout::blocked, k.k, k.p(), k.q(), {0, 1, 0, 0});
    const Tensor b_tensor = tensor_of<Real>(Layout::plain, k.k, 1, 1, {}, false);
    const Tensor m_tensor = tensor_of<Real>(Layout::blocked, k.k, k.p(), k.q(), {}, true, DType::mask);
    Buffer<Real> x(x_tensor, n), y(y_tensor, n), residual(r_tensor, n), bias(b_tensor, 1), mask(m_tensor, n);
    x.fill_random(1), residual.fill_random(2), bias.fill_random(3);
    PackedPair<Real> w(k, 4);

    std::vector<std::int64_t> attributes = k.attributes();
    attributes.push_back(o.activation);
    attributes.push_back(bits_of(o.low)), attributes.push_back(bits_of(o.high));
    attributes = k.with_unit(attributes);
    std::vector<const Tensor*> outs = {&y_tensor};
    std::vector<Buffer<Real>*> out_buffers = {&y};
    if (o.mask) outs.push_back(&m_tensor), out_buffers.push_back(&mask);
    Runner<Real> runner(k.op("conv2d").c_str(),
                        {&x_tensor, &w.packed.tensor, o.bias ? &b_tensor : nullptr, o.residual ? &r_tensor : nullptr},
                        outs, attributes);

    Sums sums(static_cast<std::size_t>(n) * static_cast<std::size_t>(logical_elements(y_tensor)));
    each_product(k, n, [&](std::int64_t i, int ko, int p, int q, int c, int yy, int xx, std::int64_t at) {
        sums.add(flat_index(i, ko, p, q, y_tensor), x.get(i, c, yy, xx) * w.at(at));
    });
    const std::string what = "conv2d " + k.name() + (o.x_layout == Layout::plain ? " plain" : "");
    run_everywhere<Real>(
        runner, {&x, &w.packed, o.bias ? &bias : nullptr, o.residual ? &residual : nullptr}, out_buffers, n, what,
        [&](const Kernels* kernels) {
            Errors<Real> errors{k, static_cast<double>(k.c) / k.groups * k.r * k.s};
            bool masks = true;
            y.each([&](std::int64_t i, std::int64_t ko, std::int64_t p, std::int64_t q) {
                const std::size_t at = flat_index(i, ko, p, q, y_tensor);
                double value = sums.value[at], magnitude = sums.magnitude[at];
                if (o.bias) value += bias.get(0, ko, 0, 0), magnitude += 1;
                if (o.residual) value += residual.get(i, ko, p, q), magnitude += 1;
                if (o.activation == 1) value = std::fmax(value, 0);
                if (o.activation == 2) value = std::fmin(std::fmax(value, o.low), o.high);
                errors.add(y.get(i, ko, p, q), value, magnitude, sums.value[at]);
                const double found = y.get(i, ko, p, q);
                bool passes = found > 0;
                if (o.activation == 2) passes = found > static_cast<Real>(o.low) && found < static_cast<Real>(o.high);
                if (o.mask) masks = masks && (mask.get(i, ko, p, q) != 0) == passes;
            });
            CHECK_SAY(errors.relative() <= 1, "%s on %s: error is %.3g tolerances", what.c_str(), kernels->isa,
                      errors.relative());
            CHECK_SAY(y.rest_is_zero(), "%s on %s: halo or padded lanes not zero", what.c_str(), kernels->isa);
            CHECK_SAY(masks, "%s on %s: mask is not where y passes a gradient", what.c_str(), kernels->isa);
            if (o.mask)
                CHECK_SAY(mask.rest_is_zero(), "%s on %s: mask of padded lanes is set", what.c_str(), kernels->isa);
        });
}

template <class Real>
void check_all() {
    int number = 0;
    for (const ConvCase& k : dense_and_winograd_cases()) {
        Options o;
        check_forward<Real>(k, 2, o);
        o.bias = true, o.residual = number % 2 == 0, o.mask = number % 3 != 0, o.activation = number % 3;
        o.low = 0.25, o.high = 0.75;  // a clip that leaves no zero where padded lanes must be
        o.y_halo = {1, 2, 0, 1}, o.x_more = {0, 1, 1, 0};
        check_forward<Real>(k, number % 3, o);
        const bool depthwise = k.groups == k.c && k.k == k.c && k.c > 1;
        if (!depthwise && k.unit == 0) {
            o.x_layout = Layout::plain;
            check_forward<Real>(k, 1, o);
            o.y_layout = Layout::plain, o.residual = o.mask = false, o.y_halo = {};
            check_forward<Real>(k, 2, o);
        }
        ++number;
    }
}

}  // namespace

TEST(conv2d_equals_its_definition) { check_all<float>(); }
TEST(conv2d_equals_its_definition_in_float64) { check_all<double>(); }
TEST(conv2d_equals_its_definition_where_it_is_cut_into_pieces) {
    Options o;
    for (const ConvCase& k : large_conv_cases()) check_forward<float>(k, 1, o);
    o.mask = true, o.activation = 1, o.y_halo = {1, 1, 1, 1};
    check_forward<float>(large_conv_cases()[0], 2, o);
    o.y_layout = Layout::plain, o.mask = false, o.y_halo = {};
    for (const ConvCase& k : large_conv_cases()) check_forward<float>(k, 2, o);
    o.x_layout = Layout::plain, o.bias = true;
    for (const ConvCase& k : large_conv_cases()) check_forward<float>(k, 1, o);
}

// A strip of fused blocks may need no row of one of them.
TEST(tiles_of_no_rows_are_nothing) {
    int count = 0;
    const Kernels* all = all_kernels(&count);
    for (int i = 0; i < count; ++i) {
        if (why_not_runnable(all[i])[0] != '\0') continue;
        ConvTile<float> tile;
        tile.columns = 3, tile.blocks = 1;
        all[i].set<float>().conv_tile(tile);
        all[i].set<float>().depthwise_tile(tile);
    }
}

TEST(conv2d_gives_an_image_the_same_bits_in_any_batch) {
    for (const ConvCase& k :
         {ConvCase{3, 9, 11, 5, 3, 3, 1, 1, 1, 1, 1, 1}, ConvCase{40, 14, 13, 70, 3, 3, 1, 1, 1, 1, 1, 1},
          ConvCase{40, 14, 13, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4}}) {
        const Tensor x_tensor = tensor_of<float>(Layout::blocked, k.c, k.h, k.w, pads_as_halo(k));
        const Tensor y_tensor = tensor_of<float>(Layout::blocked, k.k, k.p(), k.q());
        std::vector<std::int64_t> attributes = k.attributes();
        attributes.insert(attributes.end(), {1, 0, 0});
        PackedPair<float> w(k, 4);
        Runner<float> runner(k.op("conv2d").c_str(), {&x_tensor, &w.packed.tensor}, {&y_tensor},
                             k.with_unit(attributes));
        for (const Kernels* kernels : runnable_kernels()) {
            Buffer<float> one_x(x_tensor, 1), one_y(y_tensor, 1), many_x(x_tensor, 7), many_y(y_tensor, 7);
            one_x.fill_random(1), many_x.fill_random(1);
            CHECK_OK(runner.run({&one_x, &w.packed}, {&one_y}, 1, kernels, 1));
            CHECK_OK(runner.run({&many_x, &w.packed}, {&many_y}, 7, kernels, 2));
            CHECK(std::memcmp(one_y.data, many_y.data, static_cast<std::size_t>(y_tensor.bytes)) == 0);
        }
    }
}

TEST(conv2d_lets_nan_through_relu_and_keeps_padded_lanes_zero) {
    const ConvCase k{5, 4, 4, 6, 3, 3, 1, 1, 1, 1, 1, 1};
    const Tensor x_tensor = tensor_of<float>(Layout::blocked, k.c, k.h, k.w, pads_as_halo(k));
    const Tensor y_tensor = tensor_of<float>(Layout::blocked, k.k, k.p(), k.q());
    const Tensor m_tensor = tensor_of<float>(Layout::blocked, k.k, k.p(), k.q(), {}, true, DType::mask);
    for (int activation : {1, 2}) {
        std::vector<std::int64_t> attributes = k.attributes();
        attributes.insert(attributes.end(), {activation, bits_of(0), bits_of(6)});
        PackedPair<float> w(k, 4);
        Runner<float> runner("conv2d", {&x_tensor, &w.packed.tensor, nullptr, nullptr}, {&y_tensor, &m_tensor},
                             attributes);
        Buffer<float> x(x_tensor, 1), y(y_tensor, 1), mask(m_tensor, 1);
        x.fill_random(1);
        x.set(0, 2, 0, 0, std::nan(""));
        for (const Kernels* kernels : runnable_kernels()) {
            CHECK_OK(runner.run({&x, &w.packed, nullptr, nullptr}, {&y, &mask}, 1, kernels, 1));
            for (int c = 0; c < k.k; ++c) {
                CHECK(std::isnan(y.get(0, c, 0, 0)) && std::isnan(y.get(0, c, 1, 1)) && mask.get(0, c, 1, 1) == 0);
                CHECK(!std::isnan(y.get(0, c, 2, 2)) && !std::isnan(y.get(0, c, 0, 2)));
            }
            CHECK(y.rest_is_zero());
        }
    }
}

TEST(conv2d_refuses_what_would_leave_the_operands) {
    const ConvCase k{5, 6, 6, 7, 3, 3, 1, 1, 1, 1, 1, 1};
    const Tensor x = tensor_of<float>(Layout::blocked, k.c, k.h, k.w, pads_as_halo(k));
    const Tensor y = tensor_of<float>(Layout::blocked, k.k, k.p(), k.q());
    const Tensor w =
        tensor_of<float>(Layout::packed, static_cast<int>(packed_elements(7, 5, 3, 3, 1, 16)), 1, 1, {}, false);
    std::vector<std::int64_t> attributes = k.attributes();
    attributes.insert(attributes.end(), {0, 0, 0});
    const auto says = [&](const Tensor& xx, const Tensor& ww, const Tensor& yy, std::vector<std::int64_t> a,
                          const char* part) {
        Runner<float> runner("conv2d", {&xx, &ww}, {&yy}, std::move(a));
        const Status status = runner.check();
        CHECK_SAY(!status.ok() && std::strstr(status.message, part) != nullptr, "wanted \"%s\", got \"%s\"", part,
                  status.message);
    };
    CHECK_OK(Runner<float>("conv2d", {&x, &w}, {&y}, attributes).check());
    Tensor bad = x;
    bad.halo_left = 0;
    says(bad, w, y, attributes, "halo");
    bad = w, bad.channels -= 1;
    says(x, bad, y, attributes, "packed");
    bad = y, bad.height += 1, bad.bytes *= 2;
    says(x, w, bad, attributes, "halo");
    bad = y, bad.bytes -= 64;
    says(x, w, bad, attributes, "bytes");
    bad = tensor_of<float>(Layout::plain, k.k, k.p(), k.q(), {1, 0, 0, 0});
    says(x, w, bad, attributes, "layout");
    const auto with = [&](std::size_t i, std::int64_t value) {
        std::vector<std::int64_t> a = attributes;
        a[i] = value;
        return a;
    };
    says(x, w, y, with(0, std::int64_t{1} << 40), "kernel_size");
    says(x, w, y, with(2, 0), "stride_h");
    says(x, w, y, with(3, -1), "stride_w");
    says(x, w, y, with(4, -1), "pad_top");
    says(x, w, y, with(6, std::int64_t{1} << 62), "dilation_h");
    says(x, w, y, with(8, 2), "groups");
    says(x, w, y, with(8, 0), "groups");
    says(x, w, y, with(9, 3), "activation");
    says(x, w, y, {3, 3}, "attributes");
}

TEST(winograd_refuses_what_would_leave_the_operands) {
    const ConvCase k{5, 6, 6, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4};
    const Tensor x = tensor_of<float>(Layout::blocked, k.c, k.h, k.w, pads_as_halo(k));
    const Tensor y = tensor_of<float>(Layout::blocked, k.k, k.p(), k.q(), {1, 1, 1, 1});
    const Tensor w =
        tensor_of<float>(Layout::packed, static_cast<int>(PackedPair<float>::elements(k)), 1, 1, {}, false);
    for (const bool gradient : {false, true}) {
        const auto says = [&](const Tensor& from, const Tensor& ww, std::size_t i, std::int64_t value,
                              const char* part) {
            std::vector<std::int64_t> a = k.attributes();
            a.insert(a.end(), gradient ? 1 : 3, 0);
            a.push_back(k.unit);
            if (value >= 0) a[i == 9 ? a.size() - 1 : i] = value;
            Runner<float> runner(k.op(gradient ? "conv2d_grad_input" : "conv2d").c_str(), {&from, &ww},
                                 {gradient ? &x : &y}, a);
            const Status status = runner.check();
            CHECK_SAY(part == nullptr ? status.ok() : !status.ok() && std::strstr(status.message, part) != nullptr,
                      "wanted \"%s\", got \"%s\"", part == nullptr ? "" : part, status.message);
        };
        const Tensor& from = gradient ? y : x;
        says(from, w, 0, -1, nullptr);
        Tensor bad = from;
        bad.halo_right = 0;
        says(bad, w, 0, -1, "halo");
        bad = w, bad.channels -= 64;
        says(from, bad, 0, -1, "packed");
        for (std::size_t i : {0, 1, 2, 3, 6, 7, 8}) says(from, w, i, 4, "3 x 3");
        says(from, w, 4, 1 << 20, "pad_top");
        says(from, w, 9, 3, "unit");
    }
}

TEST(weights_come_back_from_packing_as_they_were) {
    for (const ConvCase& k : conv_cases()) {
        PackedPair<float> w(k, 9);
        Buffer<float> back(w.plain.tensor, 1);
        Runner<float> runner("unpack_weight", {&w.packed.tensor}, {&w.plain.tensor}, k.weight_attributes());
        run_everywhere<float>(runner, {&w.packed}, {&back}, 1, "unpack " + k.name(), [&](const Kernels*) {
            CHECK_SAY(back.same_bits(w.plain), "%s: not the same", k.name().c_str());
        });
        // Nothing but the weights: as many elements are not zero as there are weights.
        std::int64_t count = 0;
        w.packed.each(
            [&](std::int64_t, std::int64_t c, std::int64_t, std::int64_t) { count += w.packed.get(0, c, 0, 0) != 0; });
        CHECK_SAY(count == logical_elements(w.plain.tensor), "%s: %lld packed", k.name().c_str(),
                  static_cast<long long>(count));
    }
}

TEST(packing_multiplies_each_output_channel_by_its_scale) {
    const ConvCase k{5, 1, 1, 20, 2, 3};
    PackedPair<double> w(k, 9);
    Buffer<double> scale(tensor_of<double>(Layout::plain, k.k, 1, 1, {}, false), 1), back(w.plain.tensor, 1);
    scale.fill_random(5);
    Runner<double> pack("pack_weight", {&w.plain.tensor, &scale.tensor}, {&w.packed.tensor}, k.weight_attributes());
    CHECK_OK(pack.run({&w.plain, &scale}, {&w.packed}, 1, runnable_kernels()[0], 2));
    Runner<double> unpack("unpack_weight", {&w.packed.tensor}, {&w.plain.tensor}, k.weight_attributes());
    CHECK_OK(unpack.run({&w.packed}, {&back}, 1, runnable_kernels()[0], 1));
    back.each([&](std::int64_t, std::int64_t c, std::int64_t y, std::int64_t x) {
        CHECK(back.get(0, c, y, x) == w.plain.get(0, c, y, x) * scale.get(0, c, 0, 0));
    });
}
