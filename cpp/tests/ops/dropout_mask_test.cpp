// Dropout's bits against Philox-4x32-10 written out for one element.
#include "ops/run_op.hpp"

using namespace convlens_tests;

namespace {

std::uint32_t drawn(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d, std::uint64_t key) {
    std::uint32_t low = static_cast<std::uint32_t>(key), high = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t first = std::uint64_t{0xd2511f53u} * a, second = std::uint64_t{0xcd9e8d57u} * c;
        a = static_cast<std::uint32_t>(second >> 32) ^ b ^ low, b = static_cast<std::uint32_t>(second);
        c = static_cast<std::uint32_t>(first >> 32) ^ d ^ high, d = static_cast<std::uint32_t>(first);
        low += 0x9e3779b9u, high += 0xbb67ae85u;
    }
    return a;
}

Tensor key_tensor() { return tensor_of<float>(Layout::plain, 2, 1, 1, {}, false, DType::int64, Place::external); }

template <class Real>
void check_mask(int c, int h, int w, std::int64_t n) {
    const Tensor key_t = key_tensor(), mask = tensor_of<Real>(Layout::blocked, c, h, w, {}, true, DType::mask);
    Buffer<Real> key(key_t, 1), y(mask, n);
    const std::int64_t values[] = {std::int64_t{0x123456789abcdef}, std::int64_t{7} << 40 | 11};
    std::memcpy(key.data, values, sizeof values);
    const std::int64_t threshold = 0x60000000;
    Runner<Real> runner("dropout_mask", {&key_t}, {&mask}, {threshold, 5});
    run_everywhere<Real>(runner, {&key}, {&y}, n, "dropout_mask", [&](const Kernels* kernels) {
        bool right = true;
        y.each([&](std::int64_t i, std::int64_t ch, std::int64_t row, std::int64_t column) {
            const std::uint32_t element = static_cast<std::uint32_t>((ch * h + row) * w + column);
            const std::uint32_t value =
                drawn(element, static_cast<std::uint32_t>(i), 11, 5, static_cast<std::uint64_t>(values[0]));
            right = right && (y.get(i, ch, row, column) != 0) == (value >= threshold);
        });
        CHECK_SAY(right, "%d x %d x %d: wrong bits on %s", c, h, w, kernels->isa);
        CHECK_SAY(y.rest_is_zero(), "%d x %d x %d: lanes beyond the channels on %s", c, h, w, kernels->isa);
    });
}

}  // namespace

TEST(dropout_mask_draws_by_element_image_step_and_node) {
    CHECK(drawn(0, 0, 0, 0, 0) == 0x6627e8d5u);  // Random123's known answer
    for (std::int64_t n : {0, 1, 3}) {
        check_mask<float>(1, 1, 1, n), check_mask<double>(1, 1, 1, n);
        check_mask<float>(37, 1, 1, n), check_mask<double>(37, 1, 1, n);
        check_mask<float>(19, 11, 13, n), check_mask<double>(19, 11, 13, n);
    }
    check_mask<float>(16, 60, 60, 2);
}

TEST(dropout_mask_refuses_other_operands) {
    const Tensor key = key_tensor(), mask = tensor_of<float>(Layout::blocked, 5, 2, 2, {}, true, DType::mask);
    const auto refused = [](const Tensor& x, const Tensor& y, std::vector<std::int64_t> attributes) {
        Runner<float> runner("dropout_mask", {&x}, {&y}, std::move(attributes));
        return !runner.check().ok();
    };
    CHECK(!refused(key, mask, {1, 0}));
    CHECK(refused(key, mask, {1}));
    CHECK(refused(key, mask, {-1, 0}));
    CHECK(refused(key, mask, {(std::int64_t{1} << 32) + 1, 0}));
    CHECK(refused(key, tensor_of<float>(Layout::blocked, 5, 2, 2), {1, 0}));
    CHECK(refused(key, tensor_of<float>(Layout::plain, 5, 2, 2, {}, true, DType::mask), {1, 0}));
    CHECK(refused(key, tensor_of<float>(Layout::blocked, 5, 2, 2, {}, false, DType::mask), {1, 0}));
    CHECK(refused(tensor_of<float>(Layout::plain, 3, 1, 1, {}, false, DType::int64), mask, {1, 0}));
    CHECK(refused(tensor_of<float>(Layout::plain, 2, 1, 1, {}, true, DType::int64), mask, {1, 0}));
    CHECK(refused(tensor_of<float>(Layout::plain, 2, 1, 1, {}, false), mask, {1, 0}));
}
