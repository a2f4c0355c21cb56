// Mutates a compiled file and opens what comes out; runs what opens. Under the address sanitizer nothing may be found.
//     fuzz_reader [mutations = 100000] [seed = 1] [file.cvl ...]
// Without a file it mutates a sample of its own. Nine in ten mutants get right checksums, or little would open.
#include <cstdio>

#include "base/parallel.hpp"
#include "runtime/map.hpp"
#include "runtime/samples.hpp"

namespace {

using namespace convlens;
using namespace convlens_tests;

// Mutants that need more are opened but not run.
constexpr std::int64_t kMostBytes = 1 << 21;

class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u | 1) {}
    std::uint64_t next() {
        state_ ^= state_ << 13, state_ ^= state_ >> 7, state_ ^= state_ << 17;
        return state_ * 0x2545f4914f6cdd1du;
    }
    std::uint64_t below(std::uint64_t bound) { return (next() >> 11) % bound; }

  private:
    std::uint64_t state_;
};

const std::int64_t kInteresting[] = {0,
                                     1,
                                     -1,
                                     2,
                                     3,
                                     15,
                                     16,
                                     17,
                                     63,
                                     64,
                                     65,
                                     127,
                                     128,
                                     255,
                                     256,
                                     32767,
                                     65535,
                                     65536,
                                     INT32_MAX,
                                     INT32_MIN,
                                     INT64_MAX,
                                     INT64_MIN,
                                     std::int64_t{1} << 40,
                                     std::int64_t{1} << 62};

void overwrite(Random& random, char* at, std::size_t room) {
    const std::size_t sizes[] = {1, 2, 4, 8};
    std::size_t size = sizes[random.below(4)];
    if (size > room) size = 1;
    std::uint64_t value = 0;
    std::memcpy(&value, at, size);
    switch (random.below(4)) {
        case 0:
            value ^= std::uint64_t{1} << random.below(size * 8);
            break;
        case 1:
            value += random.below(5) - 2;
            break;
        case 2:
            value =
                static_cast<std::uint64_t>(kInteresting[random.below(sizeof(kInteresting) / sizeof(kInteresting[0]))]);
            break;
        default:
            value = random.next();
    }
    std::memcpy(at, &value, size);
}

void mutate(Random& random, AlignedBytes& file) {
    const std::uint64_t changes = 1 + random.below(3);
    for (std::uint64_t i = 0; i < changes; ++i) {
        // A section is chosen first, or the largest would take nearly every change.
        const std::uint64_t kind = random.below(kSections + 1);
        const Section s = kind == kSections ? Section{8, sizeof(FileHeader) - 8} : file.header().sections[kind];
        if (s.bytes == 0 || s.offset >= file.size() || s.bytes > file.size() - s.offset) continue;
        std::size_t offset = random.below(s.bytes);
        if (random.below(2) == 0) offset = offset / 4 * 4;
        if (random.below(8) == 0 && s.bytes >= 16) {  // a piece of the same section somewhere else
            const std::size_t length = 1 + random.below(s.bytes / 2);
            std::memmove(file.data() + s.offset + random.below(s.bytes - length),
                         file.data() + s.offset + random.below(s.bytes - length), length);
        } else {
            overwrite(random, file.data() + s.offset + offset, s.bytes - offset);
        }
    }
}

// Blocks of exactly the bytes asked for, so that one byte too far is found.
class Blocks {
  public:
    void* add(std::int64_t bytes, char fill) {
        blocks_.emplace_back();
        blocks_.back().assign(nullptr, static_cast<std::size_t>(bytes));
        std::memset(blocks_.back().data(), fill, static_cast<std::size_t>(bytes));
        return blocks_.back().data();
    }
    Blocks() { blocks_.reserve(4096); }

  private:
    std::vector<AlignedBytes> blocks_;
};

