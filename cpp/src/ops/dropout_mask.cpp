// Where dropout lets pass: an element's word of Philox-4x32-10, keyed by the seed and counted by (element, image, step,
// node), is at least the threshold.
//
// inputs  key int64 (2 1 1), not batched: seed, step
// outputs y mask, blocked
// attributes threshold (0 to 2^32), node
#include "ops/geometry.hpp"

namespace convlens {
namespace {

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed*) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 1, 1, 1, 2));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[0], "key", DType::int64));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.outputs[0], "y", DType::mask));
    const Tensor &key = *p.inputs[0], &y = *p.outputs[0];
    if (key.batched || logical_elements(key) != 2 || !y.batched || (y.layout != Layout::blocked && !one_pixel(y)) ||
        p.attribute(0) < 0 || p.attribute(0) > std::int64_t{1} << 32) {
        return fail(Code::corrupt_file, "`key` must be two numbers, `y` batched and blocked, `threshold` in [0, 2^32]");
    }
    return {};
}

template <class Real>
std::int64_t groups(const Tensor& y) {
    return ceil_div(y.channels, kLanes<Real>) * pixels_of(y);
}
template <class Real>
std::int64_t tasks(const Call& call) {
    return ceil_div(call.n * groups<Real>(*call.outputs[0].tensor), units_per_task(kBlockBytes));
}

template <class Real>
void run(const Call& call, std::int64_t task, int) {
    const View& y = call.outputs[0];
    std::uint64_t key[2];
    std::memcpy(key, call.inputs[0].data, sizeof key);
    const std::int64_t chunk = units_per_task(kBlockBytes);
    const auto word = [](std::uint64_t v) { return static_cast<std::uint32_t>(v); };
    for_each_rows(
        task, chunk, call.n, 1, groups<Real>(*y.tensor),
        [&](std::int64_t image, std::int64_t, std::int64_t group0, std::int64_t group1) {
            call.kernels->set<Real>().dropout_mask({reinterpret_cast<std::uint8_t*>(y.data + image * y.image_stride),
                                                    group0,
                                                    group1,
                                                    y.tensor->channels,
                                                    pixels_of(*y.tensor),
                                                    static_cast<std::uint64_t>(call.attribute(0)),
                                                    {word(key[0]), word(key[0] >> 32)},
                                                    {word(static_cast<std::uint64_t>(image)), word(key[1]),
                                                     word(static_cast<std::uint64_t>(call.attribute(1)))}});
            if (group0 == 0) zero_padding<Real>(y, image);
        });
}

template <class Real>
constexpr Op make_dropout_mask() {
    return {"dropout_mask", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(dropout_mask, make_dropout_mask)
