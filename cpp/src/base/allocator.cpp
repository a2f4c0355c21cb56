#include "base/allocator.hpp"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace convlens {
namespace {

void* default_allocate(void*, std::size_t bytes) { return std::malloc(bytes); }
void default_deallocate(void*, void* memory) { std::free(memory); }

// Lies in the 64 bytes before each block: whom to give it back to, and what to give back.
struct Header {
    void (*deallocate)(void* context, void* memory);
    void* context;
    void* memory;
};
static_assert(sizeof(Header) <= kAlignment, "the header fits before an aligned block");

// Three words that change rarely; a spin on `g_version` (odd while they change) keeps readers from seeing half of them.
std::atomic<unsigned> g_version{0};
std::atomic<void* (*)(void*, std::size_t)> g_allocate{default_allocate};
std::atomic<void (*)(void*, void*)> g_deallocate{default_deallocate};
std::atomic<void*> g_context{nullptr};

Allocator current() {
    for (;;) {
        const unsigned before = g_version.load();
        const Allocator allocator = {g_allocate.load(), g_deallocate.load(), g_context.load()};
        if ((before & 1u) == 0 && g_version.load() == before) return allocator;
    }
}

}  // namespace

void set_allocator(const Allocator* allocator) {
    unsigned version = g_version.load();
    do {
        version &= ~1u;
    } while (!g_version.compare_exchange_weak(version, version + 1));
    g_allocate.store(allocator != nullptr ? allocator->allocate : default_allocate);
    g_deallocate.store(allocator != nullptr ? allocator->deallocate : default_deallocate);
    g_context.store(allocator != nullptr ? allocator->context : nullptr);
    g_version.store(version + 2);
}

void* allocate(std::size_t bytes) {
    if (bytes > SIZE_MAX - 2 * kAlignment) return nullptr;
    const Allocator allocator = current();
    void* memory = allocator.allocate(allocator.context, bytes + 2 * kAlignment);
    if (memory == nullptr) return nullptr;
    const std::uintptr_t first = reinterpret_cast<std::uintptr_t>(memory) + sizeof(Header);
    char* block = reinterpret_cast<char*>((first + kAlignment - 1) & ~static_cast<std::uintptr_t>(kAlignment - 1));
    const Header header = {allocator.deallocate, allocator.context, memory};
    std::memcpy(block - sizeof(Header), &header, sizeof(Header));
    return block;
}

void deallocate(void* memory) {
    if (memory == nullptr) return;
    Header header;
    std::memcpy(&header, static_cast<char*>(memory) - sizeof(Header), sizeof(Header));
    header.deallocate(header.context, header.memory);
}

}  // namespace convlens
