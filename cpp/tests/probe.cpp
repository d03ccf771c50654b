// What tests/cpp/test_client.py has done with a real daemon, which JOBD_URL names. Ends with 0, or prints the code of the
// jobd::error and ends with 3.
#include <chrono>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <jobd/client.hpp>
#include <jobd/stream.hpp>

using namespace std::chrono_literals;

namespace {

jobd::options quick() {
    jobd::options out;
    out.connect_timeout = 120s;
    out.timeout = 120s;
    return out;
}

/// Runs one line and shows all that the client knows of it.
int run(const std::string& line) {
    jobd::client c(quick());
    const auto job = c.submit(jobd::shell(line));
    const jobd::result result = job.get(120s);
    std::cout << jobd::to_string(result.state) << ' ' << result.exit_code.value_or(-1) << ' ' << result.attempt << '\n'
              << c.output(job).data << c.output(job, "stderr").data << c.why(job) << '\n';
    return result.ok() ? 0 : 1;
}

/// Submits jobs in several ways, and prints each finish as it is told, until all have ended.
int many(int count) {
    jobd::options options = quick();
    options.timeout = 120s;
    jobd::client c(options);
    c.on_finish([](const jobd::result& result) { std::cout << "finish " << result.id << ' ' << result.cursor << std::endl; });
    std::vector<jobd::job> jobs;
    for (int i = 0; i < count; ++i) {
        jobs.push_back(c.post(jobd::shell("sleep 0.05; echo " + std::to_string(i) + " >> ran")
                                  .cwd(jobd::detail::env_or("PROBE_FOLDER")).attempts(3).backoff(10ms)));
    }
    std::vector<jobd::shell> rest(10, jobd::shell("true").after(jobs.back(), jobd::on::any));
    for (auto& job : c.submit_many(rest)) jobs.push_back(std::move(job));
    std::cout << "submitted " << jobs.size() << std::endl;
    c.wait_all();
    for (const auto& job : jobs) std::cout << "job " << job.id() << ' ' << jobd::to_string(job.get().state) << '\n';
    return 0;
}

/// Prints so many events.
int watch(int count) {
    jobd::watch all(quick(), 0);
    for (int i = 0; i < count; ++i) {
        const auto told = all.next(120s);
        if (!told) return 1;
        std::cout << told->cursor << ' ' << told->job << ' ' << told->state << std::endl;
    }
    return 0;
}

/// Every kind of job, field and verb once.
int tour() {
    jobd::client c(quick());
    const auto call = c.submit(jobd::call("math:pow").arg(2).arg(10));
    std::cout << call.get(120s).value().text() << '\n';
    const auto cat = c.submit(jobd::command("cat").input("from stdin").env("A", "b").queue("q").priority(3).label("l").group("g").cpus(0));
    cat.wait_for(120s);
    std::cout << c.output(cat).data << '\n';
    const auto broken = c.submit(jobd::call("math:factorial").arg(-1));
    std::cout << broken.get(120s).error << '\n';
    const auto both = c.submit_many(std::vector<jobd::shell>{jobd::shell("exit 1"), jobd::shell("true").after_previous()});
    std::cout << jobd::to_string(both[1].get(120s).state) << ' ' << (both[1].get().because == both[0].id()) << '\n';
    const auto failed = c.submit(jobd::shell("true").after(both[0], jobd::on::failed));
    std::cout << jobd::to_string(failed.get(120s).state) << '\n';
    const auto slow = c.submit(jobd::command("sleep").arg("60").timeout(100ms).grace(1s));
    std::cout << jobd::to_string(slow.get(120s).state) << '\n';
    const auto later = c.submit(jobd::shell("true").delay(1h));
    std::cout << c.why(later) << '\n' << c.cancel(later) << ' ' << jobd::to_string(later.get(120s).state) << '\n';
    std::cout << c.retry(std::to_string(both[0].id()))[0].get(120s).exit_code.value() << '\n';
    std::cout << c.show(cat)["spec"]["label"].as_string() << ' ' << c.list()["jobs"].as_array().size() << ' '
              << c.limit_queue("q", 2)["limit"].as_integer() << ' ' << c.hello()["protocol"].as_integer() << '\n';
    const auto twice = c.submit(jobd::shell("true").key("once"));
    std::cout << (c.submit(jobd::shell("true").key("once")).id() == twice.id()) << '\n';
    jobd::follow output(quick(), {c.submit(jobd::shell("echo one; sleep 0.1; echo two >&2")).id()});
    while (!output.ended()) {
        const auto piece = output.next(120s);
        if (!piece) return 1;
        std::cout << (piece->result ? "ended\n" : piece->is_error ? "err " : "out ") << piece->data;
    }
    c.submit(jobd::shell("true").after(999'999'999));
    return 1;
}

/// What a load of tests/reliability is to do, from the environment.
std::string wanted(const char* name) { return jobd::detail::env_or((std::string("LOAD_") + name).c_str()); }

std::string finish_line(std::uint64_t id, std::uint64_t cursor, std::string_view state) {
    return "finish " + std::to_string(id) + " " + std::to_string(cursor) + " " + std::string(state) + "\n";
}

/// A client or a stream; its first connection is the caller's to repeat.
template <class T, class... Args>
std::unique_ptr<T> opened(const jobd::options& options, const Args&... args) {
    const auto until = std::chrono::steady_clock::now() + options.reconnect_for;
    for (;;) {
        try {
            return std::make_unique<T>(options, args...);
        } catch (const jobd::error& problem) {
            if (problem.code() != jobd::errc::connection || std::chrono::steady_clock::now() > until) throw;
            std::this_thread::sleep_for(50ms);
        }
    }
}

int load_submit(const jobd::options& options) {
    const auto c = opened<jobd::client>(options);
    c->on_finish([](const jobd::result& told) {
        std::cout << finish_line(told.id, told.cursor, jobd::to_string(told.state)) << std::flush;
    });
    const int count = std::stoi(wanted("JOBS"));
    const auto spec = [](int number) {
        return jobd::shell("echo " + std::to_string(number) + " >> '" + wanted("WITNESS") + "'")
            .cwd("/").group(wanted("TAG")).key(wanted("TAG") + "." + std::to_string(number));
    };
    std::vector<jobd::shell> half;
    for (int i = 0; i < count / 2; ++i) half.push_back(spec(i));
    std::vector<jobd::job> jobs = c->submit_many(half);
    for (int i = count / 2; i < count; ++i) jobs.push_back(i % 2 ? c->submit(spec(i)) : c->post(spec(i)));
    c->wait_all();
    for (const auto& job : jobs) job.get();
    return 0;
}

int load_watch(const jobd::options& options, const std::vector<std::uint64_t>& ids) {
    std::set<std::uint64_t> left(ids.begin(), ids.end());
    const auto all = opened<jobd::watch>(options, std::stoull(wanted("SINCE")));
    while (!left.empty()) {
        const auto told = all->next(120s);
        if (!told) return 1;
        std::cout << finish_line(told->job, told->cursor, told->state) << std::flush;
        left.erase(told->job);
    }
    return 0;
}

int load_follow(const jobd::options& options, const std::vector<std::uint64_t>& ids) {
    const auto output = opened<jobd::follow>(options, ids);
    while (!output->ended()) {
        const auto piece = output->next(120s);
        if (!piece) return 1;
        if (piece->result) {
            std::cout << finish_line(piece->job, piece->result->cursor, jobd::to_string(piece->result->state));
        } else {
            std::cout << "output " << piece->job << ' ' << jobd::json(piece->data).text() << '\n';
        }
        std::cout << std::flush;
    }
    return 0;
}

/// Work through a connection that a test spoils; what is told is printed as it comes.
int load() {
    jobd::options options;
    const auto seconds = [](const char* name) {
        return std::chrono::duration_cast<jobd::milliseconds>(std::chrono::duration<double>(std::stod(wanted(name))));
    };
    options.timeout = seconds("TIMEOUT");
    options.connect_timeout = std::min(options.timeout, seconds("LIVENESS") * 2);
    options.liveness = seconds("LIVENESS");
    options.reconnect_for = seconds("PATIENCE");
    const std::string kind = wanted("KIND");
    const std::vector<std::uint64_t> ids = wanted("IDS").empty() ? std::vector<std::uint64_t>() : jobd::parse_ids(wanted("IDS"));
    if (kind == "submit") return load_submit(options);
    return kind == "watch" ? load_watch(options, ids) : load_follow(options, ids);
}

}  // namespace

int main(int argc, char** argv) {
    const std::string mode = argc > 1 ? argv[1] : "";
    try {
        if (mode == "run") return run(argv[2]);
        if (mode == "many") return many(std::stoi(argv[2]));
        if (mode == "watch") return watch(std::stoi(argv[2]));
        if (mode == "tour") return tour();
        if (mode == "load") return load();
        return 2;
    } catch (const jobd::error& problem) {
        std::cout << problem.code_name() << ": " << problem.text() << std::endl;
        return 3;
    }
}
