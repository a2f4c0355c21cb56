// A Program: instructions, checked and planned once, over bytes that its owner keeps. Immutable after open().
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/array.hpp"
#include "base/status.hpp"
#include "ops/op.hpp"
#include "runtime/file.hpp"
#include "runtime/work.hpp"

namespace convlens {

// Bytes of arena that n images on `threads` threads need: fixed + per_image * n + per_thread * threads.
struct ArenaNeed {
    std::int64_t fixed_bytes = 0, per_image_bytes = 0, per_thread_bytes = 0;
};

// What a call hands to an entry. Pointers may be null where the entry does not use the slot.
struct Binding {
    // One pointer a weight, 64-byte aligned; null: all of them from the file.
    const void* const* weights = nullptr;
    void* const* states = nullptr;     // one pointer a state, 64-byte aligned
    void* const* externals = nullptr;  // of the ports, inputs then outputs, aligned to elements or blocks
};

class Program;

// The memory one call runs in. Taking one may allocate; running does not. One call at a time; tensors that a later
// entry reads stay in it, so entries that belong together run on the same Workspace with the same n.
class Workspace {
  public:
    Workspace() = default;
    ~Workspace();
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;

    // For at most `n` images and `threads` threads (0: max_threads()).
    Status create(const Program& program, std::int64_t n, int threads);
    // In memory of the caller, 64-byte aligned, at least program.arena_bytes(n, threads) bytes.
    Status create_in(const Program& program, std::int64_t n, int threads, void* memory, std::size_t bytes);

    std::int64_t n() const { return n_; }
    int threads() const { return threads_; }
    std::int64_t bytes() const { return bytes_; }

  private:
    friend class Program;
    Status size_up(const Program& program, std::int64_t n, int threads);

    const Program* program_ = nullptr;
    char* arena_ = nullptr;
    bool owned_ = false;
    std::int64_t n_ = 0, bytes_ = 0;
    int threads_ = 0;
    std::atomic<bool> busy_{false};  // so that a second call at the same time is an error, not a garbled result
};

class Program {
  public:
    Program() = default;
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    // Borrows the bytes: they stay, unchanged and 8-byte aligned (64 when section `data` is used), as long as the
    // Program.
    Status open(const void* bytes, std::size_t size);
    // Reads all of section `data` once.
    Status verify_data() const;

    bool float64() const { return header_->float64 != 0; }
    const FileHeader& header() const { return *header_; }
    const Kernels& kernels() const { return *kernels_; }

    int n_entries() const { return n_entries_; }
    const RawEntry& entry(int i) const { return entries_[i]; }
    int find_entry(const char* name) const;  // -1 when there is none
    // Ports 0 .. n_inputs - 1 of an entry are its inputs, the next n_outputs its outputs.
    const Port& port(const RawEntry& entry, std::uint32_t i) const { return ports_[entry.first_port + i]; }
    int n_weights() const { return n_weights_; }
    const RawBuffer& weight(int i) const { return weights_[i]; }
    const void* weight_data(int i) const;  // null when bound at run
    int n_states() const { return n_states_; }
    const RawBuffer& state(int i) const { return states_[i]; }
    const char* name(RawName name) const { return names_ + name.offset; }  // ends in a zero byte
    const char* metadata(std::size_t* bytes) const;                        // without its zero byte
    std::int64_t n_instructions() const { return steps_.size(); }
    const Problem& problem(std::int64_t i) const { return problems_[i]; }
    const Op& op(std::int64_t i) const { return *steps_[i].op; }
    // Whether instruction i and the next two may go strip by strip.
    bool begins_strips(std::int64_t i) const { return steps_[i].strips != 0; }

    const ArenaNeed& arena_need() const { return need_; }
    // -1 when it does not fit 62 bits; n >= 0, threads >= 1.
    std::int64_t arena_bytes(std::int64_t n, int threads) const;
    // What an instance holds beside the bytes it borrows: tables and plans.
    std::int64_t table_bytes() const;

    // Runs an entry for n images (0 is allowed) on at most `threads` threads; 0: as many as its work is worth of
    // max_threads() shared with other calls in flight. Allocates nothing, takes no lock. The result does not depend on
    // the number of threads.
    Status run(int entry, Workspace& workspace, const Binding& binding, std::int64_t n, int threads) const;

