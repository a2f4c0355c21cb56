// The winners of a max pool as callers know them.
#include <array>

#include "bindings.hpp"
#include "ops/pool_indices.hpp"

namespace convlens_python {
namespace {

template <class Element>
using Array = py::array_t<Element, py::array::c_style>;

// Of the plane (2), the window (2), its stride (2), padding at top and left, dilation (2).
using Sizes = std::array<std::int64_t, 10>;

convlens::PoolPlanes planes_of(const py::array& windows, const Sizes& sizes) {
    if (windows.ndim() != 4) throw py::value_error("an array (N, C, P, Q) is needed");
    const auto [h, w, r, s, stride_h, stride_w, top, left, dilation_h, dilation_w] = sizes;
    if (h < 1 || w < 1 || r < 1 || s < 1 || r > 256 || s > 256 || r * s > 256 || stride_h < 1 || stride_w < 1 ||
        top < 0 || left < 0 || dilation_h < 1 || dilation_w < 1) {
        throw py::value_error("`sizes` are no window of up to 256 positions");
    }
    return {{h, w, r, s, stride_h, stride_w, top, left, dilation_h, dilation_w, 0, 0, h, w},
            windows.shape(0) * windows.shape(1),
            windows.shape(2),
            windows.shape(3)};
}

Array<std::int64_t> indices(const Array<std::uint8_t>& offset, const Sizes& sizes) {
    const convlens::PoolPlanes pool = planes_of(offset, sizes);
    Array<std::int64_t> to({offset.shape(0), offset.shape(1), offset.shape(2), offset.shape(3)});
    const std::uint8_t* source = offset.data();
    std::int64_t* target = to.mutable_data();
    convlens::Status status;
    {
        const py::gil_scoped_release released;
        status = convlens::indices_of_offsets(pool, source, target);
    }
    check(status);
    return to;
}

template <class Real>
Array<Real> gradient(const Array<Real>& dy, const Array<std::int64_t>& indices, const Sizes& sizes) {
    const convlens::PoolPlanes pool = planes_of(dy, sizes);
    if (indices.ndim() != 4 || !std::equal(dy.shape(), dy.shape() + 4, indices.shape())) {
        throw py::value_error("`indices` must have the shape of `grad_output`");
    }
    Array<Real> dx({dy.shape(0), dy.shape(1), static_cast<py::ssize_t>(sizes[0]), static_cast<py::ssize_t>(sizes[1])});
    const Real* source = dy.data();
    const std::int64_t* places = indices.data();
    Real* target = dx.mutable_data();
    convlens::Status status;
    {
        const py::gil_scoped_release released;
        status = convlens::max_pool2d_grad_of_indices(pool, source, places, target);
    }
    check(status);
    return dx;
}

}  // namespace

void bind_pool(py::module_& m) {
    m.def("pool_indices", &indices, py::arg("offset"), py::arg("sizes"), "Bytes ky * S + kx as row * W + column.");
    const char* const about = "The gradient of a max pool whose winners are row * W + column.";
    m.def("max_pool_grad", &gradient<float>, py::arg("grad_output").noconvert(), py::arg("indices").noconvert(),
          py::arg("sizes"), about);
#if defined(CONVLENS_FLOAT64)
    m.def("max_pool_grad", &gradient<double>, py::arg("grad_output").noconvert(), py::arg("indices").noconvert(),
          py::arg("sizes"), about);
#endif
}

}  // namespace convlens_python
