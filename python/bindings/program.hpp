// A Program with the bytes it borrows and the memory its calls leave for the next, and the arrays a run binds.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "bindings.hpp"
#include "runtime/program.hpp"

namespace convlens_python {

// Arrays whose memory a run binds, as weights or as states.
class Buffers {
  public:
    Buffers(const py::sequence& arrays, bool writeable);
    bool writeable() const { return writeable_; }
    std::size_t size() const { return pointers_.size(); }
    void* const* pointers() const { return pointers_.data(); }
    std::int64_t bytes(std::size_t i) const { return bytes_[i]; }
    bool bound(std::size_t i) const { return pointers_[i] != nullptr; }

  private:
    bool writeable_;
    std::vector<void*> pointers_;
    std::vector<std::int64_t> bytes_;
    py::list owners_;
};

class Program {
  public:
    explicit Program(const py::buffer& data);

    const convlens::Program& core() const { return core_; }
    // Its bytes and tables, and the workspaces that wait for their next call.
    std::int64_t nbytes() const;
    std::int64_t arena_bytes(std::int64_t n, int threads) const;

    // A workspace for n images on as many threads as a lone call may use; the caller gives it back, or drops it.
    std::shared_ptr<convlens::Workspace> take(std::int64_t n) const;
    void give_back(std::shared_ptr<convlens::Workspace> workspace) const;

    void run(int entry, convlens::Workspace& workspace, const py::sequence& arrays, std::int64_t n,
             const Buffers* weights, const Buffers* states, int threads) const;
    // What an entry makes of n images, not filled.
    py::list outputs(int entry, std::int64_t n) const;
    // Runs entries one after the other in one workspace, without states; the outputs of all of them.
    py::list run_through(const std::vector<int>& entries, const py::sequence& inputs, std::int64_t n,
                         const Buffers* weights) const;
    void check_buffers(const Buffers* buffers, int count, bool states) const;

    const convlens::RawEntry& raw_entry(int entry) const;

  private:
    void* pointer(const convlens::Port& port, const py::handle& item, std::int64_t n) const;

    py::buffer_info view_;
    py::array_t<std::uint8_t> copy_;
    convlens::Program core_;
    std::int64_t nbytes_ = 0;
    // With a GIL nobody ever waits for the lock: what it guards calls no Python.
    mutable std::mutex mutex_;
    mutable std::vector<std::shared_ptr<convlens::Workspace>> free_;
};

// NumPy's own object of a dtype, in native byte order.
enum class Element : int { float32, float64, int64, uint8, boolean };
constexpr int kElements = 5;
PyObject* descr_of(Element element);
std::int64_t size_of(Element element);
Element element_of(convlens::DType dtype, bool float64);
// Whether it is an array as NumPy made it, C-contiguous and aligned, of a dtype that a port may have.
bool plain_array(PyObject* object, Element* element);

// An array that is not filled, `aligned` to the start of a cache line.
py::object empty(Element element, const std::vector<Py_intptr_t>& shape, bool aligned);
// Whether an output begins at the start of a cache line: large planes, or filters, that are whole lines do.
// NumPy's own begin 16 bytes into a line, and every vector that is stored touches two. (c24 to k144 56 x 56, AVX-512:
// 0.92 of the time; the gradient of 2048 filters c1024 1 x 1: 0.93.)
bool is_aligned(const convlens::Port& port, Element element);

}  // namespace convlens_python
