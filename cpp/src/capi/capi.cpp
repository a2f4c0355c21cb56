#include <cstring>
#include <new>

#include "base/allocator.hpp"
#include "base/parallel.hpp"
#include "convlens.h"
#include "runtime/map.hpp"
#include "runtime/program.hpp"

using convlens::Code;
using convlens::fail;
using convlens::Status;

struct convlens_program {
    convlens::MappedFile file;
    convlens::Program core;
};

struct convlens_workspace {
    convlens::Workspace core;
    bool owned = false;
};

namespace {

// Ports and states of one call are gathered on the stack, so that running allocates nothing.
constexpr int kMaxSlots = 1024;

// The handle lies before the arena.
constexpr std::size_t kHandleBytes =
    (sizeof(convlens_workspace) + convlens::kAlignment - 1) / convlens::kAlignment * convlens::kAlignment;

thread_local char t_message[sizeof(Status::message)] = {0};

int report(const Status& status) {
    if (!status.ok()) std::memcpy(t_message, status.message, sizeof(t_message));
    return static_cast<int>(status.code);
}

int missing(const char* parameter) { return report(fail(Code::invalid_argument, "`%s` must not be null", parameter)); }

template <class T>
T* create() {
    void* memory = convlens::allocate(sizeof(T));
    return memory == nullptr ? nullptr : new (memory) T();
}

template <class T>
void destroy(T* object) {
    if (object == nullptr) return;
    object->~T();
    convlens::deallocate(object);
}

Status no_handle() { return fail(Code::out_of_memory, "no memory for a handle"); }

bool has_entry(const convlens_program* program, int entry) {
    return program != nullptr && entry >= 0 && entry < program->core.n_entries();
}

int ports_of(const convlens::RawEntry& entry) { return static_cast<int>(entry.n_inputs + entry.n_outputs); }

// The place of a named buffer among the externals or the states.
Status place(const convlens::Program& program, const convlens::RawEntry& entry, const convlens_buffer& buffer,
             std::int64_t n, void** externals, void** states) {
    if (buffer.name == nullptr) return fail(Code::invalid_argument, "`buffers` holds one whose name is null");
    for (int i = 0; i < ports_of(entry); ++i) {
        const convlens::Port& port = program.port(entry, static_cast<std::uint32_t>(i));
        if (std::strcmp(program.name(port.name), buffer.name) != 0) continue;
        std::int64_t bytes = port.bytes;
        if (port.batched != 0 && (n < 0 || __builtin_mul_overflow(bytes, n, &bytes))) bytes = -1;
        if (bytes < 0 || buffer.bytes != static_cast<std::size_t>(bytes)) {
            return fail(Code::invalid_argument, "`%.80s` has %zu bytes, %lld images need %lld", buffer.name,
                        buffer.bytes, static_cast<long long>(n), static_cast<long long>(bytes));
        }
        externals[i] = buffer.data;
        return {};
    }
    for (int i = 0; i < program.n_states(); ++i) {
        const convlens::RawBuffer& state = program.state(i);
        if (std::strcmp(program.name(state.name), buffer.name) != 0) continue;
        if (buffer.bytes < static_cast<std::size_t>(state.bytes)) {
            return fail(Code::invalid_argument, "state `%.80s` has %zu bytes and needs %lld", buffer.name, buffer.bytes,
                        static_cast<long long>(state.bytes));
        }
        states[i] = buffer.data;
        return {};
    }
    return fail(Code::invalid_argument, "`%.80s` is neither an input nor an output of `%.80s`, nor a state",
                buffer.name, program.name(entry.name));
}

}  // namespace

