// The JSON reader takes any bytes: it gives a value that is written and read again as the same, or an error BAD_JSON.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <jobd/json_reader.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    try {
        const jobd::json value = jobd::parse_json(text);
        if (jobd::parse_json(value.text()) != value) std::abort();
    } catch (const jobd::error& problem) {
        if (problem.code() != jobd::errc::bad_json) std::abort();
    }
    return 0;
}
