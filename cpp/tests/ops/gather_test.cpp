// Rows of a table against the formula: indices within, from the end, and outside, which are clipped.
#include "ops/run_op.hpp"

using namespace convlens_tests;

namespace {

Tensor table_tensor(int elements) { return tensor_of<float>(Layout::plain, elements, 1, 1, {}, false); }
Tensor index_tensor(int c, int w) {
    return tensor_of<float>(Layout::plain, c, 1, w, {}, true, DType::int64, Place::external);
}

template <class Real>
void check_rows(int rows, int columns, int c, int w, std::int64_t n) {
    const Tensor table_t = tensor_of<Real>(Layout::plain, rows * columns, 1, 1, {}, false);
    const Tensor index_t = tensor_of<Real>(Layout::plain, c, 1, w, {}, true, DType::int64, Place::external);
    const Tensor y_t = tensor_of<Real>(Layout::plain, c, w, columns, {}, true);
    Buffer<Real> table(table_t, 1), index(index_t, n), y(y_t, n);
    table.fill_random(3);
    Random random(5);
    const std::int64_t each = std::int64_t{c} * w;
    std::vector<std::int64_t> wanted;
    for (std::int64_t i = 0; i < n * each; ++i) {
        std::int64_t at = static_cast<std::int64_t>(random.next() * (4 * rows)) - 2 * rows;
        if (i % 17 == 3) at = i % 2 ? INT64_MAX : INT64_MIN;
        std::memcpy(reinterpret_cast<char*>(index.data) + i / each * index_t.bytes + i % each * 8, &at, sizeof at);
        const std::int64_t row = at < 0 ? at + rows : at;
        wanted.push_back(row < 0 ? 0 : row >= rows ? rows - 1 : row);
    }
    Runner<Real> runner("gather", {&table_t, &index_t}, {&y_t}, {rows, columns});
    run_everywhere<Real>(runner, {&table, &index}, {&y}, n, "gather", [&](const Kernels* kernels) {
        bool right = true;
        for (std::int64_t i = 0; i < n; ++i)
            for (std::int64_t l = 0; l < each; ++l)
                for (std::int64_t d = 0; d < columns; ++d)
                    right =
                        right && y.get(i, l / w, l % w, d) ==
                                     table.get(0, wanted[static_cast<std::size_t>(i * each + l)] * columns + d, 0, 0);
        CHECK_SAY(right, "%d x %d by %d x %d: wrong rows on %s", rows, columns, c, w, kernels->isa);
    });
}

}  // namespace

TEST(gather_takes_rows_and_clips_what_is_outside) {
    for (std::int64_t n : {0, 1, 3}) {
        check_rows<float>(1, 1, 1, 1, n), check_rows<double>(1, 1, 1, 1, n);
        check_rows<float>(5, 3, 7, 1, n), check_rows<double>(5, 3, 7, 1, n);
        check_rows<float>(11, 64, 9, 5, n), check_rows<double>(11, 64, 9, 5, n);
    }
    check_rows<float>(30, 500, 40, 20, 2);
}

TEST(gather_refuses_what_would_leave_its_operands) {
    const Tensor table = table_tensor(12), index = index_tensor(5, 1);
    const Tensor y = tensor_of<float>(Layout::plain, 5, 1, 3, {}, true);
    const auto refused = [](const Tensor& t, const Tensor& i, const Tensor& to, std::vector<std::int64_t> attributes) {
        Runner<float> runner("gather", {&t, &i}, {&to}, std::move(attributes));
        return !runner.check().ok();
    };
    CHECK(!refused(table, index, y, {4, 3}));
    CHECK(refused(table, index, y, {3, 4}));
    CHECK(refused(table, index, y, {5, 3}));
    CHECK(refused(table, index, y, {0, 3}));
    CHECK(refused(table, index, y, {-4, -3}));
    CHECK(refused(table, index, y, {std::int64_t{1} << 62, 8}));
    CHECK(refused(table, index_tensor(4, 1), y, {4, 3}));
    CHECK(refused(tensor_of<float>(Layout::plain, 12, 1, 1, {}, true), index, y, {4, 3}));
    CHECK(refused(table, tensor_of<float>(Layout::plain, 5, 1, 1, {}, true), y, {4, 3}));
    CHECK(refused(table, index, tensor_of<float>(Layout::blocked, 5, 1, 3, {}, true), {4, 3}));
    CHECK(refused(table, index, tensor_of<float>(Layout::plain, 5, 1, 3, {1, 1, 1, 1}, true), {4, 3}));
}
