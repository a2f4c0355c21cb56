#include "runtime/program.hpp"

#include <thread>

#include "base/allocator.hpp"
#include "base/parallel.hpp"
#include "harness.hpp"
#include "runtime/samples.hpp"

namespace {

using namespace convlens;
using namespace convlens_tests;

std::vector<float> ramp(std::size_t size) {
    std::vector<float> x(size);
    for (std::size_t i = 0; i < size; ++i) x[i] = static_cast<float>(i) * 0.5f - 3.0f;
    return x;
}

// Runs both entries of through_the_arena().
Status copy(const Program& program, Workspace& workspace, std::int64_t n, const float* x, float* y, int threads) {
    void* in[] = {const_cast<float*>(x)};
    void* out[] = {y};
    Binding binding;
    binding.externals = in;
    CONVLENS_RETURN_IF_ERROR(program.run(program.find_entry("in"), workspace, binding, n, threads));
    binding.externals = out;
    return program.run(program.find_entry("out"), workspace, binding, n, threads);
}

}  // namespace

TEST(a_program_runs_any_batch_up_to_the_workspaces) {
    const AlignedBytes file = through_the_arena(20, 5, 7).build();
    Program program;
    CHECK_OK(program.open(file.data(), file.size()));
    for (int threads : {1, 2, 3}) {
        Workspace workspace;
        CHECK_OK(workspace.create(program, 3, threads));
        for (std::int64_t n = 0; n <= 3; ++n) {
            const std::vector<float> x = ramp(static_cast<std::size_t>(n) * 20 * 5 * 7);
            std::vector<float> y(x.size(), -1.0f);
            CHECK_OK(copy(program, workspace, n, x.data(), y.data(), threads));
            CHECK(x == y);
        }
        float none = 0;
        CHECK(!copy(program, workspace, 4, &none, &none, 1).ok());
    }
}

TEST(the_arena_is_a_plus_b_n_plus_c_threads) {
    const AlignedBytes file = through_the_arena(20, 5, 7).build();
    Program program;
    CHECK_OK(program.open(file.data(), file.size()));
    const std::int64_t image = 2 * 7 * 9 * 64;  // two blocks, a halo of one
    CHECK(program.arena_need().per_image_bytes >= image);
    const std::int64_t none = program.arena_bytes(0, 1), one = program.arena_bytes(1, 1),
                       two = program.arena_bytes(2, 1);
    CHECK(two - one == one - none && one - none == program.arena_need().per_image_bytes);
    CHECK(program.arena_bytes(INT64_MAX / 2, 1) == -1);
    CHECK(program.arena_bytes(-1, 1) == -1);
    Workspace workspace;
    CHECK(workspace.create(program, std::int64_t{1} << 45, 1).code == Code::out_of_memory);
}

TEST(a_workspace_may_lie_in_the_callers_memory) {
    const AlignedBytes file = through_the_arena(3, 4, 4).build();
    Program program;
    CHECK_OK(program.open(file.data(), file.size()));
    AlignedBytes memory;
    memory.assign(nullptr, static_cast<std::size_t>(program.arena_bytes(2, 1)));
    Workspace small, crooked, right;
    CHECK(!small.create_in(program, 2, 1, memory.data(), memory.size() - 1).ok());
    CHECK(!crooked.create_in(program, 1, 1, memory.data() + 8, memory.size() - 8).ok());
    CHECK_OK(right.create_in(program, 2, 1, memory.data(), memory.size()));
    const std::vector<float> x = ramp(2 * 3 * 4 * 4);
    std::vector<float> y(x.size());
    CHECK_OK(copy(program, right, 2, x.data(), y.data(), 1));
    CHECK(x == y);
}

