#include "run_op.hpp"

using namespace convlens_tests;

namespace {

struct Case {
    Layout x_layout, y_layout;
    int c, h, w, y_h, y_w;
    Halo x_halo, y_halo;
    Place x_place, y_place;
    int pad_top, pad_left;
    double value;
};

template <class Real>
void check_case(const Case& k, std::int64_t n) {
    const Tensor x_tensor = tensor_of<Real>(k.x_layout, k.c, k.h, k.w, k.x_halo, true, DType::real, k.x_place);
    const Tensor y_tensor = tensor_of<Real>(k.y_layout, k.c, k.y_h, k.y_w, k.y_halo, true, DType::real, k.y_place);
    Buffer<Real> x(x_tensor, n), y(y_tensor, n);
    x.fill_random(1);
    if (has_halo(x_tensor) && !(k.pad_top == 0 && k.pad_left == 0)) x.poison_halo();
    Runner<Real> runner("reorder", {&x_tensor}, {&y_tensor}, {k.pad_top, k.pad_left, bits_of(k.value)});
    char what[128];
    std::snprintf(what, sizeof what, "reorder %d->%d c%d h%d w%d to h%d w%d pad %d %d", int(k.x_layout),
                  int(k.y_layout), k.c, k.h, k.w, k.y_h, k.y_w, k.pad_top, k.pad_left);
    run_everywhere<Real>(runner, {&x}, {&y}, n, what, [&](const Kernels* kernels) {
        bool right = true;
        y.each([&](std::int64_t i, std::int64_t c, std::int64_t h, std::int64_t w) {
            const std::int64_t xh = h - k.pad_top, xw = w - k.pad_left;
            const bool inside = xh >= 0 && xh < k.h && xw >= 0 && xw < k.w;
            right = right && y.get(i, c, h, w) == (inside ? x.get(i, c, xh, xw) : static_cast<double>(Real(k.value)));
        });
        CHECK_SAY(right, "%s: wrong values on %s", what, kernels->isa);
        CHECK_SAY(y.rest_is_zero(), "%s: halo or padded lanes not zero on %s", what, kernels->isa);
    });
}

template <class Real>
void check_all() {
    const Layout layouts[] = {Layout::plain, Layout::blocked};
    for (Layout from : layouts)
        for (Layout to : layouts)
            for (int c : {1, 3, 8, 16, 19, 33}) {
                for (Place place : {Place::arena, Place::external}) {
                    if (place == Place::external && from == Layout::blocked && to == Layout::blocked) continue;
                    const Place x_place = from == Layout::plain ? place : Place::arena;
                    const Place y_place = to == Layout::plain ? place : Place::arena;
                    for (std::int64_t n : {0, 1, 3}) {
                        check_case<Real>({from, to, c, 5, 7, 5, 7, {}, {}, x_place, y_place, 0, 0, 0}, n);
                        check_case<Real>({from, to, c, 1, 1, 1, 1, {}, {}, x_place, y_place, 0, 0, 0}, n);
                        check_case<Real>({from, to, c, 4, 70, 9, 72, {}, {}, x_place, y_place, 3, 1, 0.5}, n);  // pad
                        check_case<Real>({from, to, c, 6, 9, 3, 4, {}, {}, x_place, y_place, -2, -3, 0.5}, n);  // crop
                        check_case<Real>({from, to, c, 3, 3, 4, 5, {}, {}, x_place, y_place, 5, 0, -1},
                                         n);  // nothing left
                        check_case<Real>({from, to, c, 3, 3, 4, 5, {}, {}, x_place, y_place, 0, -4, -1}, n);
                    }
                }
                check_case<Real>({from, to, c, 5, 7, 5, 7, {}, {1, 2, 3, 4}, Place::arena, Place::arena, 0, 0, 0}, 2);
                check_case<Real>(
                    {from, to, c, 5, 7, 5, 7, {1, 2, 3, 4}, {0, 1, 0, 0}, Place::arena, Place::arena, 0, 0, 0}, 2);
                check_case<Real>(
                    {from, to, c, 5, 7, 8, 9, {2, 1, 0, 1}, {1, 1, 1, 1}, Place::arena, Place::arena, 1, 1, 2}, 2);
                check_case<Real>(
                    {from, to, c, 5, 7, 5, 7, {1, 1, 1, 1}, {1, 1, 1, 1}, Place::arena, Place::arena, 0, 0, 0}, 2);
            }
}

template <class Real>
void check_reshape(Layout from, Layout to, int c, int h, int w, Halo halo, bool flatten) {
    const Tensor image = tensor_of<Real>(flatten ? from : to, c, h, w, halo);
    const Tensor flat = tensor_of<Real>(flatten ? to : from, c * h * w, 1, 1);
    const Tensor &x_tensor = flatten ? image : flat, &y_tensor = flatten ? flat : image;
    Buffer<Real> x(x_tensor, 2), y(y_tensor, 2);
    x.fill_random(2);
    Runner<Real> runner("reorder", {&x_tensor}, {&y_tensor}, {0, 0, 0});
    run_everywhere<Real>(runner, {&x}, {&y}, 2, "reshape", [&](const Kernels* kernels) {
        bool right = true;
        for (int i = 0; i < 2; ++i)
            for (int f = 0; f < c * h * w; ++f) {
                const int at_c = f / (h * w), at_h = f / w % h, at_w = f % w;
                right = right && (flatten ? y.get(i, f, 0, 0) == x.get(i, at_c, at_h, at_w)
                                          : y.get(i, at_c, at_h, at_w) == x.get(i, f, 0, 0));
            }
        CHECK_SAY(right && y.rest_is_zero(), "reshape c%d h%d w%d on %s", c, h, w, kernels->isa);
    });
}

}  // namespace

