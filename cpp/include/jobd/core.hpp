// The client's side of the protocol as a machine without I/O: bytes in, bytes out.
//
// Rules it keeps:
//
// - Every request carries a tag, and its reply must carry the same one: replies out of order cannot go unnoticed.
// - Each job's finish is delivered once. A finish event counts only for a job that is still listened for; whatever
//   comes twice, after a reconnect or because it was asked for twice, finds nobody waiting.
// - None is missed. On a new connection first all jobs that have not ended are waited for again, then the requests
//   that had no reply are repeated, where that is safe. A submission is safe because its jobs carry keys: the daemon
//   answers the ids it gave before.
// - Ids and cursors are only asked of the instance of the daemon that gave them. One that has lost its jobs, as it kept
//   them in memory, gives the same ids to others: what was waited for fails, then.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "error.hpp"
#include "options.hpp"
#include "result.hpp"
#include "wire.hpp"

namespace jobd::detail {

/// What a client knows of one job. A job handle, a future and a coroutine may all look at the same record.
struct job_record {
    enum class phase {
        submitting,  ///< its id is not known yet
        silent,      ///< nobody has asked for its finish event
        listening,   ///< its finish event will come
        ended        ///< `outcome` or `problem` is set, and nothing changes any more
    };

    phase now = phase::submitting;
    std::uint64_t id = 0;
    bool wants_event = true;
    std::optional<result> outcome;
    std::optional<error> problem;
    std::vector<std::function<void()>> then;  ///< called once, after it has ended
};

using job_ptr = std::shared_ptr<job_record>;

/// A request whose reply somebody wants.
struct request_record {
    bool done = false;
    std::string text;
    std::optional<error> problem;
};

using request_ptr = std::shared_ptr<request_record>;

class core {
public:
    using task = std::function<void()>;

    explicit core(std::size_t max_line) : lines_(max_line) {}

    // What the program wants.

    /// A request for any verb. `repeatable`: doing it twice is the same as doing it once.
    request_ptr request(std::string_view line, bool repeatable) {
        auto record = std::make_shared<request_record>();
        send({next_tag(), std::string(line), repeatable, record});
        return record;
    }

    /// A line that submits these jobs.
    void submit(std::string_view line, std::vector<job_ptr> jobs, bool repeatable) {
        ++submissions_;
        send({next_tag(), std::string(line), repeatable, std::move(jobs)});
    }

    /// Asks for the finish event of a job whose id is known.
    void listen(const job_ptr& job) {
        if (job->now != job_record::phase::silent) return;
        job->now = job_record::phase::listening;
        listening_.emplace(job->id, job);
        wait_for({job->id});
    }

    /// Called with each finish, once; it becomes a task.
    std::shared_ptr<const std::function<void(const result&)>> on_finish;

    /// Called when the daemon is gone for good, or refuses us; it becomes a task.
    std::shared_ptr<const std::function<void(const error&)>> on_lost;

    /// Sees every event as it arrives, for those who do not listen for single jobs.
    std::function<void(const event&)> on_event;

    /// Makes the requests to begin each connection with, for those who follow a stream of events.
    std::function<void()> on_resume;

    /// What has to be called outside of any lock, in this order.
    std::deque<task> tasks;

    // What the connection does.

    /// Begins a connection: with the token, if there is one, and a request that shows whether a jobd is there.
    void connected(const std::string& token) {
        out_.clear();
        sent_ = 0;
        lines_.clear();
        greeting_.clear();
        ready_ = false;
        if (!token.empty()) greet("auth " + token);
        greet("hello");
    }

    /// Ends a connection that may come again. What cannot be repeated fails.
    void lost(const error& why) {
        ready_ = false;
        greeting_.clear();
        std::deque<pending> kept;
        for (pending& each : pending_) {
            if (each.repeatable || !each.was_sent) {
                kept.push_back(std::move(each));
            } else {
                fail(each, error(errc::connection, why.text() + "; whether the request was carried out is not known"));
            }
        }
        pending_ = std::move(kept);
    }

    /// Ends all that anybody waits for.
    void fail_all(const error& why) {
        ready_ = false;
        failure_ = why;
        greeting_.clear();
        if (on_lost) tasks.push_back([call = on_lost, why] { (*call)(why); });
        for (const pending& each : std::exchange(pending_, {})) fail(each, why);
        for (const auto& [id, job] : std::exchange(listening_, {})) end(job, why);
    }

    /// Bytes that arrived. Throws error PROTOCOL, or what the daemon says before it closes the connection.
    void feed(const char* data, std::size_t size) {
        lines_.feed(data, size);
        std::string_view line;
        while (lines_.next(line)) {
            const message what = parse_message(line);
            if (const event* told = std::get_if<event>(&what)) {
                handle(*told);
            } else {
                handle(std::get<reply>(what));
            }
        }
    }

    std::string_view output() const noexcept { return std::string_view(out_).substr(sent_); }

