// What lowering asks of the core while it writes a Program's bytes.
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "bindings.hpp"
#include "ops/op.hpp"
#include "ops/pack.hpp"
#include "runtime/file.hpp"

namespace convlens_python {
namespace {

py::dict op_codes() {
    py::dict codes;
    for (int i = 0; i < convlens::op_count(); ++i) codes[convlens::op_name(static_cast<std::uint16_t>(i))] = i;
    return codes;
}

int lanes(bool float64) { return static_cast<int>(float64 ? convlens::kLanes<double> : convlens::kLanes<float>); }

void seal(const py::buffer& data) {
    const py::buffer_info view = data.request(true);
    check(convlens::seal(view.ptr, static_cast<std::size_t>(view.itemsize) * static_cast<std::size_t>(view.size)));
}

std::vector<convlens::Tensor> tensors_of(const py::bytes& records, const char* what, std::size_t most) {
    const std::string text = records;
    if (text.size() % sizeof(convlens::Tensor) != 0 || text.size() / sizeof(convlens::Tensor) > most) {
        throw py::value_error(std::string("`") + what + "` must be up to " + std::to_string(most) +
                              " records of 64 bytes");
    }
    std::vector<convlens::Tensor> tensors(text.size() / sizeof(convlens::Tensor));
    if (!tensors.empty()) std::memcpy(tensors.data(), text.data(), text.size());
    return tensors;
}

std::int64_t tensor_bytes(const py::bytes& record, bool float64) {
    const std::vector<convlens::Tensor> tensors = tensors_of(record, "record", 1);
    const std::int64_t bytes = tensors.empty() ? -1 : convlens::tensor_bytes(tensors[0], float64);
    if (bytes < 0) throw py::value_error("`record` has fields that make no tensor");
    return bytes;
}

using Rectangle = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>;

// The tensors of an instruction; a record of zeros is an optional operand left out.
void operands_of(const std::vector<convlens::Tensor>& tensors, const convlens::Tensor** operands) {
    for (std::size_t i = 0; i < tensors.size(); ++i) operands[i] = tensors[i].channels == 0 ? nullptr : &tensors[i];
}

// None: the op reads that input within its edges, whatever the rectangle.
py::object input_rectangle(int opcode, const py::bytes& inputs, const py::bytes& outputs,
                           const std::vector<std::int64_t>& attributes, int input, const Rectangle& rectangle,
                           bool float64) {
    const convlens::Op* op = convlens::find_op(static_cast<std::uint16_t>(opcode), float64);
    if (opcode < 0 || opcode >= convlens::op_count() || op == nullptr) {
        throw py::value_error("`opcode` (=" + std::to_string(opcode) + ") is unknown");
    }
    const std::vector<convlens::Tensor> in = tensors_of(inputs, "inputs", convlens::kMaxInputs);
    const std::vector<convlens::Tensor> out = tensors_of(outputs, "outputs", convlens::kMaxOutputs);
    if (input < 0 || static_cast<std::size_t>(input) >= in.size())
        throw py::value_error("`input` (=" + std::to_string(input) + ") is no input");
    const std::vector<std::int32_t> none(convlens::kMaxInputs + convlens::kMaxOutputs, convlens::kAbsent);
    const convlens::Instruction instruction = {static_cast<std::uint16_t>(opcode),
                                               static_cast<std::uint16_t>(in.size()),
                                               static_cast<std::uint16_t>(out.size()),
                                               static_cast<std::uint16_t>(attributes.size()),
                                               none.data(),
                                               none.data() + convlens::kMaxInputs,
                                               attributes.data()};
    convlens::Problem problem = {};
    problem.instruction = &instruction;
    operands_of(in, problem.inputs);
    operands_of(out, problem.outputs);
    convlens::ScratchNeed need;
    check(op->check(problem, &need));
    if (op->input_rectangle == nullptr) return py::none();
    const auto [y0, x0, y1, x1] = rectangle;
    const convlens::Rectangle r = op->input_rectangle(problem, input, {y0, x0, y1, x1});
    return py::make_tuple(r.y0, r.x0, r.y1, r.x1);
}

py::dict elementwise_codes() {
    const char* const names[] = {
#define CONVLENS_ELEMENTWISE(name, operands, meaning) #name,
#include "ops/elementwise.def"
#undef CONVLENS_ELEMENTWISE
    };
    py::dict codes;
    int code = 0;
    for (const char* name : names) codes[name] = code++;
    return codes;
}

}  // namespace

void bind_lowering(py::module_& m) {
    m.attr("FILE_VERSION") = py::make_tuple(convlens::kMajorVersion, convlens::kMinorVersion);
    m.def("op_codes", op_codes, "Opcodes by name.");
    m.def("elementwise_codes", elementwise_codes, "Codes of the elementwise operations by name.");
    m.def(
        "packed_elements",
        [](std::int64_t K, std::int64_t C, std::int64_t R, std::int64_t S, std::int64_t groups, bool float64) {
            check(convlens::check_weight_sizes(K, C, R, S, groups));
            return convlens::packed_elements(K, C, R, S, groups, lanes(float64));
        },
        py::arg("K"), py::arg("C"), py::arg("R"), py::arg("S"), py::arg("groups"), py::arg("float64"),
        "Elements the packed form of weights (K, C / groups, R, S) has.");
    m.def("lanes", lanes, py::arg("float64"), "Channels in a block.");
    m.def("seal", seal, py::arg("data"), "Fill in the checksums of a compiled file, in place.");
    m.def("tensor_bytes", tensor_bytes, py::arg("record"), py::arg("float64"),
          "Bytes the tensor of a 64-byte record has.");
    m.def("input_rectangle", input_rectangle, py::arg("opcode"), py::arg("inputs"), py::arg("outputs"),
          py::arg("attributes"), py::arg("input"), py::arg("rectangle"), py::arg("float64") = false,
          "Rectangle (y0, x0, y1, x1) of an input that a rectangle of output 0 needs; None: the op reads no halo.");
}

}  // namespace convlens_python