TEST(reorder_moves_every_element_between_layouts_and_halos) {
    check_all<float>();
    check_all<double>();
}

TEST(reorder_flattens_and_unflattens) {
    for (Layout a : {Layout::plain, Layout::blocked})
        for (Layout b : {Layout::plain, Layout::blocked}) {
            for (bool flatten : {true, false}) {
                check_reshape<float>(a, b, 19, 3, 5, {}, flatten);
                check_reshape<float>(a, b, 3, 2, 2, {1, 1, 1, 1}, flatten);
                check_reshape<double>(a, b, 9, 1, 7, {0, 2, 1, 0}, flatten);
            }
        }
}

TEST(reorder_moves_offsets) {
    for (int c : {1, 16, 20})
        for (bool blocked : {true, false}) {
            const Tensor a =
                tensor_of<float>(blocked ? Layout::blocked : Layout::plain, c, 3, 5, {}, true, DType::uint8);
            const Tensor b =
                tensor_of<float>(blocked ? Layout::plain : Layout::blocked, c, 3, 5, {}, true, DType::uint8);
            Buffer<float> x(a, 2), y(b, 2);
            x.fill_random(3, 0, 256);
            Runner<float> runner("reorder", {&a}, {&b}, {0, 0, 0});
            run_everywhere<float>(runner, {&x}, {&y}, 2, "reorder uint8", [&](const Kernels*) {
                bool right = true;
                y.each([&](std::int64_t i, std::int64_t ch, std::int64_t h, std::int64_t w) {
                    right = right && y.get(i, ch, h, w) == x.get(i, ch, h, w);
                });
                CHECK(right);
            });
        }
}

TEST(reorder_refuses_what_would_leave_its_operands) {
    const auto refused = [](const Tensor& x, const Tensor& y, std::int64_t pad) {
        Runner<float> runner("reorder", {&x}, {&y}, {pad, 0, 0});
        return !runner.check().ok();
    };
    const Tensor x = tensor_of<float>(Layout::plain, 3, 4, 4), y = tensor_of<float>(Layout::blocked, 3, 4, 4);
    CHECK(!refused(x, y, 0));
    CHECK(refused(x, y, std::int64_t{1} << 62));
    Tensor other = x;
    other.channels = 4;
    CHECK(refused(other, y, 0));  // more elements than bytes
    other = y;
    other.bytes -= 64;
    CHECK(refused(x, other, 0));
    other = x;
    other.channels = 3, other.height = 0x7fffffff, other.width = 0x7fffffff;
    CHECK(refused(other, y, 0));
    Tensor huge = y;
    huge.channels = other.channels = huge.height = huge.width = other.height = other.width = 0x7fffffff;
    CHECK(refused(other, huge, 0));  // 2^95 bytes
    CHECK(refused(x, tensor_of<float>(Layout::plain, 12, 1, 1), 0));
    CHECK(!refused(x, tensor_of<float>(Layout::plain, 48, 1, 1), 0));
    CHECK(refused(x, tensor_of<float>(Layout::blocked, 4, 4, 3, {1, 1, 1, 1}), 1));
}
