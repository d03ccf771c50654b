// The client against a scripted daemon: what it sends, what it makes of the answers.
#include <atomic>
#include <chrono>
#include <filesystem>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <jobd/client.hpp>

#include "scripted.hpp"
#include "testing.hpp"

using namespace std::chrono_literals;
using jobd::client;
using jobd::errc;
using testing::peer;
using testing::scripted;

static_assert(!std::is_copy_constructible_v<client> && std::is_nothrow_move_constructible_v<client>);
static_assert(!std::is_copy_constructible_v<jobd::job> && std::is_nothrow_move_constructible_v<jobd::job>);

namespace {

jobd::options to(const scripted& daemon) {
    jobd::options out;
    out.url = daemon.url();
    out.token = "secret";
    out.timeout = 120s;
    out.connect_timeout = 120s;
    return out;
}

/// A daemon's side of a connection that was let in.
scripted::script after_auth(scripted::script then) {
    return [then](peer& p) {
        p.expect("auth secret");
        p.ok();
        then(p);
    };
}

scripted::script welcomed(scripted::script then) {
    return after_auth([then](peer& p) {
        p.welcome();
        then(p);
    });
}

/// The same for a connection that follows a lost one: no first ping.
scripted::script again(scripted::script then) {
    return after_auth([then](peer& p) {
        p.greet();
        then(p);
    });
}

std::size_t threads() {
    std::size_t out = 0;
    for ([[maybe_unused]] const auto& each : std::filesystem::directory_iterator("/proc/self/task")) ++out;
    return out;
}

/// The text with the last request's tag in place of each '@'.
std::string with_tag(std::string text, const peer& p) {
    for (std::size_t at = text.find('@'); at != text.npos; at = text.find('@')) text.replace(at, 1, p.tag);
    return text;
}

/// The key that the client gave a submission.
std::string key_of(const std::string& line) {
    const std::size_t at = line.find("\"key\": \"");
    return at == line.npos ? std::string() : line.substr(at + 8, line.find('"', at + 8) - at - 8);
}

}  // namespace

TEST("a job is submitted and its result comes back, without a thread of the client's") {
    scripted daemon(welcomed([](peer& p) {
        const std::string line = p.expect("submit {\"argv\": [\"true\"], \"key\": ");
        EQUAL(std::string::npos, line.find('['  , line.find(']')));
        p.ok("17");
        p.finish(3, 17);
        p.linger();
    }));
    const std::size_t before = threads();
    client c(to(daemon));
    auto job = c.submit(jobd::command("true"));
    EQUAL(17U, job.id());
    const jobd::result result = job.get();
    EQUAL(3U, result.cursor);
    HOLDS(result.ok());
    EQUAL(before, threads());
    c.close();
    EQUAL(std::string(), daemon.finish());
}

TEST("waiting for a time ends in time, and says whether the job has ended") {
    std::promise<void> go;
    scripted daemon(welcomed([&](peer& p) {
        p.expect("submit");
        p.ok("1");
        go.get_future().wait();
        p.finish(1, 1);
        p.linger();
    }));
    client c(to(daemon));
    const auto job = c.submit(jobd::shell("x"));
    HOLDS(!job.wait_for(20ms));
    HOLDS(!job.done());
    EQUAL(std::string("TIMEOUT"), ERROR_OF(job.get(1ms)).code_name());
    go.set_value();
    HOLDS(job.wait_for(120s));
    HOLDS(job.done());
}

TEST("an error reply is an error with its code, and the client goes on") {
    scripted daemon(welcomed([](peer& p) {
        p.expect("submit");
        p.error("BAD_VALUE cwd: must be an absolute path");
        p.expect("cancel 9");
        p.error("NO_SUCH_JOB there is no job 9");
        p.expect("why 1");
        p.ok("job 1 is queued");
        p.linger();
    }));
    client c(to(daemon));
    const jobd::error problem = ERROR_OF(c.submit(jobd::shell("x").cwd("here")));
    HOLDS(problem.code() == errc::bad_value);
    EQUAL(std::string("cwd: must be an absolute path"), problem.text());
    HOLDS(ERROR_OF(c.cancel(9)).code() == errc::no_such_job);
    EQUAL(std::string("job 1 is queued"), c.why(1));
}

