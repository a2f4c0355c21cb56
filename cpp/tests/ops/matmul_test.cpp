// Products of two activations, matrix by matrix, against sums in double; conv2d_plain where both do the same.
#include "ops/run_op.hpp"

using namespace convlens_tests;

namespace {

struct Product {
    int matrices, rows, inner, height, width;
    std::int64_t n;
    std::vector<std::int64_t> attributes() const { return {1, 1, 1, 1, 0, 0, 1, 1, matrices}; }
};

// y[g] = w[g] x[g], w (rows, inner) and x (inner, pixels). conv2d_plain has one w for all images.
template <class Real>
void check_product(const char* op, const Product& k, const Tensor& x_tensor, const Tensor& y_tensor, Place w_place) {
    const bool each = std::strcmp(op, "matmul") == 0;
    Buffer<Real> x(x_tensor, k.n), y(y_tensor, k.n),
        w(apart<Real>(Layout::plain, k.matrices * k.rows, 1, k.inner, Halo{}, each, DType::real, w_place), k.n);
    x.fill_random(5), w.fill_random(6);
    if (has_halo(x_tensor)) x.poison_halo();
    Runner<Real> runner(op, {&x.tensor, &w.tensor}, {&y.tensor}, k.attributes());
    run_everywhere<Real>(runner, {&x, &w}, {&y}, k.n, op, [&](const Kernels* kernels) {
        bool right = true;
        y.each([&](std::int64_t i, std::int64_t c, std::int64_t h, std::int64_t p) {
            double sum = 0, size = 0;
            for (std::int64_t j = 0; j < k.inner; ++j) {
                const double term = w.get(each ? i : 0, c, 0, j) * x.get(i, c / k.rows * k.inner + j, h, p);
                sum += term, size += std::fabs(term);
            }
            const double bound = 2 * std::numeric_limits<Real>::epsilon() * std::sqrt(k.inner + 1.0) * size;
            right = right && std::fabs(y.get(i, c, h, p) - sum) <= bound;
        });
        CHECK_SAY(right, "%s: g%d k%d c%d h%d w%d: wrong on %s", op, k.matrices, k.rows, k.inner, k.height, k.width,
                  kernels->isa);
        CHECK_SAY(y.rest_is_zero(), "%s: padding or lanes not zero on %s", op, kernels->isa);
    });
}

template <class Real>
void check_products() {
    const Product products[] = {
        {1, 1, 1, 1, 1, 2},    {1, 3, 5, 2, 3, 3},   {4, 7, 19, 1, 33, 2}, {2, 30, 17, 1, 64, 2},
        {1, 70, 400, 4, 9, 2}, {3, 5, 6, 1, 1, 4},   {2, 9, 512, 1, 5, 1}, {1, 20, 1024, 1, 32, 2},
        {12, 50, 8, 1, 50, 2}, {1, 300, 2, 1, 7, 1}, {2, 3, 4, 1, 5, 0},   {1, 40, 3, 20, 30, 1},
    };
    for (const Product& k : products) {
        const auto operand = [&](int rows, Halo halo, Place place) {
            return apart<Real>(Layout::plain, k.matrices * rows, k.height, k.width, halo, true, DType::real, place);
        };
        for (const Place place : {Place::arena, Place::external})
            check_product<Real>("matmul", k, operand(k.inner, {}, place), operand(k.rows, {}, place), place);
        check_product<Real>("matmul", k, operand(k.inner, {1, 2, 0, 3}, Place::arena),
                            operand(k.rows, {}, Place::arena), Place::arena);
    }
}

template <class Real>
void check_one_pixel(const char* op) {
    for (const Product& k : {Product{1, 21, 37, 1, 1, 3}, Product{3, 5, 7, 1, 1, 2}}) {
        for (const Layout x : {Layout::plain, Layout::blocked})
            for (const Layout y : {Layout::plain, Layout::blocked})
                check_product<Real>(op, k, apart<Real>(x, k.matrices * k.inner, 1, 1),
                                    apart<Real>(y, k.matrices * k.rows, 1, 1), Place::arena);
    }
}

// conv2d_plain by a weight as it is and by one whose rows lie side by side: the same products in the same order.
template <class Real>
void check_side_by_side(const Product& k, int stride) {
    const auto plain = [](int rows, int height, int width, bool batched) {
        return apart<Real>(Layout::plain, rows, height, width, Halo{}, batched);
    };
    const int sixes = (k.rows + 5) / 6 * 6;
    Buffer<Real> x(plain(k.inner, k.height, k.width, true), k.n), w(plain(k.rows, 1, k.inner, false), 1),
        laid(plain(sixes, 1, k.inner, false), 1), bias(plain(k.rows, 1, 1, false), 1);
    const Tensor out = plain(k.rows, (k.height - 1) / stride + 1, (k.width - 1) / stride + 1, true);
    Buffer<Real> y(out, k.n), expected(out, k.n);
    x.fill_random(5), w.fill_random(6), bias.fill_random(7);
    std::memset(laid.data, 0, static_cast<std::size_t>(laid.tensor.bytes));
    for (std::int64_t r = 0; r < k.rows; ++r) {
        for (std::int64_t c = 0; c < k.inner; ++c) {
            const Real value = static_cast<Real>(w.get(0, r, 0, c));
            const std::int64_t at = r / 3 * 3 * k.inner + c * 3 + r % 3;
            std::memcpy(laid.data + at * static_cast<std::int64_t>(sizeof value), &value, sizeof value);
        }
    }
    std::vector<std::int64_t> attributes = {1, 1, stride, stride, 0, 0, 1, 1, 1};
    for (const bool with_bias : {false, true}) {
        Buffer<Real>* const b = with_bias ? &bias : nullptr;
        const Tensor* const b_tensor = with_bias ? &bias.tensor : nullptr;
        Runner<Real> as_it_is("conv2d_plain", {&x.tensor, &w.tensor, b_tensor}, {&y.tensor}, attributes);
        attributes.push_back(1);
        Runner<Real> side("conv2d_plain", {&x.tensor, &laid.tensor, b_tensor}, {&y.tensor}, attributes);
        attributes.pop_back();
        run_everywhere<Real>(side, {&x, &laid, b}, {&y}, k.n, "rows side by side", [&](const Kernels* kernels) {
            CHECK(as_it_is.run({&x, &w, b}, {&expected}, k.n, kernels, 1).ok());
            CHECK_SAY(y.same_bits(expected), "k%d c%d h%d w%d stride %d: rows side by side differ on %s", k.rows,
                      k.inner, k.height, k.width, stride, kernels->isa);
        });
    }
}

// Of one pixel, whatever is batched is the same bytes in both layouts: so are the results.
template <class Real>
void check_layouts(const char* op, const std::vector<std::int64_t>& attributes, std::vector<int> channels, int weight) {
    Buffer<Real> results[2];
    for (const Layout layout : {Layout::plain, Layout::blocked}) {
        std::vector<Buffer<Real>> all;  // inputs, and then the output
        for (std::size_t i = 0; i < channels.size(); ++i) {
            const bool fixed = static_cast<int>(i) == weight;
            all.emplace_back(apart<Real>(fixed ? Layout::plain : layout, channels[i], 1, 1, Halo{}, !fixed), 2);
            all.back().fill_random(i);
        }
        std::vector<Buffer<Real>*> ins;
        std::vector<const Tensor*> tensors;
        for (std::size_t i = 0; i + 1 < all.size(); ++i) ins.push_back(&all[i]), tensors.push_back(&all[i].tensor);
        if (std::strcmp(op, "depthwise_plain") == 0) ins.push_back(nullptr), tensors.push_back(nullptr);  // no bias
        Buffer<Real>& out = all.back();
        Runner<Real> runner(op, tensors, {&out.tensor}, attributes);
        Buffer<Real>& result = results[layout == Layout::blocked];
        result = Buffer<Real>(out.tensor, 2);
        run_everywhere<Real>(runner, ins, {&result}, 2, op, [&](const Kernels* kernels) {
            CHECK_SAY(result.rest_is_zero(), "%s: padding or lanes not zero on %s", op, kernels->isa);
        });
    }
    bool same = true;
    results[0].each([&](std::int64_t i, std::int64_t c, std::int64_t, std::int64_t) {
        same = same && results[0].get(i, c, 0, 0) == results[1].get(i, c, 0, 0);
    });
    CHECK_SAY(same, "%s: blocked and plain differ", op);
}

}  // namespace

