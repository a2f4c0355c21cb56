// The form of a Program: a compiled file (.cvl) and a Program in memory are these bytes, read by one reader.
//
// Little-endian. A FileHeader, then sections in the order of SectionKind, each starting at a multiple of 64 bytes from
// the start of the file (the gap before it is zero) and starting at or after the end of the one before it. A section
// may be empty. A reader takes files of its own major version; a file of a newer minor version may have more sections
// at the end, which an older reader of that major version may ignore.
//
//   header        FileHeader
//   tensors       Tensor[]         64 bytes each, runtime/tensor.hpp
//   instructions  RawInstruction[] 16 bytes each
//   operands      int32[]          indices of tensors, kAbsent (-1) for an optional operand left out
//   attributes    int64[]          integers, or the bits of a double
//   entries       RawEntry[]       32 bytes each: named runs of instructions
//   ports         Port[]           96 bytes each: what a caller hands to an entry and gets back. Slot i of the
//   externals
//                                  is port i. The ports of an entry are neighbours, its inputs before its outputs.
//   weights       RawBuffer[]      32 bytes each. Slot i of the weights is weight i.
//   states        RawBuffer[]      32 bytes each. Slot i of the states is state i.
//   names         bytes            UTF-8, each name ended by a zero byte
//   metadata      bytes            UTF-8 JSON, ended by a zero byte; empty or one object. Carried, never read here.
//   data          bytes            the weights, each at a multiple of 64 bytes; empty when weights are bound at run
//
// What the reader makes sure of, so that no file can make a kernel leave memory that is its own (sums in 64 bits, with
// overflow checked):
//   - the checksum of everything but `data` is right; that of `data` on request (Program::verify_data);
//   - every index, range and name lies in its section; every name ends in a zero byte and holds no other;
//   - a tensor's `bytes` is exactly tensor_bytes() of its fields, and it lies within its place: in the arena at a
//   multiple
//     of 64 with offset + bytes <= arena_fixed_bytes (not batched) or arena_image_bytes (batched), or as blocks of
//     channels within another one there; elsewhere at offset 0 of a slot at least as large (a port: exactly as large,
//     and batched as the tensor is);
//   - weights and states are not batched and hold no masks; externals have no halo, are no masks, and are plain, or
//     blocked when they are real (whoever gives one sees to it that lanes beyond `channels` are zero);
//   - weights and input ports are never written; an instruction uses only ports of the entry it runs in;
//   - what an instruction writes is either exactly the bytes of one of its inputs or apart from all of them, and apart
//   from
//     what else it writes;
//   - the op of every instruction has agreed to its operands and attributes (Op::check).
//
// Where a tensor lies when n images run:
//   arena, not batched   fixed region + offset
//   arena, batched       image region + n * offset, image i at + i * bytes; but see by_image.cpp
//   a part of such       image region + n * offset + within, image i at + i * bytes of the whole
//   the arena            [arena_fixed_bytes][n * arena_image_bytes][scratch]
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.hpp"
#include "runtime/tensor.hpp"

namespace convlens {

constexpr char kMagic[8] = {'c', 'o', 'n', 'v', 'l', 'e', 'n', 's'};
constexpr std::uint16_t kMajorVersion = 1, kMinorVersion = 0;

enum class SectionKind : std::uint32_t {
    tensors,
    instructions,
    operands,
    attributes,
    entries,
    ports,
    weights,
    states,
    names,
    metadata,
    data,
};
constexpr int kSections = 11;

struct Section {
    std::uint64_t offset, bytes;  // from the start of the file
};

struct FileHeader {  // 256 bytes
    char magic[8];
    std::uint16_t major, minor;
    std::uint8_t float64;  // 0: real is float32, 1: float64
    std::uint8_t reserved0[3];
    std::uint64_t file_bytes;
    std::uint32_t checksum;          // CRC-32C of all bytes before section `data`, this field taken as zero
    std::uint32_t data_checksum;     // CRC-32C of section `data`
    std::int64_t arena_fixed_bytes;  // a multiple of 64
    std::int64_t arena_image_bytes;  // a multiple of 64
    std::uint32_t n_sections;        // at least kSections
    std::uint32_t reserved1;
    Section sections[kSections];
    std::uint8_t reserved2[24];
};
static_assert(sizeof(FileHeader) == 256 && offsetof(FileHeader, sections) == 56, "part of the file format");

struct RawInstruction {
    std::uint16_t opcode;
    std::uint16_t n_inputs, n_outputs, n_attributes;
    std::uint32_t first_operand;  // inputs, then outputs
    std::uint32_t first_attribute;
};
static_assert(sizeof(RawInstruction) == 16, "part of the file format");

struct RawName {
    std::uint32_t offset, bytes;  // in section `names`, without the zero byte
};

struct RawEntry {
    RawName name;
    std::uint32_t first_instruction, n_instructions;
    std::uint32_t first_port, n_inputs, n_outputs;
    std::uint32_t reserved;
};
static_assert(sizeof(RawEntry) == 32, "part of the file format");

constexpr int kMaxRank = 8;
constexpr std::int64_t kBatch = -1;  // a dimension that is the number of images

// dtypes of ports are those of tensors but mask.
struct Port {
    RawName name;
    DType dtype;
    std::uint8_t batched;  // 1: dims[0] is kBatch and `bytes` is one image's
    std::uint8_t rank;     // 0 to kMaxRank
    std::uint8_t is_output;
    std::uint32_t reserved0;
    std::int64_t bytes;           // product of the dims (kBatch apart) times the size of an element; not padded
    std::int64_t dims[kMaxRank];  // C-contiguous
    std::int64_t reserved1;
};
static_assert(sizeof(Port) == 96, "part of the file format");

struct RawBuffer {        // a weight or a state
    RawName name;         // of a weight: the key it is packed under
    std::int64_t bytes;   // a multiple of 64
    std::int64_t offset;  // in section `data`, a multiple of 64; kNotInFile when it is bound at run (states always)
    std::int64_t reserved;
};
static_assert(sizeof(RawBuffer) == 32, "part of the file format");
constexpr std::int64_t kNotInFile = -1;

// The size a tensor of these fields has; -1 when they make no sense or the size does not fit 62 bits.
//   real, plain    channels * rows * columns * sizeof(Real)        (rows = halo_top + height + halo_bottom, ...)
//   real, blocked  ceil(channels / lanes) * rows * columns * 64
//   real, packed   channels * sizeof(Real); height and width are 1
//   int64, plain   channels * height * width * 8
//   uint8          plain: channels * height * width; blocked: ceil(channels / lanes) * height * width * lanes
//   mask           plain: ceil(channels * height * width / lanes) groups; blocked: ceil(channels / lanes) * height *
//   width
//                  groups; of lanes / 8 bytes
// and, but for place `external`, rounded up to a multiple of 64.
std::int64_t tensor_bytes(const Tensor& tensor, bool float64);

std::uint32_t crc32c(const void* bytes, std::size_t size, std::uint32_t seed = 0);

// Fills in both checksums of a file that is right otherwise.
Status seal(void* bytes, std::size_t size);

}  // namespace convlens
