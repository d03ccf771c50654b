// co_await on a job.
#include <coroutine>
#include <exception>
#include <future>
#include <string>
#include <thread>

#include <jobd/client.hpp>

#include "scripted.hpp"
#include "testing.hpp"

using namespace std::chrono_literals;
using testing::peer;
using testing::scripted;

namespace {

/// The smallest coroutine there is: it starts at once and belongs to nobody.
struct detached {
    struct promise_type {
        detached get_return_object() { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() { std::terminate(); }
    };
};

detached pipeline(jobd::client& c, std::promise<std::string>& done) {
    std::string seen;
    try {
        const jobd::result first = co_await c.post(jobd::shell("a"));
        seen += std::to_string(first.id);
        const jobd::job second = c.post(jobd::shell("b").after(first.id));
        seen += (co_await second).ok() ? " ok" : " not ok";
        co_await c.post(jobd::shell("c"));
    } catch (const jobd::error& problem) {
        seen += " " + problem.code_name();
    }
    done.set_value(seen);
}

}  // namespace

TEST("a coroutine goes on when its job has ended, and gets the error when it was refused") {
    for (const bool thread : {true, false}) {
        scripted daemon([](peer& p) {
            p.welcome();
            p.expect("submit");
            p.ok("7");
            p.finish(1, 7);
            p.expect("submit {\"shell\": \"b\", \"key\"");
            p.ok("8");
            p.finish(2, 8, "failed {\"exit_code\": 1}");
            p.expect("submit");
            p.error("DRAINING no more");
            p.linger();
        });
        jobd::options options;
        options.url = daemon.url();
        options.token_file = "/dev/null";
        options.io_thread = thread;
        jobd::client c(options);
        std::promise<std::string> done;
        auto seen = done.get_future();
        pipeline(c, done);
        while (seen.wait_for(0s) != std::future_status::ready) {
            if (thread) {
                seen.wait();
            } else {
                pollfd entry{c.native_handle(), static_cast<short>(c.wants_write() ? POLLIN | POLLOUT : POLLIN), 0};
                ::poll(&entry, 1, c.poll_timeout());
                c.process();
            }
        }
        EQUAL(std::string("7 not ok DRAINING"), seen.get());
    }
}

TEST("a coroutine whose client is closed goes on with an error") {
    std::promise<std::string> done;
    {
        scripted daemon([](peer& p) {
            p.welcome();
            p.expect("submit");
            p.ok("7");
            p.wait_for_end();
        });
        jobd::options options;
        options.url = daemon.url();
        options.token_file = "/dev/null";
        jobd::client c(options);
        pipeline(c, done);
    }
    EQUAL(std::string(" CONNECTION"), done.get_future().get());
}
