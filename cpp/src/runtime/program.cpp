#include "runtime/program.hpp"

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace convlens {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the bytes of a Program are little-endian");

constexpr std::int64_t kLimit = std::int64_t{1} << 62;
constexpr const char* kSectionNames[kSections] = {"tensors", "instructions", "operands", "attributes",
                                                  "entries", "ports",        "weights",  "states",
                                                  "names",   "metadata",     "data"};

bool in_range(std::uint64_t first, std::uint64_t count, std::int64_t size) {
    return first <= static_cast<std::uint64_t>(size) && count <= static_cast<std::uint64_t>(size) - first;
}

bool is_block_multiple(std::int64_t bytes) { return bytes >= 0 && bytes < kLimit && bytes % kBlockBytes == 0; }

long long ll(std::int64_t value) { return static_cast<long long>(value); }

Status corrupt(const char* format, ...) __attribute__((format(printf, 1, 2)));
Status corrupt(const char* format, ...) {
    Status status;
    status.code = Code::corrupt_file;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(status.message, sizeof(status.message), format, arguments);
    va_end(arguments);
    return status;
}

}  // namespace

Status Program::read_header(const char* bytes, std::size_t size) {
    if (bytes == nullptr || reinterpret_cast<std::uintptr_t>(bytes) % 8 != 0) {
        return fail(Code::invalid_argument, "`bytes` (=%p) must be aligned to 8 bytes",
                    static_cast<const void*>(bytes));
    }
    if (size < sizeof(FileHeader) || std::memcmp(bytes, kMagic, sizeof(kMagic)) != 0) {
        return corrupt("not a compiled convlens file: it does not start with \"convlens\"");
    }
    const FileHeader& h = *reinterpret_cast<const FileHeader*>(bytes);
    if (h.major != kMajorVersion) {
        return fail(Code::wrong_version,
                    "the file has version %u.%u, this library reads %u.x: compile the network again", h.major, h.minor,
                    kMajorVersion);
    }
    if (h.file_bytes != size) {
        return corrupt("the file says it has %llu bytes, there are %zu: it was cut short or added to",
                       static_cast<unsigned long long>(h.file_bytes), size);
    }
    if (h.float64 > 1) return corrupt("header: float64 is %u, not 0 or 1", h.float64);
    if (h.n_sections < kSections || (h.minor <= kMinorVersion && h.n_sections > kSections)) {
        return corrupt("header: %u sections, version %u.%u has %d", h.n_sections, h.major, h.minor, kSections);
    }
    if (!is_block_multiple(h.arena_fixed_bytes) || !is_block_multiple(h.arena_image_bytes)) {
        return corrupt("header: arena of %lld + %lld n bytes, not multiples of 64", ll(h.arena_fixed_bytes),
                       ll(h.arena_image_bytes));
    }
    std::uint64_t end = sizeof(FileHeader);
    for (int i = 0; i < kSections; ++i) {
        const Section& s = h.sections[i];
        if (s.offset % kBlockBytes != 0 || s.offset < end || s.offset > size || s.bytes > size - s.offset) {
            return corrupt("section %s: %llu bytes at %llu are misplaced", kSectionNames[i],
                           static_cast<unsigned long long>(s.bytes), static_cast<unsigned long long>(s.offset));
        }
        end = s.offset + s.bytes;
    }
    FileHeader plain = h;
    plain.checksum = 0;
    const std::uint64_t data = h.sections[static_cast<int>(SectionKind::data)].offset;
    const std::uint32_t head = crc32c(&plain, sizeof(plain));
    if (crc32c(bytes + sizeof(plain), data - sizeof(plain), head) != h.checksum) {
        return corrupt("the checksum of header and instructions is wrong: the file is damaged");
    }
    header_ = &h;
    bytes_ = bytes;
    return {};
}

template <class T>
const T* Program::section(SectionKind kind, std::int64_t* count) const {
    const Section& s = header_->sections[static_cast<int>(kind)];
    *count = s.bytes % sizeof(T) == 0 ? static_cast<std::int64_t>(s.bytes / sizeof(T)) : -1;
    return reinterpret_cast<const T*>(bytes_ + s.offset);
}

