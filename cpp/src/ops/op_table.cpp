#include <cstring>

#include "ops/op.hpp"

namespace convlens {

#define CONVLENS_OP(name)           \
    extern const Op k_##name##_f32; \
    extern const Op k_##name##_f64;
#include "ops/ops.def"
#undef CONVLENS_OP

namespace {

#define CONVLENS_OP(name) &k_##name##_f32,
const Op* const kOps[] = {
#include "ops/ops.def"
};
#undef CONVLENS_OP
constexpr int kCount = static_cast<int>(sizeof(kOps) / sizeof(kOps[0]));

#if defined(CONVLENS_FLOAT64)
#define CONVLENS_OP(name) &k_##name##_f64,
const Op* const kOpsOfDoubles[] = {
#include "ops/ops.def"
};
#undef CONVLENS_OP
#endif

}  // namespace

const Op* find_op(std::uint16_t opcode, bool float64) {
    if (opcode >= kCount) return nullptr;
#if defined(CONVLENS_FLOAT64)
    if (float64) return kOpsOfDoubles[opcode];
#endif
    return float64 ? nullptr : kOps[opcode];
}

const char* op_name(std::uint16_t opcode) { return opcode < kCount ? kOps[opcode]->name : nullptr; }

int op_count() { return kCount; }

double Problem::real_attribute(int i) const {
    const std::int64_t bits = attribute(i);
    double value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

}  // namespace convlens