  private:
    struct Step {
        const Op* op;
        std::int64_t plan_offset;  // -1: the op makes none
        Work work;
        std::int32_t strips = 0;      // 1 + the index in strips_ of those that begin here; 0: none
        bool shares_scratch = false;  // has scratch of the call
    };

    template <class T>
    const T* section(SectionKind kind, std::int64_t* count) const;
    Status read_header(const char* bytes, std::size_t size);
    Status read_sections();
    Status check_names(const RawName& name, const char* what, std::int64_t i) const;
    Status check_tensor(std::int64_t i) const;
    Status check_ports() const;
    Status check_entry(std::int64_t i) const;
    Status check_buffers(const RawBuffer* buffers, std::int64_t count, bool states) const;
    Status read_instruction(std::int64_t i);
    Status check_operands(std::int64_t i) const;
    Status plan();
    // Three instructions that go strip by strip, with what lies between them: as many rows as a strip needs.
    struct Strips {
        Problem problems[3];
        Tensor between[2];
        std::int64_t rows;  // of the second, at most
    };
    bool suits_strips(std::int64_t i, const Array<std::uint8_t>& uses) const;  // strips.cpp
    Status plan_strips();
    int strip_pieces(std::int64_t i, int threads) const;
    void run_strips(std::int64_t i, const Call* prepared, std::int64_t piece, int pieces, int thread) const;
    // Instructions of an entry that images go through one by one, and where in an image's part of the arena what only
    // they read may lie: a stretch of `bytes` from `begin`, for tensors whose first one lies at `low`, of the last one
    // ends `size` behind it.
    struct ByImage {
        std::int64_t first, count;
        std::int64_t begin, bytes;
        std::int64_t low, size;
        double work;         // of an image through them, in nanoseconds
        bool apart_threads;  // each thread may take images of its own
    };
    Status plan_by_image();  // by_image.cpp
    void find_entries();
    ByImage by_image_of(const RawEntry& entry);
    bool shares_bytes(const Problem& a, const Problem& b) const;
    // Of the tensor that a part is of, for a part.
    std::int64_t home_of(const Tensor* t) const { return t->is_part() ? t->slot : t - tensors_; }
    Status check_binding(const RawEntry& entry, const Binding& binding, std::int64_t n) const;
    // All images of a call, or one of them; `apart` is then the memory of tensors that no other image needs.
    struct Frame {
        char* arena;
        std::int64_t n, image;
        char* apart;
    };
    // Where a batched tensor of the arena is written, and whether it is read elsewhere too: before, within or after the
    // instructions of its entry that images go through one by one, or by another entry.
    enum class Span : std::uint8_t { unknown, before, within, across, after, shared };
    Span& span_of(const Tensor* t) { return spans_[home_of(t)]; }
    Span span_of(const Tensor* t) const { return spans_[home_of(t)]; }
    View view(const Tensor* tensor, const RawEntry& entry, const Binding& binding, const Frame& frame) const;
    void bind(Call* call, std::int64_t i, const RawEntry& entry, const Binding& binding, const Frame& frame) const;
    void run_image(std::int64_t first, std::int64_t last, const RawEntry& entry, const Binding& binding,
                   const Frame& frame, const Call& own) const;

    const char* bytes_ = nullptr;
    const FileHeader* header_ = nullptr;
    const Kernels* kernels_ = nullptr;
    const Tensor* tensors_ = nullptr;
    const RawInstruction* raw_ = nullptr;
    const std::int32_t* operands_ = nullptr;
    const std::int64_t* attributes_ = nullptr;
    const RawEntry* entries_ = nullptr;
    const Port* ports_ = nullptr;
    const RawBuffer* weights_ = nullptr;
    const RawBuffer* states_ = nullptr;
    const char* names_ = nullptr;
    std::int64_t n_tensors_ = 0, n_raw_ = 0, n_operands_ = 0, n_attributes_ = 0, n_ports_ = 0, names_bytes_ = 0;
    std::int64_t n_entries64_ = 0, n_weights64_ = 0, n_states64_ = 0;
    int n_entries_ = 0, n_weights_ = 0, n_states_ = 0;

    Array<Instruction> instructions_;
    Array<Problem> problems_;
    Array<Step> steps_;
    Array<char> plans_;
    Array<Strips> strips_;
    Array<Span> spans_;
    Array<ByImage> by_image_;  // one an entry
    ScratchNeed scratch_;
    ArenaNeed need_;
};

}  // namespace convlens
