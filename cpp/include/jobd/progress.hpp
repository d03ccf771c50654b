// For a program that runs as a job: one line tells how far it is.
//
//     jobd::progress(3, 10, "page 3");
#pragma once

#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "client.hpp"
#include "error.hpp"
#include "json.hpp"
#include "options.hpp"

namespace jobd {

/// Reports that `done` of `total` is done, whatever is counted; null leaves a part out. It is passed on to whoever
/// follows the job. Does nothing in a program that is no job. Work must not fail because nobody hears of it: whatever
/// goes wrong is answered with false. May be called from any thread.
inline bool progress(const json& done, const json& total = {}, std::string_view text = {}) noexcept {
    static std::mutex alone;
    static std::unique_ptr<client> daemon;
    const std::lock_guard<std::mutex> held(alone);
    try {
        const std::string id = detail::env_or("JOBD_JOB_ID");
        if (id.empty()) return false;
        json report(json::object{});
        if (!done.is_null()) report.set("done", done);
        if (!total.is_null()) report.set("total", total);
        if (!text.empty()) report.set("text", text);
        if (!daemon) {
            options given;
            given.timeout = given.connect_timeout = milliseconds(5'000);
            given.reconnect_for = milliseconds(0);
            daemon = std::make_unique<client>(given);
        }
        daemon->request("progress " + id + " " + report.text());
        return true;
    } catch (const std::exception&) {
        daemon.reset();
        return false;
    }
}

}  // namespace jobd
