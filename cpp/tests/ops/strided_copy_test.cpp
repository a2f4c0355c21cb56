// Windows of strided elements against the formula, over random axes, halos and places.
#include "ops/run_op.hpp"

using namespace convlens_tests;

namespace {

struct Walk {
    std::int64_t size[6] = {1, 1, 1, 1, 1, 1}, begin[6] = {}, step[6] = {1, 1, 1, 1, 1, 1},
                 count[6] = {1, 1, 1, 1, 1, 1}, stride[6] = {}, offset = 0;
    double value = 0;
    std::vector<std::int64_t> attributes() const {
        std::vector<std::int64_t> all;
        for (const auto* field : {&size, &begin, &step, &count, &stride}) all.insert(all.end(), *field, *field + 6);
        all.push_back(offset), all.push_back(bits_of(value));
        return all;
    }
};

// Element f of an image in plain order.
template <class Real>
double element(const Buffer<Real>& b, std::int64_t i, std::int64_t f) {
    const Tensor& t = b.tensor;
    return b.get(i, f / (t.height * t.width), f / t.width % t.height, f % t.width);
}

template <class Real>
void check_walk(const Walk& k, const Tensor& x_tensor, const Tensor& y_tensor, std::int64_t n) {
    Buffer<Real> x(x_tensor, n), y(y_tensor, n);
    x.fill_random(3);
    if (has_halo(x_tensor)) x.poison_halo();
    Runner<Real> runner("strided_copy", {&x.tensor}, {&y.tensor}, k.attributes());
    run_everywhere<Real>(runner, {&x}, {&y}, n, "strided_copy", [&](const Kernels* kernels) {
        bool right = true;
        for (std::int64_t i = 0; i < y.n; ++i)
            for (std::int64_t f = 0; f < logical_elements(y_tensor); ++f) {
                std::int64_t rest = f, from = k.offset;
                bool inside = true;
                for (int a = 5; a >= 0; --a) {
                    const std::int64_t at = rest % k.size[a] - k.begin[a];
                    rest /= k.size[a];
                    inside = inside && at >= 0 && at % k.step[a] == 0 && at / k.step[a] < k.count[a];
                    from += at / k.step[a] * k.stride[a];
                }
                const double want = inside ? element(x, x.n == y.n ? i : 0, from) : static_cast<double>(Real(k.value));
                right = right && element(y, i, f) == want;
            }
        CHECK_SAY(right, "strided_copy: wrong values on %s", kernels->isa);
        CHECK_SAY(y.rest_is_zero(), "strided_copy: halo or padding not zero on %s", kernels->isa);
    });
}

// Six axes of random windows with strides of any sign, over a tensor large enough for them.
template <class Real>
void check_random(std::uint64_t seed) {
    Random random(seed);
    const auto below = [&](int limit) { return static_cast<std::int64_t>(random.next() * limit); };
    Walk k;
    int y_shape[] = {1, 1, 1};
    std::int64_t low = 0, high = 0;
    for (int a = 0; a < 6; ++a) {
        k.size[a] = 1 + below(a == 5 ? 9 : 4);
        k.step[a] = 1 + below(3);
        k.begin[a] = below(static_cast<int>(k.size[a]));
        k.count[a] = (k.size[a] - k.begin[a] + k.step[a] - 1) / k.step[a];
        if (random.next() < 0.5) k.begin[a] = 0, k.step[a] = 1, k.count[a] = k.size[a];
        k.stride[a] = below(13) - 6;
        (k.stride[a] < 0 ? low : high) += (k.count[a] - 1) * k.stride[a];
        y_shape[a / 2] *= static_cast<int>(k.size[a]);
    }
    if (seed % 5 == 0) k.stride[5] = 1;
    if (seed % 7 == 0) k.count[2] = 0;
    k.offset = below(5) - low, k.value = seed % 2 ? 0.5 : 0;
    const int columns = 1 + static_cast<int>(below(4)), rows = 1 + static_cast<int>(below(4));
    const int channels = static_cast<int>((k.offset + high + 9 + columns * rows) / (columns * rows));
    const Halo halo = seed % 3 ? Halo{} : Halo{1, 2, 0, 1}, y_halo = seed % 4 ? Halo{} : Halo{2, 0, 1, 1};
    const Place place = seed % 11 ? Place::arena : Place::external;
    const bool outside = place == Place::external;
    const Tensor x =
        apart<Real>(Layout::plain, channels, rows, columns, outside ? Halo{} : halo, seed % 6 != 0, DType::real, place);
    const Tensor y = apart<Real>(Layout::plain, y_shape[0], y_shape[1], y_shape[2], outside ? Halo{} : y_halo, true,
                                 DType::real, place);
    check_walk<Real>(k, x, y, static_cast<std::int64_t>(seed % 4));
}

}  // namespace

