// How long an instruction takes on one thread, roughly, and how many threads that is worth.
#pragma once

#include <cstdint>

#include "ops/op.hpp"

namespace convlens {

// Nanoseconds for a call: fixed + per_image * n.
struct Work {
    double fixed = 0, per_image = 0;
    double of(std::int64_t n) const { return fixed + per_image * static_cast<double>(n); }
};

// From the operands' bytes, the multiplications by weights and the length of an elementwise program: a function of the
// instruction alone, good to a factor of two or three.
Work work_of(const Op& op, const Problem& problem);

// Spreads an entry's instructions over threads. A region of threads that are awake costs under a microsecond; threads
// go to sleep some 40 us after their last one, and to wake them took 40 to 130 us on a virtual machine (2 cores,
// AVX-512, November 2026), for which the caller waits at the region's end. So the first region must be worth waking
// them, and the next ones little. What an instruction computes has the same bits either way.
class Spread {
  public:
    explicit Spread(int threads) : threads_(threads) {}
    int threads(double work) {
        constexpr double kAwake = 30e3, kToWake = 60e3, kToShare = 4e3;  // nanoseconds; the last two for each thread
        const double share = work / (idle_ < kAwake ? kToShare : kToWake);
        const int threads = share >= threads_ ? threads_ : share < 2 ? 1 : static_cast<int>(share);
        idle_ = threads > 1 ? 0 : idle_ + work;
        return threads;
    }

  private:
    int threads_;
    double idle_ = 1e9;  // nanoseconds since the threads had work
};

// Whether instructions of little work run on fewer threads; tests of threads say no.
bool spares_threads();
void set_spares_threads(bool spares);

// Whether Programs go strip by strip where it pays; they have the same bits without.
void set_strips(bool strips);

}  // namespace convlens
