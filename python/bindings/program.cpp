#include "program.hpp"

#include <algorithm>
#include <atomic>
#include <string>

#include "base/allocator.hpp"

namespace convlens_python {
namespace {

using convlens::DType;

struct Port {
    std::string name;
    std::string dtype;
    bool batched;
    std::vector<std::int64_t> shape;  // -1: the number of images
};

struct Entry {
    std::string name;
    std::vector<Port> inputs, outputs;
};

struct Slot {
    std::string name;
    std::int64_t nbytes;
    bool in_file;
};

std::vector<Entry> entries(const convlens::Program& core) {
    const auto port_of = [&](const convlens::Port& port) {
        const py::handle name = py::handle(descr_of(element_of(port.dtype, core.float64()))).attr("name");
        return Port{
            core.name(port.name), name.cast<std::string>(), port.batched != 0, {port.dims, port.dims + port.rank}};
    };
    std::vector<Entry> result;
    for (int i = 0; i < core.n_entries(); ++i) {
        const convlens::RawEntry& raw = core.entry(i);
        Entry entry{core.name(raw.name), {}, {}};
        for (std::uint32_t p = 0; p < raw.n_inputs + raw.n_outputs; ++p) {
            (p < raw.n_inputs ? entry.inputs : entry.outputs).push_back(port_of(core.port(raw, p)));
        }
        result.push_back(std::move(entry));
    }
    return result;
}

std::vector<Slot> weights(const convlens::Program& core) {
    std::vector<Slot> result;
    for (int i = 0; i < core.n_weights(); ++i) {
        result.push_back({core.name(core.weight(i).name), core.weight(i).bytes, core.weight_data(i) != nullptr});
    }
    return result;
}

std::vector<Slot> states(const convlens::Program& core) {
    std::vector<Slot> result;
    for (int i = 0; i < core.n_states(); ++i)
        result.push_back({core.name(core.state(i).name), core.state(i).bytes, false});
    return result;
}

// An array that is not filled; in `data` it owns nothing.
py::object new_array(Element element, const std::vector<Py_intptr_t>& shape, void* data = nullptr) {
    const auto& api = py::detail::npy_api::get();
    PyObject* descr = descr_of(element);
    Py_INCREF(descr);  // which the call takes over
    const int flags = data == nullptr ? 0 : api.NPY_ARRAY_WRITEABLE_;
    PyObject* made = api.PyArray_NewFromDescr_(api.PyArray_Type_, descr, static_cast<int>(shape.size()), shape.data(),
                                               nullptr, data, flags, nullptr);
    if (made == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(made);
}
py::object array_in(const py::object& owner, void* data, Element element, const std::vector<Py_intptr_t>& shape) {
    py::object made = new_array(element, shape, data);
    if (py::detail::npy_api::get().PyArray_SetBaseObject_(made.ptr(), owner.inc_ref().ptr()) != 0) {
        throw py::error_already_set();
    }
    return made;
}

// The memory of large arrays. The C library gives blocks of this size back at once, and the system zeroes the pages of
// the next one as they are written. So the last one let go is kept for the next array, which frees it where it needs
// another size. (8 images, Zen 3, of the time: c16 k96 112 x 112 0.66, c3 k64 r3 224 x 224 0.72.)
constexpr Py_intptr_t kLeastKept = Py_intptr_t{32} << 20, kMostKept = Py_intptr_t{256} << 20;
struct alignas(convlens::kAlignment) Kept {
    Py_intptr_t bytes;  // that follow
};
std::atomic<Kept*> g_kept{nullptr};

py::object large_array(Element element, const std::vector<Py_intptr_t>& shape, Py_intptr_t bytes) {
    Kept* kept = g_kept.exchange(nullptr);
    if (kept != nullptr && kept->bytes != bytes) {
        convlens::deallocate(kept);
        kept = nullptr;
    }
    if (kept == nullptr) kept = static_cast<Kept*>(convlens::allocate(sizeof(Kept) + static_cast<std::size_t>(bytes)));
    if (kept == nullptr) {
        check(convlens::fail(convlens::Code::out_of_memory, "no memory for %lld bytes", static_cast<long long>(bytes)));
    }
    kept->bytes = bytes;
    const py::capsule owner(kept,
                            [](void* block) { convlens::deallocate(g_kept.exchange(static_cast<Kept*>(block))); });
    return array_in(owner, kept + 1, element, shape);
}

}  // namespace

Buffers::Buffers(const py::sequence& arrays, bool writeable) : writeable_(writeable) {
    for (const py::handle item : arrays) {
        if (item.is_none()) {
            pointers_.push_back(nullptr);
            bytes_.push_back(0);
            continue;
        }
        if (!py::isinstance<py::array>(item)) throw py::type_error("`arrays` must hold NumPy arrays or None");
        const auto array = py::reinterpret_borrow<py::array>(item);
        if ((array.flags() & py::array::c_style) == 0) throw py::value_error("`arrays` must be C-contiguous");
        if (writeable && !array.writeable()) throw py::value_error("`arrays` must be writeable for states");
        // A run writes states and no weights, which writeable_ tells apart.
        pointers_.push_back(const_cast<void*>(array.data()));
        bytes_.push_back(array.nbytes());
        owners_.append(array);
    }
}

PyObject* descr_of(Element element) {
    // Never freed, as NumPy's own are not.
    static PyObject* const made[kElements] = {
        py::dtype::of<float>().release().ptr(),        py::dtype::of<double>().release().ptr(),
        py::dtype::of<std::int64_t>().release().ptr(), py::dtype::of<std::uint8_t>().release().ptr(),
        py::dtype::of<bool>().release().ptr(),
    };
    return made[static_cast<int>(element)];
}

std::int64_t size_of(Element element) {
    constexpr std::int64_t sizes[kElements] = {4, 8, 8, 1, 1};
    return sizes[static_cast<int>(element)];
}

Element element_of(DType dtype, bool float64) {
    return dtype == DType::int64   ? Element::int64
           : dtype == DType::uint8 ? Element::uint8
           : float64               ? Element::float64
                                   : Element::float32;
}

bool plain_array(PyObject* object, Element* element) {
    const auto& api = py::detail::npy_api::get();
    if (Py_TYPE(object) != api.PyArray_Type_) return false;
    const auto* array = py::detail::array_proxy(object);
    constexpr int needed = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
    if ((array->flags & needed) != needed) return false;
    for (int i = 0; i < kElements; ++i) {
        *element = static_cast<Element>(i);
        if (array->descr == descr_of(*element)) return true;
    }
    return false;
}

py::object empty(Element element, const std::vector<Py_intptr_t>& shape, bool aligned) {
    auto bytes = static_cast<Py_intptr_t>(size_of(element));
    for (const Py_intptr_t size : shape) bytes *= size;
    if (bytes >= kLeastKept && bytes <= kMostKept) return large_array(element, shape, bytes);
    if (!aligned) return new_array(element, shape);
    const py::object memory = new_array(Element::uint8, {bytes + static_cast<Py_intptr_t>(convlens::kAlignment)});
    char* data = py::detail::array_proxy(memory.ptr())->data;
    data += -reinterpret_cast<std::uintptr_t>(data) % convlens::kAlignment;
    return array_in(memory, data, element, shape);
}

bool is_aligned(const convlens::Port& port, Element element) {
    constexpr std::int64_t line = convlens::kAlignment, large = 1024;
    std::int64_t run = size_of(element);
    if (port.rank == 5 && run * port.dims[4] == line) return true;  // blocks of channels
    if (port.rank < 4) return false;
    for (auto axis = port.batched != 0 ? port.rank - 2 : 1; axis < port.rank; ++axis) run *= port.dims[axis];
    return run % line == 0 && run >= large;
}

Program::Program(const py::buffer& data) : view_(data.request()) {
    if (view_.itemsize * view_.size > 0 && PyBuffer_IsContiguous(view_.view(), 'C') == 0) {
        throw py::value_error("`data` must be contiguous");
    }
    const std::size_t size = static_cast<std::size_t>(view_.itemsize) * static_cast<std::size_t>(view_.size);
    const void* bytes = view_.ptr;
    if (reinterpret_cast<std::uintptr_t>(bytes) % convlens::kAlignment != 0) {
        copy_ = aligned_empty(static_cast<std::int64_t>(size));
        std::memcpy(copy_.mutable_data(), bytes, size);
        bytes = copy_.data();
    }
    check(core_.open(bytes, size));
    nbytes_ = static_cast<std::int64_t>(size) + core_.table_bytes();
}

std::int64_t Program::nbytes() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::int64_t bytes = nbytes_;
    for (const auto& workspace : free_) bytes += workspace->bytes();
    return bytes;
}

std::int64_t Program::arena_bytes(std::int64_t n, int threads) const {
    if (n < 0) throw py::value_error("`n` (=" + std::to_string(n) + ") must be 0 or more images");
    if (threads < 1) throw py::value_error("`threads` (=" + std::to_string(threads) + ") must be 1 or more");
    const std::int64_t bytes = core_.arena_bytes(n, threads);
    if (bytes < 0)
        check(convlens::fail(convlens::Code::out_of_memory, "`n` (=%lld): the memory does not fit 62 bits",
                             static_cast<long long>(n)));
    return bytes;
}

std::shared_ptr<convlens::Workspace> Program::take(std::int64_t n) const {
    const int threads = convlens::max_threads();
    const auto fits = [&](const convlens::Workspace& w) { return w.n() >= n && w.threads() >= threads; };
    std::shared_ptr<convlens::Workspace> found;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        std::size_t best = free_.size();
        for (std::size_t i = free_.size(); i-- > 0;) {
            if (fits(*free_[i]) && (best == free_.size() || free_[i]->n() < free_[best]->n())) best = i;
            if (best == i && free_[i]->n() == n) break;
        }
        if (best == free_.size() && best > 0) --best;  // too small: its successor takes its place
        if (best < free_.size()) {
            found = std::move(free_[best]);
            free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(best));
        }
    }
    if (found == nullptr || !fits(*found)) {
        found = nullptr;
        found = std::make_shared<convlens::Workspace>();
        check(found->create(core_, n, threads));
    }
    return found;
}

