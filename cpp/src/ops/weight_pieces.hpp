// What pack_weight and unpack_weight share: sizes, and the walk over the elements of both orders.
#pragma once

#include "ops/geometry.hpp"
#include "ops/pack.hpp"

namespace convlens {

template <class Real>
PackedWeight packed_of(const Problem& p) {
    return PackedWeight::make(p.attribute(0), p.attribute(1), p.attribute(2), p.attribute(3), p.attribute(4),
                              kLanes<Real>);
}

template <class Real>
CONVLENS_COLD Status check_packed(const Tensor* t, const char* name, std::int64_t elements) {
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(t, name, DType::real));
    if (t->batched || t->layout != Layout::packed || t->channels != elements) {
        return fail(Code::corrupt_file, "`%s` must be one packed tensor of %lld elements; it has %d", name,
                    static_cast<long long>(elements), t->channels);
    }
    return {};
}

// A vector with an element a channel, readable up to a whole block.
template <class Real>
CONVLENS_COLD Status check_vector(const Tensor* t, const char* name, std::int64_t channels) {
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(t, name, DType::real));
    if (t->batched || t->layout != Layout::plain || has_halo(*t) || logical_elements(*t) != channels) {
        return fail(Code::corrupt_file, "`%s` must be plain, not batched, of %lld elements", name,
                    static_cast<long long>(channels));
    }
    const std::int64_t bytes = round_up(channels, kLanes<Real>) * static_cast<std::int64_t>(sizeof(Real));
    if (t->bytes < bytes) {
        return fail(Code::corrupt_file, "`%s` has %lld bytes; %lld are read, a whole block of channels", name,
                    static_cast<long long>(t->bytes), static_cast<long long>(bytes));
    }
    return {};
}

// The plain side: (K, C / groups, R, S) in order, whatever three sizes its Tensor names.
template <class Real>
CONVLENS_COLD Status check_plain_weight(const Tensor* t, const char* name, const PackedWeight& w, bool each = false) {
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(t, name, DType::real));
    const std::int64_t elements = w.K * (w.C / w.groups) * w.R * w.S;
    const bool plain = t->layout == Layout::plain || (each && t->layout == Layout::blocked && one_pixel(*t));
    if (t->batched != each || !plain || has_halo(*t) || logical_elements(*t) != elements) {
        return fail(Code::corrupt_file, "`%s` must be plain, %sbatched, of %lld elements; it has %lld", name,
                    each ? "" : "not ", static_cast<long long>(elements), static_cast<long long>(logical_elements(*t)));
    }
    return {};
}

// Calls work(plain, packed, lanes, plain_step) for runs of output channels of panel `p`: element l of the run is
// plain[l * plain_step], packed[l], both indices; and clear(packed, count) for the packed elements that stand for none.
template <class Work, class Clear>
void for_each_run(const PackedWeight& w, std::int64_t p, Work work, Clear clear) {
    const PackedPanel panel = w.panel(p);
    const std::int64_t c_group = w.C / w.groups, k_group = w.K / w.groups, taps = w.R * w.S, lanes = w.lanes;
    if (w.depthwise) {
        const std::int64_t k0 = panel.first_block * lanes, channels = min_of(lanes, w.K - k0);
        for (std::int64_t t = 0; t < taps; ++t) {
            const std::int64_t at = panel.offset + t * lanes;
            work(k0 * taps + t, at, channels, taps, k0);
            clear(at + channels, lanes - channels);
        }
        return;
    }
    const std::int64_t width = panel.blocks * lanes, k_first = panel.first_block * lanes;
    for (std::int64_t step = 0; step < w.steps; ++step) {
        for (std::int64_t t = 0; t < taps; ++t) {
            for (std::int64_t lane = 0; lane < lanes; ++lane) {
                const std::int64_t c = (panel.first_step + step) * lanes + lane;
                const std::int64_t at = panel.offset + ((step * taps + t) * lanes + lane) * width;
                std::int64_t from = 0, to = 0;  // the run within the panel's width
                if (c < w.C) {
                    const std::int64_t group = c / c_group;
                    from = min_of(width, max_of(0, group * k_group - k_first));
                    to = max_of(from, min_of(width, (group + 1) * k_group - k_first));
                }
                clear(at, from);
                if (to > from) {
                    const std::int64_t k = k_first + from;
                    work((k * c_group + c % c_group) * taps + t, at + from, to - from, c_group * taps, k);
                }
                clear(at + to, width - to);
            }
        }
    }
}

}  // namespace convlens