TEST(matmul_multiplies_each_image_by_its_own_matrices) { check_products<float>(), check_products<double>(); }

TEST(rows_of_a_weight_may_lie_side_by_side) {
    const Product products[] = {
        {1, 1, 1, 1, 1, 1},      {1, 3, 5, 2, 3, 3},     {1, 40, 17, 7, 11, 2},   {1, 32, 40, 8, 16, 1},
        {1, 1030, 9, 14, 14, 1}, {1, 35, 1200, 5, 8, 1}, {1, 64, 600, 14, 14, 2}, {1, 65, 20, 40, 41, 1},
        {1, 66, 20, 40, 40, 1},  {1, 5, 3, 9, 9, 0},     {1, 16, 32, 63, 64, 6},  {1, 16, 35, 63, 64, 5},
    };
    for (const Product& k : products) {
        for (const int stride : {1, 2}) check_side_by_side<float>(k, stride), check_side_by_side<double>(k, stride);
    }
}

TEST(products_of_one_pixel_are_the_same_plain_and_blocked) {
    for (const char* op : {"matmul", "conv2d_plain"}) check_one_pixel<float>(op), check_one_pixel<double>(op);
}

TEST(other_instructions_on_plain_tensors_of_one_pixel_take_blocked_ones) {
    const std::vector<std::int64_t> pointwise = {1, 1, 1, 1, 0, 0, 1, 1, 1}, windows = {3, 3, 1, 1, 1, 1, 1, 1, 19};
    check_layouts<float>("conv2d_grad_input_plain", pointwise, {21, 21 * 37, 37}, 1);
    check_layouts<float>("conv2d_grad_input_plain", {3, 3, 1, 1, 1, 1, 1, 1, 1}, {21, 21 * 37 * 9, 37}, 1);
    check_layouts<float>("conv2d_grad_weight_plain", pointwise, {21, 37, 21 * 37}, 2);
    check_layouts<float>("depthwise_plain", windows, {19, 19 * 9, 19}, 1);
    check_layouts<float>("depthwise_grad_input_plain", windows, {19, 19 * 9, 19}, 1);
    check_layouts<float>("depthwise_grad_weight_plain", windows, {19, 19, 19 * 9}, 2);
}