void Program::give_back(std::shared_ptr<convlens::Workspace> workspace) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(std::move(workspace));
}

const convlens::RawEntry& Program::raw_entry(int entry) const {
    if (entry < 0 || entry >= core_.n_entries())
        throw py::value_error("`entry` (=" + std::to_string(entry) + ") is no entry of this Program");
    return core_.entry(entry);
}

void Program::run(int entry, convlens::Workspace& workspace, const py::sequence& arrays, std::int64_t n,
                  const Buffers* weights, const Buffers* states, int threads) const {
    const convlens::RawEntry& raw = raw_entry(entry);
    const std::uint32_t ports = raw.n_inputs + raw.n_outputs;
    if (arrays.size() != ports) {
        throw py::value_error("`arrays` (" + std::to_string(arrays.size()) + ") must be one a port (" +
                              std::to_string(ports) + ")");
    }
    // References of our own: the list may change while the GIL is released.
    const py::tuple held(arrays);
    void* few[16];
    std::vector<void*> many;
    void** externals = few;
    if (ports > 16) {
        many.resize(ports);
        externals = many.data();
    }
    for (std::uint32_t p = 0; p < ports; ++p) externals[p] = pointer(core_.port(raw, p), held[p], n);
    check_buffers(weights, core_.n_weights(), false);
    check_buffers(states, core_.n_states(), true);
    convlens::Binding binding;
    binding.weights = weights == nullptr ? nullptr : weights->pointers();
    binding.states = states == nullptr ? nullptr : states->pointers();
    binding.externals = externals;
    convlens::Status status;
    {
        const py::gil_scoped_release release;
        status = core_.run(entry, workspace, binding, n, threads);
    }
    check(status);
}

