// The winners of a max pool as indices and as bytes.
#include <array>

#include "bindings.hpp"
#include "ops/pool_indices.hpp"

namespace convlens_python {
namespace {

template <class Element>
using Array = py::array_t<Element, py::array::c_style>;

// sizes: of the plane (2), the window (2), its stride (2), padding at top and left, dilation (2).
template <class From, class To>
Array<To> convert(const Array<From>& from, const std::array<std::int64_t, 10>& sizes,
                  convlens::Status (*function)(const convlens::PoolPlanes&, const From*, To*)) {
    if (from.ndim() != 4) throw py::value_error("an array (N, C, P, Q) is needed");
    const auto [h, w, r, s, stride_h, stride_w, top, left, dilation_h, dilation_w] = sizes;
    if (r < 1 || s < 1 || r > 256 || s > 256 || r * s > 256 || stride_h < 1 || stride_w < 1 || top < 0 || left < 0 ||
        dilation_h < 1 || dilation_w < 1) {
        throw py::value_error("`sizes` are no window of up to 256 positions");
    }
    Array<To> to({from.shape(0), from.shape(1), from.shape(2), from.shape(3)});
    const convlens::PoolPlanes pool = {{h, w, r, s, stride_h, stride_w, top, left, dilation_h, dilation_w, 0, 0, h, w},
                                       from.shape(0) * from.shape(1),
                                       from.shape(2),
                                       from.shape(3)};
    const From* source = from.data();
    To* target = to.mutable_data();
    convlens::Status status;
    {
        const py::gil_scoped_release released;
        status = function(pool, source, target);
    }
    check(status);
    return to;
}

}  // namespace

void bind_pool(py::module_& m) {
    using Sizes = std::array<std::int64_t, 10>;
    m.def(
        "pool_indices",
        [](const Array<std::uint8_t>& offset, const Sizes& sizes) {
            return convert(offset, sizes, convlens::indices_of_offsets);
        },
        py::arg("offset"), py::arg("sizes"), "Bytes ky * S + kx as row * W + column.");
    m.def(
        "pool_offsets",
        [](const Array<std::int64_t>& indices, const Sizes& sizes) {
            return convert(indices, sizes, convlens::offsets_of_indices);
        },
        py::arg("indices"), py::arg("sizes"), "Indices row * W + column as bytes ky * S + kx.");
}

}  // namespace convlens_python
