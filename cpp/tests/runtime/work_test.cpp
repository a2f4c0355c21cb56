#include "runtime/work.hpp"

#include "harness.hpp"

using convlens::Spread;

TEST(little_work_wakes_no_threads) {
    Spread spread(4);
    CHECK(spread.threads(50e3) == 1);
    CHECK(spread.threads(100e3) == 1);
    CHECK(spread.threads(130e3) == 2);
}

TEST(threads_that_are_awake_share_less) {
    Spread spread(2);
    CHECK(spread.threads(1e6) == 2);
    CHECK(spread.threads(10e3) == 2);
    CHECK(spread.threads(1e3) == 1);
    CHECK(spread.threads(10e3) == 2);
}

TEST(threads_sleep_when_one_works_for_long) {
    Spread spread(2);
    CHECK(spread.threads(1e6) == 2);
    for (int i = 0; i < 8; ++i) CHECK(spread.threads(5e3) == 1);
    CHECK(spread.threads(10e3) == 1);
}

TEST(a_call_has_no_more_threads_than_it_was_given) {
    CHECK(Spread(1).threads(1e12) == 1);
    CHECK(Spread(3).threads(1e12) == 3);
    CHECK(Spread(64).threads(600e3) == 10);
    CHECK(Spread(2).threads(0) == 1);
}
