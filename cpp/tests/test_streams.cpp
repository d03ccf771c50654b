// watch, follow and progress against a scripted daemon.
#include <chrono>
#include <cstdlib>
#include <string>

#include <jobd/progress.hpp>
#include <jobd/stream.hpp>

#include "scripted.hpp"
#include "testing.hpp"

using namespace std::chrono_literals;
using jobd::errc;
using testing::peer;
using testing::scripted;

namespace {

jobd::options to(const scripted& daemon) {
    jobd::options out;
    out.url = daemon.url();
    out.token_file = "/dev/null";
    return out;
}

}  // namespace

TEST("a watch goes on from its cursor after a lost connection: nothing is left out, nothing comes twice") {
    scripted daemon({[](peer& p) {
                         p.greet();
                         p.expect("watch {\"since\": 4}");
                         p.ok("6");
                         p.expect("ping");
                         p.ok();
                         p.finish(5, 1);
                         p.finish(6, 2);
                     },
                     [](peer& p) {
                         p.greet();
                         p.expect("watch {\"since\": 6}");
                         p.ok("8");
                         p.finish(6, 2);
                         p.finish(7, 3, "failed {\"exit_code\": 1}");
                         p.say("* 8 0 group {\"group\": \"g\", \"failed\": 1}\n");
                         p.wait_for_end();
                     }});
    jobd::watch all(to(daemon), 4);
    std::string seen;
    for (int i = 0; i < 4; ++i) {
        const auto told = all.next(120s);
        HOLDS(told.has_value());
        seen += std::to_string(told->cursor) + told->state + " ";
        EQUAL(told->job != 0, told->result().has_value());
    }
    EQUAL(std::string("5succeeded 6succeeded 7failed 8group "), seen);
    HOLDS(!all.next(10ms));
}

TEST("a watch ends with an error when another instance answers, whose cursors mean something else") {
    scripted daemon({[](peer& p) {
                         p.greet();
                         p.expect("watch");
                         p.ok("6");
                         p.expect("ping");
                         p.ok();
                         p.finish(5, 1);
                     },
                     [](peer& p) {
                         p.greet("another");
                         p.wait_for_end();
                     }});
    jobd::watch all(to(daemon), 4);
    HOLDS(all.next(120s).has_value());
    HOLDS(ERROR_OF(all.next(120s)).code() == errc::connection);
    HOLDS(!all.next(10ms));
}

TEST("a watch from now on takes up where the daemon said now is") {
    scripted daemon({[](peer& p) {
                         p.greet();
                         p.expect("watch {\"progress\": true}");
                         p.ok("912");
                         p.expect("ping");
                         p.ok();
                         p.say("* 0 5 progress {\"done\": 1}\n");
                     },
                     [](peer& p) {
                         p.greet();
                         p.expect("watch {\"since\": 912, \"progress\": true}");
                         p.ok("913");
                         p.finish(913, 5);
                         p.wait_for_end();
                     }});
    jobd::watch all(to(daemon), std::nullopt, true);
    const auto progress = all.next(120s);
    EQUAL(std::string("progress"), progress->state);
    EQUAL(1, progress->data()["done"].as_integer());
    EQUAL(913U, all.next(120s)->cursor);
}

TEST("events that are gone are an error GONE") {
    scripted daemon([](peer& p) {
        p.greet();
        p.expect("watch");
        p.error("GONE events before 40 are no longer kept");
        p.expect("ping");
        p.ok();
        p.wait_for_end();
    });
    HOLDS(ERROR_OF(jobd::watch(to(daemon), 4)).code() == errc::gone);
}

TEST("a watch whose daemon does not come back is an error CONNECTION") {
    jobd::options options;
    auto daemon = std::make_unique<scripted>([](peer& p) {
        p.greet();
        p.expect("watch");
        p.ok("6");
        p.expect("ping");
        p.ok();
    });
    options = to(*daemon);
    options.reconnect_for = 100ms;
    jobd::watch all(options);
    daemon.reset();
    HOLDS(ERROR_OF(all.next(120s)).code() == errc::connection);
}

TEST("output is followed to its end, through a lost connection without a gap or a repetition") {
    scripted daemon({[](peer& p) {
                         p.greet();
                         p.expect("follow 3 {\"stream\": \"both\", \"from\": 0}");
                         p.ok("1");
                         p.expect("ping");
                         p.ok();
                         p.say("* 0 3 output {\"stream\": \"stdout\", \"from\": 0, \"data\": \"one\\n\"}\n");
                         p.say("* 0 3 output {\"stream\": \"stderr\", \"from\": 0, \"data\": \"e\\n\"}\n");
                     },
                     [](peer& p) {
                         p.greet();
                         p.expect("follow 3 {\"stream\": \"both\", \"from\": 2}");
                         p.ok("1");
                         p.say("* 0 3 output {\"stream\": \"stdout\", \"from\": 2, \"data\": \"e\\ntwo\"}\n");
                         p.say("* 0 3 output {\"stream\": \"stderr\", \"from\": 2, \"data\": \"/w==\", \"encoding\": \"base64\"}\n");
                         p.finish(1, 3);
                         p.wait_for_end();
                     }});
    jobd::follow output(to(daemon), {3});
    std::string seen[2];
    bool ok = false;
    while (!output.ended()) {
        const auto piece = output.next(120s);
        HOLDS(piece.has_value());
        seen[piece->is_error ? 1 : 0] += piece->data;
        if (piece->result) ok = piece->result->ok();
    }
    EQUAL(std::string("one\ntwo"), seen[0]);
    EQUAL(std::string("e\n\xFF"), seen[1]);
    HOLDS(ok);
    HOLDS(!output.next(120s));
}

TEST("a job reports its progress in one line, and a program that is no job says nothing") {
    HOLDS(!jobd::progress(1, 2));
    scripted daemon([](peer& p) {
        p.expect("auth secret");
        p.ok();
        p.welcome();
        p.expect("progress 17 {\"done\": 3, \"total\": 10, \"text\": \"page 3\"}");
        p.ok();
        p.expect("progress 17 {\"done\": 0.5}");
        p.ok();
    });
    ::setenv("JOBD_JOB_ID", "17", 1);
    ::setenv("JOBD_URL", daemon.url().c_str(), 1);
    ::setenv("JOBD_TOKEN", "secret", 1);
    HOLDS(jobd::progress(3, 10, "page 3"));
    HOLDS(jobd::progress(0.5));
    EQUAL(std::string(), daemon.finish());
    HOLDS(!jobd::progress(1));
    ::unsetenv("JOBD_JOB_ID");
    ::unsetenv("JOBD_URL");
    ::unsetenv("JOBD_TOKEN");
}
