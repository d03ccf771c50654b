// The front door: a client of a jobd daemon.
//
//     jobd::client c;                                     // or jobd::client c("jobd://host:7733");
//     auto j = c.submit(jobd::command("gzip").arg("-k").arg("a.log").cwd("/data"));
//     std::cout << j.get().wall << " s\n";
//
// See docs/cpp.md. All members of a client may be called from several threads at once, but for moving and destroying
// it. Every failure is a jobd::error.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base64.hpp"
#include "engine.hpp"
#include "error.hpp"
#include "job.hpp"
#include "json.hpp"
#include "json_reader.hpp"
#include "options.hpp"
#include "result.hpp"
#include "spec.hpp"
#include "submission.hpp"
#include "version.hpp"

namespace jobd {

/// A part of a job's output.
struct output_part {
    std::string data;       ///< bytes as the job wrote them
    std::uint64_t from = 0;
    std::uint64_t next = 0;  ///< where to go on reading
    std::uint64_t size = 0;  ///< of all there is now
    bool end = false;        ///< nothing more will come
};

class client {
public:
    /// Connects to the daemon at a URL; empty: the one found as docs/cpp.md says. Throws error when there is none.
    explicit client(std::string url = {}) : client(with_url(std::move(url))) {}

    explicit client(options given) : engine_(std::make_shared<detail::engine>(std::move(given))) { engine_->open(); }

    client(client&&) noexcept = default;
    client& operator=(client&& other) noexcept {
        if (this != &other) {
            close();
            engine_ = std::move(other.engine_);
        }
        return *this;
    }
    ~client() { close(); }

    /// Closes the connection. Jobs go on; who still waits for one in this program gets an error CONNECTION.
    void close() noexcept {
        if (engine_) engine_->close();
    }

    // Submitting.

    /// Submits a job and waits until the daemon has it safe on disk. Throws why it is refused.
    job submit(const spec& what) {
        job out = post(what, false);
        static_cast<void>(out.id());
        return out;
    }

    /// Submits a job without waiting for the reply, so that many can be under way: id() and get() tell what became of
    /// it. Waits only while options::max_unanswered submissions have no reply.
    job post(const spec& what) { return post(what, true); }

    /// Submits a job and gives its result as a future.
    std::future<result> submit_async(const spec& what) { return post(what, true).future(); }

    /// Submits several jobs at once, each of which may come after_previous() ones: all of them or none, as long as
    /// they fit into one line of the protocol (1 MiB); beyond that part by part. Throws why one is refused.
    template <class Range>
    std::vector<job> submit_many(const Range& specs) {
        std::vector<job> out;
        detail::submission parts(engine_);
        for (const auto& each : specs) parts.add(each);
        for (detail::job_ptr& record : parts.finish()) out.push_back(job(engine_, std::move(record)));
        for (const job& each : out) static_cast<void>(each.id());
        return out;
    }

    /// A handle to a job that is there already, whoever submitted it.
    job attach(std::uint64_t id) {
        auto held = engine_->lock();
        detail::job_ptr record = engine_->core().find(id);
        if (!record) {
            record = std::make_shared<detail::job_record>();
            record->id = id;
            record->now = detail::job_record::phase::silent;
        }
        return {engine_, std::move(record)};
    }

    // Being told.

    /// Calls back with the result of every job that this client submits or waits for, once each, one at a time: from
    /// the I/O thread, or from process() where there is none. The callback may use the client. It must not throw in
    /// the I/O thread. Set it before submitting.
    void on_finish(std::function<void(const result&)> callback) {
        const auto held = engine_->lock();
        engine_->core().on_finish = std::make_shared<const std::function<void(const result&)>>(std::move(callback));
        engine_->need_thread();
    }

    /// Calls back when the daemon did not come back, came back without its jobs, or refuses this client: whatever was
    /// waited for has failed with this error. A later request tries to connect again, and when that fails too, this is
    /// called again.
    void on_lost(std::function<void(const error&)> callback) {
        const auto held = engine_->lock();
        engine_->core().on_lost = std::make_shared<const std::function<void(const error&)>>(std::move(callback));
        engine_->need_thread();
    }

    /// Waits until all jobs this client submitted or waits for have ended and their callbacks have returned.
    void wait_all() { wait_all_until(detail::time_point::max()); }

    template <class Rep, class Period>
    bool wait_all_for(std::chrono::duration<Rep, Period> limit) {
        return wait_all_until(detail::from_now(limit));
    }

    // The other verbs. A selector is what docs/protocol.md says: "17", "17-20,30", a JSON filter.

    /// Any request: the text behind "ok". Throws what the daemon answers, or error TIMEOUT. `repeatable`: whether it may
    /// be sent again when the connection breaks before the reply.
    std::string request(std::string_view line, std::optional<milliseconds> limit = {}, bool repeatable = false) {
        if (line.empty() || line.front() == '#' || line.find_first_of("\r\n") != line.npos) {
            throw error(errc::usage, "a request is one line, without a tag");
        }
        if (line.size() > detail::longest_line) throw error(errc::too_long, "the request is longer than the protocol allows");
        auto held = engine_->lock();
        engine_->check_open();
        const detail::request_ptr record = engine_->core().request(line, repeatable);
        const auto until = detail::from_now(limit.value_or(engine_->settings().timeout));
        if (!engine_->run_until(held, until, [&] { return record->done; })) {
            throw error(errc::timeout, "the daemon has not answered in time");
        }
        if (record->problem) throw error(*record->problem);
        return std::move(record->text);
    }

