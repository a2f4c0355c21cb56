#include "runtime/file.hpp"

#include <cstring>

namespace convlens {
namespace {

// Eight tables, so that eight bytes are taken in a step (slicing by eight). They are made for each call: what a program
// would carry of them is 8 KB.
struct CrcTables {
    std::uint32_t of[8][256];
    CrcTables() {
        of[0][0] = 0;
        // A checksum is linear: those of single bits, from the last to the first, and their sums.
        for (std::uint32_t crc = 1, bit = 128; bit > 0; bit >>= 1) {
            crc = crc >> 1 ^ ((crc & 1u) != 0 ? 0x82f63b78u : 0u);
            for (std::uint32_t i = 0; i < 256; i += 2 * bit) of[0][i + bit] = of[0][i] ^ crc;
        }
        for (int t = 1; t < 8; ++t) {
            for (int i = 0; i < 256; ++i) of[t][i] = of[t - 1][i] >> 8 ^ of[0][of[t - 1][i] & 0xffu];
        }
    }
};

constexpr std::int64_t kLimit = std::int64_t{1} << 62;

bool multiply(std::int64_t* product, std::int64_t factor) {
    return !__builtin_mul_overflow(*product, factor, product) && *product < kLimit;
}

}  // namespace

std::uint32_t crc32c(const void* bytes, std::size_t size, std::uint32_t seed) {
    const CrcTables tables;
    const unsigned char* p = static_cast<const unsigned char*>(bytes);
    std::uint32_t crc = ~seed;
    for (; size >= 8; size -= 8, p += 8) {
        std::uint32_t low, high;
        std::memcpy(&low, p, 4);
        std::memcpy(&high, p + 4, 4);
        low ^= crc;
        crc = tables.of[7][low & 0xff] ^ tables.of[6][low >> 8 & 0xff] ^ tables.of[5][low >> 16 & 0xff] ^
              tables.of[4][low >> 24] ^ tables.of[3][high & 0xff] ^ tables.of[2][high >> 8 & 0xff] ^
              tables.of[1][high >> 16 & 0xff] ^ tables.of[0][high >> 24];
    }
    for (; size > 0; --size, ++p) crc = crc >> 8 ^ tables.of[0][(crc ^ *p) & 0xff];
    return ~crc;
}

std::int64_t tensor_bytes(const Tensor& t, bool float64) {
    if (t.channels < 1 || t.height < 1 || t.width < 1) return -1;
    const bool halo = t.halo_top != 0 || t.halo_left != 0 || t.halo_bottom != 0 || t.halo_right != 0;
    const std::int64_t lanes = float64 ? kLanes<double> : kLanes<float>;
    const std::int64_t element = float64 ? 8 : 4;
    const std::int64_t blocks = (t.channels + lanes - 1) / lanes;
    std::int64_t bytes = 0;
    if (t.layout == Layout::packed) {
        if (t.dtype != DType::real || halo || t.height != 1 || t.width != 1) return -1;
        bytes = t.channels * element;
    } else {
        if (t.layout != Layout::plain && t.layout != Layout::blocked) return -1;
        if (halo && t.dtype != DType::real) return -1;
        const bool blocked = t.layout == Layout::blocked;
        bytes = blocked ? blocks : t.channels;
        if (!multiply(&bytes, std::int64_t{t.height} + t.halo_top + t.halo_bottom)) return -1;
        if (!multiply(&bytes, std::int64_t{t.width} + t.halo_left + t.halo_right)) return -1;
        switch (t.dtype) {
            case DType::real:
                if (!multiply(&bytes, blocked ? kBlockBytes : element)) return -1;
                break;
            case DType::int64:
                if (blocked || !multiply(&bytes, 8)) return -1;
                break;
            case DType::uint8:
                if (blocked && !multiply(&bytes, lanes)) return -1;
                break;
            case DType::mask:
                if (!blocked) bytes = (bytes + lanes - 1) / lanes;
                if (!multiply(&bytes, lanes / 8)) return -1;
                break;
            default:
                return -1;
        }
    }
    return t.place == Place::external ? bytes : (bytes + 63) / 64 * 64;
}

Status seal(void* bytes, std::size_t size) {
    FileHeader header;
    if (size < sizeof(header)) return fail(Code::invalid_argument, "`size` (=%zu) is less than a header", size);
    std::memcpy(&header, bytes, sizeof(header));
    const Section data = header.sections[static_cast<int>(SectionKind::data)];
    if (data.offset > size || data.bytes > size - data.offset || data.offset < sizeof(header)) {
        return fail(Code::invalid_argument, "section `data` lies outside the %zu bytes", size);
    }
    const char* start = static_cast<const char*>(bytes);
    header.checksum = 0;
    header.data_checksum = crc32c(start + data.offset, data.bytes);
    const std::uint32_t head = crc32c(&header, sizeof(header));
    header.checksum = crc32c(start + sizeof(header), data.offset - sizeof(header), head);
    std::memcpy(bytes, &header, sizeof(header));
    return {};
}

}  // namespace convlens
