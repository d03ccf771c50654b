// How a job ended: what its finish event said.
#pragma once

#include <array>
#include <climits>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "error.hpp"
#include "json.hpp"
#include "json_reader.hpp"
#include "wire.hpp"

namespace jobd {

enum class state { waiting, queued, running, succeeded, failed, cancelled, timed_out, lost, skipped };

namespace detail {

inline constexpr std::array<std::string_view, 9> state_names{"waiting",   "queued",    "running", "succeeded", "failed",
                                                             "cancelled", "timed_out", "lost",    "skipped"};

inline std::optional<state> state_of(std::string_view name) noexcept {
    for (std::size_t i = 0; i < state_names.size(); ++i) {
        if (state_names[i] == name) return static_cast<state>(i);
    }
    return std::nullopt;
}

}  // namespace detail

/// The state's name in the protocol.
inline std::string_view to_string(state which) noexcept { return detail::state_names[static_cast<std::size_t>(which)]; }

/// Whether a job in this state has ended. A final state is never left.
inline bool is_final(state which) noexcept { return which >= state::succeeded; }

/// A job's final state and its outcome. What did not apply is empty or 0, see the table in docs/protocol.md.
struct result {
    std::uint64_t id = 0;
    std::uint64_t cursor = 0;
    jobd::state state = state::lost;
    std::optional<int> exit_code;  ///< 128+N after signal N
    std::string signal;            ///< as "SIGKILL"
    double wall = 0;               ///< seconds
    double user = 0;               ///< seconds of processor time
    double sys = 0;                ///< seconds of processor time
    std::int64_t max_rss = 0;      ///< bytes
    int attempt = 0;               ///< 0: it never started
    std::string error;             ///< what went wrong, in a sentence
    std::string traceback;         ///< of a failed call
    std::uint64_t because = 0;     ///< the job because of which this one was skipped
    json outcome;                  ///< all of it, also what a newer daemon adds

    /// What a call returned; null otherwise.
    const json& value() const noexcept { return outcome["result"]; }
    /// What a pickle job returned, as base64; null otherwise.
    const json& pickle() const noexcept { return outcome["pickle"]; }
    bool ok() const noexcept { return state == jobd::state::succeeded; }
    explicit operator bool() const noexcept { return ok(); }
};

namespace detail {

/// Reads the outcome's members by their names; one of an unexpected type is an error PROTOCOL.
class outcome_reader {
public:
    explicit outcome_reader(const json& outcome) : outcome_(outcome) {}

    void read(const char* name, double& out) const {
        if (const json* value = find(name)) out = value->as_number();
    }
    void read(const char* name, std::string& out) const {
        if (const json* value = find(name)) out = value->as_string();
    }
    void read(const char* name, std::int64_t& out) const {
        if (const json* value = find(name)) out = value->as_integer();
    }
    void read(const char* name, std::uint64_t& out) const {
        if (const json* value = find(name)) out = static_cast<std::uint64_t>(value->as_integer());
    }
    void read(const char* name, std::optional<int>& out) const {
        std::int64_t value = std::numeric_limits<std::int64_t>::max();
        read(name, value);
        if (value >= INT_MIN && value <= INT_MAX) out = static_cast<int>(value);
    }

private:
    const json* find(const char* name) const {
        const json* value = outcome_.find(name);
        return value == nullptr || value->is_null() ? nullptr : value;
    }

    const json& outcome_;
};

}  // namespace detail

/// The result that a finish event tells; nothing for an event of another kind. Throws error PROTOCOL.
inline std::optional<result> parse_result(const event& from) {
    const std::optional<state> ended = detail::state_of(from.state);
    if (!ended || !is_final(*ended) || from.cursor == 0 || from.job == 0) return std::nullopt;
    result out;
    out.id = from.job;
    out.cursor = from.cursor;
    out.state = *ended;
    try {
        out.outcome = from.json.empty() ? json(json::object{}) : parse_json(from.json);
        const detail::outcome_reader reader(out.outcome);
        std::optional<int> attempt;
        reader.read("exit_code", out.exit_code);
        reader.read("signal", out.signal);
        reader.read("wall", out.wall);
        reader.read("user", out.user);
        reader.read("sys", out.sys);
        reader.read("max_rss", out.max_rss);
        reader.read("attempt", attempt);
        out.attempt = attempt.value_or(0);
        reader.read("error", out.error);
        reader.read("traceback", out.traceback);
        reader.read("because", out.because);
    } catch (const error& problem) {
        throw error(errc::protocol, "the finish event of job " + std::to_string(from.job) + " cannot be read: " + problem.text());
    }
    return out;
}

}  // namespace jobd