bool small(const Program& program, std::int64_t n) {
    std::int64_t total = program.arena_bytes(n, 2);
    if (total < 0 || total > kMostBytes) return false;
    for (int i = 0; i < program.n_weights(); ++i) {
        if (program.weight(i).bytes > kMostBytes || (total += program.weight(i).bytes) > kMostBytes) return false;
    }
    for (int i = 0; i < program.n_states(); ++i) {
        if (program.state(i).bytes > kMostBytes || (total += program.state(i).bytes) > kMostBytes) return false;
    }
    for (int e = 0; e < program.n_entries(); ++e) {
        const RawEntry& entry = program.entry(e);
        for (std::uint32_t p = 0; p < entry.n_inputs + entry.n_outputs; ++p) {
            const std::int64_t bytes = program.port(entry, p).bytes;
            if (bytes > kMostBytes || (total += bytes * (n > 0 ? n : 1)) > kMostBytes) return false;
        }
    }
    return total <= kMostBytes;
}

bool run(const Program& program, Random& random) {
    const std::int64_t n = static_cast<std::int64_t>(random.below(3));
    if (!small(program, n)) return false;
    Workspace workspace;
    if (!workspace.create(program, n, 2).ok()) return false;
    const char fill = static_cast<char>(random.next());
    Blocks blocks;
    std::vector<void*> weights, states, externals;
    for (int i = 0; i < program.n_weights(); ++i) {
        const void* in_file = program.weight_data(i);
        weights.push_back(in_file != nullptr ? const_cast<void*>(in_file) : blocks.add(program.weight(i).bytes, fill));
    }
    for (int i = 0; i < program.n_states(); ++i) states.push_back(blocks.add(program.state(i).bytes, fill));
    for (int e = 0; e < program.n_entries(); ++e) {
        const RawEntry& entry = program.entry(e);
        externals.clear();
        for (std::uint32_t p = 0; p < entry.n_inputs + entry.n_outputs; ++p) {
            const Port& port = program.port(entry, p);
            externals.push_back(blocks.add(port.batched != 0 ? n * port.bytes : port.bytes, fill));
        }
        Binding binding;
        binding.weights = weights.data(), binding.states = states.data(), binding.externals = externals.data();
        (void)program.run(e, workspace, binding, n, 1);
    }
    return true;
}

bool load(const char* path, AlignedBytes* file) {
    MappedFile mapped;
    const Status status = mapped.open(path);
    if (!status.ok()) return std::printf("%s\n", status.message), false;
    file->assign(static_cast<const char*>(mapped.data()), mapped.size());
    Program program;
    const Status opened = program.open(file->data(), file->size());
    if (!opened.ok()) std::printf("%s: %s\n", path, opened.message);
    return opened.ok();
}

}  // namespace

// Whoever asks for more memory than there is gets a null pointer, under a sanitizer too.
#if defined(__SANITIZE_ADDRESS__)
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
#elif defined(__SANITIZE_THREAD__)
extern "C" const char* __tsan_default_options() { return "allocator_may_return_null=1"; }
#endif

int main(int count, char** arguments) {
    const long mutations = count > 1 ? std::atol(arguments[1]) : 100000;
    const std::uint64_t seed = count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 1;
    std::vector<AlignedBytes> files;
    for (int i = 3; i < count; ++i) {
        AlignedBytes file;
        if (!load(arguments[i], &file)) return 2;
        files.push_back(file);
    }
    if (files.empty()) {
        files.push_back(every_op().build());
        files.push_back(every_op(true).build());
    }
    long opened = 0, ran = 0;
    for (long i = 0; i < mutations; ++i) {
        Random random(seed + static_cast<std::uint64_t>(i));
        AlignedBytes mutant = files[static_cast<std::size_t>(i) % files.size()];
        mutate(random, mutant);
        if (random.below(10) != 0) (void)seal(mutant.data(), mutant.size());
        Program program;
        if (!program.open(mutant.data(), mutant.size()).ok()) continue;
        ++opened;
        (void)program.verify_data();
        ran += run(program, random) ? 1 : 0;
    }
    std::printf("%ld mutants, %ld opened, %ld ran\n", mutations, opened, ran);
    return opened == 0 || ran == 0 ? 1 : 0;
}
