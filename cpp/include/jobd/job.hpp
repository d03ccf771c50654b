// A handle to one job. It may be moved, not copied, and used from one thread at a time; dropping it changes nothing
// for the job.
#pragma once

#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <utility>

#if defined(__cpp_impl_coroutine)
#include <coroutine>
#endif

#include "engine.hpp"
#include "error.hpp"
#include "result.hpp"
#include "spec.hpp"

namespace jobd {

class job {
public:
    job(job&&) noexcept = default;
    job& operator=(job&&) noexcept = default;

    /// The job's id. Waits for the submission's reply where it has not come yet. Throws why the job was refused.
    std::uint64_t id() const {
        auto held = engine_->lock();
        const auto until = detail::from_now(engine_->settings().timeout);
        if (!engine_->run_until(held, until, [&] { return record_->now != phase::submitting; })) {
            throw error(errc::timeout, "the daemon has not answered the submission");
        }
        if (record_->id == 0) throw error(*record_->problem);
        return record_->id;
    }

    /// Whether its finish (or that it cannot be known) has arrived. Does not wait.
    bool done() const {
        const auto held = engine_->lock();
        return record_->now == phase::ended;
    }

    /// Waits until it has ended, however long that takes; a daemon that is gone for good ends it with an error CONNECTION.
    void wait() const { wait_until(detail::time_point::max()); }

    /// Waits at most so long; false when it has not ended by then.
    template <class Rep, class Period>
    bool wait_for(std::chrono::duration<Rep, Period> limit) const {
        return wait_until(detail::from_now(limit));
    }

    /// Waits for the result. A job that failed is a result too: look at ok() and state. Throws error when the job was
    /// refused or its result cannot be known.
    result get() const {
        wait();
        return *record_->outcome;
    }

    /// The same, within a time. Throws error TIMEOUT.
    template <class Rep, class Period>
    result get(std::chrono::duration<Rep, Period> limit) const {
        if (!wait_for(limit)) throw error(errc::timeout, "the job has not ended in the time given");
        return *record_->outcome;
    }

    /// The result as a future, fulfilled by the I/O thread, or by process() where there is none.
    std::future<result> future() const {
        auto promise = std::make_shared<std::promise<result>>();
        auto out = promise->get_future();
        then([promise](const detail::job_record& record) {
            if (record.outcome) {
                promise->set_value(*record.outcome);
            } else {
                promise->set_exception(std::make_exception_ptr(*record.problem));
            }
        });
        return out;
    }

#if defined(__cpp_impl_coroutine)
    class awaiter;
    /// co_await gives the result; the coroutine goes on in the I/O thread, or in process() where there is none.
    awaiter operator co_await() const;
#endif

private:
    friend class client;
    using phase = detail::job_record::phase;

    job(std::shared_ptr<detail::engine> engine, detail::job_ptr record)
        : engine_(std::move(engine)), record_(std::move(record)) {}

    /// Under the lock: sees to it that the finish event comes.
    void listen() const {
        if (record_->now == phase::submitting) record_->wants_event = true;
        engine_->core().listen(record_);
    }

    bool wait_until(detail::time_point until) const {
        auto held = engine_->lock();
        listen();
        if (!engine_->run_until(held, until, [&] { return record_->now == phase::ended; })) return false;
        if (record_->problem) throw error(*record_->problem);
        return true;
    }

    template <class Action>
    void then(Action action) const {
        const auto held = engine_->lock();
        engine_->check_open();
        listen();
        auto task = [action, record = record_] { action(*record); };
        if (record_->now == phase::ended) {
            engine_->core().tasks.push_back(std::move(task));
        } else {
            record_->then.push_back(std::move(task));
        }
        engine_->need_thread();
        engine_->alert();
    }

    std::shared_ptr<detail::engine> engine_;
    detail::job_ptr record_;
};

#if defined(__cpp_impl_coroutine)
class job::awaiter {
public:
    explicit awaiter(const job& which) : job_(which.engine_, which.record_) {}

    bool await_ready() const { return job_.done(); }

    void await_suspend(std::coroutine_handle<> waiting) const {
        const job kept(job_.engine_, job_.record_);  // the coroutine may be over before then() returns
        kept.then([waiting](const detail::job_record&) { waiting.resume(); });
    }

    result await_resume() const { return job_.get(); }

private:
    job job_;
};

inline job::awaiter job::operator co_await() const { return awaiter(*this); }
#endif

namespace detail {

inline std::uint64_t id_of(const job& which) { return which.id(); }

}  // namespace detail

}  // namespace jobd