TEST("many jobs go in one line, and edges between them stay") {
    scripted daemon(welcomed([](peer& p) {
        p.expect("submit [{\"shell\": \"a\", \"key\": ");
        p.ok("4-5,9");
        p.finish(1, 9);
        p.finish(2, 4);
        p.finish(3, 5, "failed {\"exit_code\": 2}");
        p.linger();
    }));
    client c(to(daemon));
    const auto jobs = c.submit_many(
        std::vector<jobd::shell>{jobd::shell("a"), jobd::shell("b").after_previous(), jobd::shell("c").after_previous(2)});
    EQUAL(9U, jobs[2].id());
    HOLDS(jobd::wait_for_all(jobs, 120s));
    EQUAL(2, jobs[1].get().exit_code.value());
}

TEST("what does not fit into a line goes in several, with ids in place of edges that would cross") {
    scripted daemon(welcomed([](peer& p) {
        const std::string first = p.expect("submit [");
        HOLDS(first.size() < (1U << 20));
        p.ok("1-2");
        const std::string second = p.expect("submit {");
        HOLDS(second.find("\"after\": [1]") != std::string::npos);
        p.ok("3");
        p.linger();
    }));
    client c(to(daemon));
    const std::string big(400'000, 'x');
    const auto jobs = c.submit_many(
        std::vector<jobd::shell>{jobd::shell(big), jobd::shell(big), jobd::shell(big).after_previous(2)});
    EQUAL(3U, jobs[2].id());
    EQUAL(std::string("TOO_LONG"), ERROR_OF(c.submit(jobd::shell(std::string(2'000'000, 'x')))).code_name());
    EQUAL(std::string("USAGE"), ERROR_OF(c.submit(jobd::shell("x").after_previous())).code_name());
}

TEST("futures are fulfilled with results and with errors, posted jobs are pipelined") {
    scripted daemon(welcomed([](peer& p) {
        std::vector<std::string> tags;
        for (int i = 0; i < 3; ++i) {
            p.expect("submit");
            tags.push_back(p.tag);
        }
        p.say(tags[0] + " ok 1\n" + tags[1] + " error DRAINING no more\n* 1 1 succeeded {\"result\": [1]}\n" + tags[2] + " ok 2\n");
        p.finish(2, 2);
        p.linger();
    }));
    client c(to(daemon));
    auto first = c.submit_async(jobd::call("m:f"));
    auto second = c.submit_async(jobd::call("m:f"));
    const auto third = c.post(jobd::call("m:f"));
    EQUAL(std::string("[1]"), first.get().value().text());
    HOLDS(ERROR_OF(second.get()).code() == errc::draining);
    EQUAL(2U, third.id());
    HOLDS(third.get(120s).ok());
    HOLDS(third.future().get().ok());
}

TEST("submissions wait for replies once too many have none") {
    std::promise<void> go;
    scripted daemon(welcomed([&](peer& p) {
        p.expect("submit");
        const std::string first = p.tag;
        p.expect("submit");
        const std::string second = p.tag;
        go.get_future().wait();
        p.say(first + " ok 1\n" + second + " ok 2\n");
        p.expect("submit");
        p.ok("3");
        p.linger();
    }));
    jobd::options options = to(daemon);
    options.max_unanswered = 2;
    client c(options);
    const auto a = c.post(jobd::shell("a"));
    const auto b = c.post(jobd::shell("b"));
    std::thread later([&] { go.set_value(); });
    const auto third = c.post(jobd::shell("c"));
    HOLDS(a.id() == 1 && b.id() == 2 && third.id() == 3);
    later.join();
}

TEST("every finish is called back once, and the callback may use the client") {
    scripted daemon(welcomed([](peer& p) {
        p.expect("submit");
        p.ok("1");
        p.finish(1, 1);
        p.finish(1, 1);
        p.expect("submit");
        p.ok("2");
        p.finish(2, 2);
        p.linger();
    }));
    std::vector<std::uint64_t> seen;
    client c(to(daemon));
    c.on_finish([&](const jobd::result& result) {
        seen.push_back(result.id);
        if (result.id == 1) c.submit(jobd::shell("next"));
    });
    c.submit(jobd::shell("first"));
    c.wait_all();
    EQUAL(std::size_t{2}, seen.size());
    EQUAL(2U, seen[1]);
}

TEST("a job of somebody else is waited for by its id, by two handles too") {
    scripted daemon(welcomed([](peer& p) {
        p.expect("wait 17");
        p.ok("1");
        p.finish(5, 17, "cancelled {}");
        p.expect("wait 99");
        p.error("NO_SUCH_JOB there is no job 99");
        p.expect("submit {\"shell\": \"x\", \"notify\": false");
        p.ok("20");
        p.expect("wait 20");
        p.ok("1");
        p.finish(6, 20);
        p.linger();
    }));
    client c(to(daemon));
    const auto one = c.attach(17);
    const auto two = c.attach(17);
    HOLDS(one.get().state == jobd::state::cancelled);
    HOLDS(ERROR_OF(c.attach(99).get()).code() == errc::no_such_job);
    const auto quiet = c.submit(jobd::shell("x").notify(false));
    HOLDS(quiet.get(120s).ok());
    HOLDS(!two.done());
}

TEST("after a lost connection outstanding jobs are waited for again and no finish comes twice") {
    scripted daemon({welcomed([](peer& p) {
                         for (int i = 1; i <= 4; ++i) {
                             p.expect("submit");
                             p.ok(std::to_string(i));
                         }
                         p.finish(1, 2);
                         p.say("* 2 1 succ");  // half a line, then the end
                     }),
                     again([](peer& p) {
                         p.expect("wait 1,3-4");
                         p.ok("3");
                         p.finish(2, 1);
                         p.finish(2, 1);
                     }),
                     again([](peer& p) {
                         p.expect("wait 3-4");
                         p.ok("2");
                         p.finish(3, 3);
                         p.finish(1, 2);
                         p.finish(4, 4);
                         p.linger();
                     })});
    std::map<std::uint64_t, int> seen;
    client c(to(daemon));
    c.on_finish([&](const jobd::result& result) { ++seen[result.id]; });
    std::vector<jobd::job> jobs;
    for (int i = 0; i < 4; ++i) jobs.push_back(c.post(jobd::shell("x")));
    c.wait_all();
    for (const auto& job : jobs) HOLDS(job.get().ok());
    EQUAL(std::size_t{4}, seen.size());
    for (const auto& [id, times] : seen) EQUAL(1, times);
    c.close();
    EQUAL(std::string(), daemon.finish());
}

TEST("a submission without a reply is sent again with the same key") {
    std::string first;
    std::string second;
    scripted daemon({welcomed([&](peer& p) { first = p.expect("submit"); }), again([&](peer& p) {
                         second = p.expect("submit");
                         p.ok("1");
                         p.finish(1, 1);
                         p.linger();
                     })});
    client c(to(daemon));
    HOLDS(c.submit(jobd::shell("x")).get().ok());
    c.close();
    EQUAL(std::string(), daemon.finish());
    EQUAL(first, second);
    HOLDS(key_of(first).size() > 24);
}

TEST("two submissions have different keys, and a key of one's own is left alone") {
    std::vector<std::string> keys;
    scripted daemon(welcomed([&](peer& p) {
        for (int i = 1; i <= 3; ++i) {
            keys.push_back(key_of(p.expect("submit")));
            p.ok(std::to_string(i));
        }
        p.linger();
    }));
    client c(to(daemon));
    c.submit(jobd::shell("x"));
    c.submit(jobd::shell("x"));
    c.submit(jobd::shell("x").key("mine"));
    c.close();
    daemon.finish();
    HOLDS(keys[0] != keys[1]);
    EQUAL(std::string("mine"), keys[2]);
}

TEST("a request that is not safe to repeat fails when its reply is lost") {
    scripted daemon({welcomed([](peer& p) { p.expect("retry 1"); }), again([](peer& p) {
                         p.expect("why 1");
                         p.ok("well");
                         p.linger();
                     })});
    client c(to(daemon));
    const jobd::error problem = ERROR_OF(c.retry("1"));
    HOLDS(problem.code() == errc::connection);
    HOLDS(problem.text().find("not known") != std::string::npos);
    EQUAL(std::string("well"), c.why(1));
}

TEST("jobs that are no longer kept fail alone when their range is waited for again") {
    scripted daemon({welcomed([](peer& p) {
                         p.expect("submit");
                         p.ok("1-3");
                     }),
                     again([](peer& p) {
                         p.expect("wait 1-3");
                         p.ok("2");
                         p.finish(1, 1);
                         p.finish(3, 3);
                         p.expect("wait 1");
                         p.ok("1");
                         p.finish(1, 1);
                         p.expect("wait 2-3");
                         p.ok("1");
                         p.finish(3, 3);
                         p.expect("wait 2");
                         p.error("NO_SUCH_JOB there is no job 2");
                         p.expect("wait 3");
                         p.ok("1");
                         p.finish(3, 3);
                         p.linger();
                     })});
    client c(to(daemon));
    const auto jobs = c.submit_many(std::vector<jobd::shell>(3, jobd::shell("x")));
    HOLDS(jobs[0].get().ok());
    HOLDS(ERROR_OF(jobs[1].get()).code() == errc::no_such_job);
    HOLDS(jobs[2].get().ok());
}

TEST("a daemon that does not come back ends every wait, and says so once") {
    auto daemon = std::make_unique<scripted>(welcomed([](peer& p) {
        p.expect("submit");
        p.ok("1");
    }));
    jobd::options options = to(*daemon);
    options.reconnect_for = 200ms;
    std::atomic<int> lost{0};
    client c(options);
    c.on_lost([&](const jobd::error& why) { lost += why.code() == errc::connection ? 1 : 100; });
    const auto job = c.post(jobd::shell("x"));
    daemon.reset();
    HOLDS(ERROR_OF(job.get()).code() == errc::connection);
    c.wait_all();
    EQUAL(1, lost.load());
    // Each later attempt that fails is told, too: nobody else would say so of a job that was posted.
    c.post(jobd::shell("x"));
    c.wait_all();
    EQUAL(2, lost.load());
}

TEST("what another instance of the daemon cannot know ends with an error: it is asked for nothing of the old one's") {
    scripted daemon({welcomed([](peer& p) {
                         p.expect("submit");
                         p.ok("1");
                         p.expect("submit");
                     }),
                     after_auth([](peer& p) {
                         p.greet("another");
                         p.expect("submit");
                         p.ok("1");
                         p.finish(1, 1);
                         p.linger();
                     })});
    std::atomic<int> lost{0};
    client c(to(daemon));
    c.on_lost([&](const jobd::error&) { ++lost; });
    const auto accepted = c.submit(jobd::shell("x"));
    const auto unanswered = c.post(jobd::shell("x"));
    HOLDS(ERROR_OF(accepted.get()).text().find("another instance") != std::string::npos);
    HOLDS(ERROR_OF(unanswered.get()).code() == errc::connection);
    c.wait_all();
    EQUAL(1, lost.load());
    HOLDS(c.submit(jobd::shell("x")).get().ok());
    c.close();
    EQUAL(std::string(), daemon.finish());
}

TEST("with reconnecting off a lost connection is an error at once, and jobs get no key") {
    std::string line;
    scripted daemon(welcomed([&](peer& p) {
        line = p.expect("submit");
        p.ok("1");
    }));
    jobd::options options = to(daemon);
    options.reconnect_for = 0ms;
    client c(options);
    const auto job = c.submit(jobd::shell("x"));
    HOLDS(ERROR_OF(job.get()).code() == errc::connection);
    EQUAL(std::string("submit {\"shell\": \"x\"}"), line);
}

TEST("a client that was too slow comes back") {
    scripted daemon({welcomed([](peer& p) {
                         p.expect("submit");
                         p.ok("1");
                         p.say("error SLOW 8 MiB wait for this client\n");
                     }),
                     again([](peer& p) {
                         p.expect("wait 1");
                         p.ok("1");
                         p.finish(1, 1);
                         p.linger();
                     })});
    client c(to(daemon));
    HOLDS(c.submit(jobd::shell("x")).get().ok());
}

TEST("a wrong token is an error AUTH, in the constructor") {
    scripted daemon([](peer& p) {
        p.expect("auth secret");
        p.error("AUTH wrong token");
        p.hang_up();
    });
    const jobd::error problem = ERROR_OF(client(to(daemon)));
    HOLDS(problem.code() == errc::auth);
    EQUAL(std::string("wrong token"), problem.text());
}

TEST("a daemon that wants a token and gets none is an error AUTH that says where one is looked for") {
    scripted daemon([](peer& p) {
        p.expect("hello");
        p.ok("{\"protocol\": 1, \"auth\": \"token\"}");
        p.wait_for_end();
    });
    jobd::options options = to(daemon);
    options.token.clear();
    options.token_file = "/dev/null";
    const jobd::error problem = ERROR_OF(client(options));
    HOLDS(problem.code() == errc::auth);
    HOLDS(problem.text().find("JOBD_TOKEN_FILE") != std::string::npos);
}

TEST("a callback may close its own client") {
    scripted daemon(welcomed([](peer& p) {
        p.expect("submit");
        p.ok("1");
        p.finish(1, 1);
        p.wait_for_end();
    }));
    std::promise<void> closed;
    {
        client c(to(daemon));
        c.on_finish([&](const jobd::result&) {
            c.close();
            closed.set_value();
        });
        c.post(jobd::shell("x"));
        closed.get_future().wait();
    }
    EQUAL(std::string(), daemon.finish());
}

TEST("a client that is moved goes on, and one that is moved onto is closed") {
    scripted one(welcomed([](peer& p) {
        p.expect("submit");
        p.ok("1");
        p.finish(1, 1);
        p.linger();
    }));
    scripted two(welcomed([](peer& p) { p.wait_for_end(); }));
    client first(to(one));
    client second(to(two));
    const auto job = first.submit(jobd::shell("x"));
    second = std::move(first);
    EQUAL(std::string(), two.finish());
    HOLDS(job.get(120s).ok());
    second.ping();
}

TEST("what is no daemon is an error PROTOCOL: garbage, HTTP, long lines, replies out of order or without a tag") {
    const std::vector<std::string> answers{
        "HTTP/1.1 400 Bad Request\r\n\r\n", "\xFF\xFE\n", std::string(3000, 'x'), std::string("\0\0\0\n", 4), "#99 ok {}\n", "ok {}\n",
        "@ okay\n", "@\n", "@ error\n", "* 1 2\n", "* x 1 succeeded\n", "*\n", "@ ok {}\n@ ok {}\n", "@ ok hello\n", "\n\n\n"};
    for (const std::string& answer : answers) {
        scripted daemon([&](peer& p) {
            p.expect("hello");
            p.say(with_tag(answer, p));
            p.wait_for_end();
        });
        jobd::options options = to(daemon);
        options.token.clear();
        options.token_file = "/dev/null";
        options.max_line = 2000;
        const jobd::error problem = ERROR_OF(client(options));
        if (problem.code() != errc::protocol) std::cerr << "for " << answer << ": " << problem.what() << '\n';
        HOLDS(problem.code() == errc::protocol);
    }
}

TEST("a reply of megabytes arrives, and a line without an end is given up") {
    const std::string large(3U << 20, 'x');
    scripted daemon(welcomed([&](peer& p) {
        p.expect("show 1");
        p.ok("\"" + large + "\"");
        p.expect("submit");
        p.ok("1");
        const std::string part(1U << 20, 'y');
        for (int i = 0; i < 64; ++i) p.say(part);
    }));
    client c(to(daemon));
    EQUAL(large.size(), c.show(1).as_string().size());
    HOLDS(ERROR_OF(c.submit(jobd::shell("x")).get(120s)).code() == errc::protocol);
}

TEST("a broken protocol later on ends every wait with an error PROTOCOL") {
    for (const char* lines : {"@ ok 1\n#77 ok 2\n", "@ ok 1\nwhat is this\n", "@ ok 1\n* 1 1 failed {\"exit_code\": []}\n",
                              "@ ok 1-2\n", "@ ok\n", "@ ok x\n"}) {
        scripted daemon(welcomed([&](peer& p) {
            p.expect("submit");
            p.say(with_tag(lines, p));
            p.wait_for_end();
        }));
        client c(to(daemon));
        HOLDS(ERROR_OF(c.post(jobd::shell("x")).get(120s)).code() == errc::protocol);
    }
}

TEST("a daemon that closes during the greeting is an error CONNECTION") {
    for (const char* answer : {"", "@ o", "@ ok\n"}) {
        scripted daemon([&](peer& p) {
            p.expect("auth");
            p.say(with_tag(answer, p));
        });
        HOLDS(ERROR_OF(client(to(daemon))).code() == errc::connection);
    }
}

TEST("a daemon that stalls ends in an error in time: in the greeting, in a request, and in a wait") {
    scripted mute([](peer& p) { p.wait_for_end(); });
    jobd::options options = to(mute);
    options.connect_timeout = 50ms;
    HOLDS(ERROR_OF(client(options)).code() == errc::connection);

    scripted stalled(welcomed([](peer& p) { p.wait_for_end(); }));
    {
        client c(to(stalled));
        HOLDS(ERROR_OF(c.request("stats", 30ms)).code() == errc::timeout);
    }

    // While a job runs, silence is broken by a ping; when that is not answered the daemon counts as lost.
    const auto stall = [](peer& p) {
        p.expect("wait 1");
        p.ok("1");
        p.expect("ping");
        p.wait_for_end();
    };
    scripted frozen({welcomed([](peer& p) {
                         p.expect("submit");
                         p.ok("1");
                         p.expect("ping");
                         p.wait_for_end();
                     }),
                     again(stall)});
    options = to(frozen);
    options.liveness = 500ms;
    options.reconnect_for = 1s;
    client c(options);
    const auto job = c.submit(jobd::shell("x"));
    HOLDS(ERROR_OF(job.get()).code() == errc::connection);
}

TEST("a request that is swallowed is sent again on another connection, also while the client's thread sleeps") {
    scripted daemon({welcomed([](peer& p) {
                         p.expect("submit");
                         p.ok("1");
                         p.finish(1, 1);
                         p.expect("stats");
                         p.wait_for_end();
                     }),
                     again([](peer& p) {
                         p.expect("stats");
                         p.ok("{}");
                         p.linger();
                     })});
    jobd::options options = to(daemon);
    options.liveness = 1s;
    client c(options);
    c.on_finish([](const jobd::result&) {});
    c.post(jobd::shell("x"));
    c.wait_all();
    std::this_thread::sleep_for(2 * options.liveness);  // the thread has had its one look
    EQUAL(std::string("{}"), c.request("stats", 120s, true));
    c.close();
    EQUAL(std::string(), daemon.finish());
}

TEST("nobody there is an error CONNECTION that says where") {
    unsigned port = 0;
    {
        scripted gone([](peer&) {});
        port = jobd::parse_url(gone.url()).port;
        HOLDS(ERROR_OF(client(to(gone))).code() == errc::connection);
    }
    const jobd::error refused = ERROR_OF(client("jobd://127.0.0.1:" + std::to_string(port)));
    HOLDS(refused.code() == errc::connection);
    HOLDS(refused.text().find("127.0.0.1") != std::string::npos);
    HOLDS(ERROR_OF(client("jobd://no-such-host.invalid:1")).code() == errc::connection);
    HOLDS(ERROR_OF(client("jobd+unix:///nowhere/jobd.sock")).code() == errc::connection);
    HOLDS(ERROR_OF(client("jobd+unix:///" + std::string(200, 'x'))).code() == errc::usage);
    HOLDS(ERROR_OF(client("http://localhost:7733")).code() == errc::usage);
    jobd::options options;
    options.url = "jobd://127.0.0.1:1";
    options.token = "two words";
    HOLDS(ERROR_OF(client(options)).code() != errc::internal);
}

#if !defined(JOBD_WITH_OPENSSL)
TEST("a TLS address without TLS in the program is an error TLS that says what to do") {
    scripted daemon([](peer&) {});
    jobd::options options = to(daemon);
    options.url.insert(4, "s");
    const jobd::error problem = ERROR_OF(client(options));
    HOLDS(problem.code() == errc::tls);
    HOLDS(problem.text().find("JOBD_WITH_OPENSSL") != std::string::npos);
    std::thread([&] { ERROR_OF(client(daemon.url())); }).join();  // the script's one connection
}
#endif

TEST("closing a client ends the waits of other threads") {
    scripted daemon(welcomed([](peer& p) {
        p.expect("submit");
        p.ok("1");
        p.wait_for_end();
    }));
    client c(to(daemon));
    const auto job = c.submit(jobd::shell("x"));
    std::thread waiting([&] { HOLDS(ERROR_OF(job.get()).code() == errc::connection); });
    std::thread waiting_too([&] { HOLDS(!c.wait_all_for(1ms) || true); });
    waiting_too.join();
    c.close();
    waiting.join();
    HOLDS(ERROR_OF(c.ping()).code() == errc::connection);
    HOLDS(ERROR_OF(c.submit(jobd::shell("x"))).code() == errc::connection);
}

TEST("several threads share a client, with and without its own thread") {
    for (const bool with_callback : {false, true}) {
        scripted daemon(welcomed([](peer& p) {
            for (int i = 1; i <= 200; ++i) {
                p.expect("submit");
                p.ok(std::to_string(i));
                p.finish(i, i);
            }
            p.linger();
        }));
            std::atomic<int> called{0};
    client c(to(daemon));
        if (with_callback) c.on_finish([&](const jobd::result&) { ++called; });
        std::atomic<int> ended{0};
        std::vector<std::thread> crowd;
        for (int i = 0; i < 4; ++i) {
            crowd.emplace_back([&] {
                for (int k = 0; k < 50; ++k) ended += c.submit(jobd::shell("x")).get().ok() ? 1 : 0;
            });
        }
        for (auto& each : crowd) each.join();
        c.wait_all();
        EQUAL(200, ended.load());
        EQUAL(with_callback ? 200 : 0, called.load());
    }
}

TEST("a loop of one's own drives the client, through a lost connection too") {
    scripted daemon({welcomed([](peer& p) {
                         p.expect("submit");
                         p.ok("1");
                     }),
                     again([](peer& p) {
                         p.expect("wait 1");
                         p.ok("1");
                         p.finish(1, 1);
                         p.linger();
                     })});
    jobd::options options = to(daemon);
    options.io_thread = false;
    const std::size_t before = threads();
    std::vector<std::uint64_t> seen;
    client c(options);
    c.on_finish([&](const jobd::result& result) { seen.push_back(result.id); });
    const auto future = c.submit_async(jobd::shell("x"));
    const auto until = std::chrono::steady_clock::now() + 120s;
    while (seen.empty() && std::chrono::steady_clock::now() < until) {
        pollfd entry{c.native_handle(), static_cast<short>(c.wants_write() ? POLLIN | POLLOUT : POLLIN), 0};
        ::poll(&entry, 1, c.poll_timeout());
        c.process();
    }
    EQUAL(std::size_t{1}, seen.size());
    HOLDS(future.wait_for(0s) == std::future_status::ready);
    EQUAL(before, threads());
}

TEST("the other verbs are one call each") {
    scripted daemon(welcomed([](peer& p) {
        p.expect("cancel {\"group\": \"g\"}");
        p.ok("3");
        p.expect("retry 4-5");
        p.ok("8-9");
        p.expect("show 4");
        p.ok("{\"id\": 4}");
        p.expect("list {\"state\": \"failed\"}");
        p.ok("{\"jobs\": [], \"more\": false}");
        p.expect("output 4 {\"stream\": \"stderr\", \"from\": -10}");
        p.ok("{\"data\": \"/wBh\", \"encoding\": \"base64\", \"from\": 2, \"next\": 5, \"size\": 5, \"end\": true}");
        p.expect("queue gpu {\"limit\": null}");
        p.ok("{\"queue\": \"gpu\"}");
        p.expect("pause");
        p.ok();
        p.expect("resume gpu");
        p.ok();
        p.expect("stats");
        p.ok("{\"running\": 0}");
        p.expect("drain");
        p.ok("0");
        p.expect("sh echo \"a b\"");
        p.ok("10");
        p.linger();
    }));
    client c(to(daemon));
    EQUAL(1, c.hello()["protocol"].as_integer());
    EQUAL(std::size_t{3}, c.cancel("{\"group\": \"g\"}"));
    EQUAL(9U, c.retry("4-5")[1].id());
    EQUAL(4, c.show(4)["id"].as_integer());
    HOLDS(!c.list(jobd::json().set("state", "failed"))["more"].as_bool());
    const jobd::output_part part = c.output(4, "stderr", -10);
    EQUAL(std::string("\xFF\x00""a", 3), part.data);
    HOLDS(part.end && part.next == 5);
    c.limit_queue("gpu", {});
    c.pause();
    c.resume("gpu");
    EQUAL(0, c.stats()["running"].as_integer());
    EQUAL(std::size_t{0}, c.drain());
    EQUAL(std::string("10"), c.request("sh echo \"a b\""));
    for (const char* line : {"", "two\nlines", "#1 ping"}) EQUAL(std::string("USAGE"), ERROR_OF(c.request(line)).code_name());
}
