// Bytes to lines, lines to replies and events. No I/O.
//
//     reply = [ "#" tag " " ] "ok" [ " " argument ]
//           | [ "#" tag " " ] "error " CODE " " text
//     event = "* " cursor " " job-id " " state [ " " json ]
//
// Whatever comes in, every whole line becomes one message or one error PROTOCOL; a line that never ends cannot fill
// the memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "error.hpp"
#include "number.hpp"
#include "utf8.hpp"

namespace jobd {

struct reply {
    std::string_view tag;   ///< without its '#', empty where there is none
    bool ok = false;
    std::string_view code;  ///< of an error
    std::string_view text;  ///< what follows "ok", or the error's sentence
};

struct event {
    std::uint64_t cursor = 0;
    std::uint64_t job = 0;
    std::string_view state;
    std::string_view json;  ///< empty where the line ends behind the state
};

using message = std::variant<reply, event>;

/// Cuts a stream into lines, wherever it was cut into pieces before.
class line_reader {
public:
    /// `limit`: bytes that a line may have, without its end.
    explicit line_reader(std::size_t limit) : limit_(limit) {}

    void feed(const char* data, std::size_t size) {
        buffer_.erase(0, start_);
        searched_ -= start_;
        start_ = 0;
        buffer_.append(data, size);
    }

    /// The next whole line without its end, valid until the next feed(). False when there is none yet. Throws error
    /// PROTOCOL when a line is over the limit.
    bool next(std::string_view& line) {
        const std::size_t end = buffer_.find('\n', searched_);
        const std::size_t length = (end == std::string::npos ? buffer_.size() : end) - start_;
        if (length > limit_) {
            throw error(errc::protocol, "the daemon sent a line of more than " + std::to_string(limit_) + " bytes");
        }
        if (end == std::string::npos) {
            searched_ = buffer_.size();
            return false;
        }
        line = std::string_view(buffer_).substr(start_, length);
        if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
        start_ = searched_ = end + 1;
        return true;
    }

    void clear() {
        buffer_.clear();
        start_ = searched_ = 0;
    }

private:
    std::string buffer_;
    std::size_t limit_;
    std::size_t start_ = 0;
    std::size_t searched_ = 0;
};

namespace detail {

/// A piece of a line, fit to stand in a sentence.
inline std::string excerpt(std::string_view line) {
    std::string out;
    for (const char c : line.substr(0, 60)) {
        const auto byte = static_cast<unsigned char>(c);
        out.push_back(byte < 0x20 || byte > 0x7E ? '?' : c);
    }
    return "'" + out + (line.size() > 60 ? "...'" : "'");
}

[[noreturn]] inline void not_the_protocol(std::string_view line) {
    throw error(errc::protocol, "the daemon sent something that is neither a reply nor an event: " + excerpt(line));
}

/// The part of `rest` before the first space; `rest` becomes what is behind it. False when there was no space.
inline bool cut_word(std::string_view& rest, std::string_view& word) {
    const std::size_t space = rest.find(' ');
    word = rest.substr(0, space);
    rest = space == rest.npos ? std::string_view() : rest.substr(space + 1);
    return space != std::string_view::npos;
}

inline bool is_tag(std::string_view tag) {
    const auto fits = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
               c == '-';
    };
    return !tag.empty() && tag.size() <= 32 && std::all_of(tag.begin(), tag.end(), fits);
}

inline bool is_code(std::string_view code) {
    return !code.empty() && std::all_of(code.begin(), code.end(), [](char c) { return (c >= 'A' && c <= 'Z') || c == '_'; });
}

inline bool is_state(std::string_view state) {
    return !state.empty() && std::all_of(state.begin(), state.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

inline event parse_event(std::string_view line) {
    event out;
    std::string_view rest = line.substr(1);
    std::string_view star;
    std::string_view cursor;
    std::string_view job;
    const bool whole = cut_word(rest, star) && star.empty() && cut_word(rest, cursor) && cut_word(rest, job);
    const bool has_json = whole && cut_word(rest, out.state);
    if (!whole || !read_integer(cursor, out.cursor) || !read_integer(job, out.job) || !is_state(out.state)) {
        not_the_protocol(line);
    }
    if (has_json) {
        if (rest.empty() || rest.front() != '{') not_the_protocol(line);
        out.json = rest;
    }
    return out;
}

inline reply parse_reply(std::string_view line) {
    reply out;
    std::string_view rest = line;
    std::string_view word;
    if (line.front() == '#') {
        if (!cut_word(rest, word)) not_the_protocol(line);
        out.tag = word.substr(1);
        if (!is_tag(out.tag)) not_the_protocol(line);
    }
    const bool more = cut_word(rest, word);
    if (word == "ok") {
        out.ok = true;
    } else if (word != "error" || !more || !cut_word(rest, out.code) || !is_code(out.code)) {
        not_the_protocol(line);
    }
    out.text = rest;
    return out;
}

}  // namespace detail

/// Reads one line that the daemon sent. The parts of the message point into it. Throws error PROTOCOL.
inline message parse_message(std::string_view line) {
    if (line.empty() || !detail::is_utf8(line)) detail::not_the_protocol(line);
    if (line.front() == '*') return detail::parse_event(line);
    return detail::parse_reply(line);
}

/// Reads IDS, as "5,18-19". At most `limit` ids. Throws error PROTOCOL.
inline std::vector<std::uint64_t> parse_ids(std::string_view text, std::size_t limit = 1'000'000) {
    std::vector<std::uint64_t> out;
    const auto refuse = [&] { throw error(errc::protocol, "not a list of job ids: " + detail::excerpt(text)); };
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t comma = std::min(text.find(',', at), text.size());
        const std::string_view part = text.substr(at, comma - at);
        const std::size_t dash = part.find('-');
        std::uint64_t first = 0;
        std::uint64_t last = 0;
        if (!detail::read_integer(part.substr(0, dash), first)) refuse();
        if (dash == part.npos) {
            last = first;
        } else if (!detail::read_integer(part.substr(dash + 1), last)) {
            refuse();
        }
        if (first == 0 || last < first || last - first >= limit - out.size()) refuse();
        for (std::uint64_t id = first; id <= last; ++id) out.push_back(id);
        at = comma + 1;
    }
    return out;
}

/// Writes IDS: consecutive ones as ranges.
inline std::string format_ids(const std::vector<std::uint64_t>& ids) {
    std::string out;
    for (std::size_t i = 0; i < ids.size();) {
        std::size_t last = i;
        while (last + 1 < ids.size() && ids[last + 1] == ids[last] + 1) ++last;
        if (!out.empty()) out.push_back(',');
        out += std::to_string(ids[i]);
        if (last != i) out += "-" + std::to_string(ids[last]);
        i = last + 1;
    }
    return out;
}

}  // namespace jobd