py::list Program::outputs(int entry, std::int64_t n) const {
    const convlens::RawEntry& raw = raw_entry(entry);
    py::list made;
    for (std::uint32_t p = raw.n_inputs; p < raw.n_inputs + raw.n_outputs; ++p) {
        const convlens::Port& port = core_.port(raw, p);
        std::vector<Py_intptr_t> shape(port.dims, port.dims + port.rank);
        if (port.batched != 0) shape[0] = static_cast<Py_intptr_t>(n);
        const Element element = element_of(port.dtype, core_.float64());
        made.append(empty(element, shape, is_aligned(port, element)));
    }
    return made;
}

py::list Program::run_through(const std::vector<int>& entries, const py::sequence& inputs, std::int64_t n,
                              const Buffers* weights) const {
    const py::tuple held(inputs);
    check_buffers(weights, core_.n_weights(), false);
    auto workspace = take(n);  // refuses an `n` that no memory has room for
    py::list made;
    std::vector<void*> externals;
    std::size_t at = 0;
    for (const int entry : entries) {
        const convlens::RawEntry& raw = raw_entry(entry);
        if (at + raw.n_inputs > held.size()) throw py::value_error("`inputs` must be one a port of all `entries`");
        std::uint32_t port = 0;
        for (; port < raw.n_inputs; ++port) externals.push_back(pointer(core_.port(raw, port), held[at++], n));
        for (const py::handle array : outputs(entry, n)) {
            externals.push_back(py::detail::array_proxy(array.ptr())->data);
            made.append(array);
        }
    }
    if (at != held.size()) throw py::value_error("`inputs` must be one a port of all `entries`");
    convlens::Binding binding;
    binding.weights = weights == nullptr ? nullptr : weights->pointers();
    convlens::Status status;
    {
        const py::gil_scoped_release release;
        void** next = externals.data();
        for (std::size_t i = 0; i < entries.size() && status.ok(); ++i) {
            binding.externals = next;
            status = core_.run(entries[i], *workspace, binding, n, 0);
            next += core_.entry(entries[i]).n_inputs + core_.entry(entries[i]).n_outputs;
        }
    }
    give_back(std::move(workspace));
    check(status);
    return made;
}