Status Program::read_sections() {
    std::int64_t metadata_bytes = 0;
    tensors_ = section<Tensor>(SectionKind::tensors, &n_tensors_);
    raw_ = section<RawInstruction>(SectionKind::instructions, &n_raw_);
    operands_ = section<std::int32_t>(SectionKind::operands, &n_operands_);
    attributes_ = section<std::int64_t>(SectionKind::attributes, &n_attributes_);
    entries_ = section<RawEntry>(SectionKind::entries, &n_entries64_);
    ports_ = section<Port>(SectionKind::ports, &n_ports_);
    weights_ = section<RawBuffer>(SectionKind::weights, &n_weights64_);
    states_ = section<RawBuffer>(SectionKind::states, &n_states64_);
    names_ = section<char>(SectionKind::names, &names_bytes_);
    const char* metadata = section<char>(SectionKind::metadata, &metadata_bytes);
    const std::int64_t counts[] = {n_tensors_, n_raw_,       n_operands_, n_attributes_, n_entries64_,
                                   n_ports_,   n_weights64_, n_states64_, names_bytes_,  metadata_bytes};
    for (int i = 0; i < kSections - 1; ++i) {
        if (counts[i] < 0 || counts[i] > INT32_MAX) {
            return corrupt("section %s: %llu bytes are no whole number of records, or too many", kSectionNames[i],
                           static_cast<unsigned long long>(header_->sections[i].bytes));
        }
    }
    if (metadata_bytes > 0 && metadata[metadata_bytes - 1] != '\0')
        return corrupt("section metadata: no zero byte at its end");
    n_entries_ = static_cast<int>(n_entries64_);
    n_weights_ = static_cast<int>(n_weights64_);
    n_states_ = static_cast<int>(n_states64_);
    return {};
}

Status Program::check_names(const RawName& name, const char* what, std::int64_t i) const {
    // One more byte, the zero at its end.
    if (!in_range(name.offset, std::uint64_t{name.bytes} + 1, names_bytes_)) {
        return corrupt("%s %lld: its name lies outside section names", what, ll(i));
    }
    const char* text = names_ + name.offset;
    if (text[name.bytes] != '\0' || std::memchr(text, '\0', name.bytes) != nullptr) {
        return corrupt("%s %lld: its name does not end in its one zero byte", what, ll(i));
    }
    return {};
}

Status Program::check_buffers(const RawBuffer* buffers, std::int64_t count, bool states) const {
    const char* what = states ? "state" : "weight";
    const Section& data = header_->sections[static_cast<int>(SectionKind::data)];
    for (std::int64_t i = 0; i < count; ++i) {
        const RawBuffer& b = buffers[i];
        CONVLENS_RETURN_IF_ERROR(check_names(b.name, what, i));
        if (!is_block_multiple(b.bytes))
            return corrupt("%s %lld: %lld bytes, not a multiple of 64", what, ll(i), ll(b.bytes));
        if (b.offset == kNotInFile) continue;
        const std::uint64_t offset = static_cast<std::uint64_t>(b.offset);
        if (states || offset % kBlockBytes != 0 || offset > data.bytes ||
            static_cast<std::uint64_t>(b.bytes) > data.bytes - offset) {
            return corrupt("%s %lld: %lld bytes at %lld of section data are misplaced", what, ll(i), ll(b.bytes),
                           ll(b.offset));
        }
    }
    return {};
}

Status Program::check_ports() const {
    for (std::int64_t i = 0; i < n_ports_; ++i) {
        const Port& p = ports_[i];
        CONVLENS_RETURN_IF_ERROR(check_names(p.name, "port", i));
        if (p.dtype > DType::uint8 || p.batched > 1 || p.is_output > 1 || p.rank > kMaxRank || p.rank < p.batched) {
            return corrupt("port %lld: a field has no such value", ll(i));
        }
        std::int64_t bytes = p.dtype == DType::int64 ? 8 : p.dtype == DType::uint8 ? 1 : header_->float64 != 0 ? 8 : 4;
        for (int d = p.batched; d < p.rank; ++d) {
            if (p.dims[d] < 1 || __builtin_mul_overflow(bytes, p.dims[d], &bytes) || bytes >= kLimit) {
                return corrupt("port %lld: dimension %d is %lld", ll(i), d, ll(p.dims[d]));
            }
        }
        if ((p.batched != 0 && p.dims[0] != kBatch) || bytes != p.bytes) {
            return corrupt("port %lld: its dimensions do not give its %lld bytes", ll(i), ll(p.bytes));
        }
    }
    return {};
}