TEST(strided_copy_reads_what_its_strides_say) {
    for (std::uint64_t seed = 0; seed < 60; ++seed) check_random<float>(seed), check_random<double>(seed);
}

TEST(strided_copy_cuts_large_images_into_tasks) {
    Walk k;  // (300, 500) transposed
    k.size[4] = k.count[4] = 500, k.size[5] = k.count[5] = 300, k.stride[4] = 1, k.stride[5] = 500;
    check_walk<float>(k, apart<float>(Layout::plain, 300, 1, 500), apart<float>(Layout::plain, 500, 1, 300), 2);
    Walk vector;
    vector.size[5] = vector.count[5] = 37, vector.offset = 36, vector.stride[5] = -1;
    check_walk<float>(vector, apart<float>(Layout::blocked, 37, 1, 1), apart<float>(Layout::blocked, 37, 1, 1), 3);
}

TEST(strided_copy_refuses_what_would_leave_its_operands) {
    const Tensor x = apart<float>(Layout::plain, 3, 4, 5), y = apart<float>(Layout::plain, 5, 4, 3);
    const auto refused = [&](const Walk& k, const Tensor& from, const Tensor& to) {
        Runner<float> runner("strided_copy", {&from}, {&to}, k.attributes());
        return !runner.check().ok();
    };
    Walk good;
    const std::int64_t sizes[] = {5, 4, 3}, strides[] = {1, 5, 20};
    for (int a = 0; a < 3; ++a) good.size[3 + a] = good.count[3 + a] = sizes[a], good.stride[3 + a] = strides[a];
    CHECK(!refused(good, x, y));
    const auto broken = [&](std::int64_t Walk::* field, std::int64_t value) {
        Walk k = good;
        k.*field = value;
        return refused(k, x, y);
    };
    const auto broken_axis = [&](std::int64_t (Walk::*field)[6], int a, std::int64_t value) {
        Walk k = good;
        (k.*field)[a] = value;
        return refused(k, x, y);
    };
    const std::int64_t huge = std::int64_t{1} << 62;
    for (const std::int64_t offset : {std::int64_t{1}, std::int64_t{-1}, huge, -huge})
        CHECK(broken(&Walk::offset, offset));
    for (const std::int64_t stride : {std::int64_t{21}, std::int64_t{-20}, huge, -huge, INT64_MIN})
        CHECK(broken_axis(&Walk::stride, 5, stride));
    for (const std::int64_t count : {std::int64_t{4}, std::int64_t{-1}, huge, INT64_MAX})
        CHECK(broken_axis(&Walk::count, 5, count));
    for (const std::int64_t size : {std::int64_t{0}, std::int64_t{2}, std::int64_t{-3}, huge})
        CHECK(broken_axis(&Walk::size, 5, size));
    for (const std::int64_t begin : {std::int64_t{1}, std::int64_t{-1}, huge, INT64_MAX})
        CHECK(broken_axis(&Walk::begin, 5, begin));
    for (const std::int64_t step : {std::int64_t{2}, std::int64_t{0}, std::int64_t{-1}, huge, INT64_MAX})
        CHECK(broken_axis(&Walk::step, 5, step));
    CHECK(!broken_axis(&Walk::stride, 0, huge));  // one element: no stride is taken
    CHECK(refused(good, x, apart<float>(Layout::plain, 5, 4, 4)));
    CHECK(refused(good, apart<float>(Layout::plain, 3, 4, 4), y));
    CHECK(refused(good, apart<float>(Layout::blocked, 3, 4, 5), y));
    CHECK(refused(good, x, apart<float>(Layout::plain, 5, 4, 3, Halo{}, false)));
    CHECK(!refused(good, apart<float>(Layout::plain, 3, 4, 5, Halo{}, false), y));
}
