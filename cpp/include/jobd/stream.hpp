// Streams of events, each on a connection of its own and without a thread: next() does the work.
//
//     jobd::watch all(jobd::options{}, 912);             // every finish event after cursor 912
//     while (auto told = all.next(10s)) ...
//
//     jobd::follow output(jobd::options{}, {17, 18});    // what these jobs write, as they write it
//     while (!output.ended()) if (auto part = output.next(1s)) std::cout << part->data;
//
// Both come back after a lost connection where they were: nothing is left out, nothing comes twice. One thread at a
// time may use one.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base64.hpp"
#include "engine.hpp"
#include "error.hpp"
#include "json.hpp"
#include "json_reader.hpp"
#include "options.hpp"
#include "result.hpp"

namespace jobd {

/// An event that outlives the line it came in.
struct notice {
    std::uint64_t cursor = 0;  ///< 0: told once, as it happens
    std::uint64_t job = 0;     ///< 0: it concerns a group
    std::string state;         ///< a final state, "group" or "progress"
    std::string text;          ///< the JSON, {} where there is none

    json data() const { return parse_json(text); }
    /// The result, where this is a job's finish.
    std::optional<jobd::result> result() const { return parse_result({cursor, job, state, text}); }
};

namespace detail {

/// What watch and follow share: a client whose events go into a queue.
template <class Item>
class event_stream {
public:
    event_stream(const event_stream&) = delete;
    event_stream& operator=(const event_stream&) = delete;
    ~event_stream() { engine_->close(); }

protected:
    explicit event_stream(options given) : engine_(std::make_shared<engine>(without_thread(std::move(given)))) {}

    void start(std::function<void(const event&)> on_event, std::function<void()> on_resume) {
        engine_->core().on_event = std::move(on_event);
        engine_->core().on_resume = std::move(on_resume);
        engine_->open();
        auto held = engine_->lock();
        const auto until = from_now(engine_->settings().timeout);
        if (!engine_->run_until(held, until, [&] { return answered() || problem(); })) {
            throw error(errc::timeout, "the daemon has not answered in time");
        }
        if (problem()) throw error(*problem_);
    }

    std::optional<Item> take(time_point until) {
        auto held = engine_->lock();
        engine_->run_until(held, until, [&] { return !items_.empty() || problem(); });
        if (!items_.empty()) {
            std::optional<Item> out(std::move(items_.front()));
            items_.pop_front();
            return out;
        }
        if (problem_) throw error(*std::exchange(problem_, std::nullopt));
        return std::nullopt;
    }

    void ask(const std::string& line) { asked_.push_back(engine_->core().request(line, false)); }
    void forget() { asked_.clear(); }
    const std::vector<request_ptr>& asked() const noexcept { return asked_; }

    std::deque<Item> items_;

private:
    static options without_thread(options given) {
        given.io_thread = false;
        return given;
    }

    bool answered() const {
        bool out = !asked_.empty();
        for (const request_ptr& each : asked_) out = out && each->done;
        return out;
    }

    bool problem() {
        if (auto failure = engine_->core().take_failure()) problem_ = std::move(failure);
        for (const request_ptr& each : asked_) {
            // What a broken connection took away is asked for again on the next one.
            if (each->problem && each->problem->code() != errc::connection) problem_ = each->problem;
        }
        if (problem_) asked_.clear();
        return problem_.has_value();
    }

    std::vector<request_ptr> asked_;
    std::optional<error> problem_;

protected:
    std::shared_ptr<engine> engine_;
};

}  // namespace detail

/// Every finish event this identity may see, from a cursor on.
class watch : private detail::event_stream<notice> {
public:
    /// From the event after `since` on, or from now on; `progress`: also what running jobs report. Throws error GONE when
    /// events that old are no longer kept.
    explicit watch(options given, std::optional<std::uint64_t> since = {}, bool progress = false)
        : event_stream(std::move(given)), cursor_(since), progress_(progress) {
        start([this](const event& told) { add(told); }, [this] { resume(); });
        // With no `since` the reply says where "now" is: what follows may be resumed from there.
        std::uint64_t newest = 0;
        if (!cursor_ && !asked().empty() && detail::read_integer(asked().front()->text, newest)) cursor_ = newest;
    }