TEST(many_threads_run_one_program) {
    const AlignedBytes file = through_the_arena(17, 9, 9).build();
    Program program;
    REQUIRE(program.open(file.data(), file.size()).ok());
    const std::vector<float> x = ramp(2 * 17 * 9 * 9);
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            Workspace workspace;
            if (!workspace.create(program, 2, 2).ok()) ++wrong;
            std::vector<float> y(x.size());
            for (int i = 0; i < 50; ++i) {
                std::fill(y.begin(), y.end(), 0.0f);
                if (!copy(program, workspace, 2, x.data(), y.data(), 0).ok() || x != y) ++wrong;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
}

TEST(a_run_names_what_is_not_bound) {
    const AlignedBytes file = through_the_arena(3, 4, 4).build();
    Program program;
    CHECK_OK(program.open(file.data(), file.size()));
    Workspace workspace;
    CHECK_OK(workspace.create(program, 1, 1));
    const Status status = program.run(0, workspace, Binding{}, 1, 1);
    CHECK(status.code == Code::invalid_argument && std::strstr(status.message, "`x`") != nullptr);
    CHECK(program.run(2, workspace, Binding{}, 1, 1).code == Code::invalid_argument);
    Workspace empty;
    CHECK(program.run(0, empty, Binding{}, 1, 1).code == Code::invalid_argument);
}

namespace {

struct Budget {
    std::int64_t left;
    std::int64_t out = 0;  // blocks not given back
};

void* take(void* context, std::size_t bytes) {
    Budget& budget = *static_cast<Budget*>(context);
    if (budget.left-- <= 0) return nullptr;
    ++budget.out;
    return std::malloc(bytes);
}

void give(void* context, void* memory) {
    --static_cast<Budget*>(context)->out;
    std::free(memory);
}

}  // namespace

TEST(every_allocation_may_fail_and_nothing_leaks) {
    const AlignedBytes file = through_the_arena(3, 4, 4).build();
    bool succeeded = false;
    for (std::int64_t allowed = 0; allowed < 64 && !succeeded; ++allowed) {
        Budget budget{allowed};
        const Allocator failing = {take, give, &budget};
        set_allocator(&failing);
        {
            Program program;
            Workspace workspace;
            Status status = program.open(file.data(), file.size());
            if (status.ok()) status = workspace.create(program, 2, 1);
            succeeded = status.ok();
            CHECK(succeeded || status.code == Code::out_of_memory);
            if (succeeded) {  // running allocates nothing
                budget.left = 0;
                const std::vector<float> x = ramp(2 * 3 * 4 * 4);
                std::vector<float> y(x.size());
                CHECK_OK(copy(program, workspace, 2, x.data(), y.data(), 1));
                CHECK(x == y && budget.left == 0);
            }
        }
        set_allocator(nullptr);
        CHECK(budget.out == 0);
    }
    CHECK(succeeded);
}

TEST(a_program_keeps_the_isa_it_was_opened_with) {
    const AlignedBytes file = through_the_arena(3, 4, 4).build();
    const std::string before = active_kernels()->isa;
    int count = 0;
    const Kernels* all = all_kernels(&count);
    for (int i = 0; i < count; ++i) {
        if (why_not_runnable(all[i])[0] != '\0') {
            CHECK(select_kernels(all[i].isa).code == Code::unsupported);
            continue;
        }
        CHECK_OK(select_kernels(all[i].isa));
        Program program;
        CHECK_OK(program.open(file.data(), file.size()));
        CHECK(&program.kernels() == &all[i]);
        for (int j = 0; j < i; ++j) CHECK(all[i].f32 != all[j].f32 && all[i].f64 != all[j].f64);
    }
    CHECK(select_kernels("pentium").code == Code::invalid_argument);
    CHECK_OK(select_kernels(before.c_str()));
}

TEST(the_program_with_every_op_opens_and_runs) {
    for (bool float64 : {false, true}) {
        const AlignedBytes file = every_op(float64).build();
        Program program;
        const Status status = program.open(file.data(), file.size());
        CHECK_OK(status);
        if (!status.ok()) continue;
        bool used[64] = {false};
        for (std::int64_t i = 0; i < program.n_instructions(); ++i) used[program.problem(i).instruction->opcode] = true;
        for (int op = 0; op < op_count(); ++op)
            CHECK_SAY(used[op], "%s is not in the sample", op_name(static_cast<std::uint16_t>(op)));
    }
}

TEST(operands_that_are_left_out_are_refused_or_do_without) {
    for (bool float64 : {false, true}) {
        const AlignedBytes file = every_op(float64).build();
        const Section operands = file.header().sections[static_cast<int>(SectionKind::operands)];
        const auto count = static_cast<std::int64_t>(operands.bytes / sizeof(std::int32_t));
        int refused = 0;
        for (std::int64_t i = 0; i < count; ++i) {
            AlignedBytes without = file;
            without.section<std::int32_t>(SectionKind::operands)[i] = kAbsent;
            CHECK_OK(seal(without.data(), without.size()));
            Program program;
            const Status status = program.open(without.data(), without.size());
            CHECK_SAY(status.ok() || status.code == Code::corrupt_file, "operand %d: %s", static_cast<int>(i),
                      status.message);
            refused += status.ok() ? 0 : 1;
        }
        CHECK(refused > count / 2 && refused < count);
    }
}
