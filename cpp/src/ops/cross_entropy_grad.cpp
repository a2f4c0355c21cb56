// dlogits[c] = (exp(log_prob[c]) - (c == label)) * dloss; NaN for a label outside [0, K).
//
// inputs  log_prob (K 1 1), labels int64 (1 1 1), dloss (1 1 1), one an image or one for all
// outputs dlogits (K 1 1)
// attributes none
#include "ops/cross_entropy.hpp"

namespace convlens {
namespace {

template <class Real>
CONVLENS_COLD Status check(const Problem& p, ScratchNeed* scratch) {
    CONVLENS_RETURN_IF_ERROR(check_counts(p, 3, 1, 1, 0));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[0], "log_prob", DType::real));
    const std::int64_t classes = p.inputs[0]->channels;
    CONVLENS_RETURN_IF_ERROR(check_classes<Real>(p.inputs[0], "log_prob", classes));
    CONVLENS_RETURN_IF_ERROR(check_labels<Real>(p.inputs[1]));
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(p.inputs[2], "dloss", DType::real));
    if (!one_pixel(*p.inputs[2]) || p.inputs[2]->channels != 1) {
        return fail(Code::corrupt_file, "`dloss` must be one number an image, or one for all");
    }
    CONVLENS_RETURN_IF_ERROR(check_classes<Real>(p.outputs[0], "dlogits", classes));
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
        const Real grad_loss = *image_data<Real>(call.inputs[2], i);
        call.kernels->set<Real>().cross_entropy_grad({image_data<Real>(call.inputs[0], i),
                                                      image_data<Real>(call.outputs[0], i), scratch, classes,
                                                      label_of(call.inputs[1], i), grad_loss});
        zero_beyond_channels<Real>(call.outputs[0], i);
    }
}

template <class Real>
constexpr Op make_cross_entropy_grad() {
    return {"cross_entropy_grad", check<Real>, nullptr, nullptr, nullptr, {{tasks<Real>, run<Real>}}};
}

}  // namespace
}  // namespace convlens

CONVLENS_DEFINE_OP(cross_entropy_grad, make_cross_entropy_grad)
