// Who does the I/O, and when. There is one mutex, and one leader at a time: the thread that waits for the socket and
// then moves the bytes. Whoever waits for a reply or a finish becomes the leader if there is none, so that a program
// that only makes blocking calls needs no other thread and no switch between threads. A thread of our own exists only
// once something has to happen while nobody waits: callbacks, futures, coroutines, submissions that are not waited for.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "core.hpp"
#include "error.hpp"
#include "link.hpp"
#include "options.hpp"
#include "socket.hpp"

namespace jobd::detail {

using time_point = clock::time_point;

/// The moment that is `wait` from now, without overflow.
template <class Rep, class Period>
time_point from_now(std::chrono::duration<Rep, Period> wait) {
    const auto now = clock::now();
    const std::chrono::duration<double> asked = wait;
    if (asked >= std::chrono::hours(24 * 365 * 10)) return time_point::max();
    return now + std::chrono::duration_cast<clock::duration>(asked);
}

class engine : public std::enable_shared_from_this<engine> {
public:
    using lock_type = std::unique_lock<std::mutex>;

    explicit engine(options given) : options_(std::move(given)), core_(options_.max_line), link_(options_, core_) {
        std::random_device source;
        static constexpr char digits[] = "0123456789abcdef";
        for (int i = 0; i < 24; ++i) key_.push_back(digits[source() % 16]);
        key_.push_back('.');
    }

    engine(const engine&) = delete;
    engine& operator=(const engine&) = delete;

    const options& settings() const noexcept { return options_; }
    lock_type lock() { return lock_type(mutex_); }
    detail::core& core() noexcept { return core_; }
    detail::link& link() noexcept { return link_; }

    /// Connects for the first time. Throws what is in the way.
    void open() {
        lock_type held = lock();
        const request_ptr first = core_.request("ping", true);
        const time_point until = from_now(options_.connect_timeout + milliseconds(1000));
        if (!run_until(held, until, [&] { return first->done; })) {
            throw error(errc::connection, "the daemon at " + link_.where().url() + " does not answer");
        }
        if (first->problem) throw error(*first->problem);
    }

    /// Ends everything that is waited for, with an error. Callbacks that are due still run.
    void close() noexcept {
        {
            const lock_type held = lock();
            if (closing_) return;
            closing_ = true;
            core_.on_resume = nullptr;
            core_.on_lost = nullptr;
            core_.fail_all(error(errc::connection, "the client was closed"));
            if (!driving_) link_.close();
            alert();
        }
        if (thread_.joinable()) {
            if (thread_.get_id() == std::this_thread::get_id()) {
                thread_.detach();  // a callback closes its own client; the thread ends on its own
            } else {
                thread_.join();
            }
        } else {
            lock_type held = lock();
            run_tasks(held);
        }
    }

    void check_open() const {
        if (closing_) throw error(errc::connection, "the client was closed");
    }

    /// Waits, moving bytes if nobody else does, until `done` holds or the time is over; gives what `done` says.
    template <class Predicate>
    bool run_until(lock_type& held, time_point until, Predicate done) {
        nudge(true);
        while (!done()) {
            if (clock::now() >= until) return false;
            if (!driving_ && !closing_) {
                turn(held, until);
            } else if (until == time_point::max()) {
                changed_.wait(held);
            } else {
                changed_.wait_until(held, until);
            }
        }
        return true;
    }

    /// Lets what was put into the core go out. `urgent`: at once, if the socket takes it, whoever leads.
    void nudge(bool urgent) {
        if (!polling_ || core_.output().empty()) {
            if (polling_ && core_.needs_connection()) wake();
            return;
        }
        // The leader must not sleep past the time at which a silent daemon counts as lost.
        if (!urgent || !link_.try_flush() || link_.wake_at() < asleep_until_) wake();
    }

    /// Lets everybody look again at what they wait for, the leader too.
    void alert() noexcept {
        wake();
        changed_.notify_all();
    }

    /// One round without waiting, and the callbacks that are due.
    void process() {
        lock_type held = lock();
        if (!driving_ && !closing_) turn(held, time_point::min());
        run_tasks(held);
    }

    /// Sees to it that things happen also when nobody waits.
    void need_thread() {
        if (!options_.io_thread || thread_.joinable() || closing_) return;
        thread_ = std::thread([self = shared_from_this()] { self->live(); });
    }

    /// Whether nothing is left to end, and no callback to run. A callback itself does not count.
    bool is_idle() const noexcept {
        return core_.is_idle() && ((core_.tasks.empty() && !running_) || runner_ == std::this_thread::get_id());
    }

    std::string next_key() { return key_ + std::to_string(++last_key_); }

private:
    /// Leads for one round: waits for the socket until `until` at most, then does what has become possible.
    void turn(lock_type& held, time_point until) {
        driving_ = true;
        const auto losses = link_.losses();
        link_.prepare(held);
        if (link_.losses() == losses && !closing_) {
            poll_entry entries[2] = {};
            entries[0].fd = waker_.handle();
            entries[0].events = POLLIN;
            entries[1].fd = link_.handle();
            entries[1].events = static_cast<short>(link_.wants_write() ? POLLIN | POLLOUT : POLLIN);
            const std::size_t count = link_.handle() == no_socket ? 1 : 2;
            asleep_until_ = std::min(until, link_.wake_at());
            polling_ = true;
            held.unlock();
            wait_for_any(entries, count, asleep_until_);
            held.lock();
            polling_ = false;
            if (std::exchange(woken_, false)) waker_.drain();
            if (!closing_) link_.act(entries[1].revents != 0);
        }
        if (closing_) link_.close();
        driving_ = false;
        changed_.notify_all();
    }

    void wake() noexcept {
        if (polling_ && !std::exchange(woken_, true)) waker_.wake();
    }

    void run_tasks(lock_type& held) {
        if (running_) return;
        running_ = true;
        runner_ = std::this_thread::get_id();
        while (!core_.tasks.empty()) {
            const core::task next = std::move(core_.tasks.front());
            core_.tasks.pop_front();
            held.unlock();
            try {
                next();
            } catch (...) {
                held.lock();
                running_ = false;
                runner_ = std::thread::id();
                throw;
            }
            held.lock();
        }
        running_ = false;
        runner_ = std::thread::id();
        alert();
    }

    void live() {
        lock_type held = lock();
        while (!closing_) {
            run_until(held, time_point::max(), [&] { return closing_ || !core_.tasks.empty(); });
            run_tasks(held);
        }
        run_tasks(held);
    }

    options options_;
    std::mutex mutex_;
    std::condition_variable changed_;
    detail::core core_;
    detail::link link_;
    waker waker_;
    std::thread thread_;
    std::thread::id runner_;
    time_point asleep_until_{};
    bool driving_ = false;
    bool polling_ = false;
    bool woken_ = false;
    bool running_ = false;
    bool closing_ = false;
    std::string key_;
    std::uint64_t last_key_ = 0;
};

}  // namespace jobd::detail
