// For programs that use nlohmann-json: its values and ours turn into each other.
//
//     nlohmann::json outcome = c.submit(...).get().outcome;
//     jobd::call("m:f").arg(jobd::from_nlohmann(value));
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "json.hpp"

namespace jobd {

inline void to_json(nlohmann::json& out, const json& from) {
    if (from.is_object()) {
        out = nlohmann::json::object();
        for (const auto& [name, value] : from.as_object()) to_json(out[name], value);
    } else if (from.is_array()) {
        out = nlohmann::json::array();
        for (const json& value : from.as_array()) to_json(out.emplace_back(), value);
    } else if (from.is_string()) {
        out = from.as_string();
    } else if (from.is_bool()) {
        out = from.as_bool();
    } else if (from.is_integer()) {
        out = from.as_integer();
    } else if (from.is_number()) {
        out = from.as_number();
    } else {
        out = nullptr;
    }
}

inline json from_nlohmann(const nlohmann::json& from) {
    if (from.is_object()) {
        json::object out;
        for (const auto& [name, value] : from.items()) out.emplace_back(name, from_nlohmann(value));
        return out;
    }
    if (from.is_array()) {
        json::array out;
        for (const auto& value : from) out.push_back(from_nlohmann(value));
        return out;
    }
    if (from.is_string()) return from.get<std::string>();
    if (from.is_boolean()) return from.get<bool>();
    if (from.is_number_unsigned()) return from.get<std::uint64_t>();
    if (from.is_number_integer()) return from.get<std::int64_t>();
    if (from.is_number()) return from.get<double>();
    return nullptr;
}

inline void from_json(const nlohmann::json& from, json& out) { out = from_nlohmann(from); }

}  // namespace jobd
