// Writes the bytes of a Program piece by piece, and holds them as the reader wants them.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "ops/op.hpp"
#include "runtime/file.hpp"
#include "runtime/program.hpp"

namespace convlens_tests {

// Bytes at a multiple of 64.
class AlignedBytes {
  public:
    AlignedBytes() = default;
    explicit AlignedBytes(const std::vector<char>& bytes) { assign(bytes.data(), bytes.size()); }
    AlignedBytes(const AlignedBytes& other) { assign(other.data(), other.size()); }
    AlignedBytes& operator=(const AlignedBytes& other) {
        if (this != &other) assign(other.data(), other.size());
        return *this;
    }
    ~AlignedBytes() { std::free(data_); }
    // The block ends where the bytes end, so that a sanitizer sees the first read too far.
    void assign(const char* bytes, std::size_t size) {
        void* data = nullptr;
        if (posix_memalign(&data, 64, size == 0 ? 1 : size) != 0) std::abort();
        if (size > 0 && bytes != nullptr) std::memcpy(data, bytes, size);
        std::free(data_);
        data_ = static_cast<char*>(data), size_ = size;
    }
    char* data() const { return data_; }
    std::size_t size() const { return size_; }
    template <class T>
    T* at(std::size_t offset) const {
        return reinterpret_cast<T*>(data_ + offset);
    }
    convlens::FileHeader& header() const { return *at<convlens::FileHeader>(0); }
    template <class T>
    T* section(convlens::SectionKind kind) const {
        return at<T>(header().sections[static_cast<int>(kind)].offset);
    }

  private:
    char* data_ = nullptr;
    std::size_t size_ = 0;
};

inline std::int64_t bits_of(double value) {
    std::int64_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    return bits;
}

class Builder {
  public:
    explicit Builder(bool float64 = false) : float64_(float64) {}

    // A tensor of the arena, behind all the others of its region.
    std::int32_t arena(convlens::Layout layout, int channels, int height, int width, bool batched = true,
                       convlens::DType dtype = convlens::DType::real, int halo = 0) {
        convlens::Tensor t = shape(layout, channels, height, width, batched, dtype, halo);
        t.bytes = convlens::tensor_bytes(t, float64_);
        std::int64_t& end = batched ? image_bytes_ : fixed_bytes_;
        t.offset = end;
        end += t.bytes;
        return add(t);
    }
    // Channels of a blocked tensor, from its block `first` on.
    std::int32_t part(std::int32_t whole, int first, int channels) {
        convlens::Tensor t = tensors_[static_cast<std::size_t>(whole)];
        const std::int64_t blocks = (t.channels * (float64_ ? 8 : 4) + 63) / 64;
        t.slot = whole, t.channels = channels, t.whole = t.bytes, t.within = t.bytes / blocks * first;
        t.bytes = convlens::tensor_bytes(t, float64_);
        return add(t);
    }
    std::int32_t weight(const std::string& key, convlens::Layout layout, int channels, int height, int width,
                        const std::vector<char>* data = nullptr) {
        return buffer(convlens::Place::weight, key, layout, channels, height, width, data);
    }
    std::int32_t state(const std::string& key, convlens::Layout layout, int channels, int height, int width) {
        return buffer(convlens::Place::state, key, layout, channels, height, width, nullptr);
    }
    // Ports of the entry to come, inputs first.
    std::int32_t port(const std::string& key, bool output, int channels, int height, int width, bool batched = true,
                      convlens::DType dtype = convlens::DType::real) {
        convlens::Tensor t = shape(convlens::Layout::plain, channels, height, width, batched, dtype, 0);
        t.place = convlens::Place::external;
        t.slot = static_cast<std::int32_t>(ports_.size());
        t.bytes = convlens::tensor_bytes(t, float64_);
        convlens::Port p = {};
        p.name = name(key);
        p.dtype = dtype, p.batched = batched, p.is_output = output, p.bytes = t.bytes;
        const std::int64_t dims[] = {convlens::kBatch, channels, height, width};
        p.rank = batched ? 4 : 3;
        std::memcpy(p.dims, dims + (batched ? 0 : 1), p.rank * sizeof(std::int64_t));
        ports_.push_back(p);
        return add(t);
    }
    void instruction(const char* op, const std::vector<std::int32_t>& inputs, const std::vector<std::int32_t>& outputs,
                     const std::vector<std::int64_t>& attributes) {
        std::uint16_t opcode = 0;
        while (opcode < convlens::op_count() && std::strcmp(convlens::op_name(opcode), op) != 0) ++opcode;
        instructions_.push_back(
            {opcode, static_cast<std::uint16_t>(inputs.size()), static_cast<std::uint16_t>(outputs.size()),
             static_cast<std::uint16_t>(attributes.size()), static_cast<std::uint32_t>(operands_.size()),
             static_cast<std::uint32_t>(attributes_.size())});
        operands_.insert(operands_.end(), inputs.begin(), inputs.end());
        operands_.insert(operands_.end(), outputs.begin(), outputs.end());
        attributes_.insert(attributes_.end(), attributes.begin(), attributes.end());
    }
    // Instructions and ports since the last entry.
    void entry(const std::string& key) {
        convlens::RawEntry e = {};
        e.name = name(key);
        if (!entries_.empty()) {
            const convlens::RawEntry& last = entries_.back();
            e.first_instruction = last.first_instruction + last.n_instructions;
            e.first_port = last.first_port + last.n_inputs + last.n_outputs;
        }
        e.n_instructions = static_cast<std::uint32_t>(instructions_.size()) - e.first_instruction;
        for (std::size_t i = e.first_port; i < ports_.size(); ++i)
            ++(ports_[i].is_output != 0 ? e.n_outputs : e.n_inputs);
        entries_.push_back(e);
    }