void* Program::pointer(const convlens::Port& port, const py::handle& item, std::int64_t n) const {
    const auto name_of = [&] { return std::string("`") + core_.name(port.name) + "`"; };
    if (!py::isinstance<py::array>(item)) throw py::type_error(name_of() + " must be a NumPy array");
    const auto array = py::reinterpret_borrow<py::array>(item);
    const auto wanted = py::reinterpret_borrow<py::dtype>(descr_of(element_of(port.dtype, core_.float64())));
    if (!array.dtype().is(wanted) && !array.dtype().equal(wanted)) {
        throw py::type_error(name_of() + " must be " + py::str(wanted).cast<std::string>() + ", not " +
                             py::str(array.dtype()).cast<std::string>());
    }
    if ((array.flags() & py::array::c_style) == 0) throw py::value_error(name_of() + " must be C-contiguous");
    if (port.is_output != 0 && !array.writeable()) throw py::value_error(name_of() + " must be writeable");
    std::int64_t bytes = port.bytes;
    if (port.batched != 0 && (n < 0 || __builtin_mul_overflow(bytes, n, &bytes))) bytes = -1;
    if (array.nbytes() != bytes) {
        throw py::value_error(name_of() + " (" + std::to_string(array.nbytes()) + " bytes) must have " +
                              std::to_string(bytes) + " bytes for n = " + std::to_string(n));
    }
    return const_cast<void*>(array.data());
}

void Program::check_buffers(const Buffers* buffers, int count, bool states) const {
    if (buffers == nullptr) return;
    const char* what = states ? "`states`" : "`weights`";
    if (buffers->size() != static_cast<std::size_t>(count) || (states && !buffers->writeable())) {
        throw py::value_error(std::string(what) + " must have one " + (states ? "writeable " : "") + "array a slot (" +
                              std::to_string(count) + "), not " + std::to_string(buffers->size()));
    }
    for (int i = 0; i < count; ++i) {
        const convlens::RawBuffer& slot = states ? core_.state(i) : core_.weight(i);
        if (buffers->bound(i) && buffers->bytes(i) < slot.bytes) {
            throw py::value_error(std::string(what) + "[" + std::to_string(i) + "] (" +
                                  std::to_string(buffers->bytes(i)) + " bytes) must have " +
                                  std::to_string(slot.bytes) + ": " + core_.name(slot.name));
        }
    }
}

