#include "ops/pool_indices.hpp"

#include <atomic>

#include "base/allocator.hpp"
#include "base/parallel.hpp"
#include "ops/geometry.hpp"

namespace convlens {
namespace {

constexpr std::int64_t kNobody = 256;

struct Conversion {
    const PoolPlanes& pool;
    const std::uint8_t* offset;
    const std::int64_t* indices;
    std::uint8_t* to_offset;
    std::int64_t* to_indices;
    std::int64_t rows_a_task;
    const std::int64_t* distances;  // of a window's positions from its corner
    const std::uint16_t* places;    // by distance below `reach`, or kNobody
    std::int64_t reach, inside0, inside1;
    std::atomic<bool> wrong;

    // The position of a window that may lie over an edge.
    std::int64_t place_of(std::int64_t index, std::int64_t y0, std::int64_t x0) const {
        const PoolWindow& w = pool.window;
        if (index < 0 || index >= w.height * w.width) return kNobody;
        const std::int64_t y = index / w.width - y0, x = index % w.width - x0;
        const std::int64_t ky = y / w.dilation_height, kx = x / w.dilation_width;
        const bool within = y >= 0 && x >= 0 && ky < w.kernel_height && kx < w.kernel_width;
        const bool on = ky * w.dilation_height == y && kx * w.dilation_width == x;
        return within && on ? ky * w.kernel_width + kx : kNobody;
    }
    void row_of_indices(std::int64_t at, std::int64_t y0) {
        const PoolWindow& w = pool.window;
        for (std::int64_t i = 0; i < pool.width; ++i) {
            to_indices[at + i] = y0 * w.width + i * w.stride_width - w.pad_left + distances[offset[at + i]];
        }
    }
    void row_of_offsets(std::int64_t at, std::int64_t y0) {
        const PoolWindow& w = pool.window;
        const bool over = y0 < 0 || y0 + (w.kernel_height - 1) * w.dilation_height >= w.height;
        const std::int64_t from = over ? pool.width : inside0, to = over ? pool.width : inside1;
        std::int64_t all = 0;
        const auto edge = [&](std::int64_t i) {
            const std::int64_t place = place_of(indices[at + i], y0, i * w.stride_width - w.pad_left);
            to_offset[at + i] = static_cast<std::uint8_t>(place);
            all |= place;
        };
        for (std::int64_t i = 0; i < from; ++i) edge(i);
        const std::int64_t nobody = reach;
        std::int64_t corner = y0 * w.width + from * w.stride_width - w.pad_left;
        for (std::int64_t i = from; i < to; ++i, corner += w.stride_width) {
            const auto away = static_cast<std::uint64_t>(indices[at + i]) - static_cast<std::uint64_t>(corner);
            const std::uint16_t place = places[away < static_cast<std::uint64_t>(reach) ? away : nobody];
            to_offset[at + i] = static_cast<std::uint8_t>(place);
            all |= place;
        }
        for (std::int64_t i = to; i < pool.width; ++i) edge(i);
        if ((all & kNobody) != 0) wrong.store(true, std::memory_order_relaxed);
    }
    void run(std::int64_t task) {
        const std::int64_t rows = pool.planes * pool.height, end = min_of(rows, (task + 1) * rows_a_task);
        std::int64_t row = task * rows_a_task, y = row % pool.height;
        for (; row < end; ++row, y = y + 1 == pool.height ? 0 : y + 1) {
            const std::int64_t y0 = y * pool.window.stride_height - pool.window.pad_top;
            to_indices != nullptr ? row_of_indices(row * pool.width, y0) : row_of_offsets(row * pool.width, y0);
        }
    }
};

Status convert(Conversion& c) {
    const PoolWindow& w = c.pool.window;
    const CallGuard guard;
    std::int64_t distances[256] = {};
    for (std::int64_t i = 0; i < w.kernel_height * w.kernel_width; ++i) {
        distances[i] = i / w.kernel_width * w.dilation_height * w.width + i % w.kernel_width * w.dilation_width;
    }
    c.distances = distances;
    // Windows that lie inside have distances that name one position, and all of them below the plane's size.
    const std::int64_t across = (w.kernel_width - 1) * w.dilation_width;
    const std::int64_t last = distances[w.kernel_height * w.kernel_width - 1];
    std::uint16_t* places = nullptr;
    if (c.to_offset != nullptr && across < w.width && last < w.height * w.width) {
        c.reach = last + 1;
        places = static_cast<std::uint16_t*>(allocate(static_cast<std::size_t>(c.reach + 1) * sizeof *places));
        if (places == nullptr) return fail(Code::out_of_memory, "no memory for the positions of a window");
        for (std::int64_t i = 0; i <= c.reach; ++i) places[i] = kNobody;
        for (std::int64_t i = 0; i < w.kernel_height * w.kernel_width; ++i) {
            places[distances[i]] = static_cast<std::uint16_t>(i);
        }
        c.inside0 = min_of(c.pool.width, ceil_div(w.pad_left, w.stride_width));
        c.inside1 = min_of(c.pool.width, (w.width - across - 1 + w.pad_left) / w.stride_width + 1);
        c.inside1 = max_of(c.inside0, c.inside1);
    }
    c.places = places;
    c.rows_a_task = units_per_task(c.pool.width * static_cast<std::int64_t>(sizeof(std::int64_t)));
    const auto run = [](void* context, std::int64_t task, int) { static_cast<Conversion*>(context)->run(task); };
    parallel_for(ceil_div(c.pool.planes * c.pool.height, c.rows_a_task), guard.threads(), run, &c);
    deallocate(places);
    if (!c.wrong.load(std::memory_order_relaxed)) return {};
    return fail(Code::invalid_argument,
                "`indices` holds places outside their windows; pass those of max_pool2d with the same arguments");
}

}  // namespace

Status indices_of_offsets(const PoolPlanes& pool, const std::uint8_t* offset, std::int64_t* indices) {
    Conversion c{pool, offset, nullptr, nullptr, indices, 0, nullptr, nullptr, 0, 0, 0, {false}};
    return convert(c);
}
Status offsets_of_indices(const PoolPlanes& pool, const std::int64_t* indices, std::uint8_t* offset) {
    Conversion c{pool, nullptr, indices, offset, nullptr, 0, nullptr, nullptr, 0, 0, 0, {false}};
    return convert(c);
}

}  // namespace convlens
