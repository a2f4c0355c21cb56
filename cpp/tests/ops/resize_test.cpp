// Blends of bands against the sum in double.
#include "ops/run_op.hpp"

using namespace convlens_tests;

namespace {

struct Band {
    std::int64_t first;
    std::vector<double> weights;
};
using Bands = std::vector<Band>;

// Bands of 0 to 3 of `in` elements, further along for every output; two halves where `lerp`.
Bands bands_of(std::int64_t in, std::int64_t out, bool lerp) {
    Bands bands;
    for (std::int64_t i = 0; i < out; ++i) {
        const std::int64_t first = i * in / out;
        std::int64_t count = lerp ? 2 : (i * 7 + 3) % 4;
        if (count > in - first) count = in - first;
        Band band{first, {}};
        for (std::int64_t t = 0; t < count; ++t) {
            band.weights.push_back(!lerp        ? 0.25 * static_cast<double>(t + 1) * (i % 2 == 0 ? 1 : -1)
                                   : count == 1 ? 1.0
                                   : t == 0     ? 0.75
                                                : 0.25);
        }
        bands.push_back(band);
    }
    return bands;
}

std::vector<std::int64_t> attributes_of(const Bands& rows, const Bands& columns, bool lerp) {
    std::vector<std::int64_t> values{lerp ? 1 : 0};
    for (const Bands* bands : {&rows, &columns}) {
        for (const Band& band : *bands) {
            values.push_back(band.first);
            values.push_back(static_cast<std::int64_t>(band.weights.size()));
            for (const double weight : band.weights) values.push_back(bits_of(weight));
        }
    }
    return values;
}

void check_resize(Layout layout, int channels, int h, int w, int height, int width, bool lerp) {
    const Bands rows = bands_of(h, height, lerp), columns = bands_of(w, width, lerp);
    Buffer<float> x(tensor_of<float>(layout, channels, h, w, {1, 1, 1, 1}), 2);
    x.fill_random(2);
    x.poison_halo();
    Buffer<float> y(tensor_of<float>(layout, channels, height, width, {1, 0, 0, 2}), 2);
    Runner<float> runner("resize", {&x.tensor}, {&y.tensor}, attributes_of(rows, columns, lerp));
    run_everywhere<float>(runner, {&x}, {&y}, 2, "resize", [&](const Kernels* kernels) {
        double worst = 0;
        y.each([&](std::int64_t n, std::int64_t c, std::int64_t i, std::int64_t j) {
            double want = 0, magnitude = 0;
            const Band &row = rows[static_cast<std::size_t>(i)], &column = columns[static_cast<std::size_t>(j)];
            for (std::size_t s = 0; s < row.weights.size(); ++s) {
                for (std::size_t t = 0; t < column.weights.size(); ++t) {
                    const double term = row.weights[s] * column.weights[t] *
                                        static_cast<double>(x.get(n, c, row.first + static_cast<std::int64_t>(s),
                                                                  column.first + static_cast<std::int64_t>(t)));
                    want += term, magnitude += std::fabs(term);
                }
            }
            // At most nine products of two blends; a lerp's difference may be twice its neighbours.
            const double bound = 16 * std::numeric_limits<float>::epsilon() * (magnitude + (lerp ? 4 : 0));
            const double error = std::fabs(static_cast<double>(y.get(n, c, i, j)) - want);
            worst = std::fmax(worst, bound > 0 ? error / bound : error);
        });
        CHECK_SAY(worst <= 1, "%s: c%d %dx%d to %dx%d errs %g times its bound", kernels->isa, channels, h, w, height,
                  width, worst);
    });
}

}  // namespace

TEST(resize_sums_its_bands) {
    for (const Layout layout : {Layout::plain, Layout::blocked}) {
        for (const bool lerp : {false, true}) {
            check_resize(layout, 3, 7, 7, 50, 44, lerp);
            check_resize(layout, 20, 3, 5, 20, 9, lerp);
            check_resize(layout, 17, 12, 11, 5, 4, lerp);
            check_resize(layout, 33, 1, 6, 1, 13, lerp);
        }
    }
}

TEST(a_band_outside_its_input_is_refused) {
    Buffer<float> x(tensor_of<float>(Layout::plain, 1, 1, 2), 1), y(tensor_of<float>(Layout::plain, 1, 1, 1), 1);
    const std::int64_t one = bits_of(1.0);
    const std::vector<std::int64_t> right{0, 0, 1, one, 0, 2, one, one};
    CHECK(Runner<float>("resize", {&x.tensor}, {&y.tensor}, right).check().ok());
    for (const std::size_t at : {std::size_t{1}, std::size_t{4}, std::size_t{5}}) {
        for (const std::int64_t wrong : {std::int64_t{-1}, std::int64_t{3}, INT64_MAX, INT64_MIN}) {
            std::vector<std::int64_t> values = right;
            values[at] = wrong;
            CHECK(!Runner<float>("resize", {&x.tensor}, {&y.tensor}, values).check().ok());
        }
    }
    CHECK(!Runner<float>("resize", {&x.tensor}, {&y.tensor}, {0, 0, 1, one}).check().ok());
    CHECK(!Runner<float>("resize", {&x.tensor}, {&y.tensor}, {0, 0, 1, one, 0, 2, one, one, one}).check().ok());
}

TEST(blending_a_constant_gives_that_constant_exactly) {
    Buffer<float> x(tensor_of<float>(Layout::plain, 1, 5, 6), 1), y(tensor_of<float>(Layout::plain, 1, 23, 31), 1);
    x.fill([](auto...) { return 0.1f; });
    const auto attributes = attributes_of(bands_of(5, 23, true), bands_of(6, 31, true), true);
    Runner<float> runner("resize", {&x.tensor}, {&y.tensor}, attributes);
    run_everywhere<float>(runner, {&x}, {&y}, 1, "constant", [&](const Kernels* kernels) {
        bool same = true;
        y.each([&](std::int64_t, std::int64_t, std::int64_t h, std::int64_t w) {
            same = same && y.get(0, 0, h, w) == 0.1f;
        });
        CHECK_SAY(same, "%s changes a constant", kernels->isa);
    });
}
