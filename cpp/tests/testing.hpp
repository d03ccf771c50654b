// The little that the tests need: named tests, checks that say what was expected, and a summary.
#pragma once

#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include <jobd/error.hpp>

namespace testing {

struct failed : std::exception {};

struct test {
    const char* claim;
    std::function<void()> body;
};

inline std::vector<test>& all() {
    static std::vector<test> tests;
    return tests;
}

struct registered {
    registered(const char* claim, std::function<void()> body) { all().push_back({claim, std::move(body)}); }
};

template <class Expected, class Actual>
void check_equal(const Expected& expected, const Actual& actual, const char* file, int line) {
    if (actual == expected) return;
    std::cerr << file << ':' << line << ": expected " << expected << ", not " << actual << '\n';
    throw failed();
}

inline void check(bool holds, const char* what, const char* file, int line) {
    if (holds) return;
    std::cerr << file << ':' << line << ": does not hold: " << what << '\n';
    throw failed();
}

/// The error that the action throws.
template <class Action>
jobd::error error_of(Action action, const char* file, int line) {
    try {
        action();
    } catch (const jobd::error& caught) {
        return caught;
    }
    std::cerr << file << ':' << line << ": no error was thrown\n";
    throw failed();
}

/// Runs the tests whose claim contains one of the words, or all; the number of failures.
inline int run(int count, char** words) {
    int passed = 0;
    int bad = 0;
    for (const test& each : all()) {
        bool wanted = count < 2;
        for (int i = 1; i < count; ++i) wanted = wanted || std::string(each.claim).find(words[i]) != std::string::npos;
        if (!wanted) continue;
        try {
            each.body();
            ++passed;
            continue;
        } catch (const failed&) {
        } catch (const std::exception& caught) {
            std::cerr << "thrown: " << caught.what() << '\n';
        }
        std::cerr << "FAILED: " << each.claim << '\n';
        ++bad;
    }
    std::cout << passed << " passed, " << bad << " failed" << std::endl;
    return bad == 0 && passed > 0 ? 0 : 1;
}

}  // namespace testing

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEST(claim)                                                                                   \
    static void JOIN(test_, __LINE__)();                                                              \
    static const testing::registered JOIN(registered_, __LINE__)(claim, JOIN(test_, __LINE__));       \
    static void JOIN(test_, __LINE__)()
#define EQUAL(expected, actual) testing::check_equal(expected, actual, __FILE__, __LINE__)
#define HOLDS(what) testing::check(what, #what, __FILE__, __LINE__)
#define ERROR_OF(what) testing::error_of([&] { static_cast<void>(what); }, __FILE__, __LINE__)
