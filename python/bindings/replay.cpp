// Calls made again: what a call computed is known by its function, the shapes of its arrays and its other arguments, so
// that a second one with equal shapes goes straight to the Program that the first one made in Python.
#include <cstring>
#include <string>
#include <unordered_map>

#include "base/allocator.hpp"
#include "base/status.hpp"
#include "fast_call.hpp"
#include "program.hpp"

namespace convlens_python {
namespace {

constexpr int kParameters = 16, kWords = 96, kDepth = 3;
// Set while a first call runs in Python, which must see the calls within it.
thread_local bool t_recording = false;

// A call in words: equal for calls that compute the same of arrays with other numbers in them.
class Key {
  public:
    Key(std::int64_t function, const std::vector<PyObject*>& names, PyObject* args, PyObject* kwargs) {
        add(function);
        const auto places = static_cast<Py_ssize_t>(names.size());
        const Py_ssize_t given = PyTuple_GET_SIZE(args);
        fits_ = given <= places;
        for (Py_ssize_t i = 0; fits_ && i < given; ++i) values_[i] = PyTuple_GET_ITEM(args, i);
        Py_ssize_t at = 0;
        PyObject *name = nullptr, *value = nullptr;
        while (fits_ && kwargs != Py_None && PyDict_Next(kwargs, &at, &name, &value) != 0) {
            Py_ssize_t i = 0;
            while (i < places && names[i] != name) ++i;  // names in a source are interned
            fits_ = i < places && values_[i] == nullptr;
            if (fits_) values_[i] = value;
        }
        for (Py_ssize_t i = 0; fits_ && i < places; ++i) add(values_[i], 0);
    }

    bool fits() const { return fits_; }
    PyObject* value(std::size_t i) const { return values_[i]; }
    std::vector<std::int64_t> words() const { return {words_, words_ + size_}; }
    bool equals(const std::vector<std::int64_t>& words) const {
        return words.size() == static_cast<std::size_t>(size_) &&
               std::memcmp(words.data(), words_, sizeof(words_[0]) * words.size()) == 0;
    }
    std::uint64_t hash() const {
        std::uint64_t hash = 0;
        for (int i = 0; i < size_; ++i) {
            hash = (hash ^ static_cast<std::uint64_t>(words_[i])) * 0x9e3779b97f4a7c15ull;
            hash ^= hash >> 29;
        }
        return hash;
    }

  private:
    enum Kind : std::int64_t { absent, none, no, yes, integer, real, text, tuple, array };

    void add(std::int64_t word) {
        if (size_ < kWords)
            words_[size_++] = word;
        else
            fits_ = false;
    }

    void add(PyObject* object, int depth) {
        Element element;
        if (object == nullptr) {
            add(absent);
        } else if (depth == 0 && plain_array(object, &element)) {
            const auto* given = py::detail::array_proxy(object);
            add(array | static_cast<std::int64_t>(element) << 8 | static_cast<std::int64_t>(given->nd) << 16);
            for (int i = 0; i < given->nd; ++i) add(static_cast<std::int64_t>(given->dimensions[i]));
        } else if (object == Py_None) {
            add(none);
        } else if (object == Py_True || object == Py_False) {
            add(object == Py_True ? yes : no);
        } else if (PyLong_CheckExact(object)) {
            int overflow = 0;
            add(integer);
            add(PyLong_AsLongLongAndOverflow(object, &overflow));
            fits_ = fits_ && overflow == 0;
        } else if (PyFloat_CheckExact(object)) {
            const double number = PyFloat_AS_DOUBLE(object);
            std::int64_t bits = 0;
            std::memcpy(&bits, &number, sizeof(bits));
            add(real);
            add(bits);
        } else if (PyUnicode_CheckExact(object) && PyUnicode_IS_ASCII(object) && PyUnicode_GET_LENGTH(object) <= 64) {
            const Py_ssize_t length = PyUnicode_GET_LENGTH(object);
            const void* characters = PyUnicode_DATA(object);
            add(text | length << 8);
            for (Py_ssize_t i = 0; i < length; i += 8) {
                std::int64_t word = 0;
                std::memcpy(&word, static_cast<const char*>(characters) + i,
                            static_cast<std::size_t>(length - i < 8 ? length - i : 8));
                add(word);
            }
        } else if (PyTuple_CheckExact(object) && depth < kDepth) {
            add(tuple | PyTuple_GET_SIZE(object) << 8);
            for (Py_ssize_t i = 0; fits_ && i < PyTuple_GET_SIZE(object); ++i)
                add(PyTuple_GET_ITEM(object, i), depth + 1);
        } else {
            fits_ = false;
        }
    }

