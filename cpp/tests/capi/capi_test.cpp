#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "convlens.h"
#include "harness.hpp"
#include "runtime/samples.hpp"

namespace {

using namespace convlens_tests;

struct Opened {
    AlignedBytes file;
    convlens_program* program = nullptr;
    explicit Opened(const Builder& builder) : file(builder.build()) {
        CHECK(convlens_open_memory(file.data(), file.size(), &program) == CONVLENS_OK);
    }
    ~Opened() { convlens_close(program); }
};

bool says(const char* text) { return std::strstr(convlens_message(), text) != nullptr; }

std::vector<float> ramp(std::size_t size) {
    std::vector<float> x(size);
    for (std::size_t i = 0; i < size; ++i) x[i] = static_cast<float>(i) * 0.5f - 3.0f;
    return x;
}

}  // namespace

TEST(c_lists_entries_and_ports) {
    const Opened o(through_the_arena(20, 5, 7));
    CHECK(convlens_entry_count(o.program) == 2);
    CHECK(std::strcmp(convlens_entry_name(o.program, 1), "out") == 0);
    CHECK(convlens_entry_name(o.program, 2) == nullptr && convlens_entry_name(o.program, -1) == nullptr);
    CHECK(convlens_port_count(o.program, 0) == 1 && convlens_port_count(o.program, 7) == 0);
    convlens_port port;
    REQUIRE(convlens_get_port(o.program, 1, 0, &port) == CONVLENS_OK);
    CHECK(std::strcmp(port.name, "y") == 0 && port.is_output == 1 && port.dtype == CONVLENS_REAL && port.rank == 4);
    CHECK(port.dims[0] == -1 && port.dims[1] == 20 && port.dims[2] == 5 && port.dims[3] == 7 && port.bytes == 2800);
    CHECK(convlens_get_port(o.program, 1, 1, &port) == CONVLENS_INVALID_ARGUMENT && says("`i` (=1)"));
    std::size_t bytes = 0;
    CHECK(std::strcmp(convlens_metadata(o.program, &bytes), "{}") == 0 && bytes == 2);
    CHECK(convlens_is_float64(o.program) == 0);
    CHECK(convlens_verify_weights(o.program) == CONVLENS_OK);
}

TEST(c_runs_named_buffers_in_memory_of_its_own) {
    const Opened o(through_the_arena(20, 5, 7));
    AlignedBytes memory;
    memory.assign(nullptr, static_cast<std::size_t>(convlens_workspace_bytes(o.program, 2, 1)));
    convlens_workspace* workspace = nullptr;
    CHECK(convlens_workspace_create_in(o.program, 2, 1, memory.data(), memory.size() - 64, &workspace) != CONVLENS_OK);
    CHECK(workspace == nullptr && says("convlens_workspace_bytes"));
    REQUIRE(convlens_workspace_create_in(o.program, 2, 1, memory.data(), memory.size(), &workspace) == CONVLENS_OK);
    std::vector<float> x = ramp(2 * 20 * 5 * 7), y(x.size());
    const convlens_buffer in = {"x", x.data(), x.size() * 4}, out = {"y", y.data(), y.size() * 4};
    CHECK(convlens_run(o.program, "in", workspace, 2, 0, &in, 1) == CONVLENS_OK);
    CHECK(convlens_run(o.program, "out", workspace, 2, 0, &out, 1) == CONVLENS_OK);
    CHECK(x == y);

    CHECK(convlens_run(o.program, "in", workspace, 1, 0, &in, 1) == CONVLENS_INVALID_ARGUMENT &&
          says("`x` has 5600 bytes"));
    CHECK(convlens_run(o.program, "in", workspace, 2, 0, &out, 1) == CONVLENS_INVALID_ARGUMENT &&
          says("`y` is neither"));
    CHECK(convlens_run(o.program, "in", workspace, 2, 0, nullptr, 0) == CONVLENS_INVALID_ARGUMENT && says("`x`"));
    CHECK(convlens_run(o.program, "on", workspace, 2, 0, nullptr, 0) == CONVLENS_INVALID_ARGUMENT &&
          says("`entry` (=on)"));
    CHECK(convlens_run(o.program, "in", workspace, 3, 0, nullptr, 0) == CONVLENS_INVALID_ARGUMENT);
    CHECK(convlens_run(o.program, "in", workspace, -1, 0, &in, 1) == CONVLENS_INVALID_ARGUMENT);
    convlens_workspace_destroy(workspace);
}

