// Shapes of the convolution tests, and the naive convolution in double that they are held against.
#pragma once

#include "ops/pack.hpp"
#include "run_op.hpp"

namespace convlens_tests {

struct ConvCase {
    int c, h, w, k, r, s;
    int stride_h = 1, stride_w = 1, top = 0, left = 0, bottom = 0, right = 0, dilation_h = 1, dilation_w = 1,
        groups = 1;
    int unit = 0;              // of Winograd's convolution
    bool transformed = false;  // its weights, beforehand; of a direct gradient they are exchanged

    int p() const { return (h + top + bottom - dilation_h * (r - 1) - 1) / stride_h + 1; }
    int q() const { return (w + left + right - dilation_w * (s - 1) - 1) / stride_w + 1; }
    std::vector<std::int64_t> attributes() const {
        return {r, s, stride_h, stride_w, top, left, dilation_h, dilation_w, groups};
    }
    // The op of this case, and `values` with the attribute that follows in a Winograd convolution.
    std::string op(const char* name) const { return unit == 0 ? name : std::string(name) + "_winograd"; }
    std::vector<std::int64_t> with_unit(std::vector<std::int64_t> values) const {
        if (unit != 0) values.push_back(unit);
        return values;
    }
    // Whether the input's gradient has taps of several phases.
    bool has_phases() const { return stride_h * stride_w > 1 && r * s > 1; }
    // Those of the input's gradient: its transformed weights have their channels exchanged.
    std::vector<std::int64_t> gradient_attributes() const {
        std::vector<std::int64_t> values = attributes();
        if (unit != 0 || transformed) values.push_back(transformed && has_phases() ? 2 : transformed);
        return with_unit(values);
    }
    std::vector<std::int64_t> weight_attributes() const { return {k, c, r, s, groups}; }
    std::string name() const {
        char text[160];
        std::snprintf(text, sizeof text, "c%d h%d w%d k%d r%d s%d st%d,%d p%d,%d,%d,%d d%d,%d g%d F(%d,3)%s", c, h, w,
                      k, r, s, stride_h, stride_w, top, left, bottom, right, dilation_h, dilation_w, groups, unit,
                      transformed ? " beforehand" : "");
        return text;
    }
};

inline std::vector<ConvCase> conv_cases() {
    return {
        {16, 5, 7, 16, 1, 1},                              // one block each way
        {32, 14, 14, 32, 1, 1},                            // whole tiles of a panel
        {20, 14, 14, 24, 1, 1},                            // whole tiles of half a last block
        {3, 9, 11, 5, 3, 3, 1, 1, 1, 1, 1, 1},             // narrower than a vector
        {19, 6, 15, 33, 3, 3, 1, 1, 1, 1, 1, 1},           // odd, three output blocks
        {1, 8, 9, 8, 3, 3},                                // one channel
        {1, 1, 1, 1, 1, 1},                                // one of everything
        {40, 1, 29, 20, 1, 1},                             // one row, longer than a tile
        {8, 6, 5, 12, 1, 1, 2, 2},                         // 1x1 with stride
        {20, 7, 9, 40, 1, 1, 2, 2},                        // and several steps: of most pixels' gradient no tap
        {7, 11, 13, 9, 3, 3, 2, 2, 1, 1, 1, 1},            // stride 2
        {5, 10, 9, 6, 2, 2, 3, 3},                         // stride beyond the kernel
        {4, 9, 8, 18, 3, 2, 1, 2, 0, 1, 2, 0},             // asymmetric padding and strides
        {6, 12, 12, 7, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2},      // dilated
        {6, 13, 12, 7, 3, 2, 2, 1, 3, 1, 2, 3, 3, 2},      // dilated with stride
        {3, 15, 17, 10, 7, 7, 2, 2, 3, 3, 3, 3},           // a stem
        {2, 3, 4, 3, 5, 5, 1, 1, 4, 4, 4, 4},              // kernel larger than the image
        {24, 7, 7, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 24},  // depthwise
        {19, 9, 8, 19, 3, 5, 2, 2, 1, 2, 1, 2, 1, 1, 19},  // depthwise, stride 2
        {5, 9, 9, 5, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 5},     // depthwise, dilated
        {6, 6, 7, 18, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 6},    // depthwise with multiplier
        {16, 6, 5, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4},   // 4 channels a group
        {24, 6, 5, 24, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 3},   // 8 a group
        {48, 5, 5, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 3},   // 16 a group
        {48, 5, 5, 72, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 2},   // 24 a group, 36 out
        {96, 4, 4, 96, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2},   // 48 a group: panels of two and one
        {20, 4, 6, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 5},   // 4 in, 8 out a group
    };
}
// The cases that Winograd's convolution is defined for, and some of its own, by both of its tiles and forms of weights.
inline std::vector<ConvCase> winograd_cases() {
    std::vector<ConvCase> own = {
        {16, 8, 8, 16, 3, 3, 1, 1, 1, 1, 1, 1},    // whole tiles
        {5, 2, 11, 20, 3, 3, 1, 1, 2, 0, 1, 2},    // asymmetric padding, a tile beyond the image
        {6, 3, 3, 4, 3, 3},                        // one pixel of output
        {70, 9, 10, 66, 3, 3, 1, 1, 1, 1, 1, 1},   // lanes are tiles in the gradient; a narrow last panel each way
        {16, 40, 37, 40, 3, 3, 1, 1, 1, 1, 1, 1},  // several pieces, groups of one panel
        {17, 6, 6, 130, 3, 3, 1, 1, 1, 1, 1, 1},   // several groups of panels
    };
    for (const ConvCase& k : conv_cases()) {
        if (k.r == 3 && k.s == 3 && k.stride_h * k.stride_w * k.dilation_h * k.dilation_w * k.groups == 1)
            own.push_back(k);
    }
    std::vector<ConvCase> cases;
    for (ConvCase k : own) {
        for (int unit : {2, 4}) {
            for (bool transformed : {false, true}) k.unit = unit, k.transformed = transformed, cases.push_back(k);
        }
    }
    return cases;
}
inline std::vector<ConvCase> dense_and_winograd_cases() {
    std::vector<ConvCase> cases = conv_cases();
    for (const ConvCase& k : winograd_cases()) cases.push_back(k);
    return cases;
}
// Larger: several strips, passes over channels, panels and images a task.
inline std::vector<ConvCase> large_conv_cases() {
    return {
        {512, 7, 7, 40, 3, 3, 1, 1, 1, 1, 1, 1},
        {64, 28, 28, 96, 3, 3, 1, 1, 1, 1, 1, 1},
        {256, 14, 14, 64, 1, 1},
        {300, 9, 53, 40, 1, 1},
        {330, 9, 33, 20, 1, 1, 2, 1},
    };
}

inline Halo pads_as_halo(const ConvCase& k) { return {k.top, k.left, k.bottom, k.right}; }

// Values and magnitudes (sums of absolute products) of the plain convolution.
struct Sums {
    std::vector<double> value, magnitude;
    explicit Sums(std::size_t size) : value(size), magnitude(size) {}
    void add(std::size_t at, double product) {
        value[at] += product;
        magnitude[at] += std::fabs(product);
    }
};

// Calls f(image, k, p, q, c, y, x, weight index) for every product of the convolution that lies inside the image.
template <class F>
void each_product(const ConvCase& k, std::int64_t n, F f) {
    const int c_group = k.c / k.groups, k_group = k.k / k.groups;
    for (std::int64_t i = 0; i < n; ++i)
        for (int ko = 0; ko < k.k; ++ko)
            for (int p = 0; p < k.p(); ++p)
                for (int q = 0; q < k.q(); ++q)
                    for (int cg = 0; cg < c_group; ++cg)
                        for (int r = 0; r < k.r; ++r)
                            for (int s = 0; s < k.s; ++s) {
                                const int y = p * k.stride_h - k.top + r * k.dilation_h;
                                const int x = q * k.stride_w - k.left + s * k.dilation_w;
                                if (y < 0 || y >= k.h || x < 0 || x >= k.w) continue;
                                f(i, ko, p, q, ko / k_group * c_group + cg, y, x,
                                  ((static_cast<std::int64_t>(ko) * c_group + cg) * k.r + r) * k.s + s);
                            }
}

inline std::size_t flat_index(std::int64_t i, std::int64_t c, std::int64_t h, std::int64_t w, const Tensor& t) {
    return static_cast<std::size_t>(((i * t.channels + c) * t.height + h) * t.width + w);
}

template <class Real>
constexpr double kEpsilon = sizeof(Real) == 4 ? 1.1920929e-7 : 2.220446049250313e-16;

// c * eps * sqrt(K) * sum |a||b|, style.md's bound; `terms` is K.
template <class Real>
double tolerance(double magnitude, double terms) {
    return 2 * kEpsilon<Real> * std::sqrt(terms + 4) * (magnitude + 1e-30) + 1e-37;
}

// How far values are from the right ones, in units of what is allowed. An element of Winograd's convolution has the
// rounding of its neighbours too: root mean squares within 2e-6 sqrt(C / 64) of the sums' for F(4,3), a third for
// F(2,3); of few channels that of 64, for what the transforms round.
template <class Real>
struct Errors {
    const ConvCase& k;
    double terms, worst = 0, squares = 0, sum_squares = 0;
    void add(double got, double value, double magnitude, double sum) {
        const double error = std::fabs(got - value);
        worst = std::fmax(worst, std::isnan(error) ? 1e30 : error / tolerance<Real>(magnitude, terms));
        squares += std::isnan(error) ? 1e30 : error * error, sum_squares += sum * sum;
    }
    double relative() const {
        if (k.unit == 0) return worst;
        const double allowed = (k.unit == 4 ? 17 : 6) * kEpsilon<Real> * std::sqrt(std::fmax(terms, 9 * 64) / (9 * 64));
        return squares == 0 ? 0 : std::sqrt(squares / sum_squares) / allowed;
    }
};

// Plain and packed weights of a case, packed by the op itself.
template <class Real>
struct PackedPair {
    Buffer<Real> plain, packed;
    PackedPair(const ConvCase& k, std::uint64_t seed, double low = -1, double high = 1)
        : plain(tensor_of<Real>(Layout::plain, k.k, k.c / k.groups, k.r * k.s, {}, false), 1),
          packed(tensor_of<Real>(Layout::packed, static_cast<int>(elements(k)), 1, 1, {}, false), 1) {
        plain.fill_random(seed, low, high);
        pack(k);
    }
    static std::int64_t elements(const ConvCase& k) {
        if (!k.transformed || k.unit == 0) return packed_elements(k.k, k.c, k.r, k.s, k.groups, kLanes<Real>);
        return (k.unit + 2) * (k.unit + 2) * packed_elements(k.k, k.c, 1, 1, 1, kLanes<Real>);
    }
    void pack(const ConvCase& k) {
        std::vector<std::int64_t> attributes = k.weight_attributes();
        const bool unit = k.transformed && k.unit != 0;
        if (unit) attributes = {k.k, k.c, k.unit};
        Runner<Real> runner(unit ? "pack_winograd" : "pack_weight", {&plain.tensor}, {&packed.tensor}, attributes);
        const Status status = runner.run({&plain}, {&packed}, 1, runnable_kernels()[0], 1);
        CHECK_SAY(status.ok(), "pack %s: %s", k.name().c_str(), status.message);
    }
    // As the input's gradient takes them.
    PackedPair for_gradient(const ConvCase& k) const {
        ConvCase own = k;
        if (k.transformed) own.k = k.c, own.c = k.k;
        PackedPair pair(own, 0);
        const std::size_t taps = sizeof(Real) * static_cast<std::size_t>(k.r * k.s);
        for (int i = 0; i < k.k && k.transformed; ++i) {
            for (int c = 0; c < k.c; ++c) {
                const std::size_t to = static_cast<std::size_t>(c * k.k + i),
                                  from = static_cast<std::size_t>(i * k.c + c);
                std::memcpy(pair.plain.data + to * taps, plain.data + from * taps, taps);
            }
        }
        if (!k.transformed) std::memcpy(pair.plain.data, plain.data, static_cast<std::size_t>(plain.tensor.bytes));
        pair.pack(own);
        if (k.transformed && k.has_phases()) pair.pack_phases(own);
        return pair;
    }
    // The taps of each phase as a kernel of their own, one after the other.
    void pack_phases(const ConvCase& k) {
        std::int64_t at = 0;
        for (int phase = 0; phase < k.stride_h * k.stride_w; ++phase) {
            std::vector<std::int64_t> taps;
            for (int tap = 0; tap < k.r * k.s; ++tap) {
                const int row = tap / k.s * k.dilation_h % k.stride_h, column = tap % k.s * k.dilation_w % k.stride_w;
                if (row * k.stride_w + column == phase) taps.push_back(tap);
            }
            if (taps.empty()) continue;
            ConvCase own = k;
            own.r = 1, own.s = static_cast<int>(taps.size());
            PackedPair part(own, 0);
            Real* to = reinterpret_cast<Real*>(part.plain.data);
            for (std::int64_t i = 0; i < std::int64_t{k.k} * k.c / k.groups; ++i) {
                for (const std::int64_t tap : taps) *to++ = static_cast<Real>(this->at(i * k.r * k.s + tap));
            }
            part.pack(own);
            const std::int64_t bytes = elements(own) * static_cast<std::int64_t>(sizeof(Real));
            std::memcpy(packed.data + at, part.packed.data, static_cast<std::size_t>(bytes));
            at += bytes;
        }
    }
    double at(std::int64_t index) const {
        Real value;
        std::memcpy(&value, plain.data + index * static_cast<std::int64_t>(sizeof(Real)), sizeof value);
        return static_cast<double>(value);
    }
};

}  // namespace convlens_tests
