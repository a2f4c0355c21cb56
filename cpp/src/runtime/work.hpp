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

// What a calling thread remembers of the threads of its regions from call to call: times of its clock, in nanoseconds.
struct Team {
    double region = -1e18;  // its last region's end
    double alone = -1e18;   // when it last ran alone what threads could have shared
    double debt = 0;        // how much it ran so, in calls one after another
};

// Spreads a call's instructions over threads. A region of threads that are awake costs a microsecond; to wake them took
// 20 to 130 us on a virtual machine (2 cores, AVX-512, November 2026), for which the caller waits at the region's end.
// OpenMP's threads spin for 0.2 to 0.5 ms after their last region, as Python has them (convlens/__init__.py), and for
// some 5 ms by GCC's own default, so they are woken when the caller has run alone for as long as that takes, in one
// call or in many, one after another. Threads that were told to sleep at once are woken only for work that is worth it
// by itself. What an instruction computes has the same bits either way.
class Spread {
  public:
    using Clock = double();

    Spread(int threads, bool sleep, Team* team, Clock* clock)
        : team_(team), clock_(clock), threads_(threads), awake_(sleep ? 30e3 : 250e3), pause_(sleep ? -1 : 200e3) {}
    ~Spread();
    Spread(const Spread&) = delete;
    Spread& operator=(const Spread&) = delete;
    int threads(double work);

  private:
    Team* team_;
    Clock* clock_;
    int threads_;
    double awake_, pause_;  // how long threads stay awake, and the longest pause between calls one after another
    double now_ = -1;       // the clock's time when it was first asked, and the work since
    bool shared_ = false;
};

// The calling thread's own.
Team* team_of_thread();

// Whether instructions of little work run on fewer threads; tests of threads say no.
bool spares_threads();
void set_spares_threads(bool spares);

// Whether Programs go strip by strip where it pays; they have the same bits without.
void set_strips(bool strips);

}  // namespace convlens
