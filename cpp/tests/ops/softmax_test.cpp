#include "run_op.hpp"

using namespace convlens_tests;

namespace {

template <class Real>
constexpr double eps = sizeof(Real) == 4 ? 0x1p-23 : 0x1p-52;
const double kNan = std::numeric_limits<double>::quiet_NaN();
const double kInfinity = std::numeric_limits<double>::infinity();

template <class Real>
double log_softmax(const Buffer<Real>& x, std::int64_t i, std::int64_t c, std::int64_t h, std::int64_t w) {
    double largest = -kInfinity, sum = 0;
    for (int k = 0; k < x.tensor.channels; ++k) {
        const double value = x.get(i, k, h, w);
        if (value != value) return kNan;
        largest = std::fmax(largest, value);
    }
    for (int k = 0; k < x.tensor.channels; ++k) sum += std::exp(x.get(i, k, h, w) - largest);
    return x.get(i, c, h, w) - largest - std::log(sum);
}

template <class Real>
void check_case(const Tensor& x_tensor, const Tensor& y_tensor, bool log, std::int64_t n, double scale) {
    Buffer<Real> x(x_tensor, n), y(y_tensor, n);
    x.fill_random(4, -scale, scale);
    if (has_halo(x_tensor)) x.poison_halo();
    Runner<Real> runner("softmax", {&x_tensor}, {&y_tensor}, {log});
    char what[96];
    std::snprintf(what, sizeof what, "softmax log %d c%d h%d w%d layout %d", log, x_tensor.channels, x_tensor.height,
                  x_tensor.width, int(x_tensor.layout));
    run_everywhere<Real>(runner, {&x}, {&y}, n, what, [&](const Kernels* kernels) {
        double worst = 0;
        y.each([&](std::int64_t i, std::int64_t c, std::int64_t h, std::int64_t w) {
            const double wanted = log_softmax(x, i, c, h, w), got = y.get(i, c, h, w);
            // The differences from the maximum, up to 2 scale, are rounded once; the sum's terms are all positive.
            const double bound = eps<Real> * (4 * scale + 8 + x_tensor.channels / 16.0);
            const double tiny = std::numeric_limits<Real>::min();  // below it everything is flushed
            const double error = log ? std::fabs(got - wanted)
                                     : std::fmax(0, std::fabs(got - std::exp(wanted)) - tiny) / std::exp(wanted);
            worst = std::fmax(worst, error / bound);
        });
        CHECK_SAY(worst <= 1, "%s: %g of its bound on %s", what, worst, kernels->isa);
        CHECK_SAY(y.rest_is_zero(), "%s: halo or padded lanes not zero on %s", what, kernels->isa);
    });
}

template <class Real>
void check_all() {
    for (bool log : {false, true})
        for (int c : {1, 2, 10, 16, 33, 1000}) {
            const Tensor blocked = tensor_of<Real>(Layout::blocked, c, 1, 1);
            const Tensor outside = tensor_of<Real>(Layout::plain, c, 1, 1, {}, true, DType::real, Place::external);
            for (double scale : {1.0, 80.0}) {
                check_case<Real>(blocked, blocked, log, 3, scale);
                check_case<Real>(blocked, outside, log, 2, scale);
                check_case<Real>(outside, blocked, log, 2, scale);
                check_case<Real>(outside, outside, log, 0, scale);
                if (c == 1000) continue;
                for (Layout layout : {Layout::plain, Layout::blocked}) {
                    check_case<Real>(tensor_of<Real>(layout, c, 3, 19), tensor_of<Real>(layout, c, 3, 19), log, 2,
                                     scale);
                    check_case<Real>(tensor_of<Real>(layout, c, 3, 5, {1, 1, 0, 2}),
                                     tensor_of<Real>(layout, c, 3, 5, {0, 2, 1, 1}), log, 2, scale);
                }
            }
        }
}

struct Entropy {
    Tensor logits = tensor_of<float>(Layout::plain, 10, 1, 1, {}, true, DType::real, Place::external);
    Tensor labels = tensor_of<float>(Layout::plain, 1, 1, 1, {}, true, DType::int64, Place::external);
    Tensor loss = tensor_of<float>(Layout::plain, 1, 1, 1);
    Tensor log_prob = tensor_of<float>(Layout::blocked, 10, 1, 1);
};

template <class Real>
void check_cross_entropy(int classes, bool batched_loss) {
    const Tensor logits_tensor = tensor_of<Real>(Layout::plain, classes, 1, 1, {}, true, DType::real, Place::external);
    const Tensor labels_tensor = tensor_of<Real>(Layout::plain, 1, 1, 1, {}, true, DType::int64, Place::external);
    const Tensor loss_tensor = tensor_of<Real>(Layout::plain, 1, 1, 1);
    const Tensor log_prob_tensor = tensor_of<Real>(Layout::blocked, classes, 1, 1);
    const Tensor dloss_tensor = tensor_of<Real>(Layout::plain, 1, 1, 1, {}, batched_loss);
    const std::int64_t n = 7;
    Buffer<Real> logits(logits_tensor, n), labels(labels_tensor, n), loss(loss_tensor, n), log_prob(log_prob_tensor, n);
    Buffer<Real> dloss(dloss_tensor, n), dlogits(log_prob_tensor, n);
    logits.fill_random(5, -6, 6);
    dloss.fill_random(6, 0.5, 2);
    const double wild[] = {-1, double(classes), 9e18, -9e18};
    labels.fill([&](std::int64_t i, std::int64_t, std::int64_t, std::int64_t) {
        return i < 4 ? wild[i] : double((i * 5) % classes);
    });
    const double bound = eps<Real> * (40 + classes / 16.0);
    Runner<Real> forward("cross_entropy", {&logits_tensor, &labels_tensor}, {&loss_tensor, &log_prob_tensor}, {});
    run_everywhere<Real>(
        forward, {&logits, &labels}, {&loss, &log_prob}, n, "cross_entropy", [&](const Kernels* kernels) {
            for (std::int64_t i = 0; i < n; ++i) {
                const std::int64_t label = static_cast<std::int64_t>(labels.get(i, 0, 0, 0));
                const double got = loss.get(i, 0, 0, 0);
                CHECK_SAY(i < 4 ? got != got : std::fabs(got + log_softmax(logits, i, label, 0, 0)) <= bound,
                          "cross_entropy of image %d is %g on %s", int(i), got, kernels->isa);
                for (int c = 0; c < classes; ++c) {
                    CHECK(std::fabs(log_prob.get(i, c, 0, 0) - log_softmax(logits, i, c, 0, 0)) <= bound);
                }
            }
            CHECK(loss.rest_is_zero() && log_prob.rest_is_zero());
        });
    Runner<Real> backward("cross_entropy_grad", {&log_prob_tensor, &labels_tensor, &dloss_tensor}, {&log_prob_tensor},
                          {});
    run_everywhere<Real>(
        backward, {&log_prob, &labels, &dloss}, {&dlogits}, n, "cross_entropy_grad", [&](const Kernels* kernels) {
            for (std::int64_t i = 0; i < n; ++i)
                for (int c = 0; c < classes; ++c) {
                    const double got = dlogits.get(i, c, 0, 0), label = labels.get(i, 0, 0, 0);
                    const double scale = dloss.get(batched_loss ? i : 0, 0, 0, 0);
                    const double wanted = (std::exp(log_softmax(logits, i, c, 0, 0)) - (c == label)) * scale;
                    CHECK_SAY(i < 4 ? got != got : std::fabs(got - wanted) <= 4 * bound,
                              "gradient of image %d class %d is %g, not %g on %s", int(i), c, got, wanted,
                              kernels->isa);
                }
            CHECK(dlogits.rest_is_zero());
        });
}

}  // namespace