void bind_program(py::module_& m) {
    py::class_<Port>(m, "Port", "What a caller hands to an entry or gets back.")
        .def_readonly("name", &Port::name)
        .def_readonly("dtype", &Port::dtype)
        .def_readonly("batched", &Port::batched)
        .def_property_readonly("shape", [](const Port& port) { return py::tuple(py::cast(port.shape)); });
    py::class_<Entry>(m, "Entry", "A named run of instructions.")
        .def_readonly("name", &Entry::name)
        .def_property_readonly("inputs", [](const Entry& entry) { return py::tuple(py::cast(entry.inputs)); })
        .def_property_readonly("outputs", [](const Entry& entry) { return py::tuple(py::cast(entry.outputs)); });
    py::class_<Slot>(m, "Slot", "A weight or a state that a run binds.")
        .def_readonly("name", &Slot::name)
        .def_readonly("nbytes", &Slot::nbytes)
        .def_readonly("in_file", &Slot::in_file);
    py::class_<Buffers>(m, "Buffers", "C-contiguous arrays, 64-byte aligned, one a slot; None where a run needs none.")
        .def(py::init<const py::sequence&, bool>(), py::arg("arrays"), py::arg("writeable") = false)
        .def("__len__", &Buffers::size);
    py::class_<convlens::Workspace, std::shared_ptr<convlens::Workspace>>(m, "Workspace",
                                                                          "The memory one call runs in.")
        .def(py::init([](const Program& program, std::int64_t n, int threads) {
                 auto workspace = std::make_shared<convlens::Workspace>();
                 check(workspace->create(program.core(), n, threads));
                 return workspace;
             }),
             py::arg("program"), py::arg("n"), py::arg("threads") = 0, py::keep_alive<1, 2>())
        .def_property_readonly("n", &convlens::Workspace::n)
        .def_property_readonly("threads", &convlens::Workspace::threads)
        .def_property_readonly("nbytes", &convlens::Workspace::bytes);
    py::class_<Program>(m, "Program", "Checked and planned instructions, over bytes in the form of a compiled file.")
        .def(py::init<const py::buffer&>(), py::arg("data"))
        .def_property_readonly("float64", [](const Program& program) { return program.core().float64(); })
        .def_property_readonly("isa", [](const Program& program) { return program.core().kernels().isa; })
        .def_property_readonly("n_instructions", [](const Program& program) { return program.core().n_instructions(); })
        .def_property_readonly("strips",
                               [](const Program& program) {
                                   py::list first;
                                   for (std::int64_t i = 0; i < program.core().n_instructions(); ++i) {
                                       if (program.core().begins_strips(i)) first.append(i);
                                   }
                                   return py::tuple(first);
                               })
        .def_property_readonly("nbytes", &Program::nbytes)
        .def_property_readonly("entries",
                               [](const Program& program) { return py::tuple(py::cast(entries(program.core()))); })
        .def_property_readonly("weights",
                               [](const Program& program) { return py::tuple(py::cast(weights(program.core()))); })
        .def_property_readonly("states",
                               [](const Program& program) { return py::tuple(py::cast(states(program.core()))); })
        .def_property_readonly("metadata",
                               [](const Program& program) {
                                   std::size_t size = 0;
                                   const char* text = program.core().metadata(&size);
                                   return py::bytes(text, size);
                               })
        .def_property_readonly("arena_need",
                               [](const Program& program) {
                                   const convlens::ArenaNeed& need = program.core().arena_need();
                                   return py::make_tuple(need.fixed_bytes, need.per_image_bytes, need.per_thread_bytes);
                               })
        .def("arena_bytes", &Program::arena_bytes, py::arg("n"), py::arg("threads"))
        .def("take", &Program::take, py::arg("n"), py::keep_alive<0, 1>())
        .def("give_back", &Program::give_back, py::arg("workspace"))
        .def("verify_data", [](const Program& program) { check(program.core().verify_data()); })
        .def(
            "weight_data",
            [](const py::object& self, int i) -> py::object {
                const convlens::Program& core = self.cast<const Program&>().core();
                if (i < 0 || i >= core.n_weights())
                    throw py::index_error("`i` (=" + std::to_string(i) + ") is no weight");
                if (core.weight_data(i) == nullptr) return py::none();
                py::array_t<std::uint8_t> view(core.weight(i).bytes,
                                               static_cast<const std::uint8_t*>(core.weight_data(i)), self);
                view.attr("setflags")(py::arg("write") = false);
                return view;
            },
            py::arg("i"))
        .def("run", &Program::run, py::arg("entry"), py::arg("workspace"), py::arg("arrays"), py::arg("n"),
             py::arg("weights") = py::none(), py::arg("states") = py::none(), py::arg("threads") = 0)
        .def("outputs", &Program::outputs, py::arg("entry"), py::arg("n"))
        .def("run_through", &Program::run_through, py::arg("entries"), py::arg("inputs"), py::arg("n"),
             py::arg("weights") = py::none());
}

}  // namespace convlens_python
