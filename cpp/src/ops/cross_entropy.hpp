// What the cross-entropy and its gradient share: vectors of classes and one label an image.
#pragma once

#include "ops/geometry.hpp"

namespace convlens {

template <class Real>
CONVLENS_COLD Status check_classes(const Tensor* t, const char* name, std::int64_t classes) {
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(t, name, DType::real));
    if (!t->batched || !one_pixel(*t) || t->layout == Layout::packed || t->channels != classes) {
        return fail(Code::corrupt_file, "`%s` is %d x %d x %d; it must be %lld x 1 x 1, batched, without halo", name,
                    t->channels, t->height, t->width, static_cast<long long>(classes));
    }
    return {};
}

template <class Real>
CONVLENS_COLD Status check_labels(const Tensor* t) {
    CONVLENS_RETURN_IF_ERROR(check_operand<Real>(t, "labels", DType::int64));
    if (!t->batched || logical_elements(*t) != 1 || t->layout != Layout::plain) {
        return fail(Code::corrupt_file, "`labels` must be one int64 an image, in layout plain");
    }
    return {};
}

inline std::int64_t label_of(const View& labels, std::int64_t image) {
    std::int64_t label;
    std::memcpy(&label, labels.data + image * labels.image_stride, sizeof(label));
    return label;
}

template <class Real>
std::int64_t images_per_task(std::int64_t classes) {
    return units_per_task(classes * static_cast<std::int64_t>(8 * sizeof(Real)));
}

template <class Real>
std::int64_t classes_scratch(std::int64_t classes) {
    return round_up(classes, kLanes<Real>) * static_cast<std::int64_t>(sizeof(Real));
}

}  // namespace convlens
