// Places of extrema among channels against a search from the front, with ties, NaN, infinities and halos.
#include "ops/run_op.hpp"

using namespace convlens_tests;

namespace {

// The first or last of the channels that no other beats; NaN beats every number.
template <class Real>
std::int64_t place_of(const Buffer<Real>& x, std::int64_t i, std::int64_t h, std::int64_t w, bool least, bool last) {
    std::int64_t found = 0;
    for (std::int64_t c = 1; c < x.tensor.channels; ++c) {
        const double v = x.get(i, c, h, w), best = x.get(i, found, h, w);
        const bool beats = std::isnan(v) ? !std::isnan(best) : least ? v < best : v > best;
        const bool equal = std::isnan(v) ? std::isnan(best) : v == best;
        if (beats || (equal && last)) found = c;
    }
    return found;
}

template <class Real>
void check_places(const Tensor& x_tensor, const Tensor& y_tensor, std::int64_t n) {
    Buffer<Real> x(x_tensor, n), y(y_tensor, n);
    const double special[] = {HUGE_VAL, -HUGE_VAL, -0.0, 0.0, std::numeric_limits<double>::quiet_NaN()};
    Random random(static_cast<std::uint64_t>(x_tensor.channels * 100 + x_tensor.width));
    x.fill([&](std::int64_t, std::int64_t, std::int64_t, std::int64_t) {
        const int pick = static_cast<int>(random.next() * 24);  // few values, so that many are equal
        return pick < 5 ? special[pick] : pick % 5 - 2.0;
    });
    if (has_halo(x_tensor)) x.poison_halo();
    for (int way = 0; way < 4; ++way) {
        Runner<Real> runner("arg_max", {&x.tensor}, {&y.tensor}, {way & 1, way >> 1});
        run_everywhere<Real>(runner, {&x}, {&y}, n, "arg_max", [&](const Kernels* kernels) {
            bool right = true;
            y.each([&](std::int64_t i, std::int64_t, std::int64_t h, std::int64_t w) {
                right = right && y.get(i, 0, h, w) == static_cast<double>(place_of(x, i, h, w, way & 1, way >> 1));
            });
            CHECK_SAY(right, "arg_max: wrong places on %s, way %d", kernels->isa, way);
            CHECK_SAY(y.rest_is_zero(), "arg_max: padding not zero on %s", kernels->isa);
        });
    }
}

template <class Real>
void check_shapes() {
    const DType whole = DType::int64;
    for (const Place place : {Place::arena, Place::external}) {
        const auto y = [&](int h, int w) { return apart<Real>(Layout::plain, 1, h, w, Halo{}, true, whole, place); };
        check_places<Real>(apart<Real>(Layout::plain, 5, 3, 7), y(3, 7), 2);
        check_places<Real>(apart<Real>(Layout::plain, 5, 3, 7, Halo{1, 2, 0, 3}), y(3, 7), 3);
        check_places<Real>(apart<Real>(Layout::plain, 1, 2, 2), y(2, 2), 1);
        check_places<Real>(apart<Real>(Layout::plain, 37, 1, 1), y(1, 1), 4);
        check_places<Real>(apart<Real>(Layout::blocked, 37, 1, 1), y(1, 1), 4);
        check_places<Real>(apart<Real>(Layout::plain, 3, 1, 1, Halo{1, 1, 1, 1}), y(1, 1), 2);
        check_places<Real>(apart<Real>(Layout::plain, 40, 60, 70), y(60, 70), 2);  // several tasks
        check_places<Real>(apart<Real>(Layout::plain, 4, 2, 3), y(2, 3), 0);
    }
    check_places<Real>(apart<Real>(Layout::blocked, 20, 1, 1),
                       apart<Real>(Layout::blocked, 1, 1, 1, Halo{}, true, whole), 3);
}

}  // namespace

TEST(arg_max_finds_first_or_last_extremum) { check_shapes<float>(), check_shapes<double>(); }

TEST(arg_max_refuses_what_it_cannot_compare_or_write) {
    const Tensor x = apart<float>(Layout::plain, 4, 3, 5);
    const auto places = [](int channels, int height, int width, DType dtype = DType::int64, bool batched = true) {
        return apart<float>(Layout::plain, channels, height, width, Halo{}, batched, dtype);
    };
    const auto refused = [](const Tensor& from, const Tensor& to, std::vector<std::int64_t> attributes) {
        return !Runner<float>("arg_max", {&from}, {&to}, attributes).check().ok();
    };
    const Tensor y = places(1, 3, 5);
    CHECK(!refused(x, y, {0, 1}));
    for (const std::int64_t flag : {std::int64_t{2}, std::int64_t{-1}, INT64_MIN, INT64_MAX}) {
        CHECK(refused(x, y, {flag, 0}));
        CHECK(refused(x, y, {0, flag}));
    }
    CHECK(refused(x, y, {0}));
    CHECK(refused(x, y, {0, 0, 0}));
    CHECK(refused(x, places(2, 3, 5), {0, 0}));
    CHECK(refused(x, places(1, 5, 3), {0, 0}));
    CHECK(refused(x, places(1, 3, 5, DType::int64, false), {0, 0}));
    CHECK(refused(x, places(1, 3, 5, DType::real), {0, 0}));
    CHECK(refused(x, places(1, 3, 5, DType::uint8), {0, 0}));
    CHECK(refused(x, apart<float>(Layout::blocked, 1, 3, 5, Halo{}, true, DType::int64), {0, 0}));
    CHECK(refused(apart<float>(Layout::blocked, 4, 3, 5), y, {0, 0}));
    CHECK(refused(apart<float>(Layout::plain, 4, 3, 5, Halo{}, false), y, {0, 0}));
    CHECK(refused(apart<float>(Layout::plain, 4, 3, 5, Halo{}, true, DType::int64), y, {0, 0}));
    CHECK(refused(apart<float>(Layout::blocked, 4, 1, 1, Halo{1, 0, 0, 0}), places(1, 1, 1), {0, 0}));
    Tensor small = y;
    small.bytes = 64;
    CHECK(refused(x, small, {0, 0}));
    // Two channels of float32 have the bytes of their places: written over them, the second would be read too late.
    const Tensor two = apart<float>(Layout::plain, 2, 1, 8);
    Tensor over = places(1, 1, 8);
    CHECK(!refused(two, over, {0, 0}));
    over.offset = two.offset;
    CHECK(over.bytes == two.bytes && refused(two, over, {0, 0}));
}
