// A sum that goes on: the images one after the other, against the same additions.
#include "ops/run_op.hpp"

using namespace convlens_tests;

namespace {

template <class Real>
void check_sum(int c, int h, int w, std::int64_t n) {
    const Tensor x_t = apart<Real>(Layout::plain, c, h, w);
    const Tensor before_t = apart<Real>(Layout::plain, c * h * w, 1, 1, Halo{}, false);
    const Tensor y_t = apart<Real>(Layout::plain, c * h * w, 1, 1, Halo{}, false);
    Buffer<Real> x(x_t, n), before(before_t, 1), y(y_t, 1);
    x.fill_random(1), before.fill_random(2);
    std::vector<double> wanted;
    for (std::int64_t e = 0; e < std::int64_t{c} * h * w; ++e) {
        Real total = static_cast<Real>(before.get(0, e, 0, 0));
        for (std::int64_t i = 0; i < n; ++i) {
            total += static_cast<Real>(x.get(i, e / (h * w), e / w % h, e % w));
        }
        wanted.push_back(static_cast<double>(total));
    }
    Runner<Real> runner("accumulate", {&x_t, &before_t}, {&y_t}, {});
    run_everywhere<Real>(runner, {&x, &before}, {&y}, n, "accumulate", [&](const Kernels* kernels) {
        bool same = true;
        for (std::size_t e = 0; e < wanted.size(); ++e) {
            same = same && y.get(0, static_cast<std::int64_t>(e), 0, 0) == wanted[e];
        }
        CHECK_SAY(same, "c%d h%d w%d n%d: another sum on %s", c, h, w, static_cast<int>(n), kernels->isa);
    });
}

}  // namespace

TEST(accumulate_adds_images_in_order) {
    for (std::int64_t n : {0, 1, 5}) {
        check_sum<float>(1, 1, 1, n), check_sum<double>(1, 1, 1, n);
        check_sum<float>(3, 5, 7, n), check_sum<double>(3, 5, 7, n);
        check_sum<float>(5, 31, 33, n);
    }
}

TEST(accumulate_refuses_other_shapes) {
    const Tensor x = apart<float>(Layout::plain, 2, 3, 4), one = apart<float>(Layout::plain, 24, 1, 1, Halo{}, false);
    const Tensor small = apart<float>(Layout::plain, 23, 1, 1, Halo{}, false);
    const Tensor blocked = apart<float>(Layout::blocked, 2, 3, 4);
    const auto refused = [](const Tensor& a, const Tensor& before, const Tensor& y) {
        Runner<float> runner("accumulate", {&a, &before}, {&y}, {});
        return !runner.check().ok();
    };
    CHECK(!refused(x, one, one));
    CHECK(refused(x, small, small));
    CHECK(refused(blocked, one, one));
    CHECK(refused(x, x, one));
    CHECK(refused(one, one, one));
}
