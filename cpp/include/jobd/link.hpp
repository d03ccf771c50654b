// Keeps a core connected: connects, moves its bytes, notices a daemon that is gone, comes back with growing pauses,
// and gives up after a time. Never waits itself, but for the system's resolver.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core.hpp"
#include "error.hpp"
#include "options.hpp"
#include "socket.hpp"
#include "transport.hpp"
#include "url.hpp"

namespace jobd::detail {

class link {
public:
    using time = clock::time_point;

    link(const options& given, core& what) : options_(given), core_(what), where_(find_daemon(given)) {}

    const address& where() const noexcept { return where_; }
    /// How often a connection, or an attempt at one, has come to its end.
    std::uint64_t losses() const noexcept { return losses_; }
    /// Why the last one did.
    const std::optional<error>& last_problem() const noexcept { return problem_; }
    native_socket handle() const noexcept { return connection_.handle(); }

    bool wants_write() const noexcept {
        return connection_.wants_write() || (phase_ == phase::open && !core_.output().empty());
    }

    /// When act() wants to be called although the socket is not ready.
    time wake_at() const noexcept {
        switch (phase_) {
            case phase::idle: return core_.needs_connection() ? time::min() : time::max();
            case phase::pausing: return retry_at_;
            case phase::connecting: return std::min(give_up_at_, connection_.wake_at());
            case phase::open: break;
        }
        const bool watching = core_.owes_reply() || core_.is_listening() || core_.is_following();
        const time silence = quiet_since_ + options_.liveness;
        if (!core_.is_ready()) return watching ? std::min(silence, give_up_at_) : give_up_at_;
        // With nothing owed one look more: then a request that follows soon needs to wake nobody.
        return watching || silence > clock::now() ? silence : time::max();
    }

    /// Before waiting: begins to connect if it is time to, sends what there is. The lock is open while a name is looked up.
    void prepare(std::unique_lock<std::mutex>& lock) {
        guarded([&] {
            const bool due = phase_ == phase::pausing ? clock::now() >= retry_at_ : core_.needs_connection();
            if ((phase_ == phase::idle || phase_ == phase::pausing) && due) connect(lock);
            // After a long absence first look whether the daemon is still there: what is sent to one that is not
            // may be lost.
            if (phase_ == phase::open && clock::now() > quiet_since_ + long_absence) receive();
            if (phase_ == phase::open) flush();
        });
    }

    /// After waiting: does what has become possible. `ready`: the socket is readable, writable or broken.
    void act(bool ready) {
        guarded([&] {
            if (phase_ == phase::connecting) connecting(ready);
            if (phase_ != phase::open) return;
            if (ready) receive();
            flush();
            check_liveness();
        });
    }

    /// Sends what the core holds, if the socket takes it at once; false when something is left to do for the others.
    bool try_flush() noexcept {
        if (phase_ != phase::open) return false;
        try {
            flush();
        } catch (const std::exception&) {
            return false;  // whoever reads next sees why
        }
        note_owed();
        return !wants_write();
    }

    void close() noexcept {
        connection_.close();
        phase_ = phase::idle;
    }

private:
    enum class phase { idle, pausing, connecting, open };

    template <class Action>
    void guarded(Action action) {
        try {
            action();
        } catch (const error& problem) {
            lost(problem);
        }
    }

    void connect(std::unique_lock<std::mutex>& lock) {
        give_up_at_ = clock::now() + options_.connect_timeout;
        lock.unlock();
        std::optional<error> problem;
        std::vector<endpoint> places;
        try {
            places = resolve(where_);
        } catch (const error& caught) {
            problem = caught;
        }
        lock.lock();
        if (problem) throw error(*problem);
        connection_.open(options_, where_, std::move(places));
        phase_ = phase::connecting;
    }

    void connecting(bool ready) {
        connection_.advance(ready);
        if (connection_.is_open()) {
            phase_ = phase::open;
            quiet_since_ = clock::now();
            owed_ = true;
            core_.connected(find_token(options_, where_));
        } else {
            check_patience();
        }
    }

