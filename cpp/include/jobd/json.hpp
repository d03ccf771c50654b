// A JSON value and its writer. The reader is in json_reader.hpp.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "error.hpp"
#include "number.hpp"
#include "utf8.hpp"

namespace jobd {

/// A JSON value: null, boolean, integer (64 bits), real, string, array or object. An object keeps the order in which
/// its members were written.
class json {
public:
    using array = std::vector<json>;
    using object = std::vector<std::pair<std::string, json>>;

    json() noexcept : value_(nullptr) {}
    json(std::nullptr_t) noexcept : value_(nullptr) {}
    json(const char* text) : value_(std::string(text)) {}
    json(std::string_view text) : value_(std::string(text)) {}
    json(std::string text) noexcept : value_(std::move(text)) {}
    json(array items) noexcept : value_(std::move(items)) {}
    json(object members) noexcept : value_(std::move(members)) {}

    /// Any number or bool. An unsigned number that does not fit into 64 bits with a sign becomes a real.
    template <class T, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
    json(T value) noexcept {
        if constexpr (std::is_same_v<T, bool>) {
            value_ = value;
        } else if constexpr (std::is_floating_point_v<T>) {
            value_ = static_cast<double>(value);
        } else if constexpr (std::is_unsigned_v<T> && sizeof(T) >= sizeof(std::int64_t)) {
            if (value > static_cast<T>(std::numeric_limits<std::int64_t>::max())) {
                value_ = static_cast<double>(value);
            } else {
                value_ = static_cast<std::int64_t>(value);
            }
        } else {
            value_ = static_cast<std::int64_t>(value);
        }
    }

    template <class T, std::enable_if_t<!std::is_same_v<T, json> && std::is_constructible_v<json, const T&>, int> = 0>
    json(const std::vector<T>& items) {
        array list;
        list.reserve(items.size());
        for (const auto& item : items) list.emplace_back(static_cast<T>(item));
        value_ = std::move(list);
    }

    template <class T>
    json(const std::map<std::string, T>& members) {
        object map;
        for (const auto& [name, value] : members) map.emplace_back(name, json(value));
        value_ = std::move(map);
    }

    bool is_null() const noexcept { return holds<std::nullptr_t>(); }
    bool is_bool() const noexcept { return holds<bool>(); }
    bool is_integer() const noexcept { return holds<std::int64_t>(); }
    bool is_number() const noexcept { return is_integer() || holds<double>(); }
    bool is_string() const noexcept { return holds<std::string>(); }
    bool is_array() const noexcept { return holds<array>(); }
    bool is_object() const noexcept { return holds<object>(); }

    // Each throws error BAD_VALUE when the value is of another kind. Of a temporary value they give a value of its own,
    // so that a loop may run over what a function returned.
    bool as_bool() const { return get<bool>("a boolean"); }
    std::int64_t as_integer() const { return get<std::int64_t>("an integer"); }
    double as_number() const {
        return is_integer() ? static_cast<double>(as_integer()) : get<double>("a number");
    }
    const std::string& as_string() const& { return get<std::string>("a string"); }
    std::string as_string() && { return get<std::string>("a string"); }
    const array& as_array() const& { return get<array>("an array"); }
    array& as_array() & { return const_cast<array&>(get<array>("an array")); }
    array as_array() && { return get<array>("an array"); }
    const object& as_object() const& { return get<object>("an object"); }
    object& as_object() & { return const_cast<object&>(get<object>("an object")); }
    object as_object() && { return get<object>("an object"); }

    /// The member of an object, nullptr when there is none or this is not an object. The last of equal names counts.
    const json* find(std::string_view name) const noexcept {
        const object* members = std::get_if<object>(&value_);
        if (members == nullptr) return nullptr;
        for (auto it = members->rbegin(); it != members->rend(); ++it) {
            if (it->first == name) return &it->second;
        }
        return nullptr;
    }

    bool contains(std::string_view name) const noexcept { return find(name) != nullptr; }

    /// The member of an object; null when there is none.
    const json& operator[](std::string_view name) const noexcept {
        static const json nothing;
        const json* member = find(name);
        return member == nullptr ? nothing : *member;
    }

    /// Sets a member, replacing one of the same name. A null value becomes an object first.
    json& set(std::string_view name, json value) {
        if (is_null()) value_ = object{};
        if (const json* old = find(name)) {
            *const_cast<json*>(old) = std::move(value);
        } else {
            as_object().emplace_back(std::string(name), std::move(value));
        }
        return *this;
    }

    /// Appends to an array. A null value becomes an array first.
    json& push_back(json value) {
        if (is_null()) value_ = array{};
        as_array().push_back(std::move(value));
        return *this;
    }

    /// The value as JSON text on one line. Throws error BAD_VALUE for a string that is not UTF-8 and for a number that
    /// is not finite: JSON can express neither.
    std::string text() const {
        std::string out;
        write(out);
        return out;
    }

    void write(std::string& out) const {
        if (const auto* string = std::get_if<std::string>(&value_)) {
            write_string(out, *string);
        } else if (const auto* integer = std::get_if<std::int64_t>(&value_)) {
            out += std::to_string(*integer);
        } else if (const auto* items = std::get_if<array>(&value_)) {
            write_array(out, *items);
        } else if (const auto* members = std::get_if<object>(&value_)) {
            write_object(out, *members);
        } else if (const auto* real = std::get_if<double>(&value_)) {
            if (!std::isfinite(*real)) throw error(errc::bad_value, "JSON has no number that is not finite");
            detail::append_real(out, *real);
        } else if (const auto* flag = std::get_if<bool>(&value_)) {
            out += *flag ? "true" : "false";
        } else {
            out += "null";
        }
    }

    static void write_string(std::string& out, std::string_view text) {
        if (!detail::is_utf8(text)) throw error(errc::bad_value, "a string is not UTF-8, JSON cannot express it");
        static constexpr char digits[] = "0123456789abcdef";
        out.push_back('"');
        for (const char c : text) {
            const auto byte = static_cast<unsigned char>(c);
            if (c == '"' || c == '\\') {
                out.push_back('\\');
                out.push_back(c);
            } else if (c == '\n') {
                out += "\\n";
            } else if (byte < 0x20) {
                out += "\\u00";
                out.push_back(digits[byte >> 4]);
                out.push_back(digits[byte & 0x0F]);
            } else {
                out.push_back(c);
            }
        }
        out.push_back('"');
    }

    friend bool operator==(const json& a, const json& b) { return a.value_ == b.value_; }
    friend bool operator!=(const json& a, const json& b) { return !(a == b); }

private:
    template <class T>
    bool holds() const noexcept {
        return std::holds_alternative<T>(value_);
    }

    template <class T>
    const T& get(const char* wanted) const {
        if (const T* value = std::get_if<T>(&value_)) return *value;
        throw error(errc::bad_value, std::string("the JSON value is not ") + wanted);
    }

    static void write_array(std::string& out, const array& items) {
        out.push_back('[');
        bool first = true;
        for (const json& item : items) {
            if (!std::exchange(first, false)) out += ", ";
            item.write(out);
        }
        out.push_back(']');
    }

    static void write_object(std::string& out, const object& members) {
        out.push_back('{');
        bool first = true;
        for (const auto& [name, value] : members) {
            if (!std::exchange(first, false)) out += ", ";
            write_string(out, name);
            out += ": ";
            value.write(out);
        }
        out.push_back('}');
    }

    std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, array, object> value_;
};

}  // namespace jobd
