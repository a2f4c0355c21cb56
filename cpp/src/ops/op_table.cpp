#include <cstring>

#include "ops/op.hpp"

namespace convlens {

#define CONVLENS_OP(name)           \
    extern const Op k_##name##_f32; \
    extern const Op k_##name##_f64;
#include "ops/ops.def"
#undef CONVLENS_OP

namespace {

struct Row {
    const char* name;
    const Op* f32;
    const Op* f64;
};

#if defined(CONVLENS_FLOAT64)
#define CONVLENS_OP(name) {#name, &k_##name##_f32, &k_##name##_f64},
#else
#define CONVLENS_OP(name) {#name, &k_##name##_f32, nullptr},
#endif
const Row kRows[] = {
#include "ops/ops.def"
};
#undef CONVLENS_OP
constexpr int kCount = static_cast<int>(sizeof(kRows) / sizeof(kRows[0]));

}  // namespace

const Op* find_op(std::uint16_t opcode, bool float64) {
    if (opcode >= kCount) return nullptr;
    return float64 ? kRows[opcode].f64 : kRows[opcode].f32;
}

const char* op_name(std::uint16_t opcode) { return opcode < kCount ? kRows[opcode].name : nullptr; }

int op_count() { return kCount; }

double Problem::real_attribute(int i) const {
    const std::int64_t bits = attribute(i);
    double value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

}  // namespace convlens
