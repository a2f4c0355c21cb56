#include "runtime/file.hpp"

#include "harness.hpp"
#include "runtime/samples.hpp"

namespace {

using namespace convlens;
using namespace convlens_tests;

// Opens the file after `change`, checksums made right again; the message must hold `expected`.
template <class Change>
void refuses(const AlignedBytes& original, const char* expected, Change change) {
    AlignedBytes file = original;
    change(file);
    if (!seal(file.data(), file.size()).ok()) return;
    Program program;
    const Status status = program.open(file.data(), file.size());
    CHECK_SAY(!status.ok() && std::strstr(status.message, expected) != nullptr, "wanted \"%s\", got %d \"%.200s\"",
              expected, static_cast<int>(status.code), status.message);
}

Tensor& tensor(const AlignedBytes& file, int i) { return file.section<Tensor>(SectionKind::tensors)[i]; }

}  // namespace

TEST(crc32c_has_the_standards_check_value) {
    CHECK(crc32c("123456789", 9) == 0xe3069283u);
    CHECK(crc32c("56789", 5, crc32c("1234", 4)) == 0xe3069283u);
}

TEST(a_changed_byte_is_found_at_opening) {
    const AlignedBytes original = through_the_arena(3, 4, 5).build();
    const std::size_t data = original.header().sections[static_cast<int>(SectionKind::data)].offset;
    for (std::size_t i = 0; i < data; ++i) {
        AlignedBytes file = original;
        file.data()[i] ^= 1;
        Program program;
        CHECK_SAY(!program.open(file.data(), file.size()).ok(), "byte %zu", i);
    }
}

TEST(a_changed_weight_is_found_on_request) {
    Builder b = through_the_arena(3, 4, 5);
    const std::vector<char> data(64, 'w');
    b.weight("bias", Layout::plain, 16, 1, 1, &data);
    const AlignedBytes file = b.build();
    Program program;
    CHECK_OK(program.open(file.data(), file.size()));
    CHECK_OK(program.verify_data());
    CHECK(static_cast<const char*>(program.weight_data(0))[63] == 'w');
    file.section<char>(SectionKind::data)[5] ^= 1;
    CHECK(program.verify_data().code == Code::corrupt_file);
}

TEST(every_cut_of_a_file_is_refused) {
    const AlignedBytes original = through_the_arena(3, 4, 5).build();
    for (std::size_t size = 0; size < original.size(); ++size) {
        AlignedBytes file;
        file.assign(original.data(), size);
        if (size >= sizeof(FileHeader)) file.header().file_bytes = size;
        (void)seal(file.data(), size);
        Program program;
        CHECK(!program.open(file.data(), size).ok());
    }
}

TEST(other_files_and_versions_are_told_apart) {
    const AlignedBytes original = through_the_arena(3, 4, 5).build();
    refuses(original, "does not start with", [](AlignedBytes& f) { f.data()[0] = 'C'; });
    refuses(original, "has version 2.0", [](AlignedBytes& f) { f.header().major = 2; });
    refuses(original, "it was cut short", [](AlignedBytes& f) { f.header().file_bytes += 64; });
}

TEST(tensors_stay_within_their_place) {
    const AlignedBytes original = through_the_arena(3, 4, 5).build();  // tensor 0 arena, 1 port x, 2 port y
    refuses(original, "leave the arena", [](AlignedBytes& f) { tensor(f, 0).offset = 64; });
    refuses(original, "leave the arena", [](AlignedBytes& f) { tensor(f, 0).offset = -64; });
    refuses(original, "leave the arena", [](AlignedBytes& f) { tensor(f, 0).offset = INT64_MAX - 63; });
    refuses(original, "leave the arena", [](AlignedBytes& f) { f.header().arena_image_bytes -= 64; });
    refuses(original, "its shape does not give", [](AlignedBytes& f) { tensor(f, 0).bytes += 64; });
    refuses(original, "its shape does not give", [](AlignedBytes& f) { tensor(f, 0).channels = 17; });
    refuses(original, "its shape does not give",
            [](AlignedBytes& f) { tensor(f, 0).channels = tensor(f, 0).height = tensor(f, 0).width = INT32_MAX; });
    refuses(original, "slot", [](AlignedBytes& f) { tensor(f, 1).slot = 2; });
    refuses(original, "slot", [](AlignedBytes& f) { tensor(f, 1).slot = -1; });
    refuses(original, "differs from its port", [](AlignedBytes& f) {
        tensor(f, 1).channels = 2;
        tensor(f, 1).bytes = 2 * 4 * 5 * 4;
    });
    refuses(original, "no such value", [](AlignedBytes& f) { tensor(f, 1).dtype = static_cast<DType>(9); });
}

TEST(a_port_may_be_blocks_without_a_halo) {
    AlignedBytes file = through_the_arena(16, 4, 5).build();  // tensor 0 arena, 1 port x, 2 port y
    tensor(file, 1).layout = Layout::blocked;                 // as many bytes
    CHECK_OK(seal(file.data(), file.size()));
    Program program;
    CHECK_OK(program.open(file.data(), file.size()));
    refuses(file, "has a halo", [](AlignedBytes& f) { tensor(f, 1).halo_top = 1, tensor(f, 1).height = 3; });
    refuses(file, "differs from its port", [](AlignedBytes& f) { tensor(f, 1).batched = 0; });
    Workspace workspace;
    CHECK_OK(workspace.create(program, 1, 1));
    AlignedBytes x;
    x.assign(nullptr, 16 * 4 * 5 * 4 + 4);
    void* in[] = {x.data() + 4};
    Binding binding;
    binding.externals = in;
    CHECK(program.run(program.find_entry("in"), workspace, binding, 1, 1).code == Code::invalid_argument);
    in[0] = x.data();
    CHECK_OK(program.run(program.find_entry("in"), workspace, binding, 1, 1));
}

