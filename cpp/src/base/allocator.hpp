// The only way the core gets memory: an allocator that can fail, and that its user can replace.
#pragma once

#include <cstddef>

namespace convlens {

constexpr std::size_t kAlignment = 64;

// `allocate` returns at least `bytes` bytes aligned to at least 16, or null. Both may be called from any thread.
struct Allocator {
    void* (*allocate)(void* context, std::size_t bytes);
    void (*deallocate)(void* context, void* memory);
    void* context;
};

// Null goes back to malloc and free. A block is given back to the allocator it came from, so that the hooks may change
// while blocks are out; the old hooks must stay callable until theirs are back.
void set_allocator(const Allocator* allocator);

// 64-byte aligned; null when out of memory. allocate(0) is a valid block.
void* allocate(std::size_t bytes);
void deallocate(void* memory);  // null is allowed

}  // namespace convlens