TEST(softmax_agrees_with_double_on_every_layout) {
    check_all<float>();
    check_all<double>();
}

TEST(softmax_keeps_infinities_and_nan_to_their_pixel) {
    for (Layout layout : {Layout::plain, Layout::blocked}) {
        const Tensor t = tensor_of<float>(layout, 5, 1, 4);
        Buffer<float> x(t, 1), y(t, 1);
        x.fill([&](std::int64_t, std::int64_t c, std::int64_t, std::int64_t w) {
            if (w == 0) return c == 2 ? kNan : 1.0;
            if (w == 1) return c == 2 ? -kInfinity : 0.0;
            if (w == 2) return c == 2 ? 1e30 : -1e30;
            return 0.0;
        });
        Runner<float> runner("softmax", {&t}, {&t}, {0});
        run_everywhere<float>(runner, {&x}, {&y}, 1, "softmax specials", [&](const Kernels*) {
            for (int c = 0; c < 5; ++c) {
                CHECK(y.get(0, c, 0, 0) != y.get(0, c, 0, 0));
                CHECK(y.get(0, c, 0, 1) == (c == 2 ? 0.0 : 0.25));
                CHECK(y.get(0, c, 0, 2) == (c == 2 ? 1.0 : 0.0));
                CHECK(std::fabs(y.get(0, c, 0, 3) - 0.2) < 1e-7);
            }
        });
    }
}