TEST(parts_are_blocks_of_a_batched_tensor) {
    Builder b;
    const std::int32_t whole = b.arena(Layout::blocked, 40, 3, 2, true, DType::real, 1);  // 20 pixels, three blocks
    const std::int32_t first = b.part(whole, 0, 16), rest = b.part(whole, 1, 24);
    b.arena(Layout::plain, 999, 1, 1);
    b.instruction("concat", {first}, {rest}, {0, -8, 1});
    b.entry("run");
    const AlignedBytes original = b.build();
    Program program;
    CHECK_OK(program.open(original.data(), original.size()));
    refuses(original, "no part of tensor", [](AlignedBytes& f) { tensor(f, 2).within = 2 * 20 * 64; });
    refuses(original, "no part of tensor", [](AlignedBytes& f) { tensor(f, 2).within = -20 * 64; });
    refuses(original, "no part of tensor", [](AlignedBytes& f) { tensor(f, 2).within += 4; });
    refuses(original, "no part of tensor", [](AlignedBytes& f) { tensor(f, 2).slot = 1; });
    refuses(original, "no part of tensor", [](AlignedBytes& f) { tensor(f, 2).slot = 4; });
    refuses(original, "no part of tensor", [](AlignedBytes& f) { tensor(f, 2).slot = -2; });
    refuses(original, "no part of tensor", [](AlignedBytes& f) { tensor(f, 2).offset = 64; });
    refuses(original, "no part of tensor", [](AlignedBytes& f) { tensor(f, 2).whole += 64; });
    refuses(original, "no part of tensor", [](AlignedBytes& f) { tensor(f, 2).batched = 0; });
    refuses(original, "no part of tensor", [](AlignedBytes& f) {
        tensor(f, 0).batched = 0;
        f.header().arena_fixed_bytes = f.header().arena_image_bytes;
    });
    refuses(original, "part of none", [](AlignedBytes& f) { tensor(f, 2).slot = -1; });
    refuses(original, "part of none", [](AlignedBytes& f) { tensor(f, 0).within = 64; });
    refuses(original, "lies over a part of input", [](AlignedBytes& f) { tensor(f, 2).within = 0; });
    refuses(original, "lies over a part of input",
            [](AlignedBytes& f) { f.section<std::int32_t>(SectionKind::operands)[0] = 0; });
}

TEST(instructions_use_only_what_is_theirs) {
    const AlignedBytes original = through_the_arena(3, 4, 5).build();
    const auto operand = [](AlignedBytes& f, int i) -> std::int32_t& {
        return f.section<std::int32_t>(SectionKind::operands)[i];
    };
    const auto raw = [](AlignedBytes& f, int i) -> RawInstruction& {
        return f.section<RawInstruction>(SectionKind::instructions)[i];
    };
    refuses(original, "is a weight or an input port", [&](AlignedBytes& f) { operand(f, 1) = 1; });
    refuses(original, "of another entry", [&](AlignedBytes& f) { operand(f, 0) = 2; });
    refuses(original, "operand 0 is 3", [&](AlignedBytes& f) { operand(f, 0) = 3; });
    refuses(original, "operand 0 is -2", [&](AlignedBytes& f) { operand(f, 0) = -2; });
    refuses(original, "opcode 999", [&](AlignedBytes& f) { raw(f, 0).opcode = 999; });
    refuses(original, "outside their sections", [&](AlignedBytes& f) { raw(f, 1).first_operand = 3; });
    refuses(original, "outside their sections", [&](AlignedBytes& f) { raw(f, 1).first_attribute = UINT32_MAX; });
    refuses(original, "outside their sections", [&](AlignedBytes& f) { raw(f, 1).n_inputs = 17; });
    refuses(original, "wrong direction", [](AlignedBytes& f) { f.section<Port>(SectionKind::ports)[0].is_output = 1; });
    refuses(original, "outside section names",
            [](AlignedBytes& f) { f.section<RawEntry>(SectionKind::entries)[0].name.bytes = 99; });
    refuses(original, "zero byte",
            [](AlignedBytes& f) { f.section<RawEntry>(SectionKind::entries)[0].name.bytes = 1; });
}

TEST(an_output_lies_over_the_whole_of_an_input_or_none_of_it) {
    Builder b;
    const std::int32_t x = b.arena(Layout::plain, 64, 1, 1), y = b.arena(Layout::plain, 64, 1, 1);
    b.instruction("reorder", {x}, {y}, {0, 0, bits_of(0)});
    b.entry("run");
    const AlignedBytes original = b.build();
    Program apart, alike;
    CHECK_OK(apart.open(original.data(), original.size()));
    refuses(original, "lies over a part of input", [](AlignedBytes& f) { tensor(f, 1).offset = 64; });
    AlignedBytes same = original;
    tensor(same, 1).offset = 0;
    CHECK_OK(seal(same.data(), same.size()));
    CHECK_OK(alike.open(same.data(), same.size()));
}