    bool fits_ = true;
    int size_ = 0;
    std::int64_t words_[kWords];
    PyObject* values_[kParameters] = {};
};

// A bool array passes a port as numbers of the Program's dtype.
struct Input {
    Element port;
    bool converted;
    int source;  // which argument; -1: `number`, what stands for one that is no array
    py::array number;
};

struct Output {
    Element port;
    bool converted, aligned;  // to the start of a cache line
    std::vector<Py_intptr_t> shape;
};

// What a call comes to; `program` is null where Python has to compute it every time.
struct Recorded {
    std::vector<std::int64_t> words;
    py::object program_owner, weights_owner;
    const Program* program = nullptr;
    const Buffers* weights = nullptr;
    int entry = 0;
    std::int64_t n = 0;
    std::vector<Input> inputs;         // by port
    std::vector<Output> outputs;       // by port
    std::vector<std::size_t> results;  // which outputs are returned
    py::object form;                   // None: the one; tuple, list; or a tuple of names for a dict
};

// Calls of several functions. When there are too many all of them go: the next of each is recorded again.
struct Table {
    explicit Table(std::size_t most) : limit(most) {}

    std::shared_ptr<const Recorded> find(const Key& key) {
        const std::lock_guard<std::mutex> lock(mutex);
        const auto found = calls.find(key.hash());
        return found != calls.end() && key.equals(found->second->words) ? found->second : nullptr;
    }

    void put(std::uint64_t hash, std::shared_ptr<const Recorded> recorded) {
        // Outlives the lock, for what goes may call Python.
        std::unordered_map<std::uint64_t, std::shared_ptr<const Recorded>> dropped;
        const std::lock_guard<std::mutex> lock(mutex);
        if (calls.size() >= limit) dropped.swap(calls);
        std::swap(calls[hash], recorded);
    }

    void clear() {
        std::unordered_map<std::uint64_t, std::shared_ptr<const Recorded>> dropped;
        const std::lock_guard<std::mutex> lock(mutex);
        dropped.swap(calls);
    }

    const std::size_t limit;
    std::mutex mutex;
    std::unordered_map<std::uint64_t, std::shared_ptr<const Recorded>> calls;
    std::int64_t functions = 0;
};

// One function's calls.
class Replay {
  public:
    Replay(std::shared_ptr<Table> table, const py::tuple& parameters) : table_(std::move(table)) {
        if (parameters.size() > kParameters) throw py::value_error("`parameters` must be at most 16 names");
        for (const py::handle name : parameters) {
            PyObject* interned = PyUnicode_InternFromString(name.cast<std::string>().c_str());
            if (interned == nullptr) throw py::error_already_set();
            owners_.push_back(py::reinterpret_steal<py::object>(interned));
            names_.push_back(interned);
        }
        const std::lock_guard<std::mutex> lock(table_->mutex);
        function_ = table_->functions++;
    }

    static constexpr const char* kCapsule = "convlens._core.Replay";
    static constexpr const char* kDoc =
        "call(args, kwargs)\n--\n\nThe result of a recorded call, NotImplemented of a new one, None of one that is not "
        "told.";
    // The result; NotImplemented when nothing is recorded yet; None when Python has to compute it.
    PyObject* call(PyObject* const* args, Py_ssize_t count) const;

    void put(const py::tuple& args, const py::object& kwargs, const py::object& program, int entry, std::int64_t n,
             const py::object& weights, const py::list& sources, const py::list& outputs,
             const std::vector<std::size_t>& results, const py::object& form) const;
    void refuse(const py::tuple& args, const py::object& kwargs) const;