Status Program::check_tensor(std::int64_t i) const {
    const Tensor& t = tensors_[i];
    if (t.dtype > DType::mask || t.layout > Layout::packed || t.place > Place::external || t.batched > 1) {
        return corrupt("tensor %lld: a field has no such value", ll(i));
    }
    if (t.bytes < 0 || t.bytes != tensor_bytes(t, float64())) {
        return corrupt("tensor %lld: its shape does not give its %lld bytes", ll(i), ll(t.bytes));
    }
    if (t.place == Place::arena && t.slot != -1) {
        const Tensor* whole = t.slot >= 0 && t.slot < n_tensors_ ? &tensors_[t.slot] : nullptr;
        const bool images = t.batched != 0 && t.dtype == DType::real && t.layout == Layout::blocked;
        if (whole == nullptr || whole->place != Place::arena || whole->slot != -1 || whole->batched == 0 || !images ||
            (t.height == 1 && t.width == 1) || t.offset != whole->offset || t.whole != whole->bytes ||
            !is_block_multiple(t.within) || t.within > t.whole - t.bytes) {
            return corrupt("tensor %lld: it is no part of tensor %d", ll(i), t.slot);
        }
        return {};
    }
    if (t.within != 0 || t.whole != 0) return corrupt("tensor %lld: it is a part of none", ll(i));
    if (t.place == Place::arena) {
        const std::int64_t region = t.batched != 0 ? header_->arena_image_bytes : header_->arena_fixed_bytes;
        if (t.offset < 0 || t.offset % kBlockBytes != 0 || t.offset > region || t.bytes > region - t.offset) {
            return corrupt("tensor %lld: %lld bytes at %lld leave the arena's %lld", ll(i), ll(t.bytes), ll(t.offset),
                           ll(region));
        }
        return {};
    }
    const std::int64_t slots = t.place == Place::weight ? n_weights_ : t.place == Place::state ? n_states_ : n_ports_;
    if (t.slot < 0 || t.slot >= slots || t.offset != 0) {
        return corrupt("tensor %lld: slot %d of %lld, offset %lld", ll(i), t.slot, ll(slots), ll(t.offset));
    }
    if (t.place == Place::external) {
        const Port& p = ports_[t.slot];
        const bool halo = t.halo_top != 0 || t.halo_left != 0 || t.halo_bottom != 0 || t.halo_right != 0;
        const bool blocks = t.layout == Layout::blocked && t.dtype == DType::real;
        if (t.dtype != p.dtype || t.batched != p.batched || t.bytes != p.bytes || halo ||
            (t.layout != Layout::plain && !blocks)) {
            return corrupt("tensor %lld: it differs from its port %d, or has a halo", ll(i), t.slot);
        }
        return {};
    }
    const RawBuffer& b = t.place == Place::weight ? weights_[t.slot] : states_[t.slot];
    if (t.batched != 0 || t.dtype == DType::mask || t.bytes > b.bytes) {
        return corrupt("tensor %lld: it is batched, a mask, or larger than slot %d", ll(i), t.slot);
    }
    return {};
}

Status Program::read_instruction(std::int64_t i) {
    const RawInstruction& raw = raw_[i];
    const char* name = op_name(raw.opcode);
    const Op* op = find_op(raw.opcode, float64());
    if (op == nullptr && name != nullptr && float64()) {
        return fail(Code::unsupported, "instruction %lld (%s): this build has no float64 kernels (CONVLENS_FLOAT64)",
                    ll(i), name);
    }
    if (op == nullptr) return corrupt("instruction %lld: opcode %u is unknown", ll(i), raw.opcode);
    if (raw.n_inputs > kMaxInputs || raw.n_outputs > kMaxOutputs ||
        !in_range(raw.first_operand, std::uint64_t{raw.n_inputs} + raw.n_outputs, n_operands_) ||
        !in_range(raw.first_attribute, raw.n_attributes, n_attributes_)) {
        return corrupt("instruction %lld (%s): operands or attributes outside their sections", ll(i), name);
    }
    Instruction& instruction = instructions_[i];
    instruction.opcode = raw.opcode;
    instruction.n_inputs = raw.n_inputs;
    instruction.n_outputs = raw.n_outputs;
    instruction.n_attributes = raw.n_attributes;
    instruction.inputs = operands_ + raw.first_operand;
    instruction.outputs = instruction.inputs + raw.n_inputs;
    instruction.attributes = attributes_ + raw.first_attribute;
    Problem& problem = problems_[i];
    problem.instruction = &instruction;
    for (int k = 0; k < raw.n_inputs + raw.n_outputs; ++k) {
        const std::int32_t operand = instruction.inputs[k];
        if (operand < kAbsent || operand >= n_tensors_) {
            return corrupt("instruction %lld (%s): operand %d is %d", ll(i), name, k, operand);
        }
        const Tensor* tensor = operand == kAbsent ? nullptr : &tensors_[operand];
        (k < raw.n_inputs ? problem.inputs[k] : problem.outputs[k - raw.n_inputs]) = tensor;
    }
    CONVLENS_RETURN_IF_ERROR(check_operands(i));
    ScratchNeed need;
    const Status agreed = op->check(problem, &need);
    if (!agreed.ok()) return fail(agreed.code, "instruction %lld (%s): %s", ll(i), name, agreed.message);
    if (need.fixed_bytes < 0 || need.per_image_bytes < 0 || need.per_thread_bytes < 0) {
        return corrupt("instruction %lld (%s): its scratch does not fit 63 bits", ll(i), name);
    }
    if (need.fixed_bytes > scratch_.fixed_bytes) scratch_.fixed_bytes = need.fixed_bytes;
    if (need.per_image_bytes > scratch_.per_image_bytes) scratch_.per_image_bytes = need.per_image_bytes;
    if (need.per_thread_bytes > scratch_.per_thread_bytes) scratch_.per_thread_bytes = need.per_thread_bytes;
    steps_[i] = {op, -1, {}, 0, need.fixed_bytes > 0};
    return {};
}

