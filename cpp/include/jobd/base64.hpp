// Base64, which output that is not UTF-8 comes in.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "error.hpp"

namespace jobd::detail {

inline std::string from_base64(std::string_view text) {
    static constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    while (!text.empty() && text.back() == '=') text.remove_suffix(1);
    std::string out;
    out.reserve(text.size() / 4 * 3 + 2);
    std::uint32_t bits = 0;
    int count = 0;
    for (const char c : text) {
        const std::size_t value = alphabet.find(c);
        if (value == alphabet.npos) throw error(errc::protocol, "the daemon sent output that is not base64");
        bits = (bits << 6) | static_cast<std::uint32_t>(value);
        count += 6;
        if (count >= 8) {
            count -= 8;
            out.push_back(static_cast<char>(static_cast<unsigned char>(bits >> count)));
        }
    }
    return out;
}

}  // namespace jobd::detail