  private:
    std::shared_ptr<Table> table_;
    std::vector<py::object> owners_;
    std::vector<PyObject*> names_;
    std::int64_t function_ = 0;
};

PyObject* shaped(const Recorded& call, std::vector<py::object>& made) {
    if (call.form.is_none()) return made[call.results[0]].release().ptr();
    if (py::isinstance<py::tuple>(call.form)) {
        py::dict named;
        for (std::size_t i = 0; i < call.results.size(); ++i) {
            named[py::reinterpret_borrow<py::tuple>(call.form)[i]] = made[call.results[i]];
        }
        return named.release().ptr();
    }
    py::list results;
    for (const std::size_t i : call.results) results.append(made[i]);
    const bool tuple = call.form.ptr() == reinterpret_cast<PyObject*>(&PyTuple_Type);
    return tuple ? py::tuple(results).release().ptr() : results.release().ptr();
}

py::object cast(const py::handle& array, Element element) {
    return py::reinterpret_borrow<py::object>(array).attr("astype")(py::handle(descr_of(element)));
}

PyObject* run(const Recorded& call, const Key& key) {
    const std::size_t n_inputs = call.inputs.size(), n_outputs = call.outputs.size();
    void* few[2 * kParameters];
    std::vector<void*> many;
    void** externals = few;
    if (n_inputs + n_outputs > 2 * kParameters) {
        many.resize(n_inputs + n_outputs);
        externals = many.data();
    }
    std::vector<py::object> cast_inputs, made(n_outputs);
    for (std::size_t i = 0; i < n_inputs; ++i) {
        const Input& input = call.inputs[i];
        PyObject* array = input.source < 0 ? input.number.ptr() : key.value(static_cast<std::size_t>(input.source));
        if (input.converted) array = cast_inputs.emplace_back(cast(array, input.port)).ptr();
        externals[i] = py::detail::array_proxy(array)->data;
    }
    for (std::size_t i = 0; i < n_outputs; ++i) {
        const Output& output = call.outputs[i];
        made[i] = empty(output.port, output.shape, output.aligned);
        externals[n_inputs + i] = py::detail::array_proxy(made[i].ptr())->data;
    }
    convlens::Binding binding;
    binding.weights = call.weights == nullptr ? nullptr : call.weights->pointers();
    binding.externals = externals;
    auto workspace = call.program->take(call.n);
    convlens::Status status;
    {
        const py::gil_scoped_release released;
        status = call.program->core().run(call.entry, *workspace, binding, call.n, 0);
    }
    call.program->give_back(std::move(workspace));
    check(status);
    for (std::size_t i = 0; i < n_outputs; ++i) {
        if (call.outputs[i].converted) made[i] = cast(made[i], Element::boolean);
    }
    return shaped(call, made);
}

PyObject* Replay::call(PyObject* const* args, Py_ssize_t count) const {
    if (count != 2 || !PyTuple_CheckExact(args[0]) || !(args[1] == Py_None || PyDict_CheckExact(args[1]))) {
        throw py::type_error("a Replay is called with a tuple and a dict or None");
    }
    const Key key(function_, names_, args[0], args[1]);
    if (!key.fits()) Py_RETURN_NONE;
    if (t_recording) Py_RETURN_NOTIMPLEMENTED;
    const std::shared_ptr<const Recorded> found = table_->find(key);
    if (found == nullptr) Py_RETURN_NOTIMPLEMENTED;
    if (found->program == nullptr) Py_RETURN_NONE;
    return run(*found, key);
}

void Replay::refuse(const py::tuple& args, const py::object& kwargs) const {
    const Key key(function_, names_, args.ptr(), kwargs.ptr());
    if (!key.fits()) return;
    const auto recorded = std::make_shared<Recorded>();
    recorded->words = key.words();
    table_->put(key.hash(), recorded);
}

// Whether an array is what a port takes for n images, but for bool.
bool fits(PyObject* array, const convlens::Port& port, std::int64_t n, Element wanted, bool* converted) {
    Element element;
    if (array == nullptr || !plain_array(array, &element)) return false;
    *converted = element == Element::boolean;
    std::int64_t bytes = port.bytes;
    if (port.batched != 0 && (n < 0 || __builtin_mul_overflow(bytes, n, &bytes))) return false;
    return (element == wanted || *converted) &&
           py::reinterpret_borrow<py::array>(array).size() * size_of(wanted) == bytes;
}

void Replay::put(const py::tuple& args, const py::object& kwargs, const py::object& program, int entry, std::int64_t n,
                 const py::object& weights, const py::list& sources, const py::list& outputs,
                 const std::vector<std::size_t>& results, const py::object& form) const {
    const Key key(function_, names_, args.ptr(), kwargs.ptr());
    if (!key.fits()) throw py::value_error("`args` hold something that calls are not told apart by");
    const auto made = std::make_shared<Recorded>();
    made->words = key.words();
    made->program_owner = program;
    made->program = &program.cast<const Program&>();
    made->entry = entry;
    made->n = n;
    made->results = results;
    made->form = form;
    const convlens::Program& core = made->program->core();
    if (!weights.is_none()) {
        made->weights_owner = weights;
        made->weights = &weights.cast<const Buffers&>();
        made->program->check_buffers(made->weights, core.n_weights(), false);
    }
    if (entry < 0 || entry >= core.n_entries()) throw py::value_error("`entry` is no entry of the Program");
    const convlens::RawEntry& raw = core.entry(entry);
    if (sources.size() != raw.n_inputs || outputs.size() != raw.n_outputs) {
        throw py::value_error("`sources` and `outputs` must be one a port");
    }
    for (std::uint32_t p = 0; p < raw.n_inputs; ++p) {
        const convlens::Port& port = core.port(raw, p);
        const py::object source = sources[p];
        Input input{element_of(port.dtype, core.float64()), false, -1, py::array()};
        if (py::isinstance<py::int_>(source))
            input.source = source.cast<int>();
        else
            input.number = source.cast<py::array>();
        if (input.source >= static_cast<int>(names_.size())) throw py::value_error("`sources` name no parameter");
        PyObject* array = input.source < 0 ? input.number.ptr() : key.value(static_cast<std::size_t>(input.source));
        if (!fits(array, port, n, input.port, &input.converted)) {
            throw py::value_error("`sources` do not fit the ports of the Program");
        }
        made->inputs.push_back(std::move(input));
    }
    for (std::uint32_t p = 0; p < raw.n_outputs; ++p) {
        const convlens::Port& port = core.port(raw, raw.n_inputs + p);
        const py::object array = outputs[p];
        Output output{element_of(port.dtype, core.float64()), false, false, {}};
        output.aligned = is_aligned(port, output.port);
        if (!fits(array.ptr(), port, n, output.port, &output.converted)) {
            throw py::value_error("`outputs` do not fit the ports of the Program");
        }
        const auto* given = py::detail::array_proxy(array.ptr());
        output.shape.assign(given->dimensions, given->dimensions + given->nd);
        made->outputs.push_back(std::move(output));
    }
    const bool names = py::isinstance<py::tuple>(form);
    if (results.empty() || (form.is_none() && results.size() != 1) || (names && py::len(form) != results.size())) {
        throw py::value_error("`results` and `form` do not agree");
    }
    for (const std::size_t i : results) {
        if (i >= outputs.size()) throw py::value_error("`results` name no output");
    }
    table_->put(key.hash(), made);
}

bool set_recording(bool recording) {
    const bool before = t_recording;
    t_recording = recording;
    return before;
}

}  // namespace

void bind_replay(py::module_& m) {
    py::class_<Table, std::shared_ptr<Table>>(m, "ReplayTable", "Recorded calls of several functions, at most `limit`.")
        .def(py::init<std::size_t>(), py::arg("limit"))
        .def("clear", &Table::clear)
        .def("__len__", [](Table& table) {
            const std::lock_guard<std::mutex> lock(table.mutex);
            return table.calls.size();
        });
    py::class_<Replay, std::shared_ptr<Replay>>(m, "Replay", "Recorded calls of one function with such parameters.")
        .def(py::init<std::shared_ptr<Table>, const py::tuple&>(), py::arg("table"), py::arg("parameters"))
        .def_property_readonly("call", fast_caller<Replay>)
        .def("put", &Replay::put, py::arg("args"), py::arg("kwargs"), py::arg("program"), py::arg("entry"),
             py::arg("n"), py::arg("weights"), py::arg("sources"), py::arg("outputs"), py::arg("results"),
             py::arg("form"))
        .def("refuse", &Replay::refuse, py::arg("args"), py::arg("kwargs"));
    m.def("set_recording", set_recording, py::arg("recording"),
          "Whether calls of this thread are being recorded, so that none is replayed; returns what it was.");
}

}  // namespace convlens_python