    AlignedBytes build() const {
        convlens::FileHeader header = {};
        std::memcpy(header.magic, convlens::kMagic, sizeof(header.magic));
        header.major = convlens::kMajorVersion, header.minor = convlens::kMinorVersion;
        header.float64 = float64_;
        header.arena_fixed_bytes = fixed_bytes_, header.arena_image_bytes = image_bytes_;
        header.n_sections = convlens::kSections;
        const std::string metadata("{}", 3);  // with its zero byte
        std::vector<char> bytes(sizeof(header));
        int k = 0;
        section(&bytes, &header, k++, tensors_), section(&bytes, &header, k++, instructions_);
        section(&bytes, &header, k++, operands_), section(&bytes, &header, k++, attributes_);
        section(&bytes, &header, k++, entries_), section(&bytes, &header, k++, ports_);
        section(&bytes, &header, k++, weights_), section(&bytes, &header, k++, states_);
        section(&bytes, &header, k++, names_), section(&bytes, &header, k++, metadata),
            section(&bytes, &header, k++, data_);
        header.file_bytes = bytes.size();
        std::memcpy(bytes.data(), &header, sizeof(header));
        AlignedBytes result(bytes);
        if (!convlens::seal(result.data(), result.size()).ok()) std::abort();
        return result;
    }

  private:
    static convlens::Tensor shape(convlens::Layout layout, int channels, int height, int width, bool batched,
                                  convlens::DType dtype, int halo) {
        convlens::Tensor t = {};
        t.dtype = dtype, t.layout = layout, t.place = convlens::Place::arena, t.batched = batched;
        t.channels = channels, t.height = height, t.width = width, t.slot = -1;
        t.halo_top = t.halo_left = t.halo_bottom = t.halo_right = static_cast<std::uint16_t>(halo);
        return t;
    }
    std::int32_t buffer(convlens::Place place, const std::string& key, convlens::Layout layout, int channels,
                        int height, int width, const std::vector<char>* data) {
        const bool weight = place == convlens::Place::weight;
        std::vector<convlens::RawBuffer>& buffers = weight ? weights_ : states_;
        convlens::Tensor t = shape(layout, channels, height, width, false, convlens::DType::real, 0);
        t.place = place, t.slot = static_cast<std::int32_t>(buffers.size());
        t.bytes = convlens::tensor_bytes(t, float64_);
        buffers.push_back(
            {name(key), t.bytes, data == nullptr ? convlens::kNotInFile : static_cast<std::int64_t>(data_.size()), 0});
        if (data != nullptr) {
            data_.insert(data_.end(), data->begin(), data->end());
            data_.resize((data_.size() + 63) / 64 * 64);
        }
        return add(t);
    }
    std::int32_t add(const convlens::Tensor& t) {
        tensors_.push_back(t);
        return static_cast<std::int32_t>(tensors_.size()) - 1;
    }
    convlens::RawName name(const std::string& text) {
        const convlens::RawName result = {static_cast<std::uint32_t>(names_.size()),
                                          static_cast<std::uint32_t>(text.size())};
        names_.insert(names_.end(), text.c_str(), text.c_str() + text.size() + 1);
        return result;
    }
    template <class Records>
    static void section(std::vector<char>* bytes, convlens::FileHeader* header, int kind, const Records& records) {
        bytes->resize((bytes->size() + 63) / 64 * 64);
        const std::size_t size = records.size() * sizeof(records[0]);
        header->sections[kind] = {bytes->size(), size};
        const char* first = reinterpret_cast<const char*>(records.data());
        bytes->insert(bytes->end(), first, first + size);
    }

    bool float64_;
    std::int64_t fixed_bytes_ = 0, image_bytes_ = 0;
    std::vector<convlens::Tensor> tensors_;
    std::vector<convlens::RawInstruction> instructions_;
    std::vector<std::int32_t> operands_;
    std::vector<std::int64_t> attributes_;
    std::vector<convlens::RawEntry> entries_;
    std::vector<convlens::Port> ports_;
    std::vector<convlens::RawBuffer> weights_, states_;
    std::vector<char> names_, data_;
};

}  // namespace convlens_tests