    /// A flag is no cursor.
    template <class T, std::enable_if_t<std::is_same_v<T, bool>, int> = 0>
    watch(options, T) = delete;

    /// The next event; nothing when none came in time. Throws error CONNECTION when the daemon is gone for good.
    template <class Rep, class Period>
    std::optional<notice> next(std::chrono::duration<Rep, Period> limit) {
        return take(detail::from_now(limit));
    }

private:
    void resume() {
        forget();
        json settings(json::object{});
        if (cursor_) settings.set("since", *cursor_);
        if (progress_) settings.set("progress", true);
        ask("watch " + settings.text());
    }

    void add(const event& told) {
        if (told.cursor != 0) {
            if (cursor_ && told.cursor <= *cursor_) return;
            cursor_ = told.cursor;
        }
        items_.push_back({told.cursor, told.job, std::string(told.state), told.json.empty() ? "{}" : std::string(told.json)});
    }

    std::optional<std::uint64_t> cursor_;
    bool progress_;
};

/// A piece of what a job wrote, or, with `result`, its finish.
struct output_piece {
    std::uint64_t job = 0;
    bool is_error = false;  ///< from standard error
    std::string data;
    std::optional<jobd::result> result;
};

/// What jobs write, as they write it, and then how each ended.
class follow : private detail::event_stream<output_piece> {
public:
    follow(options given, const std::vector<std::uint64_t>& ids) : event_stream(std::move(given)) {
        for (const std::uint64_t id : ids) open_[id] = {};
        start([this](const event& told) { add(told); }, [this] { resume(); });
    }

    /// The next piece; nothing when none came in time, or ever will.
    template <class Rep, class Period>
    std::optional<output_piece> next(std::chrono::duration<Rep, Period> limit) {
        return take(ended() ? detail::clock::now() : detail::from_now(limit));
    }

    /// Whether all jobs have ended and all has been taken.
    bool ended() const noexcept { return open_.empty() && items_.empty(); }

private:
    struct offsets {
        std::uint64_t of[2] = {0, 0};
    };

    void resume() {
        forget();
        for (const auto& [id, reached] : open_) {
            // One request for both streams, from where the shorter one is; what the other one repeats is cut off.
            const std::uint64_t from = std::min(reached.of[0], reached.of[1]);
            const json settings(json::object{{"stream", "both"}, {"from", from}});
            ask("follow " + std::to_string(id) + " " + settings.text());
        }
    }

    void add(const event& told) {
        const auto it = open_.find(told.job);
        if (it == open_.end()) return;
        if (told.state == "output") {
            add_output(told.job, it->second, told.json);
        } else if (auto ended = parse_result(told)) {
            items_.push_back({told.job, false, {}, std::move(ended)});
            open_.erase(it);
        }
    }

    void add_output(std::uint64_t id, offsets& reached, std::string_view text) {
        output_piece out;
        std::uint64_t from = 0;
        try {
            const json part = parse_json(text);
            out.job = id;
            out.is_error = part["stream"].as_string() == "stderr";
            out.data = part["data"].as_string();
            if (part.contains("encoding")) out.data = detail::from_base64(out.data);
            from = static_cast<std::uint64_t>(part["from"].as_integer());
        } catch (const error& problem) {
            throw error(errc::protocol, "an output event cannot be read: " + problem.text());
        }
        std::uint64_t& here = reached.of[out.is_error ? 1 : 0];
        const std::uint64_t end = from + out.data.size();
        if (end <= here) return;
        if (from < here) out.data.erase(0, static_cast<std::size_t>(here - from));
        here = end;
        items_.push_back(std::move(out));
    }

    std::map<std::uint64_t, offsets> open_;
};

}  // namespace jobd
