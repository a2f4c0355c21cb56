#pragma once

#include <stdint.h>

namespace convlens {

enum ElementwiseCode : uint8_t {
#define CONVLENS_ELEMENTWISE(name, operands, meaning) kElementwise_##name,
#include "ops/elementwise.def"
#undef CONVLENS_ELEMENTWISE
    kElementwiseCount
};

constexpr int kElementwiseRegisters = 16;
// A register holds one chunk. Some eight are live in an optimizer's program: they fit the first cache.
constexpr int64_t kElementwiseChunkBytes = 4096;

// How an operand relates to the outputs' shape (C, H, W).
enum class ElementwiseRole : uint8_t { full, channel, spatial, scalar };

struct ElementwiseOperand {
    char* data;                                      // pixel (0, 0) of this image; the first byte of a mask
    int64_t plane_stride, row_stride, pixel_stride;  // elements; not used for masks
    ElementwiseRole role;
    bool mask;
};

struct ElementwiseStep {
    uint8_t code, dst, a, b, c;
    int8_t fused;  // output this step writes instead of its register, where nothing must be masked; -1: none
    bool copies;   // load: the input is overwritten before the register's last use, so its chunk must be copied
    bool once;     // the register keeps its value through the call: filled before the first chunk
    bool a_plane;  // the register keeps its value through a plane's chunks
    bool skipped;  // store: the step before wrote the output already, where it could
};

// Runs the program on units [unit0, unit1) of one image. A run is a stretch that is contiguous in every full operand;
// it is cut into `pieces` chunks, and a unit is a piece: unit = (plane * rows + row) * pieces + piece.
template <class Real>
struct ElementwiseArgs {
    const ElementwiseStep* steps;
    const double* constants;
    const ElementwiseOperand* inputs;
    const ElementwiseOperand* outputs;
    Real* registers;  // kElementwiseRegisters chunks
    int32_t n_steps;
    bool blocked;
    int64_t channels, height, width;
    int64_t rows, pieces, run_elements;
    int64_t unit0, unit1;
};

}  // namespace convlens