TEST(matmul_refuses_what_is_no_product) {
    const auto plain = [](int channels, int height, int width, bool batched = true, Halo halo = {},
                          DType dtype = DType::real) {
        return apart<float>(Layout::plain, channels, height, width, halo, batched, dtype);
    };
    const auto refused = [](const Tensor& x, const Tensor& w, const Tensor& y, std::vector<std::int64_t> attributes) {
        return !Runner<float>("matmul", {&x, &w}, {&y}, attributes).check().ok();
    };
    const Tensor x = plain(8, 2, 3), w = plain(6, 1, 4), y = plain(6, 2, 3);
    const std::vector<std::int64_t> good = {1, 1, 1, 1, 0, 0, 1, 1, 2};
    CHECK(!refused(x, w, y, good));
    for (std::size_t at = 0; at < good.size(); ++at) {
        for (const std::int64_t value : {std::int64_t{-1}, std::int64_t{5}, INT64_MIN, INT64_MAX}) {
            std::vector<std::int64_t> broken = good;
            broken[at] = value;
            const bool dilation = at == 6 || at == 7;  // of kernels of one pixel, where any does the same
            CHECK_SAY(refused(x, w, y, broken) || (dilation && value == 5), "attribute %zu may be %lld", at,
                      static_cast<long long>(value));
        }
    }
    CHECK(refused(x, w, y, {1, 1, 1, 1, 0, 0, 1, 1}));
    CHECK(refused(x, plain(6, 1, 4, false), y, good));
    CHECK(refused(x, plain(6, 1, 5), y, good));
    CHECK(refused(x, plain(6, 1, 4, true, Halo{0, 1, 0, 0}), y, good));
    CHECK(refused(x, plain(6, 1, 4, true, Halo{}, DType::int64), y, good));
    CHECK(!refused(x, apart<float>(Layout::blocked, 24, 1, 1), y, good));  // of one pixel: the same bytes
    CHECK(refused(x, apart<float>(Layout::blocked, 12, 1, 2), y, good));
    CHECK(refused(x, apart<float>(Layout::packed, 24, 1, 1), y, good));
    CHECK(refused(plain(8, 2, 3, false), w, y, good));
    CHECK(refused(plain(8, 3, 2), w, y, good));
    CHECK(refused(plain(7, 2, 3), w, y, good));
    CHECK(refused(apart<float>(Layout::blocked, 8, 2, 3), w, y, good));
    CHECK(refused(x, w, plain(6, 2, 3, false), good));
    CHECK(refused(x, w, plain(6, 2, 3, true, Halo{0, 0, 1, 0}), good));
    CHECK(refused(x, w, apart<float>(Layout::blocked, 6, 2, 3), good));
    Tensor small = w;
    small.bytes -= 64;
    CHECK(refused(x, small, y, good));
    // The product is written while its factors are still read.
    Tensor over = plain(8, 2, 3);
    const Tensor square = plain(8, 1, 4);
    CHECK(!refused(x, square, over, good));
    over.offset = x.offset;
    CHECK(refused(x, square, over, good));
    over.offset = square.offset;
    CHECK(refused(x, square, over, good));
}
