// What the files of the module share. The bindings convert arrays, release the GIL and turn a Status into an exception.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "base/status.hpp"

namespace convlens_python {

namespace py = pybind11;

// invalid_argument, corrupt_file: ValueError; unsupported, wrong_version: UnsupportedError; out_of_memory: MemoryError;
// io: OSError.
void check(const convlens::Status& status);

// `bytes` uint8, uninitialised, 64-byte aligned, from the core's allocator.
py::array_t<std::uint8_t> aligned_empty(std::int64_t bytes);

void bind_program(py::module_& m);
void bind_lowering(py::module_& m);
void bind_pool(py::module_& m);
void bind_replay(py::module_& m);
void bind_shortcut(py::module_& m);

}  // namespace convlens_python