Status Program::check_operands(std::int64_t i) const {
    const Problem& problem = problems_[i];
    const char* name = op_name(problem.instruction->opcode);
    for (int k = 0; k < problem.instruction->n_outputs; ++k) {
        const Tensor* out = problem.outputs[k];
        if (out == nullptr) continue;
        if (out->place == Place::weight || (out->place == Place::external && ports_[out->slot].is_output == 0)) {
            return corrupt("instruction %lld (%s): output %d is a weight or an input port", ll(i), name, k);
        }
        for (int j = 0; j < problem.instruction->n_inputs; ++j) {
            const Tensor* input = problem.inputs[j];
            if (input != nullptr && overlap(*out, *input) && !same_bytes(*out, *input)) {
                return corrupt("instruction %lld (%s): output %d lies over a part of input %d", ll(i), name, k, j);
            }
        }
        for (int j = 0; j < k; ++j) {
            if (problem.outputs[j] != nullptr && overlap(*out, *problem.outputs[j])) {
                return corrupt("instruction %lld (%s): outputs %d and %d overlap", ll(i), name, j, k);
            }
        }
    }
    return {};
}

Status Program::check_entry(std::int64_t i) const {
    const RawEntry& e = entries_[i];
    CONVLENS_RETURN_IF_ERROR(check_names(e.name, "entry", i));
    const std::uint64_t ports = std::uint64_t{e.n_inputs} + e.n_outputs;
    if (!in_range(e.first_instruction, e.n_instructions, n_raw_) || !in_range(e.first_port, ports, n_ports_)) {
        return corrupt("entry %lld: its instructions or ports lie outside their sections", ll(i));
    }
    for (std::uint32_t p = 0; p < ports; ++p) {
        if (port(e, p).is_output != (p < e.n_inputs ? 0 : 1))
            return corrupt("entry %lld: port %u has the wrong direction", ll(i), p);
    }
    for (std::uint32_t k = 0; k < e.n_instructions; ++k) {
        const Problem& problem = problems_[e.first_instruction + k];
        const int operands = problem.instruction->n_inputs + problem.instruction->n_outputs;
        for (int j = 0; j < operands; ++j) {
            const std::int32_t operand = problem.instruction->inputs[j];
            if (operand == kAbsent || tensors_[operand].place != Place::external) continue;
            const std::uint32_t slot = static_cast<std::uint32_t>(tensors_[operand].slot);
            if (slot < e.first_port || slot - e.first_port >= ports) {
                return corrupt("entry %lld: instruction %u uses port %u of another entry", ll(i),
                               e.first_instruction + k, slot);
            }
        }
    }
    return {};
}

