// Rows of a table by whole numbers: an embedding.
//     y[l][d] = table[index[l]][d],  a negative index counts from the end, one outside is clipped to the table
//
// inputs  table real, plain, not batched: rows D; index int64, plain
// outputs y real, plain or of one pixel: one row an index
// attributes rows, columns
#include "ops/geometry.hpp"

namespace convlens {
namespace {

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed*) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 2, 1, 1, 2));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[0], "table", DType::real));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[1], "index", DType::int64));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.outputs[0], "y", DType::real));
    const Tensor &table = *p.inputs[0], &index = *p.inputs[1], &y = *p.outputs[0];
    const std::int64_t rows = p.attribute(0), columns = p.attribute(1);
    std::int64_t wanted = 0, stored = 0;
    const bool fits = rows >= 1 && columns >= 1 && !__builtin_mul_overflow(rows, columns, &stored) &&
                      stored == logical_elements(table) &&
                      !__builtin_mul_overflow(logical_elements(index), columns, &wanted) &&
                      wanted == logical_elements(y);
    const auto in_order = [](const Tensor& t) {
        return !has_halo(t) && (t.layout == Layout::plain || (t.layout == Layout::blocked && one_pixel(t)));
    };
    if (!fits || table.batched || index.batched != y.batched || !in_order(table) || !in_order(y) ||
        index.layout != Layout::plain || has_halo(index)) {
        return fail(Code::corrupt_file, "`table` must be rows x columns, `y` plain with one row for each of `index`");
    }
    return check_apart(y, "y", table, "table");
}

template <class Real>
std::int64_t tasks(const Call& call) {
    const std::int64_t each = logical_elements(*call.inputs[1].tensor);
    return ceil_div((call.inputs[1].tensor->batched ? call.n : 1) * each,
                    units_per_task(call.attribute(1) * static_cast<std::int64_t>(sizeof(Real))));
}

template <class Real>
void run(const Call& call, std::int64_t task, int) {
    const std::int64_t rows = call.attribute(0), columns = call.attribute(1);
    const std::int64_t each = logical_elements(*call.inputs[1].tensor);
    const Real* table = image_data<Real>(call.inputs[0], 0);
    const View &index = call.inputs[1], &y = call.outputs[0];
    for_each_rows(task, units_per_task(columns * static_cast<std::int64_t>(sizeof(Real))),
                  index.tensor->batched ? call.n : 1, 1, each,
                  [&](std::int64_t image, std::int64_t, std::int64_t first, std::int64_t end) {
                      Real* to = image_data<Real>(y, image);
                      for (std::int64_t l = first; l < end; ++l) {
                          std::int64_t row;
                          std::memcpy(&row, index.data + image * index.image_stride + l * 8, sizeof(row));
                          if (row < 0) row += rows;
                          row = min_of(max_of(row, 0), rows - 1);
                          std::memcpy(static_cast<void*>(to + l * columns), table + row * columns,
                                      static_cast<std::size_t>(columns) * sizeof(Real));
                      }
                      if (end == each) zero_beyond_channels<Real>(y, image);
                  });
}

template <class Real>
constexpr Op make_gather() {
    return {"gather", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(gather, make_gather)