    void sent(std::size_t count) {
        sent_ += count;
        if (sent_ == out_.size()) {
            out_.clear();
            sent_ = 0;
        } else if (sent_ > 1U << 20) {
            out_.erase(0, sent_);
            sent_ = 0;
        }
    }

    /// Whether the daemon has shown that it is one and let us in.
    bool is_ready() const noexcept { return ready_; }
    /// Whether jobs are listened for.
    bool is_listening() const noexcept { return !listening_.empty(); }
    /// Whether something is owed that only a connection can bring.
    bool needs_connection() const noexcept { return !pending_.empty() || !listening_.empty() || is_following(); }
    /// Whether a stream of events is followed.
    bool is_following() const noexcept { return on_resume && !failure_; }
    /// What ended all that anybody waited for; told once.
    std::optional<error> take_failure() { return std::exchange(failure_, std::nullopt); }
    /// Whether the daemon owes a reply now.
    bool owes_reply() const noexcept { return !pending_.empty() || !greeting_.empty(); }
    /// Whether jobs are still to end.
    bool is_idle() const noexcept { return listening_.empty() && submissions_ == 0; }
    std::size_t unanswered() const noexcept { return submissions_; }
    /// What the daemon said of itself.
    const json& hello() const noexcept { return hello_; }
    /// Counts what shows that a connection is of use: events, and replies behind the greeting.
    std::uint64_t progress() const noexcept { return progress_; }

    job_ptr find(std::uint64_t id) const {
        const auto it = listening_.find(id);
        return it == listening_.end() ? nullptr : it->second;
    }

private:
    using ids = std::vector<std::uint64_t>;

    struct pending {
        std::uint64_t tag;
        std::string line;
        bool repeatable;
        std::variant<request_ptr, std::vector<job_ptr>, ids> what;
        bool was_sent = false;
    };

    /// So many ids fit into a line and a selector, whatever they are.
    static constexpr std::size_t ids_in_a_line = 40'000;

    std::uint64_t next_tag() noexcept { return ++last_tag_; }

    void write_line(std::uint64_t tag, std::string_view line) {
        out_.push_back('#');
        out_ += std::to_string(tag);
        out_.push_back(' ');
        out_ += line;
        out_.push_back('\n');
    }

    void send(pending what) {
        if (ready_) write_line(what.tag, what.line);
        what.was_sent = what.was_sent || ready_;
        pending_.push_back(std::move(what));
    }

    void greet(const std::string& line) {
        greeting_.push_back({next_tag(), line});
        write_line(greeting_.back().first, line);
    }

    void wait_for(ids which) {
        std::string line = "wait " + format_ids(which);
        send({next_tag(), std::move(line), true, std::move(which)});
    }

    void handle(const event& told) {
        ++progress_;
        if (on_event) on_event(told);
        const auto [first, last] = listening_.equal_range(told.job);
        if (first == last) return;
        std::optional<result> outcome = parse_result(told);
        if (!outcome) return;
        std::vector<job_ptr> jobs;
        for (auto it = first; it != last; ++it) jobs.push_back(std::move(it->second));
        listening_.erase(first, last);
        for (const job_ptr& job : jobs) {
            job->outcome = jobs.size() == 1 ? std::move(outcome) : outcome;
            finish(*job);
        }
        if (on_finish) tasks.push_back([call = on_finish, job = jobs.front()] { (*call)(*job->outcome); });
    }

    void handle(const reply& told) {
        if (told.tag.empty()) {
            // A connection's last word: it belongs to no request.
            if (!told.ok) throw error::from_wire(told.code, told.text);
            throw error(errc::protocol, "the daemon sent a reply without its request's tag");
        }
        if (!greeting_.empty()) {
            check_tag(told, greeting_.front().first);
            greeted(told);
            return;
        }
        if (pending_.empty()) throw error(errc::protocol, "the daemon sent a reply to no request");
        check_tag(told, pending_.front().tag);
        ++progress_;
        const pending answered = std::move(pending_.front());
        pending_.pop_front();
        if (told.ok) {
            accept(answered, told.text);
        } else {
            refuse(answered, error::from_wire(told.code, told.text));
        }
    }

    static void check_tag(const reply& told, std::uint64_t expected) {
        std::uint64_t tag = 0;
        if (read_integer(told.tag, tag) && tag == expected) return;
        throw error(errc::protocol, "the daemon's replies are out of order: #" + std::to_string(expected) +
                                        " was expected, #" + std::string(told.tag) + " came");
    }

    void greeted(const reply& told) {
        if (!told.ok) throw error::from_wire(told.code, told.text);
        greeting_.pop_front();
        if (!greeting_.empty()) return;
        try {
            hello_ = parse_json(told.text);
        } catch (const error& problem) {
            throw error(errc::protocol, "the daemon's hello cannot be read: " + problem.text());
        }
        if (hello_["auth"] == json("token")) {
            throw error(errc::auth, "the daemon wants a token: options::token, JOBD_TOKEN or JOBD_TOKEN_FILE gives it");
        }
        failure_.reset();
        check_instance();
        ready_ = true;
        resume();
    }