const char* convlens_message(void) { return t_message; }
const char* convlens_version(void) { return CONVLENS_VERSION; }
const char* convlens_isa(void) {
    const convlens::Kernels* kernels = convlens::active_kernels();
    return kernels == nullptr ? "" : kernels->isa;
}
const char* convlens_isa_reason(void) { return convlens::active_kernels_reason(); }
int convlens_select_isa(const char* isa) {
    return isa == nullptr ? missing("isa") : report(convlens::select_kernels(isa));
}
int convlens_has_openmp(void) { return convlens::openmp_enabled() ? 1 : 0; }
int convlens_threads(void) { return convlens::max_threads(); }
int convlens_set_threads(int threads) {
    if (threads < 1) return report(fail(Code::invalid_argument, "`threads` (=%d) must be 1 or more", threads));
    convlens::set_max_threads(threads);
    return CONVLENS_OK;
}

int convlens_set_allocator(void* (*allocate)(void*, size_t), void (*deallocate)(void*, void*), void* context) {
    if ((allocate == nullptr) != (deallocate == nullptr))
        return missing(allocate == nullptr ? "allocate" : "deallocate");
    const convlens::Allocator hooks = {allocate, deallocate, context};
    convlens::set_allocator(allocate == nullptr ? nullptr : &hooks);
    return CONVLENS_OK;
}

int convlens_open_file(const char* path, convlens_program** program) {
    if (path == nullptr || program == nullptr) return missing(path == nullptr ? "path" : "program");
    *program = nullptr;
    convlens_program* opened = create<convlens_program>();
    if (opened == nullptr) return report(no_handle());
    Status status = opened->file.open(path);
    if (status.ok()) status = opened->core.open(opened->file.data(), opened->file.size());
    if (status.ok()) {
        *program = opened;
    } else {
        destroy(opened);
    }
    return report(status);
}

int convlens_open_memory(const void* memory, size_t bytes, convlens_program** program) {
    if (memory == nullptr || program == nullptr) return missing(memory == nullptr ? "memory" : "program");
    *program = nullptr;
    convlens_program* opened = create<convlens_program>();
    if (opened == nullptr) return report(no_handle());
    const Status status = opened->core.open(memory, bytes);
    if (status.ok()) {
        *program = opened;
    } else {
        destroy(opened);
    }
    return report(status);
}

void convlens_close(convlens_program* program) { destroy(program); }

int convlens_verify_weights(const convlens_program* program) {
    return program == nullptr ? missing("program") : report(program->core.verify_data());
}

int convlens_is_float64(const convlens_program* program) {
    return program != nullptr && program->core.float64() ? 1 : 0;
}

const char* convlens_metadata(const convlens_program* program, size_t* bytes) {
    std::size_t size = 0;
    const char* text = program == nullptr ? "" : program->core.metadata(&size);
    if (bytes != nullptr) *bytes = size;
    return text;
}

int convlens_entry_count(const convlens_program* program) { return program == nullptr ? 0 : program->core.n_entries(); }

const char* convlens_entry_name(const convlens_program* program, int entry) {
    return has_entry(program, entry) ? program->core.name(program->core.entry(entry).name) : nullptr;
}

int convlens_port_count(const convlens_program* program, int entry) {
    return has_entry(program, entry) ? ports_of(program->core.entry(entry)) : 0;
}

int convlens_get_port(const convlens_program* program, int entry, int i, convlens_port* port) {
    if (port == nullptr) return missing("port");
    if (i < 0 || i >= convlens_port_count(program, entry)) {
        return report(fail(Code::invalid_argument, "`i` (=%d) is no port of entry %d, which has %d", i, entry,
                           convlens_port_count(program, entry)));
    }
    const convlens::Port& from = program->core.port(program->core.entry(entry), static_cast<std::uint32_t>(i));
    *port = {program->core.name(from.name), static_cast<int>(from.dtype), from.is_output, from.rank, {0}, from.bytes};
    std::memcpy(port->dims, from.dims, sizeof(port->dims));
    return CONVLENS_OK;
}

int convlens_state_count(const convlens_program* program) { return program == nullptr ? 0 : program->core.n_states(); }

int convlens_get_state(const convlens_program* program, int i, const char** name, int64_t* bytes) {
    if (i < 0 || i >= convlens_state_count(program)) {
        return report(fail(Code::invalid_argument, "`i` (=%d) is no state of this program", i));
    }
    const convlens::RawBuffer& state = program->core.state(i);
    if (name != nullptr) *name = program->core.name(state.name);
    if (bytes != nullptr) *bytes = state.bytes;
    return CONVLENS_OK;
}