TEST(c_binds_states_by_name) {
    Builder b;
    const std::int32_t x = b.port("x", false, 16, 1, 1, false), s = b.state("s", convlens::Layout::plain, 16, 1, 1);
    b.instruction("reorder", {x}, {s}, {0, 0, bits_of(0)});
    b.entry("set");
    const Opened o(b);
    const char* name = nullptr;
    std::int64_t bytes = 0;
    CHECK(convlens_state_count(o.program) == 1 && convlens_get_state(o.program, 0, &name, &bytes) == CONVLENS_OK);
    CHECK(std::strcmp(name, "s") == 0 && bytes == 64);
    CHECK(convlens_get_state(o.program, 1, &name, &bytes) == CONVLENS_INVALID_ARGUMENT);
    convlens_workspace* workspace = nullptr;
    REQUIRE(convlens_workspace_create(o.program, 0, 0, &workspace) == CONVLENS_OK);
    std::vector<float> value = ramp(16);
    alignas(64) float state[16] = {0};
    const convlens_buffer buffers[] = {{"x", value.data(), 64}, {"s", state, 64}};
    CHECK(convlens_run(o.program, "set", workspace, 0, 0, buffers, 1) == CONVLENS_INVALID_ARGUMENT &&
          says("state `s`"));
    CHECK(convlens_run(o.program, "set", workspace, 0, 0, buffers, 2) == CONVLENS_OK);
    CHECK(std::memcmp(state, value.data(), 64) == 0);
    convlens_workspace_destroy(workspace);
}

TEST(c_opens_files_and_says_why_it_cannot) {
    char path[] = "/tmp/convlens_XXXXXX";
    const int descriptor = mkstemp(path);
    REQUIRE(descriptor >= 0);
    convlens_program* program = nullptr;
    CHECK(convlens_open_file(path, &program) == CONVLENS_CORRUPT_FILE && says("is empty"));
    const AlignedBytes file = through_the_arena(3, 4, 4).build();
    CHECK(write(descriptor, file.data(), file.size()) == static_cast<ssize_t>(file.size()));
    CHECK(convlens_open_file(path, &program) == CONVLENS_OK && program != nullptr);
    convlens_close(program);
    CHECK(ftruncate(descriptor, static_cast<off_t>(file.size() - 1)) == 0);
    CHECK(convlens_open_file(path, &program) == CONVLENS_CORRUPT_FILE && program == nullptr && says("cut short"));
    close(descriptor);
    std::remove(path);
    CHECK(convlens_open_file(path, &program) == CONVLENS_IO && says("No such file"));
    CHECK(convlens_open_file("/tmp", &program) == CONVLENS_IO && says("must be a regular file"));
    CHECK(convlens_open_file(nullptr, &program) == CONVLENS_INVALID_ARGUMENT && says("`path`"));
    CHECK(convlens_open_memory(file.data() + 4, file.size() - 4, &program) == CONVLENS_INVALID_ARGUMENT);
}

namespace {

void* refuse(void* context, std::size_t) {
    ++*static_cast<int*>(context);
    return nullptr;
}
void release(void*, void* memory) { std::free(memory); }

}  // namespace

TEST(c_hooks_replace_the_allocator) {
    const AlignedBytes file = through_the_arena(3, 4, 4).build();
    int asked = 0;
    convlens_program* program = nullptr;
    CHECK(convlens_set_allocator(refuse, nullptr, nullptr) == CONVLENS_INVALID_ARGUMENT);
    CHECK(convlens_set_allocator(refuse, release, &asked) == CONVLENS_OK);
    CHECK(convlens_open_memory(file.data(), file.size(), &program) == CONVLENS_OUT_OF_MEMORY && asked == 1);
    CHECK(convlens_set_allocator(nullptr, nullptr, nullptr) == CONVLENS_OK);
    CHECK(convlens_open_memory(file.data(), file.size(), &program) == CONVLENS_OK);
    convlens_close(program);
}

TEST(c_sets_threads_and_isa) {
    const int before = convlens_threads();
    CHECK(convlens_set_threads(0) == CONVLENS_INVALID_ARGUMENT && says("`threads` (=0)"));
    CHECK(convlens_set_threads(1) == CONVLENS_OK && convlens_threads() == 1);
    CHECK(convlens_set_threads(before) == CONVLENS_OK);
    const std::string isa = convlens_isa();
    CHECK(convlens_select_isa("pentium") == CONVLENS_INVALID_ARGUMENT && isa == convlens_isa());
    CHECK(convlens_select_isa(isa.c_str()) == CONVLENS_OK && std::strstr(convlens_isa_reason(), "selected") != nullptr);
}
