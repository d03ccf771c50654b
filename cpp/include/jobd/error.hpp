// Every failure is a jobd::error. Its code is one of the protocol's closed list, or one of a few that never cross
// the wire because they describe what went wrong on this side of it.
#pragma once

#include <array>
#include <stdexcept>
#include <string>
#include <string_view>

namespace jobd {

enum class errc {
    // The protocol's codes, in the order of docs/protocol.md.
    syntax,
    unknown_verb,
    bad_json,
    bad_field,
    bad_value,
    too_long,
    too_many,
    no_such_job,
    finished,
    not_finished,
    conflict,
    gone,
    auth,
    denied,
    draining,
    full,
    slow,
    busy,
    internal,
    // Ours.
    connection,  ///< the daemon cannot be reached, or went away and did not come back
    tls,         ///< the daemon's certificate or ours was refused, or this build has no TLS
    timeout,     ///< the time the caller gave is over; what was asked for may still happen
    protocol,    ///< what answers is not a jobd, or breaks the protocol
    usage,       ///< a URL, an option or an argument is wrong; nothing was sent
    unknown      ///< a code of a newer daemon, see error::code_name
};

namespace detail {

struct errc_row {
    errc code;
    std::string_view name;
    bool retryable;
};

inline constexpr std::array<errc_row, 25> errc_table{{
    {errc::syntax, "SYNTAX", false},
    {errc::unknown_verb, "UNKNOWN_VERB", false},
    {errc::bad_json, "BAD_JSON", false},
    {errc::bad_field, "BAD_FIELD", false},
    {errc::bad_value, "BAD_VALUE", false},
    {errc::too_long, "TOO_LONG", false},
    {errc::too_many, "TOO_MANY", false},
    {errc::no_such_job, "NO_SUCH_JOB", false},
    {errc::finished, "FINISHED", false},
    {errc::not_finished, "NOT_FINISHED", false},
    {errc::conflict, "CONFLICT", false},
    {errc::gone, "GONE", false},
    {errc::auth, "AUTH", false},
    {errc::denied, "DENIED", false},
    {errc::draining, "DRAINING", true},
    {errc::full, "FULL", true},
    {errc::slow, "SLOW", true},
    {errc::busy, "BUSY", true},
    {errc::internal, "INTERNAL", false},
    {errc::connection, "CONNECTION", true},
    {errc::tls, "TLS", false},
    {errc::timeout, "TIMEOUT", true},
    {errc::protocol, "PROTOCOL", false},
    {errc::usage, "USAGE", false},
    {errc::unknown, "UNKNOWN", false},
}};

inline const errc_row& row_of(errc code) noexcept { return errc_table[static_cast<std::size_t>(code)]; }

inline errc code_of(std::string_view name) noexcept {
    for (const errc_row& row : errc_table) {
        if (row.name == name) return row.code;
    }
    return errc::unknown;
}

}  // namespace detail

/// The one exception type. what() is a sentence and, in brackets, the code.
class error : public std::runtime_error {
public:
    error(errc code, const std::string& text) : error(code, std::string(detail::row_of(code).name), text) {}

    /// The error that a reply line "error CODE text" stands for.
    static error from_wire(std::string_view name, std::string_view text) {
        return {detail::code_of(name), std::string(name), std::string(text)};
    }

    errc code() const noexcept { return code_; }
    /// The code as it is spelt in docs/protocol.md, also one this version does not know.
    const std::string& code_name() const noexcept { return name_; }
    const std::string& text() const noexcept { return text_; }
    /// Whether the same request may succeed later.
    bool retryable() const noexcept { return detail::row_of(code_).retryable; }

private:
    error(errc code, std::string name, std::string text)
        : std::runtime_error(text + " [" + name + "]"), code_(code), name_(std::move(name)), text_(std::move(text)) {}

    errc code_;
    std::string name_;
    std::string text_;
};

}  // namespace jobd
