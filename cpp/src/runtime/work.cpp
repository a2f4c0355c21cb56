#include "runtime/work.hpp"

#include <atomic>
#include <cstring>

namespace convlens {
namespace {

std::atomic<bool> g_spares{true};

// Picoseconds a byte of the operands, where it is not what reading and writing memory takes.
struct Rate {
    const char* name;
    double picoseconds;
};
constexpr double kMemory = 24, kMultiply = 5, kOperation = 10;
constexpr double kProduct = 20;  // picoseconds each, not a byte
constexpr Rate kRates[] = {{"pack_weight", 170}, {"pack_winograd", 300}, {"resize", 60}, {"softmax", 100}};

bool is(const Op& op, const char* name) { return std::strcmp(op.name, name) == 0; }

// How often a pool looks at an element. (Max pools from the caches take 16 to 45 ps a byte and visit: AVX-512, 2 x 2.)
double visits_of(const Problem& p) {
    const Tensor &x = *p.inputs[0], &y = *p.outputs[0];
    const double windows = static_cast<double>(y.height) * y.width, elements = static_cast<double>(x.height) * x.width;
    const double visits = static_cast<double>(p.attribute(0) * p.attribute(1)) * windows / elements;
    return visits > 1 ? visits : 1;
}

// Of a convolution, forward or backward: how often a pixel of its smaller map is multiplied. A Winograd tile's products
// are those of its positions.
double products_of(const Op& op, const Problem& p) {
    const Instruction& i = *p.instruction;
    double taps = static_cast<double>(p.attribute(0) * p.attribute(1)) / static_cast<double>(p.attribute(8));
    if (std::strstr(op.name, "_winograd") != nullptr) {
        const double unit = static_cast<double>(p.attribute(i.n_attributes - 1));
        taps = (unit + 2) * (unit + 2) / (unit * unit);
    }
    for (int k = 0, maps = 0; k < i.n_inputs + i.n_outputs && maps < 2; ++k) {
        const Tensor* t = k < i.n_inputs ? p.inputs[k] : p.outputs[k - i.n_inputs];
        if (t != nullptr && t->batched != 0) taps *= static_cast<double>(t->channels), ++maps;
    }
    return taps;
}

}  // namespace

Work work_of(const Op& op, const Problem& problem) {
    double rate = kMemory;
    for (const Rate& row : kRates) {
        if (is(op, row.name)) rate = row.picoseconds;
    }
    if (is(op, "max_pool2d") || is(op, "avg_pool2d")) rate = kMemory * visits_of(problem);
    const Instruction& i = *problem.instruction;
    double pixels = 0;  // of the smallest image: as often is each weight multiplied
    const auto tensors = [&](auto&& take) {
        for (int k = 0; k < i.n_inputs; ++k) take(problem.inputs[k]);
        for (int k = 0; k < i.n_outputs; ++k) take(problem.outputs[k]);
    };
    Work work;
    double largest[2] = {0, 0};  // bytes, of one for the call and of one an image
    tensors([&](const Tensor* t) {
        if (t == nullptr) return;
        const double bytes = static_cast<double>(t->bytes), area = static_cast<double>(t->height) * t->width;
        (t->batched != 0 ? work.per_image : work.fixed) += bytes * rate;
        if (bytes > largest[t->batched]) largest[t->batched] = bytes;
        if (t->batched != 0 && (pixels == 0 || area < pixels)) pixels = area;
    });
    if (is(op, "elementwise")) {
        const double rated = kOperation * i.n_attributes;
        work = {largest[1] > 0 ? 0 : largest[0] * rated, largest[1] * rated};
    } else if (std::strncmp(op.name, "conv2d", 6) == 0 || std::strncmp(op.name, "depthwise", 9) == 0) {
        work.per_image += products_of(op, problem) * pixels * kProduct;
    } else {
        tensors([&](const Tensor* t) {
            // Weights: packed, or plain in one dimension.
            if (t == nullptr || t->batched != 0 || t->place == Place::state) return;
            if (t->height == 1 && t->width == 1) work.per_image += static_cast<double>(t->bytes) * pixels * kMultiply;
        });
    }
    return {work.fixed / 1000, work.per_image / 1000};
}

int Spread::threads(double work) {
    constexpr double kToWake = 60e3, kToShare = 4e3;  // nanoseconds, for each thread
    int threads = 1;
    if (threads_ > 1 && work >= 2 * kToShare) {
        if (now_ < 0) now_ = clock_();
        double share = work / kToShare;
        if (now_ - team_->region > awake_) {
            if (now_ - team_->alone > pause_) team_->debt = 0;
            team_->debt += work;
            share = team_->debt / kToWake;
        }
        threads = share >= threads_ ? threads_ : share < 2 ? 1 : static_cast<int>(share);
    }
    if (now_ < 0) return threads;
    now_ += work / threads;
    if (threads > 1) {
        team_->region = now_;
        team_->debt = 0;
        shared_ = true;
    } else {
        team_->alone = now_;
    }
    return threads;
}

Spread::~Spread() {
    if (shared_) team_->region += clock_() - now_;  // the work was an estimate
}

Team* team_of_thread() {
    thread_local Team team;
    return &team;
}

bool spares_threads() { return g_spares.load(std::memory_order_relaxed); }
void set_spares_threads(bool spares) { g_spares.store(spares, std::memory_order_relaxed); }

}  // namespace convlens
