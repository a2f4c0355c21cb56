// Concatenations and slices against the formula: every layout, halos holding NaN, lanes that shift.
#include <numeric>

#include "ops/run_op.hpp"

using namespace convlens_tests;

namespace {

int extent(const Tensor& t, int axis) { return axis == 0 ? t.channels : axis == 1 ? t.height : t.width; }

// y takes `size` indices from `start` on of the joined inputs.
template <class Real>
void check_concat(Layout layout, int axis, std::vector<int> sizes, int start, int size, Halo x_halo, Halo y_halo,
                  std::int64_t n, int height = 5, int width = 7, Place place = Place::arena, int groups = 1) {
    const auto made = [&](int along, Halo halo) {
        int shape[] = {19, height, width};
        shape[axis] = along;
        return apart<Real>(layout, shape[0], shape[1], shape[2], halo, true, DType::real, place);
    };
    std::vector<Buffer<Real>> x;
    std::vector<const Tensor*> tensors;
    std::vector<Buffer<Real>*> ins;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
        x.emplace_back(made(sizes[i], x_halo), n);
        x.back().fill_random(i + 1);
        if (has_halo(x.back().tensor)) x.back().poison_halo();
    }
    for (Buffer<Real>& b : x) tensors.push_back(&b.tensor), ins.push_back(&b);
    Buffer<Real> y(made(size, y_halo), n);
    Runner<Real> runner("concat", tensors, {&y.tensor}, {axis, start, groups});
    char what[96];
    std::snprintf(what, sizeof what, "concat layout %d axis %d start %d of %zu to %d, groups %d", int(layout), axis,
                  start, sizes.size(), size, groups);
    const int joined = std::accumulate(sizes.begin(), sizes.end(), 0);
    run_everywhere<Real>(runner, ins, {&y}, n, what, [&](const Kernels* kernels) {
        bool right = true;
        y.each([&](std::int64_t i, std::int64_t c, std::int64_t h, std::int64_t w) {
            std::int64_t at[] = {c, h, w};
            at[axis] += start;
            if (groups > 1 && at[0] >= 0 && at[0] < joined) at[0] = at[0] % groups * (joined / groups) + at[0] / groups;
            double want = 0;
            for (const Buffer<Real>& b : x) {
                if (at[axis] >= 0 && at[axis] < extent(b.tensor, axis)) want = b.get(i, at[0], at[1], at[2]);
                at[axis] -= extent(b.tensor, axis);
                if (at[axis] < 0) break;
            }
            right = right && y.get(i, c, h, w) == want;
        });
        CHECK_SAY(right, "%s: wrong values on %s", what, kernels->isa);
        CHECK_SAY(y.rest_is_zero(), "%s: halo or padded lanes not zero on %s", what, kernels->isa);
    });
}