Status Program::plan() {
    std::int64_t total = 0;
    for (std::int64_t i = 0; i < n_raw_; ++i) {
        const Op& op = *steps_[i].op;
        if (op.plan_bytes == nullptr) continue;
        const std::int64_t bytes = op.plan_bytes(problems_[i]);
        if (bytes < 0 || bytes >= kLimit || total >= kLimit)
            return corrupt("instruction %lld: its plan does not fit", ll(i));
        steps_[i].plan_offset = total;
        total += (bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
    }
    CONVLENS_RETURN_IF_ERROR(plans_.resize(total));
    for (std::int64_t i = 0; i < n_raw_; ++i) {
        const Op& op = *steps_[i].op;
        if (op.make_plan != nullptr && steps_[i].plan_offset >= 0)
            op.make_plan(problems_[i], plans_.data() + steps_[i].plan_offset);
        steps_[i].work = work_of(op, problems_[i]);
    }
    return plan_by_image();
}

Status Program::open(const void* bytes, std::size_t size) {
    if (bytes_ != nullptr) return fail(Code::invalid_argument, "this Program is open already");
    kernels_ = active_kernels();
    if (kernels_ == nullptr) return fail(Code::unsupported, "%s", active_kernels_reason());
    CONVLENS_RETURN_IF_ERROR(read_header(static_cast<const char*>(bytes), size));
    CONVLENS_RETURN_IF_ERROR(read_sections());
    CONVLENS_RETURN_IF_ERROR(check_buffers(weights_, n_weights_, false));
    CONVLENS_RETURN_IF_ERROR(check_buffers(states_, n_states_, true));
    CONVLENS_RETURN_IF_ERROR(check_ports());
    for (std::int64_t i = 0; i < n_tensors_; ++i) CONVLENS_RETURN_IF_ERROR(check_tensor(i));
    CONVLENS_RETURN_IF_ERROR(instructions_.resize(n_raw_));
    CONVLENS_RETURN_IF_ERROR(problems_.resize(n_raw_));
    CONVLENS_RETURN_IF_ERROR(steps_.resize(n_raw_));
    for (std::int64_t i = 0; i < n_raw_; ++i) CONVLENS_RETURN_IF_ERROR(read_instruction(i));
    for (std::int64_t i = 0; i < n_entries_; ++i) CONVLENS_RETURN_IF_ERROR(check_entry(i));
    CONVLENS_RETURN_IF_ERROR(plan_strips());
    const std::int64_t largest = kLimit - 1;
    if (scratch_.fixed_bytes > largest || scratch_.per_image_bytes > largest || scratch_.per_thread_bytes > largest) {
        return corrupt("the scratch of an instruction does not fit 62 bits");
    }
    // Every part starts at a multiple of 64, and no two threads share a cache line.
    const auto round_up = [](std::int64_t b) { return (b + kBlockBytes - 1) / kBlockBytes * kBlockBytes; };
    scratch_ = {round_up(scratch_.fixed_bytes), round_up(scratch_.per_image_bytes),
                round_up(scratch_.per_thread_bytes)};
    need_ = {header_->arena_fixed_bytes + scratch_.fixed_bytes, header_->arena_image_bytes + scratch_.per_image_bytes,
             scratch_.per_thread_bytes};
    return plan();
}

Status Program::verify_data() const {
    const Section& data = header_->sections[static_cast<int>(SectionKind::data)];
    if (crc32c(bytes_ + data.offset, data.bytes) != header_->data_checksum) {
        return corrupt("the checksum of the weights is wrong: the file is damaged");
    }
    return {};
}

int Program::find_entry(const char* wanted) const {
    for (int i = 0; i < n_entries_; ++i) {
        if (std::strcmp(name(entries_[i].name), wanted) == 0) return i;
    }
    return -1;
}

const void* Program::weight_data(int i) const {
    const Section& data = header_->sections[static_cast<int>(SectionKind::data)];
    return weights_[i].offset == kNotInFile ? nullptr : bytes_ + data.offset + weights_[i].offset;
}

const char* Program::metadata(std::size_t* bytes) const {
    const Section& s = header_->sections[static_cast<int>(SectionKind::metadata)];
    *bytes = s.bytes > 0 ? s.bytes - 1 : 0;
    return s.bytes > 0 ? bytes_ + s.offset : "";
}

std::int64_t Program::arena_bytes(std::int64_t n, int threads) const {
    std::int64_t images = 0, scratch = 0, total = 0;
    if (n < 0 || threads < 1 || __builtin_mul_overflow(need_.per_image_bytes, n, &images) ||
        __builtin_mul_overflow(need_.per_thread_bytes, std::int64_t{threads}, &scratch) ||
        __builtin_add_overflow(images, scratch, &total) || __builtin_add_overflow(total, need_.fixed_bytes, &total)) {
        return -1;
    }
    return total < kLimit ? total : -1;
}

std::int64_t Program::table_bytes() const {
    return n_raw_ * static_cast<std::int64_t>(sizeof(Instruction) + sizeof(Problem) + sizeof(Step)) + plans_.size() +
           spans_.size() + by_image_.size() * static_cast<std::int64_t>(sizeof(ByImage)) +
           strips_.size() * static_cast<std::int64_t>(sizeof(Strips));
}

}  // namespace convlens