    /// How many jobs will end by this.
    std::size_t cancel(std::string_view selector) { return count("cancel " + std::string(selector)); }
    std::size_t cancel(std::uint64_t id) { return cancel(std::to_string(id)); }
    std::size_t cancel(const job& which) { return cancel(which.id()); }

    /// Submits ended jobs again, as new ones.
    std::vector<job> retry(std::string_view selector) {
        const std::string given = request("retry " + std::string(selector));
        std::vector<job> out;
        for (const std::uint64_t id : parse_ids(given)) out.push_back(attach(id));
        return out;
    }

    /// In one line what a job waits for, or how it ended.
    std::string why(std::uint64_t id) { return ask("why " + std::to_string(id)); }
    std::string why(const job& which) { return why(which.id()); }

    /// All there is to know of a job.
    json show(std::uint64_t id) { return parse_json(ask("show " + std::to_string(id))); }
    json show(const job& which) { return show(which.id()); }

    /// Jobs in short: {"jobs": [...], "more": false}.
    json list(const json& filter = json(json::object{})) { return parse_json(ask("list " + filter.text())); }

    /// What a job wrote, from a byte on (negative: from the end). `stream` is "stdout" or "stderr".
    output_part output(std::uint64_t id, std::string_view stream = "stdout", std::int64_t from = 0) {
        const json which(json::object{{"stream", stream}, {"from", from}});
        const json part = parse_json(ask("output " + std::to_string(id) + " " + which.text()));
        output_part out;
        out.data = part["data"].as_string();
        if (part.contains("encoding")) out.data = detail::from_base64(out.data);
        out.from = static_cast<std::uint64_t>(part["from"].as_integer());
        out.next = static_cast<std::uint64_t>(part["next"].as_integer());
        out.size = static_cast<std::uint64_t>(part["size"].as_integer());
        out.end = part["end"].as_bool();
        return out;
    }
    output_part output(const job& which, std::string_view stream = "stdout", std::int64_t from = 0) {
        return output(which.id(), stream, from);
    }

    /// A queue, with its limit and what is in it.
    json queue(std::string_view name) { return parse_json(ask("queue " + std::string(name))); }
    /// Lets at most so many of its jobs run at a time; nothing: no limit but the workers.
    json limit_queue(std::string_view name, std::optional<int> limit) {
        const json settings(json::object{{"limit", limit ? json(*limit) : json()}});
        return parse_json(ask("queue " + std::string(name) + " " + settings.text()));
    }
    /// Starts no more jobs of a queue; of any, when there is no name.
    void pause(std::string_view queue = {}) { ask(queue.empty() ? "pause" : "pause " + std::string(queue)); }
    void resume(std::string_view queue = {}) { ask(queue.empty() ? "resume" : "resume " + std::string(queue)); }

    /// What the daemon is doing.
    json stats() { return parse_json(ask("stats")); }
    /// What the daemon said of itself when the connection was made.
    json hello() const {
        const auto held = engine_->lock();
        return engine_->core().hello();
    }
    /// Accepts and starts nothing more; the daemon stops once the running jobs have ended: how many there are.
    std::size_t drain() { return count("drain"); }
    /// Returns when all requests before it have been handled.
    void ping() { ask("ping"); }

    // A loop of your own, with options::io_thread = false: wait for the handle to become readable (and writable, if
    // wants_write()) or the time to be over, then call process(). Ask all three anew each time.

    /// The socket; no_socket while there is no connection.
    native_socket native_handle() const {
        const auto held = engine_->lock();
        return engine_->link().handle();
    }

    bool wants_write() const {
        const auto held = engine_->lock();
        return engine_->link().wants_write();
    }

    /// Milliseconds to wait at most, as poll() takes them: -1 for ever.
    int poll_timeout() const {
        const auto held = engine_->lock();
        if (!engine_->core().tasks.empty()) return 0;
        return detail::poll_milliseconds(detail::clock::now(), engine_->link().wake_at());
    }

    /// Moves what can be moved and calls back; does not wait (but for the resolver, when a named host is connected to
    /// again).
    void process() { engine_->process(); }

private:
    static options with_url(std::string url) {
        options out;
        out.url = std::move(url);
        return out;
    }

    job post(const spec& what, bool in_background) {
        detail::submission parts(engine_);
        parts.add(what);
        return {engine_, std::move(parts.finish(in_background).front())};
    }

    bool wait_all_until(detail::time_point until) {
        auto held = engine_->lock();
        return engine_->run_until(held, until, [&] { return engine_->is_idle(); });
    }

    /// A request that may be repeated.
    std::string ask(const std::string& line) { return request(line, {}, true); }

    std::size_t count(const std::string& line) {
        const std::string text = request(line);
        std::size_t out = 0;
        if (!detail::read_integer(text, out)) throw error(errc::protocol, "the daemon's reply is no number: " + text);
        return out;
    }

    std::shared_ptr<detail::engine> engine_;
};

/// Waits for all of these jobs; false when they have not all ended in time.
template <class Range, class Rep, class Period>
bool wait_for_all(const Range& jobs, std::chrono::duration<Rep, Period> limit) {
    const auto until = detail::from_now(limit);
    for (const job& each : jobs) {
        if (!each.wait_for(std::max(until - detail::clock::now(), detail::clock::duration::zero()))) return false;
    }
    return true;
}

}  // namespace jobd
