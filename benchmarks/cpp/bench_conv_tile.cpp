// How near the convolutions come to the processor: their multiplications a second on one thread, beside the most it can
// do.
//
//     bench_conv_tile [repetitions] [part of a problem string]
//
// Peak and layer alternate in short bursts, since clocks move and neighbours are noisy; figures are medians, the
// percentage is the median of the ratios of neighbouring bursts.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include "base/allocator.hpp"
#include "base/float_mode.hpp"
#include "ops/geometry.hpp"
#include "ops/pack.hpp"

using namespace convlens;

namespace {

// Time this thread ran: what others take of a shared processor does not count.
double seconds() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

// ---- the peak: twelve independent accumulators, as many as hide the latency of two units ----

constexpr long kPeakRounds = 40000;

// Written as assembly, so that no compiler finds a shorter way to the same sums.
#define CONVLENS_TWELVE(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)
#if defined(__x86_64__)
#define CONVLENS_STEP_512(i) "vfmadd231ps %%zmm30, %%zmm31, %%zmm" #i "\n"
#define CONVLENS_STEP_256(i) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #i "\n"
#define CONVLENS_STEP_128(i) "mulps %%xmm14, %%xmm" #i "\n"
void peak_avx512() {
    for (long i = 0; i < kPeakRounds; ++i) {
        asm volatile(CONVLENS_TWELVE(CONVLENS_STEP_512)::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                           "xmm11");
    }
}
void peak_avx2() {
    for (long i = 0; i < kPeakRounds; ++i) {
        asm volatile(CONVLENS_TWELVE(CONVLENS_STEP_256)::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                           "xmm11");
    }
}
// Without fma a product and a sum are two instructions for the same two units.
void peak_portable() {
    for (long i = 0; i < 2 * kPeakRounds; ++i) {
        asm volatile(CONVLENS_TWELVE(CONVLENS_STEP_128)::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                           "xmm11");
    }
}
#elif defined(__aarch64__)
#define CONVLENS_STEP_128(i) "fmla v" #i ".4s, v30.4s, v31.4s\n"
void peak_neon() {
    for (long i = 0; i < kPeakRounds; ++i) {
        asm volatile(CONVLENS_TWELVE(CONVLENS_STEP_128)::
                         : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11");
    }
}
#endif

// GFLOP/s of one burst, float32; 0 when this build cannot tell.
double peak(const char* isa) {
    void (*burst)() = nullptr;
    int lanes = 4;
#if defined(__x86_64__)
    if (std::strcmp(isa, "avx512") == 0) burst = peak_avx512, lanes = 16;
    if (std::strcmp(isa, "avx2") == 0) burst = peak_avx2, lanes = 8;
    if (std::strcmp(isa, "portable") == 0) burst = peak_portable;
#elif defined(__aarch64__)
    if (std::strcmp(isa, "neon") == 0) burst = peak_neon;
#endif
    if (burst == nullptr) return 0;
    const double start = seconds();
    burst();
    return static_cast<double>(kPeakRounds) * 12 * lanes * 2 / (seconds() - start) * 1e-9;
}

// ---- one instruction with its operands ----

struct Layer {
    int n, c, h, w, k, r, s, stride, pad, groups;
    int p() const { return (h + 2 * pad - r) / stride + 1; }
    int q() const { return (w + 2 * pad - s) / stride + 1; }
    double flop() const { return 2.0 * n * k * (c / groups) * r * s * p() * q(); }
    std::string name(const char* what) const {
        char text[160];
        std::snprintf(text, sizeof text, "n%d c%d h%d w%d k%d r%d s%d st%d p%d d1 g%d f32 %s", n, c, h, w, k, r, s,
                      stride, pad, groups, what);
        return text;
    }
};

class Aligned {
  public:
    explicit Aligned(std::int64_t bytes) : data_(static_cast<char*>(allocate(static_cast<std::size_t>(bytes + 64)))) {
        float* values = reinterpret_cast<float*>(data_);
        for (std::int64_t i = 0; i < bytes / 4; ++i) values[i] = static_cast<float>(i % 13) * 0.01f;
    }
    ~Aligned() { deallocate(data_); }
    Aligned(const Aligned&) = delete;
    char* data() { return data_; }

  private:
    char* data_;
};

Tensor activation(int c, int h, int w, int halo) {
    Tensor t{};
    t.layout = Layout::blocked, t.batched = 1, t.slot = -1;
    t.channels = c, t.height = h, t.width = w;
    t.halo_top = t.halo_left = t.halo_bottom = t.halo_right = static_cast<std::uint16_t>(halo);
    t.bytes = needed_bytes<float>(t);
    return t;
}

int run(const Layer& l, const char* what, const Kernels* kernels, int repetitions) {
    // One halo for both directions: a kernel wider than its padding reads further in dy.
    const int back = std::max(l.pad, l.r - 1 - l.pad);
    const Tensor x = activation(l.c, l.h, l.w, l.pad), y = activation(l.k, l.p(), l.q(), back);
    Tensor w{};
    w.layout = Layout::packed, w.height = w.width = 1, w.slot = -1;
    w.channels = static_cast<int>(packed_elements(l.k, l.c, l.r, l.s, l.groups, kLanes<float>));
    w.bytes = needed_bytes<float>(w);

    Aligned x_data(l.n * x.bytes), y_data(l.n * y.bytes), w_data(w.bytes);
    const View xv = {&x, x_data.data(), x.bytes}, yv = {&y, y_data.data(), y.bytes}, wv = {&w, w_data.data(), 0};
    std::vector<std::int64_t> attributes = {l.r, l.s, l.stride, l.stride, l.pad, l.pad, 1, 1, l.groups};
    View inputs[2] = {xv, wv}, output = yv;
    const char* op_name_ = "conv2d";
    if (std::strcmp(what, "fwd") == 0) attributes.insert(attributes.end(), {1, 0, 0});
    if (std::strcmp(what, "bwd_d") == 0) op_name_ = "conv2d_grad_input", inputs[0] = yv, output = xv;
    if (std::strcmp(what, "bwd_w") == 0) {
        op_name_ = "conv2d_grad_weight", inputs[0] = yv, inputs[1] = xv, output = wv;
    }
    const Op* op = nullptr;
    for (int i = 0; i < op_count(); ++i) {
        if (std::strcmp(convlens::op_name(static_cast<std::uint16_t>(i)), op_name_) == 0) {
            op = find_op(static_cast<std::uint16_t>(i), false);
        }
    }
    Instruction instruction{};
    instruction.n_inputs = 2, instruction.n_outputs = 1;
    instruction.n_attributes = static_cast<std::uint16_t>(attributes.size());
    instruction.attributes = attributes.data();
    Problem problem{};
    problem.instruction = &instruction;
    problem.inputs[0] = inputs[0].tensor, problem.inputs[1] = inputs[1].tensor, problem.outputs[0] = output.tensor;
    ScratchNeed need;
    const Status status = op->check(problem, &need);
    if (!status.ok()) {
        std::printf("%s: %s\n", l.name(what).c_str(), status.message);
        return 1;
    }
    Aligned plan(op->plan_bytes(problem)), fixed(need.fixed_bytes), image(l.n * need.per_image_bytes);
    Aligned thread(need.per_thread_bytes);
    op->make_plan(problem, plan.data());
    Call call{};
    call.problem = &problem;
    call.inputs[0] = inputs[0], call.inputs[1] = inputs[1], call.outputs[0] = output;
    call.n = l.n, call.plan = plan.data(), call.kernels = kernels;
    call.fixed_scratch = fixed.data(), call.image_scratch = image.data(), call.thread_scratch = thread.data();
    call.thread_scratch_stride = round_up(need.per_thread_bytes, 64);
    const auto once = [&] {
        for (const Phase& phase : op->phases) {
            if (phase.run == nullptr) break;
            const std::int64_t tasks = phase.tasks(call);
            for (std::int64_t task = 0; task < tasks; ++task) phase.run(call, task, 0);
        }
    };

    const FloatMode mode;
    once();
    double start = seconds();
    once();
    // Bursts of a few milliseconds: long enough to time, short enough that peak and layer meet the same clock.
    const int rounds = static_cast<int>(std::max(1.0, 2e-3 / std::max(1e-7, seconds() - start)));
    std::vector<double> peaks, speeds, ratios;
    for (int i = 0; i < repetitions; ++i) {
        const double before = peak(kernels->isa);
        start = seconds();
        for (int j = 0; j < rounds; ++j) once();
        const double speed = l.flop() * rounds / (seconds() - start) * 1e-9;
        const double best = 0.5 * (before + peak(kernels->isa));
        peaks.push_back(best), speeds.push_back(speed), ratios.push_back(speed / best);
    }
    std::sort(ratios.begin(), ratios.end());
    const std::size_t quarter = ratios.size() / 4;
    std::printf("%-9s %-52s %8.1f %8.1f %6.1f %% [%5.1f %5.1f] %9.3f ms\n", kernels->isa, l.name(what).c_str(),
                median(peaks), median(speeds), 100 * median(ratios), 100 * ratios[quarter],
                100 * ratios[ratios.size() - 1 - quarter], l.flop() / median(speeds) * 1e-6);
    std::fflush(stdout);
    return 0;
}

const Layer kLayers[] = {
    {1, 256, 28, 28, 256, 1, 1, 1, 0, 1},  // the layer that is held to 90 %
    {1, 64, 56, 56, 256, 1, 1, 1, 0, 1},   // ResNet-50's first and last 1x1
    {1, 2048, 7, 7, 512, 1, 1, 1, 0, 1},    {1, 256, 56, 56, 512, 1, 1, 2, 0, 1},
    {1, 3, 224, 224, 64, 7, 7, 2, 3, 1},  // its stem
    {1, 64, 56, 56, 64, 3, 3, 1, 1, 1},   // its 3x3
    {1, 128, 28, 28, 128, 3, 3, 1, 1, 1},   {1, 128, 56, 56, 128, 3, 3, 2, 1, 1},
    {1, 256, 14, 14, 256, 3, 3, 1, 1, 1},   {1, 512, 7, 7, 512, 3, 3, 1, 1, 1},
    {1, 96, 112, 112, 96, 3, 3, 2, 1, 96},                                          // depthwise of MobileNetV2
    {1, 144, 56, 56, 144, 3, 3, 1, 1, 144}, {1, 128, 56, 56, 128, 3, 3, 1, 1, 32},  // ResNeXt's groups of 4
    {32, 1, 28, 28, 8, 3, 3, 1, 0, 1},                                              // the 28x28 network
    {32, 8, 13, 13, 16, 3, 3, 1, 0, 1},
};

}  // namespace

int main(int count, char** arguments) {
    const int repetitions = count > 1 ? std::atoi(arguments[1]) : 21;
    const char* part = count > 2 ? arguments[2] : "";
    if (repetitions < 1) {
        std::printf("`repetitions` (=%s) must be a positive integer\n", arguments[1]);
        return 1;
    }
    std::printf("one thread, medians of %d alternating bursts; GFLOP/s, float32\n", repetitions);
    std::printf("%-9s %-52s %8s %8s %8s %-13s %9s\n", "isa", "problem", "peak", "layer", "of peak", " [quartiles]",
                "time");
    int failures = 0, n_kernels = 0;
    const Kernels* all = all_kernels(&n_kernels);
    for (int i = 0; i < n_kernels; ++i) {
        if (why_not_runnable(all[i])[0] != '\0') continue;
        for (const char* what : {"fwd", "bwd_d", "bwd_w"}) {
            for (const Layer& layer : kLayers) {
                const std::string name = std::string(all[i].isa) + " " + layer.name(what);
                if (name.find(part) != std::string::npos) failures += run(layer, what, &all[i], repetitions);
            }
        }
    }
    return failures == 0 ? 0 : 1;
}
