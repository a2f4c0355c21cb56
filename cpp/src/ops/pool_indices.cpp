#include "ops/pool_indices.hpp"

#include <atomic>

#include "base/allocator.hpp"
#include "base/parallel.hpp"

namespace convlens {
namespace {

struct ToIndices {
    const PoolPlanes& pool;
    const std::uint8_t* offset;
    std::int64_t* indices;
    std::int64_t rows_a_task;
    std::int64_t distances[256];  // of a window's positions from its corner

    void run(std::int64_t task) {
        const PoolWindow& w = pool.window;
        const std::int64_t rows = pool.rows(false), end = min_of(rows, (task + 1) * rows_a_task);
        for (std::int64_t row = task * rows_a_task; row < end; ++row) {
            const std::int64_t y0 = row % pool.height * w.stride_height - w.pad_top, at = row * pool.width;
            for (std::int64_t i = 0; i < pool.width; ++i) {
                indices[at + i] = y0 * w.width + i * w.stride_width - w.pad_left + distances[offset[at + i]];
            }
        }
    }
};

// Tasks of rows of dx; each brings the windows it meets into bytes first, in a piece of `offsets` of its thread.
template <class Real>
struct Gradient {
    const PoolPlanes& pool;
    PlainPool<Real> cut;
    const Kernels* kernels;
    const Real* dy;
    const std::int64_t* indices;
    Real* dx;
    std::uint8_t* offsets;
    std::int64_t offsets_a_thread;
    std::atomic<bool> wrong;

    void run(std::int64_t task, int thread) {
        const PoolWindow& w = pool.window;
        const std::int64_t row0 = task * cut.chunk, row1 = min_of(pool.rows(true), row0 + cut.chunk);
        const std::int64_t first = row0 % w.height + w.pad_top - (w.kernel_height - 1) * w.dilation_height;
        const std::int64_t last = (row1 - 1) % w.height + w.pad_top;
        // A plane's rows beyond its last window have none: those before are then the task's too.
        const std::int64_t from =
            row0 / w.height * pool.height + min_of(pool.height, first <= 0 ? 0 : ceil_div(first, w.stride_height));
        const std::int64_t to = (row1 - 1) / w.height * pool.height + min_of(pool.height, last / w.stride_height + 1);
        const std::int64_t windows = pool.rows(false) * pool.width;
        std::uint8_t* offset = offsets + thread * offsets_a_thread + kSlack - from * pool.width;
        bool bad = false;
        const auto& set = kernels->set<Real>();
        if (from < to) {
            set.pool_places({&w, indices, windows, offset, pool.height, pool.width, from, to, &bad});
        }
        const PoolPlanes& of = cut.of;
        const bool one = of.planes == 1;
        set.max_pool_plane_grad({&of.window, dy, of.width, one ? 0 : of.height * of.width, offset,
                                 min_of(windows, to * pool.width + kSlack), of.height, of.width, dx, of.window.width,
                                 one ? 0 : of.window.height * of.window.width, row0, row1});
        if (bad) wrong.store(true, std::memory_order_relaxed);
    }
    static constexpr std::int64_t kSlack = 64;  // what vectors reach beyond
};

CONVLENS_COLD Status no_memory() { return fail(Code::out_of_memory, "no memory for the positions of a window"); }

}  // namespace

CONVLENS_COLD Status indices_of_offsets(const PoolPlanes& pool, const std::uint8_t* offset, std::int64_t* indices) {
    const PoolWindow& w = pool.window;
    const CallGuard guard;
    ToIndices c = {pool, offset, indices, 0, {}};
    for (std::int64_t i = 0; i < w.kernel_height * w.kernel_width; ++i) {
        c.distances[i] = i / w.kernel_width * w.dilation_height * w.width + i % w.kernel_width * w.dilation_width;
    }
    c.rows_a_task = units_per_task(pool.width * static_cast<std::int64_t>(sizeof(std::int64_t)));
    const auto run = [](void* context, std::int64_t task, int) { static_cast<ToIndices*>(context)->run(task); };
    parallel_for(ceil_div(pool.rows(false), c.rows_a_task), guard.threads(), run, &c);
    return {};
}

template <class Real>
Status max_pool2d_grad_of_indices(const PoolPlanes& pool, const Real* dy, const std::int64_t* indices, Real* dx) {
    const CallGuard guard;
    PoolPlanes of = stacked(pool);
    if (of.window.width != pool.window.width) of = pool;  // rows of both are counted alike
    Gradient<Real> c = {pool, cut<Real>(of, 1, true), active_kernels(), dy, indices, dx, nullptr, 0, {false}};
    const std::int64_t planes = min_of(pool.planes, c.cut.chunk / pool.window.height + 2);
    c.offsets_a_thread = round_up(planes * pool.height * pool.width, kBlockBytes) + 2 * Gradient<Real>::kSlack;
    const std::int64_t threads = max_of(1, min_of(guard.threads(), c.cut.tasks()));
    c.offsets = static_cast<std::uint8_t*>(allocate(static_cast<std::size_t>(threads * c.offsets_a_thread)));
    if (c.offsets == nullptr) return no_memory();
    const auto run = [](void* context, std::int64_t task, int thread) {
        static_cast<Gradient<Real>*>(context)->run(task, thread);
    };
    parallel_for(c.cut.tasks(), static_cast<int>(threads), run, &c);
    deallocate(c.offsets);
    if (!c.wrong.load(std::memory_order_relaxed)) return {};
    return fail(Code::invalid_argument,
                "`indices` holds places outside their windows; pass those of max_pool2d with the same arguments");
}
template Status max_pool2d_grad_of_indices(const PoolPlanes&, const float*, const std::int64_t*, float*);
#if defined(CONVLENS_FLOAT64)
template Status max_pool2d_grad_of_indices(const PoolPlanes&, const double*, const std::int64_t*, double*);
#endif

}  // namespace convlens
