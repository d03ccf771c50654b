// What tests/cpp/test_client.py has done with a real daemon, which JOBD_URL names. Ends with 0, or prints the code of the
// jobd::error and ends with 3.
#include <chrono>
#include <iostream>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include <jobd/client.hpp>
#include <jobd/stream.hpp>

using namespace std::chrono_literals;

namespace {

jobd::options quick() {
    jobd::options out;
    out.connect_timeout = 10s;
    out.timeout = 20s;
    return out;
}

/// Runs one line and shows all that the client knows of it.
int run(const std::string& line) {
    jobd::client c(quick());
    const auto job = c.submit(jobd::shell(line));
    const jobd::result result = job.get(30s);
    std::cout << jobd::to_string(result.state) << ' ' << result.exit_code.value_or(-1) << ' ' << result.attempt << '\n'
              << c.output(job).data << c.output(job, "stderr").data << c.why(job) << '\n';
    return result.ok() ? 0 : 1;
}

/// Submits jobs in several ways, and prints each finish as it is told, until all have ended.
int many(int count) {
    jobd::options options = quick();
    options.timeout = 60s;
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
        const auto told = all.next(60s);
        if (!told) return 1;
        std::cout << told->cursor << ' ' << told->job << ' ' << told->state << std::endl;
    }
    return 0;
}

/// Every kind of job, field and verb once.
int tour() {
    jobd::client c(quick());
    const auto call = c.submit(jobd::call("math:pow").arg(2).arg(10));
    std::cout << call.get(30s).value().text() << '\n';
    const auto cat = c.submit(jobd::command("cat").input("from stdin").env("A", "b").queue("q").priority(3).label("l").group("g").cpus(0));
    cat.wait_for(30s);
    std::cout << c.output(cat).data << '\n';
    const auto broken = c.submit(jobd::call("math:factorial").arg(-1));
    std::cout << broken.get(30s).error << '\n';
    const auto both = c.submit_many(std::vector<jobd::shell>{jobd::shell("exit 1"), jobd::shell("true").after_previous()});
    std::cout << jobd::to_string(both[1].get(30s).state) << ' ' << (both[1].get().because == both[0].id()) << '\n';
    const auto failed = c.submit(jobd::shell("true").after(both[0], jobd::on::failed));
    std::cout << jobd::to_string(failed.get(30s).state) << '\n';
    const auto slow = c.submit(jobd::command("sleep").arg("60").timeout(100ms).grace(1s));
    std::cout << jobd::to_string(slow.get(30s).state) << '\n';
    const auto later = c.submit(jobd::shell("true").delay(1h));
    std::cout << c.why(later) << '\n' << c.cancel(later) << ' ' << jobd::to_string(later.get(30s).state) << '\n';
    std::cout << c.retry(std::to_string(both[0].id()))[0].get(30s).exit_code.value() << '\n';
    std::cout << c.show(cat)["spec"]["label"].as_string() << ' ' << c.list()["jobs"].as_array().size() << ' '
              << c.limit_queue("q", 2)["limit"].as_integer() << ' ' << c.hello()["protocol"].as_integer() << '\n';
    const auto twice = c.submit(jobd::shell("true").key("once"));
    std::cout << (c.submit(jobd::shell("true").key("once")).id() == twice.id()) << '\n';
    jobd::follow output(quick(), {c.submit(jobd::shell("echo one; sleep 0.1; echo two >&2")).id()});
    while (!output.ended()) {
        const auto piece = output.next(30s);
        if (!piece) return 1;
        std::cout << (piece->result ? "ended\n" : piece->is_error ? "err " : "out ") << piece->data;
    }
    c.submit(jobd::shell("true").after(999'999'999));
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string mode = argc > 1 ? argv[1] : "";
    try {
        if (mode == "run") return run(argv[2]);
        if (mode == "many") return many(std::stoi(argv[2]));
        if (mode == "watch") return watch(std::stoi(argv[2]));
        if (mode == "tour") return tour();
        return 2;
    } catch (const jobd::error& problem) {
        std::cout << problem.code_name() << ": " << problem.text() << std::endl;
        return 3;
    }
}
