// Methods that Python's own interface calls: through pybind11 a call would cost as much as a small kernel.
#pragma once

#include <memory>

#include "bindings.hpp"

namespace convlens_python {

// Self has `PyObject* call(PyObject* const* args, Py_ssize_t count) const`, and a name of its own in kCapsule.
template <class Self>
PyObject* fast_call(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    const auto* held = static_cast<const std::shared_ptr<Self>*>(PyCapsule_GetPointer(self, Self::kCapsule));
    if (held == nullptr) return nullptr;
    try {
        return (*held)->call(args, count);
    } catch (py::error_already_set& error) {
        error.restore();
    } catch (const py::builtin_exception& error) {
        error.set_error();
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    }
    return nullptr;
}

// The method as an object that holds `self`.
template <class Self>
py::object fast_caller(const std::shared_ptr<Self>& self) {
    static PyMethodDef method = {"call", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(fast_call<Self>)),
                                 METH_FASTCALL, Self::kDoc};
    const py::capsule held(new std::shared_ptr<Self>(self), Self::kCapsule, [](PyObject* capsule) {
        delete static_cast<std::shared_ptr<Self>*>(PyCapsule_GetPointer(capsule, Self::kCapsule));
    });
    PyObject* made = PyCFunction_New(&method, held.ptr());
    if (made == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(made);
}

}  // namespace convlens_python
