// Explanations made again: images and targets in, values and scores out, with nothing of Python between the network's
// answer and the gradient that starts from it. A call that is anything else is left to Python, its checks and its
// errors.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/parallel.hpp"
#include "base/status.hpp"
#include "fast_call.hpp"
#include "finite.hpp"
#include "program.hpp"

namespace convlens_python {
namespace {

using convlens::Port;

// What stands beside the answer: outputs of the entry that computes it, and one whose images without a value are
// counted.
constexpr int kNone = -1;

class Shortcut {
  public:
    static constexpr const char* kCapsule = "convlens._core.Shortcut";
    static constexpr const char* kDoc =
        "call(images, target)\n--\n\nTargets, scores, probabilities, the number of images without a value, and the "
        "method's own outputs; None of a call that Python has to make.";

    Shortcut(const py::object& program, const py::object& weights, int forward, int method, int answer, int probability,
             int counted, bool has_top_class, std::int64_t most)
        : program_owner_(program),
          weights_owner_(weights),
          program_(program.cast<const Program&>()),
          weights_(weights.is_none() ? nullptr : &weights.cast<const Buffers&>()),
          forward_(program_.raw_entry(forward)),
          method_(program_.raw_entry(method)),
          entries_{forward, method},
          answer_(answer),
          probability_(probability),
          counted_(counted),
          has_top_class_(has_top_class),
          most_(most),
          threads_(convlens::max_threads()),
          real_(core().float64() ? Element::float64 : Element::float32) {
        program_.check_buffers(weights_, core().n_weights(), false);
        const auto is_output = [](int i, const convlens::RawEntry& entry) {
            return i >= 0 && i < static_cast<int>(entry.n_outputs);
        };
        bool fits = core().n_states() == 0 && forward_.n_inputs == 1 && method_.n_inputs == 1;
        fits = fits && is_output(answer, forward_) && (probability == kNone || is_output(probability, forward_)) &&
               (counted == kNone || is_output(counted, method_));
        for (const convlens::RawEntry* entry : {&forward_, &method_}) {
            for (std::uint32_t p = 0; fits && p < entry->n_inputs + entry->n_outputs; ++p) {
                const Port& port = core().port(*entry, p);
                fits = port.batched != 0 && element_of(port.dtype, core().float64()) == real_;
            }
        }
        classes_ = fits ? core().port(method_, 0).bytes / size_of(real_) : 0;
        fits = fits && core().port(forward_, 1 + static_cast<std::uint32_t>(answer)).bytes == classes_ * size_of(real_);
        if (probability != kNone) {
            fits = fits && core().port(forward_, 1 + static_cast<std::uint32_t>(probability)).bytes ==
                               classes_ * size_of(real_);
        }
        if (!fits) throw py::value_error("`program` has no entries of images and of a seed alone, as a Shortcut takes");
    }

    int threads() const { return threads_; }

    PyObject* call(PyObject* const* args, Py_ssize_t count) const {
        if (count != 2) throw py::type_error("a Shortcut is called with images and a target");
        const std::int64_t n = images_of(args[0]);
        if (n < 1 || n > most_ || convlens::max_threads() != threads_) Py_RETURN_NONE;
        Made made;
        made.target = empty(Element::int64, {static_cast<Py_intptr_t>(n)}, false);
        const bool given = args[1] != Py_None;
        if (given ? !read_target(args[1], n, data<std::int64_t>(made.target)) : !has_top_class_) Py_RETURN_NONE;
        made.score = empty(Element::float64, {static_cast<Py_intptr_t>(n)}, false);
        made.chance = py::none();
        if (probability_ != kNone) made.chance = empty(Element::float64, {static_cast<Py_intptr_t>(n)}, false);
        made.externals[0].push_back(py::detail::array_proxy(args[0])->data);
        made.externals[1].push_back(nullptr);
        const convlens::RawEntry* entries[2] = {&forward_, &method_};
        for (int e = 0; e < 2; ++e) {
            for (std::uint32_t p = 0; p < entries[e]->n_outputs; ++p) {
                const Port& port = core().port(*entries[e], 1 + p);
                std::vector<Py_intptr_t> shape(port.dims, port.dims + port.rank);
                shape[0] = static_cast<Py_intptr_t>(n);
                made.outputs.push_back(empty(real_, shape, is_aligned(port, real_)));
                made.externals[e].push_back(data<void>(made.outputs.back()));
            }
        }
        auto workspace = program_.take(n);
        convlens::Status status;
        bool usual = false;
        {
            const py::gil_scoped_release released;
            usual = real_ == Element::float64 ? run<double>(*workspace, n, given, made, &status)
                                              : run<float>(*workspace, n, given, made, &status);
        }
        program_.give_back(std::move(workspace));
        check(status);
        if (!usual) Py_RETURN_NONE;
        py::tuple result(4 + method_.n_outputs);
        result[0] = std::move(made.target), result[1] = std::move(made.score), result[2] = std::move(made.chance);
        result[3] = py::int_(made.empty);
        for (std::uint32_t p = 0; p < method_.n_outputs; ++p) result[4 + p] = made.outputs[forward_.n_outputs + p];
        return result.release().ptr();
    }