int64_t convlens_workspace_bytes(const convlens_program* program, int64_t n, int threads) {
    if (program == nullptr || threads < 0) return -1;
    const std::int64_t bytes = program->core.arena_bytes(n, threads == 0 ? convlens::max_threads() : threads);
    return bytes < 0 ? -1 : bytes + static_cast<std::int64_t>(kHandleBytes);
}

int convlens_workspace_create(const convlens_program* program, int64_t n, int threads, convlens_workspace** workspace) {
    if (program == nullptr || workspace == nullptr) return missing(program == nullptr ? "program" : "workspace");
    *workspace = nullptr;
    convlens_workspace* created = create<convlens_workspace>();
    if (created == nullptr) return report(no_handle());
    created->owned = true;
    const Status status = created->core.create(program->core, n, threads);
    if (status.ok()) {
        *workspace = created;
    } else {
        destroy(created);
    }
    return report(status);
}

int convlens_workspace_create_in(const convlens_program* program, int64_t n, int threads, void* memory, size_t bytes,
                                 convlens_workspace** workspace) {
    if (program == nullptr || workspace == nullptr) return missing(program == nullptr ? "program" : "workspace");
    *workspace = nullptr;
    if (memory == nullptr || reinterpret_cast<std::uintptr_t>(memory) % convlens::kAlignment != 0) {
        return report(fail(Code::invalid_argument, "`memory` (=%p) must be aligned to 64 bytes", memory));
    }
    const std::int64_t need = convlens_workspace_bytes(program, n, threads);
    if (need < 0 || bytes < static_cast<std::size_t>(need)) {
        return report(fail(Code::invalid_argument, "`bytes` (=%zu) must be convlens_workspace_bytes (%lld) or more",
                           bytes, static_cast<long long>(need)));
    }
    convlens_workspace* created = new (memory) convlens_workspace();
    const Status status = created->core.create_in(program->core, n, threads, static_cast<char*>(memory) + kHandleBytes,
                                                  bytes - kHandleBytes);
    if (status.ok()) *workspace = created;
    return report(status);
}

void convlens_workspace_destroy(convlens_workspace* workspace) {
    if (workspace == nullptr) return;
    if (workspace->owned) {
        destroy(workspace);
    } else {
        workspace->~convlens_workspace();
    }
}

int convlens_run(const convlens_program* program, const char* entry, convlens_workspace* workspace, int64_t n,
                 int threads, const convlens_buffer* buffers, int n_buffers) {
    if (program == nullptr || entry == nullptr || workspace == nullptr || (buffers == nullptr && n_buffers > 0)) {
        return missing(program == nullptr     ? "program"
                       : entry == nullptr     ? "entry"
                       : workspace == nullptr ? "workspace"
                                              : "buffers");
    }
    const convlens::Program& core = program->core;
    const int index = core.find_entry(entry);
    if (index < 0) return report(fail(Code::invalid_argument, "`entry` (=%.80s) is no entry of this program", entry));
    const convlens::RawEntry& raw = core.entry(index);
    if (ports_of(raw) > kMaxSlots || core.n_states() > kMaxSlots) {
        return report(fail(Code::unsupported, "entry `%.80s` has more than %d ports or states", entry, kMaxSlots));
    }
    void* externals[kMaxSlots];
    void* states[kMaxSlots];
    std::memset(externals, 0, static_cast<std::size_t>(ports_of(raw)) * sizeof(void*));
    std::memset(states, 0, static_cast<std::size_t>(core.n_states()) * sizeof(void*));
    for (int i = 0; i < n_buffers; ++i) {
        const Status placed = place(core, raw, buffers[i], n, externals, states);
        if (!placed.ok()) return report(placed);
    }
    convlens::Binding binding;
    binding.externals = externals;
    binding.states = states;
    return report(core.run(index, workspace->core, binding, n, threads));
}
