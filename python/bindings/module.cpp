#include "base/allocator.hpp"
#include "base/cpu.hpp"
#include "base/parallel.hpp"
#include "bindings.hpp"
#include "finite.hpp"
#include "kernels/kernels.hpp"
#include "runtime/work.hpp"

namespace convlens_python {

void check(const convlens::Status& status) {
    switch (status.code) {
        case convlens::Code::ok:
            return;
        case convlens::Code::unsupported:
        case convlens::Code::wrong_version:
            py::set_error(py::module_::import("convlens._errors").attr("UnsupportedError"), status.message);
            throw py::error_already_set();
        case convlens::Code::out_of_memory:
            py::set_error(PyExc_MemoryError, status.message);
            throw py::error_already_set();
        case convlens::Code::io:
            py::set_error(PyExc_OSError, status.message);
            throw py::error_already_set();
        default:
            throw py::value_error(status.message);
    }
}

py::array_t<std::uint8_t> aligned_empty(std::int64_t bytes) {
    if (bytes < 0) throw py::value_error("`bytes` (=" + std::to_string(bytes) + ") must be 0 or more");
    void* memory = convlens::allocate(static_cast<std::size_t>(bytes));
    if (memory == nullptr) {
        check(convlens::fail(convlens::Code::out_of_memory, "no memory for %lld bytes", static_cast<long long>(bytes)));
    }
    const py::capsule owner(memory, [](void* block) { convlens::deallocate(block); });
    return py::array_t<std::uint8_t>(bytes, static_cast<std::uint8_t*>(memory), owner);
}

namespace {

py::dict info() {
    py::dict cpu;
    int count = 0;
    const convlens::CpuFeatureName* names = convlens::cpu_feature_names(&count);
    for (int i = 0; i < count; ++i) cpu[names[i].name] = (convlens::cpu_features() & names[i].bit) != 0;
    py::list isas;
    const convlens::Kernels* all = convlens::all_kernels(&count);
    for (int i = 0; i < count; ++i) {
        py::dict row;
        row["name"] = all[i].isa;
        row["description"] = all[i].description;
        row["lacking"] = convlens::why_not_runnable(all[i]);
        isas.append(row);
    }
    const convlens::Kernels* active = convlens::active_kernels();
    py::dict result;
    result["version"] = CONVLENS_VERSION;
    result["isa"] = active == nullptr ? "" : active->isa;
    result["few_rows"] = active != nullptr && active->ordered;
    result["reason"] = convlens::active_kernels_reason();
    result["isas"] = isas;
    result["cpu"] = cpu;
    result["openmp"] = convlens::openmp_enabled();
    result["threads"] = convlens::max_threads();
#if defined(CONVLENS_FLOAT64)
    result["float64"] = true;
#else
    result["float64"] = false;
#endif
    return result;
}

template <class Real>
bool array_is_finite(const py::array_t<Real, py::array::c_style>& array) {
    const py::gil_scoped_release released;
    return all_finite(array.data(), array.size());
}

void set_num_threads(int threads) {
    if (threads < 1) throw py::value_error("`num_threads` (=" + std::to_string(threads) + ") must be 1 or more");
    convlens::set_max_threads(threads);
}

}  // namespace
}  // namespace convlens_python

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
    namespace py = pybind11;
    using namespace convlens_python;
    m.doc() = "The C++ core: Programs, and what this build and processor have.";
    m.def("info", info, "What this build holds and what this processor runs.");
    m.def("get_num_threads", convlens::max_threads, "Threads a lone call may use.");
    m.def("set_num_threads", set_num_threads, py::arg("num_threads"), "Set the threads a lone call may use.");
    m.def("set_spares_threads", convlens::set_spares_threads, py::arg("spares"),
          "Whether instructions of little work run on fewer threads than a call has; tests of threads say no.");
    m.def("set_strips", convlens::set_strips, py::arg("strips"),
          "Whether Programs go strip by strip where it pays; they have the same bits without.");
    m.def(
        "select_isa", [](const std::string& isa) { check(convlens::select_kernels(isa.c_str())); }, py::arg("isa"),
        "Make Programs opened from now on use the kernels of `isa`.");
    m.def("aligned_empty", aligned_empty, py::arg("bytes"),
          "Allocate uint8 that are aligned to 64 bytes, not initialised.");
    const char* finite = "Whether no element is NaN or infinite.";
    m.def("all_finite", array_is_finite<float>, py::arg("array").noconvert(), finite);
    m.def("all_finite", array_is_finite<double>, py::arg("array").noconvert(), finite);
    bind_program(m);
    bind_lowering(m);
    bind_pool(m);
    bind_replay(m);
    bind_shortcut(m);
}
