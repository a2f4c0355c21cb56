#include "runtime/work.hpp"

#include "harness.hpp"

using convlens::Spread;
using convlens::Team;

namespace {

double g_now = 0;
double now() { return g_now; }

// What one call of one instruction gets, and the time it takes.
int call(Team* team, int threads, double work, bool sleep = false) {
    Spread spread(threads, sleep, team, now);
    const int share = spread.threads(work);
    g_now += work / share;
    return share;
}

}  // namespace

TEST(little_work_wakes_no_threads) {
    Team team;
    CHECK(call(&team, 4, 100e3) == 1);
    g_now += 300e3;
    CHECK(call(&team, 4, 100e3) == 1);
    g_now += 300e3;
    CHECK(call(&team, 4, 130e3) == 2);
}

TEST(calls_one_after_another_wake_threads) {
    Team team;
    for (int i = 0; i < 3; ++i) CHECK(call(&team, 2, 30e3) == 1);
    for (int i = 0; i < 100; ++i) CHECK(call(&team, 2, 30e3) == 2);
    Team other;  // another thread's are asleep
    CHECK(call(&other, 2, 30e3) == 1);
}

TEST(instructions_one_after_another_wake_threads) {
    Team team;
    Spread spread(2, false, &team, now);
    for (int i = 0; i < 3; ++i) CHECK(spread.threads(30e3) == 1);
    CHECK(spread.threads(30e3) == 2);
    CHECK(spread.threads(10e3) == 2);
    CHECK(spread.threads(7e3) == 1);
}

TEST(threads_that_sleep_at_once_are_woken_for_work_that_is_worth_it) {
    Team team;
    for (int i = 0; i < 100; ++i) CHECK(call(&team, 2, 100e3, true) == 1);
    CHECK(call(&team, 2, 1e6, true) == 2);
    CHECK(call(&team, 2, 10e3, true) == 2);
    g_now += 40e3;
    CHECK(call(&team, 2, 10e3, true) == 1);
}

TEST(threads_sleep_when_one_works_for_long) {
    Team team;
    CHECK(call(&team, 2, 1e6) == 2);
    g_now += 240e3;
    CHECK(call(&team, 2, 10e3) == 2);
    g_now += 260e3;
    CHECK(call(&team, 2, 10e3) == 1);
    Spread spread(2, true, &team, now);
    CHECK(spread.threads(1e6) == 2);
    for (int i = 0; i < 8; ++i) CHECK(spread.threads(5e3) == 1);
    CHECK(spread.threads(10e3) == 1);
}

TEST(an_estimate_that_was_wrong_is_corrected_at_the_end) {
    Team team;
    {
        Spread spread(2, false, &team, now);
        CHECK(spread.threads(10e6) == 2);
        CHECK(spread.threads(1e3) == 1);
        g_now += 1e6;  // not 5
    }
    CHECK(team.region < g_now && team.region >= g_now - 1e3);
}

TEST(a_call_has_no_more_threads_than_it_was_given) {
    Team team;
    CHECK(call(&team, 1, 1e12) == 1);
    CHECK(call(&team, 3, 1e12) == 3);
    Team other;
    CHECK(call(&other, 64, 600e3) == 10);
    CHECK(call(&other, 2, 0) == 1);
}
