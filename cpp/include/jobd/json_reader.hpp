// Reads JSON (RFC 8259), strictly. It keeps its own stack, so that no input can exhaust the thread's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "error.hpp"
#include "json.hpp"

namespace jobd {

namespace detail {

/// Deeper than any value a daemon can produce, shallow enough for the value's destructor on a small stack.
inline constexpr std::size_t json_depth = 2000;

class json_reader {
public:
    explicit json_reader(std::string_view text) : text_(text) {}

    json read() {
        json root;
        begin_value(root);
        while (!open_.empty()) continue_container();
        skip_space();
        if (at_ != text_.size()) fail("there is something after the value");
        return root;
    }

private:
    [[noreturn]] void fail(const char* why) const {
        throw error(errc::bad_json, std::string(why) + ", at character " + std::to_string(at_ + 1));
    }

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    void skip_space() {
        while (at_ < text_.size()) {
            const char c = text_[at_];
            if (c != ' ' && c != '\t' && c != '\n' && c != '\r') break;
            ++at_;
        }
    }

    void expect(char wanted, const char* why) {
        skip_space();
        if (at_ >= text_.size() || text_[at_] != wanted) fail(why);
        ++at_;
    }

    void literal(std::string_view word) {
        if (text_.substr(at_, word.size()) != word) fail("a value is expected");
        at_ += word.size();
    }

    /// Reads a value into `slot`; of an array or an object only the opening bracket.
    void begin_value(json& slot) {
        skip_space();
        switch (peek()) {
            case '{': open(slot, json(json::object{})); break;
            case '[': open(slot, json(json::array{})); break;
            case '"': slot = json(string()); break;
            case 't': literal("true"), slot = json(true); break;
            case 'f': literal("false"), slot = json(false); break;
            case 'n': literal("null"), slot = json(nullptr); break;
            default: slot = number();
        }
    }

    void open(json& slot, json empty) {
        if (open_.size() >= json_depth) fail("too many brackets inside each other");
        ++at_;
        slot = std::move(empty);
        // A container never moves while it is open: only the innermost one grows.
        open_.push_back(&slot);
        fresh_ = true;
    }

    void continue_container() {
        json& container = *open_.back();
        const bool is_array = container.is_array();
        skip_space();
        if (peek() == (is_array ? ']' : '}')) {
            ++at_;
            open_.pop_back();
            fresh_ = false;
            return;
        }
        if (!std::exchange(fresh_, false)) expect(',', "a comma or the closing bracket is expected");
        if (is_array) {
            begin_value(container.as_array().emplace_back());
            return;
        }
        skip_space();
        if (peek() != '"') fail("a member's name is expected");
        std::string name = string();
        expect(':', "a colon is expected");
        begin_value(container.as_object().emplace_back(std::move(name), json()).second);
    }

    json number() {
        const std::size_t start = at_;
        bool whole = true;
        if (peek() == '-') ++at_;
        if (peek() == '0') {
            ++at_;
        } else if (!digits()) {
            fail("a value is expected");
        }
        if (peek() == '.') {
            ++at_;
            whole = false;
            if (!digits()) fail("a digit is expected");
        }
        if (peek() == 'e' || peek() == 'E') {
            ++at_;
            whole = false;
            if (peek() == '+' || peek() == '-') ++at_;
            if (!digits()) fail("a digit is expected");
        }
        const std::string_view text = text_.substr(start, at_ - start);
        std::int64_t integer = 0;
        if (whole && read_integer(text, integer)) return json(integer);
        double real = 0;
        if (!read_real(text, real)) fail("the number is out of range");
        return json(real);
    }

    bool digits() {
        const std::size_t start = at_;
        while (peek() >= '0' && peek() <= '9') ++at_;
        return at_ != start;
    }

    std::string string() {
        std::string out;
        ++at_;
        for (;;) {
            if (at_ >= text_.size()) fail("a string has no end");
            const auto byte = static_cast<unsigned char>(text_[at_]);
            if (byte == '"') break;
            if (byte < 0x20) fail("a control character stands in a string");
            if (byte == '\\') {
                escape(out);
                continue;
            }
            const std::size_t length = utf8_sequence(text_, at_);
            if (length == 0) fail("not UTF-8");
            out.append(text_, at_, length);
            at_ += length;
        }
        ++at_;
        return out;
    }

    void escape(std::string& out) {
        static constexpr std::string_view names = "\"\\/bfnrt";
        static constexpr std::string_view values = "\"\\/\b\f\n\r\t";
        ++at_;
        const char c = peek();
        if (c == 'u') {
            ++at_;
            append_utf8(out, escaped_point());
            return;
        }
        const std::size_t which = c == '\0' ? names.npos : names.find(c);
        if (which == names.npos) fail("an unknown escape");
        out.push_back(values[which]);
        ++at_;
    }

    std::uint32_t escaped_point() {
        const std::uint32_t first = hex4();
        if (first < 0xD800 || first > 0xDFFF) return first;
        if (first > 0xDBFF || text_.substr(at_, 2) != "\\u") fail("half a surrogate pair");
        at_ += 2;
        const std::uint32_t second = hex4();
        if (second < 0xDC00 || second > 0xDFFF) fail("half a surrogate pair");
        return 0x10000U + ((first - 0xD800U) << 10) + (second - 0xDC00U);
    }

    std::uint32_t hex4() {
        std::uint32_t value = 0;
        for (int i = 0; i < 4; ++i, ++at_) {
            const char c = peek();
            value <<= 4;
            if (c >= '0' && c <= '9') {
                value |= static_cast<std::uint32_t>(c - '0');
            } else if (c >= 'a' && c <= 'f') {
                value |= static_cast<std::uint32_t>(c - 'a' + 10);
            } else if (c >= 'A' && c <= 'F') {
                value |= static_cast<std::uint32_t>(c - 'A' + 10);
            } else {
                fail("four hexadecimal digits are expected");
            }
        }
        return value;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    std::vector<json*> open_;
    bool fresh_ = false;
};

}  // namespace detail

/// Reads one JSON value. Throws error BAD_JSON, which says where. An integer beyond 64 bits becomes a real.
inline json parse_json(std::string_view text) { return detail::json_reader(text).read(); }

}  // namespace jobd
