// loss = -log softmax(logits)[label], one an image; NaN for a label outside [0, K).
//
// inputs  logits (K 1 1), labels int64 (1 1 1)
// outputs loss (1 1 1), [log_prob (K 1 1)]
// attributes none
#include "ops/cross_entropy.hpp"

namespace convlens {
namespace {

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 2, 1, 2, 0));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[0], "logits", DType::real));
    const std::int64_t classes = p.inputs[0]->channels;
    CONVLENS_RETURN_IF_ERROR(check_classes<Real>(p.inputs[0], "logits", classes));
    CONVLENS_RETURN_IF_ERROR(check_labels<Real>(p.inputs[1]));
    CONVLENS_RETURN_IF_ERROR(check_classes<Real>(p.outputs[0], "loss", 1));
    if (p.instruction->n_outputs > 1 && p.outputs[1] != nullptr) {
        CONVLENS_RETURN_IF_ERROR(check_classes<Real>(p.outputs[1], "log_prob", classes));
    }
    scratch->per_thread_bytes = classes_scratch<Real>(classes);
    return {};
}

template <class Real>
std::int64_t tasks(const Call& call) {
    return ceil_div(call.n, images_per_task<Real>(call.inputs[0].tensor->channels));
}

template <class Real>
void run(const Call& call, std::int64_t task, int thread) {
    const std::int64_t classes = call.inputs[0].tensor->channels, chunk = images_per_task<Real>(classes);
    Real* scratch = reinterpret_cast<Real*>(call.thread_scratch + thread * call.thread_scratch_stride);
    for (std::int64_t i = task * chunk; i < min_of(call.n, (task + 1) * chunk); ++i) {
        Real* log_prob = call.outputs[1] ? image_data<Real>(call.outputs[1], i) : nullptr;
        call.kernels->set<Real>().cross_entropy({image_data<Real>(call.inputs[0], i),
                                                 image_data<Real>(call.outputs[0], i), log_prob, scratch, classes,
                                                 label_of(call.inputs[1], i)});
        zero_beyond_channels<Real>(call.outputs[0], i);
        if (call.outputs[1]) zero_beyond_channels<Real>(call.outputs[1], i);
    }
}

template <class Real>
constexpr Op make_cross_entropy() {
    return {"cross_entropy", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(cross_entropy, make_cross_entropy)
