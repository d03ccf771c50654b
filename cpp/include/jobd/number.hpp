// Numbers to and from text whatever the locale says. std::to_chars and std::from_chars for double are missing from
// some standard libraries; a stream in the classic locale stands in for them there.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <locale>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>

namespace jobd::detail {

/// Reads a text that is known to have the form of a JSON number. False when it is out of a double's range.
inline bool read_real(std::string_view text, double& value) {
#if defined(__cpp_lib_to_chars)
    return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc{};
#else
    std::istringstream stream{std::string(text)};
    stream.imbue(std::locale::classic());
    return static_cast<bool>(stream >> value);
#endif
}

/// Appends the shortest text that is read again as the same number.
inline void append_real(std::string& out, double value) {
#if defined(__cpp_lib_to_chars)
    char buffer[64];
    const auto [end, problem] = std::to_chars(buffer, buffer + sizeof buffer, value);
    static_cast<void>(problem);
    const std::string_view digits(buffer, static_cast<std::size_t>(end - buffer));
#else
    std::string digits;
    double again = 0;
    for (int precision = 15; precision <= 17; ++precision) {
        std::ostringstream stream;
        stream.imbue(std::locale::classic());
        stream.precision(precision);
        stream << value;
        digits = stream.str();
        if (read_real(digits, again) && !(again < value) && !(again > value)) break;
    }
#endif
    out += digits;
    // 2.0 must stay a real when it is read again.
    if (digits.find_first_of(".eE") == std::string_view::npos) out += ".0";
}

/// Reads all of a text as a whole number; false when it is anything else or too large for T.
template <class T>
bool read_integer(std::string_view text, T& value, int base = 10) noexcept {
    const char* end = text.data() + text.size();
    const auto [stop, problem] = std::from_chars(text.data(), end, value, base);
    return problem == std::errc{} && stop == end && !text.empty();
}

}  // namespace jobd::detail