template <class Real>
void check_all() {
    for (Layout layout : {Layout::plain, Layout::blocked}) {
        for (int axis : {0, 1, 2}) {
            for (std::int64_t n : {0, 1, 3}) {
                check_concat<Real>(layout, axis, {3, 5}, 0, 8, {}, {}, n);
                check_concat<Real>(layout, axis, {16, 32, 16}, 0, 64, {}, {1, 2, 0, 1}, n);
                check_concat<Real>(layout, axis, {17, 1, 30, 2}, 0, 50, {1, 0, 2, 1}, {}, n);
            }
            check_concat<Real>(layout, axis, {40}, 16, 16, {1, 1, 1, 1}, {}, 2);  // a slice
            check_concat<Real>(layout, axis, {40}, 5, 19, {}, {1, 1, 1, 1}, 2);   // whose lanes shift
            check_concat<Real>(layout, axis, {6}, -16, 40, {}, {}, 2);            // and its gradient
            check_concat<Real>(layout, axis, {6, 4}, -3, 20, {2, 1, 1, 1}, {}, 2);
            check_concat<Real>(layout, axis, {6}, 9, 4, {}, {}, 1);  // all zeros
        }
        check_concat<Real>(layout, 0, {7, 18, 1}, 0, 26, {}, {}, 3, 1, 1);
        check_concat<Real>(layout, 0, {7, 18}, 4, 9, {}, {}, 3, 1, 1);
        check_concat<Real>(layout, 0, {7}, -4, 20, {}, {}, 2, 1, 1);
        check_concat<Real>(layout, 1, {1, 1}, 0, 2, {}, {}, 2, 1, 1);
        check_concat<Real>(layout, 2, {3}, 1, 1, {}, {}, 2, 1, 3);
    }
    // Shuffled, with zeros at either end, in whole blocks and not, with a halo and without.
    for (Layout layout : {Layout::plain, Layout::blocked}) {
        for (Halo halo : {Halo{}, Halo{1, 0, 2, 1}}) {
            check_concat<Real>(layout, 0, {40}, 0, 40, halo, {}, 2, 5, 7, Place::arena, 4);
            check_concat<Real>(layout, 0, {17, 1, 30}, 0, 48, {}, halo, 3, 5, 7, Place::arena, 3);
            check_concat<Real>(layout, 0, {17, 13}, 7, 11, halo, halo, 2, 5, 7, Place::arena, 2);
            check_concat<Real>(layout, 0, {6, 4}, -3, 20, {}, {}, 2, 5, 7, Place::arena, 5);
        }
        check_concat<Real>(layout, 0, {7, 18}, 0, 25, {}, {}, 3, 1, 1, Place::arena, 5);
    }
    check_concat<Real>(Layout::plain, 0, {7, 18}, 0, 25, {}, {}, 3, 1, 1, Place::external);
    check_concat<Real>(Layout::plain, 0, std::vector<int>(16, 2), 0, 32, {}, {}, 2, 3, 3, Place::external);
}

}  // namespace

TEST(concat_lays_its_inputs_end_to_end_and_slices_them) {
    check_all<float>();
    check_all<double>();
}

TEST(concat_refuses_what_would_leave_its_operands) {
    const auto refused = [](const Tensor& x, const Tensor& y, std::int64_t axis, std::int64_t start,
                            std::int64_t groups = 1) {
        Runner<float> runner("concat", {&x}, {&y}, {axis, start, groups});
        return !runner.check().ok();
    };
    const Tensor x = apart<float>(Layout::blocked, 20, 4, 4), y = apart<float>(Layout::blocked, 30, 4, 4);
    CHECK(!refused(x, y, 0, -5));
    CHECK(!refused(x, y, 0, -5, 4));
    for (std::int64_t groups : {-4, 0, 3, 40}) CHECK(refused(x, y, 0, 0, groups));
    CHECK(refused(x, apart<float>(Layout::blocked, 20, 4, 4), 1, 0, 4));
    CHECK(refused(x, y, 1, 0));
    CHECK(refused(x, y, 3, 0));
    CHECK(refused(x, y, -1, 0));
    CHECK(refused(x, y, 0, std::int64_t{1} << 62));
    CHECK(refused(apart<float>(Layout::plain, 20, 4, 4), y, 0, 0));
    CHECK(refused(apart<float>(Layout::blocked, 20, 4, 5), y, 0, 0));
    CHECK(refused(x, apart<float>(Layout::blocked, 30, 4, 4, Halo{}, false), 0, 0));
    Tensor small = y;
    small.bytes -= 64;
    CHECK(refused(x, small, 0, 0));
    Tensor halo = apart<float>(Layout::plain, 3, 1, 1, Halo{1, 0, 0, 0});
    CHECK(refused(halo, apart<float>(Layout::plain, 6, 1, 1), 0, 0));
    Tensor there = y;
    there.channels = 30, there.offset = x.offset;
    Runner<float> runner("concat", {&x}, {&there}, {0, 0, 1});
    CHECK(std::string(runner.check().message) == "`y` must not lie in place of `x`");
}
