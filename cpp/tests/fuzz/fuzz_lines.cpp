// A client's core takes any bytes from its daemon: it goes on, or there is an error; and wherever the stream is cut, its
// lines are the same. The first byte says how large the pieces are.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <jobd/core.hpp>

namespace {

constexpr std::size_t limit = 300;

std::vector<std::string> cut(const char* data, std::size_t size, std::size_t piece) {
    std::vector<std::string> out;
    jobd::line_reader reader(limit);
    try {
        for (std::size_t at = 0; at < size; at += piece) {
            reader.feed(data + at, std::min(piece, size - at));
            std::string_view line;
            while (reader.next(line)) out.emplace_back(line);
        }
    } catch (const jobd::error&) {
    }
    return out;
}

void feed(const char* data, std::size_t size, std::size_t piece) {
    using namespace jobd::detail;
    core machine(limit);
    machine.on_finish = std::make_shared<const std::function<void(const jobd::result&)>>([](const jobd::result&) {});
    const auto request = machine.request("ping", true);
    auto job = std::make_shared<job_record>();
    auto other = std::make_shared<job_record>();
    machine.submit("submit {}", {job}, true);
    machine.submit("submit [{}, {}]", {other, std::make_shared<job_record>()}, false);
    machine.connected("token");
    try {
        for (std::size_t at = 0; at < size; at += piece) machine.feed(data + at, std::min(piece, size - at));
        if (machine.is_ready()) machine.listen(job);
        machine.lost(jobd::error(jobd::errc::connection, "lost"));
        machine.connected("");
        machine.feed(data, size);
    } catch (const jobd::error&) {
    }
    machine.fail_all(jobd::error(jobd::errc::connection, "gone"));
    while (!machine.tasks.empty()) {
        machine.tasks.front()();
        machine.tasks.pop_front();
    }
    // Whatever came, nobody is left waiting.
    if (!request->done || job->now == job_record::phase::submitting || job->now == job_record::phase::listening) std::abort();
    if (!machine.is_idle()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::size_t piece = std::size_t{1} + data[0];
    const char* text = reinterpret_cast<const char*>(data + 1);
    if (cut(text, size - 1, piece) != cut(text, size - 1, 1)) std::abort();
    feed(text, size - 1, piece);
    return 0;
}
