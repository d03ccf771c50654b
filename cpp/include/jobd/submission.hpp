// Jobs on their way into as few lines as possible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine.hpp"
#include "error.hpp"
#include "spec.hpp"

namespace jobd::detail {

/// Bytes of a request, with room for its tag and its end.
inline constexpr std::size_t longest_line = (1U << 20) - 64;

class submission {
public:
    explicit submission(std::shared_ptr<engine> to) : engine_(std::move(to)) {}

    /// Throws error TOO_LONG for a job that no line can hold, and what is wrong with an `after`.
    void add(const spec& what) {
        auto record = std::make_shared<job_record>();
        record->wants_event = what.wants_event();
        std::string text = render(what);
        if (text.size() + sizeof "submit []" > longest_line) {
            throw error(errc::too_long, "the job is longer than a line of the protocol may be");
        }
        if (body_.size() + text.size() + sizeof "submit [, ]" > longest_line) {
            send(false);
            text = render(what);  // jobs it comes after may have their ids by now
        }
        if (!body_.empty()) body_ += ", ";
        body_ += text;
        records_.push_back(record);
        part_.push_back(std::move(record));
    }

    /// Sends the rest. `in_background`: a thread sees to it, or the caller's process().
    std::vector<job_ptr> finish(bool in_background = false) {
        if (!part_.empty()) send(in_background);
        return std::move(records_);
    }

private:
    /// The job's JSON, with a key of ours where it may have to be sent again.
    std::string render(const spec& what) {
        std::vector<spec::edge> edges = what.edges();
        for (spec::edge& each : edges) {
            if (each.id >= 0) continue;
            const auto back = static_cast<std::size_t>(-each.id);
            if (back > records_.size()) throw error(errc::usage, "there are not so many jobs before this one");
            if (back > part_.size()) each.id = static_cast<std::int64_t>(id_of(records_[records_.size() - back]));
        }
        std::string key;
        if (engine_->settings().reconnect_for.count() > 0 && !what.has_key()) {
            const auto held = engine_->lock();
            key = engine_->next_key();
        }
        std::string out;
        write_job(out, what, edges, key);
        return out;
    }

    std::uint64_t id_of(const job_ptr& record) {
        auto held = engine_->lock();
        const time_point until = from_now(engine_->settings().timeout);
        if (!engine_->run_until(held, until, [&] { return record->id != 0 || record->problem; })) too_slow();
        if (record->id == 0) throw error(*record->problem);
        return record->id;
    }

    void send(bool in_background) {
        const bool single = part_.size() == 1;
        const bool repeatable = engine_->settings().reconnect_for.count() > 0;
        std::string line = single ? "submit " + body_ : "submit [" + body_ + "]";
        auto held = engine_->lock();
        engine_->check_open();
        const std::size_t most = engine_->settings().max_unanswered;
        const time_point until = from_now(engine_->settings().timeout);
        if (engine_->core().unanswered() >= most) {
            engine_->nudge(false);
            if (!engine_->run_until(held, until, [&] { return engine_->core().unanswered() < most; })) too_slow();
        }
        engine_->core().submit(line, std::exchange(part_, {}), repeatable);
        body_.clear();
        if (!in_background) return;  // the caller waits, and sends it by that
        engine_->need_thread();
        engine_->nudge(false);
    }

    [[noreturn]] static void too_slow() { throw error(errc::timeout, "the daemon has not answered the submissions before"); }

    std::shared_ptr<engine> engine_;
    std::string body_;
    std::vector<job_ptr> records_;
    std::vector<job_ptr> part_;
};

}  // namespace jobd::detail