    void check_patience() const {
        if (clock::now() < give_up_at_) return;
        throw error(errc::connection, "the daemon at " + where_.url() + " does not answer");
    }

    void receive() {
        static constexpr std::size_t most_at_once = 1U << 20;  // then others get their turn
        std::size_t total = 0;
        for (;;) {
            const std::size_t count = connection_.read(buffer_.data(), buffer_.size());
            if (count == 0) break;
            quiet_since_ = clock::now();
            const std::uint64_t before = core_.progress();
            core_.feed(buffer_.data(), count);
            if (core_.progress() != before) of_use();
            if (core_.is_ready()) was_ready_ = true;
            total += count;
            if (total >= most_at_once && !connection_.keeps_input()) break;
            if (count < buffer_.size() && !connection_.keeps_input()) break;
        }
    }

    void of_use() {
        lost_since_.reset();
        pause_ = first_pause;
    }

    void flush() {
        if (!connection_.flush()) return;
        while (!core_.output().empty()) {
            const std::size_t count = connection_.write(core_.output());
            core_.sent(count);
            if (count == 0) break;
        }
    }

    /// The time a reply may take begins when it is owed.
    bool note_owed() {
        const bool owes = core_.owes_reply();
        if (owes && !owed_) quiet_since_ = clock::now();
        owed_ = owes;
        return owes;
    }

    void check_liveness() {
        const bool owes = note_owed();
        const time now = clock::now();
        if (!core_.is_ready()) check_patience();
        if (now < quiet_since_ + options_.liveness) return;
        if (owes) throw error(errc::connection, "the daemon at " + where_.url() + " has stopped answering");
        if (core_.is_listening() || core_.is_following()) {
            core_.request("ping", true);
            quiet_since_ = now;
            owed_ = true;
            flush();
        }
    }

    static bool is_final(errc code) {
        return code == errc::auth || code == errc::denied || code == errc::protocol || code == errc::tls ||
               code == errc::usage || code == errc::too_long || code == errc::syntax;
    }

    void lost(const error& why) {
        ++losses_;
        problem_ = why;
        close();
        const time now = clock::now();
        if (!lost_since_) lost_since_ = now;
        const bool patient = was_ready_ && options_.reconnect_for.count() > 0 && !is_final(why.code());
        if (!patient) {
            give_up(why);
            return;
        }
        core_.lost(why);
        if (!core_.needs_connection()) {
            lost_since_.reset();
        } else if (now - *lost_since_ >= options_.reconnect_for) {
            give_up(error(errc::connection, "the daemon did not come back: " + why.text()));
        } else {
            phase_ = phase::pausing;
            retry_at_ = now + jittered(pause_);
            pause_ = std::min(pause_ * 2, longest_pause);
        }
    }

    void give_up(const error& why) {
        problem_ = why;
        of_use();
        lost_since_.reset();
        core_.fail_all(why);
    }

    /// Many clients of one daemon should not all come back at the same instant.
    milliseconds jittered(milliseconds pause) {
        std::uniform_int_distribution<milliseconds::rep> spread(pause.count() / 2, pause.count());
        return milliseconds(spread(random_));
    }

    static constexpr milliseconds long_absence{1'000};
    static constexpr milliseconds first_pause{50};
    static constexpr milliseconds longest_pause{5'000};

    const options& options_;
    core& core_;
    address where_;
    transport connection_;
    phase phase_ = phase::idle;
    std::vector<char> buffer_ = std::vector<char>(65536);
    std::uint64_t losses_ = 0;
    std::optional<error> problem_;
    bool was_ready_ = false;
    bool owed_ = false;
    time give_up_at_{};
    time retry_at_{};
    time quiet_since_{};
    std::optional<time> lost_since_;
    milliseconds pause_ = first_pause;
    std::minstd_rand random_{std::random_device{}()};
};

}  // namespace jobd::detail