    /// Sees whether this is the daemon that knows what this client has asked for; else all that is waited for ends.
    void check_instance() {
        if (!hello_["instance"].is_string()) return;  // an older daemon does not say
        const std::string before = std::exchange(instance_, hello_["instance"].as_string());
        if (before.empty() || before == instance_) return;
        fail_all(error(errc::connection, "the daemon has come back without its jobs (it is another instance): nobody "
                                         "knows what became of what was asked of the one before"));
        on_resume = nullptr;
    }

    /// Brings a new connection to where the last one was.
    void resume() {
        std::deque<pending> repeated = std::exchange(pending_, {});
        if (on_resume) on_resume();
        ids which;
        for (const auto& [id, job] : listening_) which.push_back(id);
        std::sort(which.begin(), which.end());
        which.erase(std::unique(which.begin(), which.end()), which.end());
        for (std::size_t at = 0; at < which.size(); at += ids_in_a_line) {
            const auto begin = which.begin() + static_cast<std::ptrdiff_t>(at);
            const std::size_t count = std::min(ids_in_a_line, which.size() - at);
            wait_for(ids(begin, begin + static_cast<std::ptrdiff_t>(count)));
        }
        for (pending& each : repeated) {
            // All that is listened for has just been waited for.
            if (!std::holds_alternative<ids>(each.what)) send(std::move(each));
        }
    }

    void accept(const pending& answered, std::string_view text) {
        if (const auto* record = std::get_if<request_ptr>(&answered.what)) {
            (*record)->text = std::string(text);
            (*record)->done = true;
        } else if (const auto* jobs = std::get_if<std::vector<job_ptr>>(&answered.what)) {
            --submissions_;
            submitted(*jobs, text);
        } else {
            std::uint64_t count = 0;
            const ids& which = std::get<ids>(answered.what);
            if (!read_integer(text, count)) throw error(errc::protocol, "the daemon's reply to 'wait' is no number");
            // A range leaves out silently what is no longer kept: ask for each part.
            if (count < which.size()) refuse(answered, no_such_job(which.front()));
        }
    }

    void submitted(const std::vector<job_ptr>& jobs, std::string_view text) {
        ids given;
        try {
            given = parse_ids(text);
            if (given.size() != jobs.size()) throw error(errc::protocol, "the daemon gave another number of ids than of jobs");
        } catch (const error& problem) {
            for (const job_ptr& job : jobs) end(job, problem);
            throw;
        }
        for (std::size_t i = 0; i < jobs.size(); ++i) {
            jobs[i]->id = given[i];
            if (jobs[i]->wants_event) {
                jobs[i]->now = job_record::phase::listening;
                listening_.emplace(given[i], jobs[i]);
            } else {
                jobs[i]->now = job_record::phase::silent;
            }
        }
    }

    void refuse(const pending& answered, const error& why) {
        const auto* which = std::get_if<ids>(&answered.what);
        if (which != nullptr && which->size() > 1) {
            wait_for_halves(*which);
        } else {
            fail(answered, why);
        }
    }

    static error no_such_job(std::uint64_t id) {
        return {errc::no_such_job, "there is no job " + std::to_string(id) + ", or it is no longer kept"};
    }

    void wait_for_halves(const ids& which) {
        const auto middle = which.begin() + static_cast<std::ptrdiff_t>(which.size() / 2);
        wait_for(ids(which.begin(), middle));
        wait_for(ids(middle, which.end()));
    }

    void fail(const pending& what, const error& why) {
        if (const auto* record = std::get_if<request_ptr>(&what.what)) {
            (*record)->problem = why;
            (*record)->done = true;
        } else if (const auto* jobs = std::get_if<std::vector<job_ptr>>(&what.what)) {
            --submissions_;
            for (const job_ptr& job : *jobs) end(job, why);
        } else {
            for (const std::uint64_t id : std::get<ids>(what.what)) {
                const auto [first, last] = listening_.equal_range(id);
                for (auto it = first; it != last; ++it) end(it->second, why);
                listening_.erase(first, last);
            }
        }
    }

    void end(const job_ptr& job, const error& why) {
        if (job->now == job_record::phase::ended) return;
        job->problem = why;
        finish(*job);
    }

    void finish(job_record& job) {
        job.now = job_record::phase::ended;
        for (auto& each : std::exchange(job.then, {})) tasks.push_back(std::move(each));
    }

    line_reader lines_;
    std::string out_;
    std::size_t sent_ = 0;
    std::uint64_t last_tag_ = 0;
    std::uint64_t progress_ = 0;
    std::size_t submissions_ = 0;
    bool ready_ = false;
    std::optional<error> failure_;
    json hello_;
    std::string instance_;
    std::deque<std::pair<std::uint64_t, std::string>> greeting_;
    std::deque<pending> pending_;
    std::unordered_multimap<std::uint64_t, job_ptr> listening_;
};

}  // namespace jobd::detail
