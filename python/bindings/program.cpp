#include "runtime/program.hpp"

#include <memory>
#include <string>
#include <vector>

#include "base/allocator.hpp"
#include "bindings.hpp"

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

// Arrays whose memory a run binds, as weights or as states.
class Buffers {
  public:
    Buffers(const py::sequence& arrays, bool writeable) : writeable_(writeable) {
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

const char* dtype_name(DType dtype, bool float64) {
    switch (dtype) {
        case DType::int64:
            return "int64";
        case DType::uint8:
            return "uint8";
        default:
            return float64 ? "float64" : "float32";
    }
}

class Program {
  public:
    explicit Program(const py::buffer& data) : view_(data.request()) {
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

    const convlens::Program& core() const { return core_; }
    std::int64_t nbytes() const { return nbytes_; }

    std::vector<Entry> entries() const {
        std::vector<Entry> result;
        for (int i = 0; i < core_.n_entries(); ++i) {
            const convlens::RawEntry& raw = core_.entry(i);
            Entry entry{core_.name(raw.name), {}, {}};
            for (std::uint32_t p = 0; p < raw.n_inputs + raw.n_outputs; ++p) {
                const convlens::Port& port = core_.port(raw, p);
                (p < raw.n_inputs ? entry.inputs : entry.outputs)
                    .push_back({core_.name(port.name),
                                dtype_name(port.dtype, core_.float64()),
                                port.batched != 0,
                                {port.dims, port.dims + port.rank}});
            }
            result.push_back(std::move(entry));
        }
        return result;
    }

    std::vector<Slot> weights() const {
        std::vector<Slot> result;
        for (int i = 0; i < core_.n_weights(); ++i) {
            result.push_back(
                {core_.name(core_.weight(i).name), core_.weight(i).bytes, core_.weight_data(i) != nullptr});
        }
        return result;
    }

    std::vector<Slot> states() const {
        std::vector<Slot> result;
        for (int i = 0; i < core_.n_states(); ++i)
            result.push_back({core_.name(core_.state(i).name), core_.state(i).bytes, false});
        return result;
    }

    py::bytes metadata() const {
        std::size_t size = 0;
        const char* text = core_.metadata(&size);
        return py::bytes(text, size);
    }

    std::int64_t arena_bytes(std::int64_t n, int threads) const {
        if (n < 0) throw py::value_error("`n` (=" + std::to_string(n) + ") must be 0 or more images");
        if (threads < 1) throw py::value_error("`threads` (=" + std::to_string(threads) + ") must be 1 or more");
        const std::int64_t bytes = core_.arena_bytes(n, threads);
        if (bytes < 0)
            check(convlens::fail(convlens::Code::out_of_memory, "`n` (=%lld): the memory does not fit 62 bits",
                                 static_cast<long long>(n)));
        return bytes;
    }

    void run(int entry, convlens::Workspace& workspace, const py::sequence& arrays, std::int64_t n,
             const Buffers* weights, const Buffers* states, int threads) const {
        if (entry < 0 || entry >= core_.n_entries())
            throw py::value_error("`entry` (=" + std::to_string(entry) + ") is no entry of this Program");
        const convlens::RawEntry& raw = core_.entry(entry);
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

  private:
    void* pointer(const convlens::Port& port, const py::handle& item, std::int64_t n) const {
        const auto name_of = [&] { return std::string("`") + core_.name(port.name) + "`"; };
        if (!py::isinstance<py::array>(item)) throw py::type_error(name_of() + " must be a NumPy array");
        const auto array = py::reinterpret_borrow<py::array>(item);
        const py::dtype real = core_.float64() ? py::dtype::of<double>() : py::dtype::of<float>();
        const py::dtype wanted =
            port.dtype == convlens::DType::real ? real : py::dtype(dtype_name(port.dtype, core_.float64()));
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

    void check_buffers(const Buffers* buffers, int count, bool states) const {
        if (buffers == nullptr) return;
        const char* what = states ? "`states`" : "`weights`";
        if (buffers->size() != static_cast<std::size_t>(count) || (states && !buffers->writeable())) {
            throw py::value_error(std::string(what) + " must have one " + (states ? "writeable " : "") +
                                  "array a slot (" + std::to_string(count) + "), not " +
                                  std::to_string(buffers->size()));
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

    py::buffer_info view_;
    py::array_t<std::uint8_t> copy_;
    convlens::Program core_;
    std::int64_t nbytes_ = 0;
};

}  // namespace

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
    py::class_<convlens::Workspace>(m, "Workspace", "The memory one call runs in.")
        .def(py::init([](const Program& program, std::int64_t n, int threads) {
                 auto workspace = std::make_unique<convlens::Workspace>();
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
        .def_property_readonly("nbytes", &Program::nbytes)
        .def_property_readonly("entries", [](const Program& program) { return py::tuple(py::cast(program.entries())); })
        .def_property_readonly("weights", [](const Program& program) { return py::tuple(py::cast(program.weights())); })
        .def_property_readonly("states", [](const Program& program) { return py::tuple(py::cast(program.states())); })
        .def_property_readonly("metadata", &Program::metadata)
        .def_property_readonly("arena_need",
                               [](const Program& program) {
                                   const convlens::ArenaNeed& need = program.core().arena_need();
                                   return py::make_tuple(need.fixed_bytes, need.per_image_bytes, need.per_thread_bytes);
                               })
        .def("arena_bytes", &Program::arena_bytes, py::arg("n"), py::arg("threads"))
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
             py::arg("weights") = py::none(), py::arg("states") = py::none(), py::arg("threads") = 0);
}

}  // namespace convlens_python