  private:
    struct Made {
        py::object target, score, chance;
        std::vector<py::object> outputs;  // of both entries
        std::vector<void*> externals[2];
        std::int64_t empty = 0;
    };

    const convlens::Program& core() const { return program_.core(); }
    template <class T>
    static T* data(const py::object& array) {
        return static_cast<T*>(static_cast<void*>(py::detail::array_proxy(array.ptr())->data));
    }

    // The number of images; -1 of what is not as most calls have it.
    std::int64_t images_of(PyObject* object) const {
        Element element;
        if (!plain_array(object, &element) || element != real_) return -1;
        const auto* array = py::detail::array_proxy(object);
        const Port& port = core().port(forward_, 0);
        if (array->nd != port.rank || !std::equal(port.dims + 1, port.dims + port.rank, array->dimensions + 1))
            return -1;
        return array->dimensions[0];
    }

    // A class for all images, or one for each, of those there are.
    bool read_target(PyObject* object, std::int64_t n, std::int64_t* target) const {
        Element element;
        if (PyLong_CheckExact(object)) {
            int overflow = 0;
            std::fill_n(target, n, PyLong_AsLongLongAndOverflow(object, &overflow));
            if (overflow != 0) return false;
        } else if (plain_array(object, &element) && element == Element::int64) {
            const auto* array = py::detail::array_proxy(object);
            if (array->nd != 1 || array->dimensions[0] != n) return false;
            std::copy_n(static_cast<const std::int64_t*>(static_cast<const void*>(array->data)), n, target);
        } else {
            return false;
        }
        return std::all_of(target, target + n, [&](std::int64_t place) { return place >= 0 && place < classes_; });
    }

    // False where an image or what the network answers is no number.
    template <class Real>
    bool run(convlens::Workspace& workspace, std::int64_t n, bool given, Made& made, convlens::Status* status) const {
        const std::int64_t image_elements = core().port(forward_, 0).bytes / size_of(real_);
        if (!all_finite(static_cast<const Real*>(made.externals[0][0]), n * image_elements)) return false;
        convlens::Binding binding;
        binding.weights = weights_ == nullptr ? nullptr : weights_->pointers();
        binding.externals = made.externals[0].data();
        *status = core().run(entries_[0], workspace, binding, n, 0);
        if (!status->ok()) return true;
        std::vector<Real> seed(static_cast<std::size_t>(n * classes_));
        auto* const target = data<std::int64_t>(made.target);
        auto* const score = data<double>(made.score);
        for (std::int64_t i = 0; i < n; ++i) {
            const auto* answer = static_cast<const Real*>(made.externals[0][1 + static_cast<std::size_t>(answer_)]);
            answer += i * classes_;
            if (!given) {
                // The first of the largest; a NaN anywhere is NumPy's choice.
                if (std::any_of(answer, answer + classes_, [](Real value) { return std::isnan(value); })) return false;
                target[i] = std::max_element(answer, answer + classes_) - answer;
            }
            score[i] = static_cast<double>(answer[target[i]]);
            if (!std::isfinite(score[i])) return false;
            seed[static_cast<std::size_t>(i * classes_ + target[i])] = 1;
            if (probability_ != kNone) {
                const auto* chance =
                    static_cast<const Real*>(made.externals[0][1 + static_cast<std::size_t>(probability_)]);
                data<double>(made.chance)[i] = static_cast<double>(chance[i * classes_ + target[i]]);
            }
        }
        made.externals[1][0] = seed.data();
        binding.externals = made.externals[1].data();
        *status = core().run(entries_[1], workspace, binding, n, 0);
        if (counted_ != kNone && status->ok()) {
            const auto port = 1 + static_cast<std::uint32_t>(counted_);
            const std::int64_t size = core().port(method_, port).bytes / size_of(real_);
            const auto* values = static_cast<const Real*>(made.externals[1][port]);
            for (const Real* end = values + n * size; values != end; values += size) {
                made.empty += std::all_of(values, values + size, [](Real value) { return value == Real(0); });
            }
        }
        return true;
    }

    py::object program_owner_, weights_owner_;
    const Program& program_;
    const Buffers* weights_;
    const convlens::RawEntry &forward_, &method_;
    int entries_[2];
    int answer_, probability_, counted_;
    bool has_top_class_;
    std::int64_t most_, classes_ = 0;
    int threads_;
    Element real_;
};

}  // namespace

void bind_shortcut(py::module_& m) {
    py::class_<Shortcut, std::shared_ptr<Shortcut>>(
        m, "Shortcut", "Calls of one explanation: an entry that takes images, one that takes a class's seed.")
        .def(py::init<const py::object&, const py::object&, int, int, int, int, int, bool, std::int64_t>(),
             py::arg("program"), py::arg("weights"), py::arg("forward"), py::arg("method"), py::arg("answer"),
             py::arg("probability") = kNone, py::arg("counted") = kNone, py::arg("has_top_class") = true,
             py::arg("most") = 1)
        .def_property_readonly("threads", &Shortcut::threads)
        .def_property_readonly("call", fast_caller<Shortcut>);
}

}  // namespace convlens_python