TEST(cross_entropy_and_its_gradient_agree_with_double_and_label_errors_are_nan) {
    for (int classes : {2, 10, 16, 100})
        for (bool batched : {true, false}) {
            check_cross_entropy<float>(classes, batched);
            check_cross_entropy<double>(classes, batched);
        }
}

TEST(cross_entropy_works_without_log_probabilities_and_refuses_wrong_operands) {
    const Entropy e;
    Buffer<float> logits(e.logits, 2), labels(e.labels, 2), loss(e.loss, 2);
    logits.fill_random(1), labels.fill([](std::int64_t, std::int64_t, std::int64_t, std::int64_t) { return 3; });
    Runner<float> runner("cross_entropy", {&e.logits, &e.labels}, {&e.loss}, {});
    run_everywhere<float>(runner, {&logits, &labels}, {&loss}, 2, "cross_entropy alone", [&](const Kernels*) {
        CHECK(std::fabs(loss.get(1, 0, 0, 0) + log_softmax(logits, 1, 3, 0, 0)) < 1e-6);
    });
    const auto refused = [](const Tensor& logits_t, const Tensor& labels_t, const Tensor& loss_t,
                            const Tensor& log_prob_t) {
        Runner<float> wrong("cross_entropy", {&logits_t, &labels_t}, {&loss_t, &log_prob_t}, {});
        return !wrong.check().ok();
    };
    CHECK(!refused(e.logits, e.labels, e.loss, e.log_prob));
    CHECK(refused(e.logits, e.loss, e.loss, e.log_prob));
    CHECK(refused(e.logits, e.labels, e.log_prob, e.log_prob));
    CHECK(refused(e.logits, e.labels, e.loss, tensor_of<float>(Layout::plain, 9, 1, 1)));
    CHECK(refused(tensor_of<float>(Layout::plain, 10, 2, 1), e.labels, e.loss, e.log_prob));
}

TEST(softmax_gives_an_image_the_same_bits_in_every_batch_and_in_place) {
    const Tensor t = tensor_of<float>(Layout::blocked, 21, 12, 9, {1, 1, 1, 1});
    Runner<float> runner("softmax", {&t}, {&t}, {1});
    for (const Kernels* kernels : runnable_kernels()) {
        Buffer<float> x3(t, 3), y3(t, 3), x1(t, 1);
        x3.fill_random(9), x1.fill_random(9);
        CHECK_OK(runner.run({&x3}, {&y3}, 3, kernels, 2));
        CHECK_OK(runner.run({&x1}, {&x1}, 1, kernels, 1));
        CHECK(std::memcmp(y3.data, x1.data, static_cast<std::size_t>(t.bytes)) == 0);
    }
}
