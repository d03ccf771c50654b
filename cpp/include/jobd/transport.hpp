// One connection, from its first attempt to its end, without ever waiting: the caller waits for the socket and then
// calls advance(), read() and write().
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "error.hpp"
#include "options.hpp"
#include "socket.hpp"
#include "tls.hpp"
#include "url.hpp"

namespace jobd::detail {

class transport {
public:
    /// Begins to connect to the first of the addresses that answers.
    void open(const options& given, const address& target, std::vector<endpoint> places) {
        close();
        if (target.how == address::kind::tls) tls_ = std::make_unique<tls_filter>(given, target.host);
        name_ = target.url();
        patience_ = given.connect_timeout / static_cast<int>(places.size() + 1);
        places_ = std::move(places);
        which_ = 0;
        if (places_.empty()) throw error(errc::connection, name_ + " has no address");
        try_place();
    }

    void close() noexcept {
        socket_.close();
        tls_.reset();
        sealed_.clear();
        step_ = step::closed;
    }

    bool is_open() const noexcept { return step_ == step::open; }
    native_socket handle() const noexcept { return socket_.get(); }

    /// Whether the socket's becoming writable matters.
    bool wants_write() const noexcept { return step_ == step::connecting || !sealed_.empty(); }

    /// When advance() wants to be called although nothing happened.
    clock::time_point wake_at() const noexcept { return retry_at_; }

    /// Goes on connecting; `ready` says that the socket is readable, writable or broken. Throws error CONNECTION or TLS.
    void advance(bool ready) {
        if (step_ == step::crowded && clock::now() >= retry_at_) try_place();
        if (step_ == step::connecting && ready) connected(connect_problem(socket_.get()));
        if (step_ == step::connecting && clock::now() >= retry_at_) connected(timed_out);
        if (step_ == step::handshake) shake_hands();
    }

    /// Whether read() may have more although it did not fill its buffer: TLS keeps what it has decrypted.
    bool keeps_input() const noexcept { return tls_ != nullptr; }

    /// Bytes that arrived; 0 when there are none now. Throws error CONNECTION at the end of the stream.
    std::size_t read(char* data, std::size_t size) {
        bool ended = false;
        std::size_t count = 0;
        if (!tls_) {
            count = read_some(socket_.get(), data, size, ended);
        } else {
            count = tls_->read(data, size, ended);
            while (count == 0 && !ended && pull(ended)) count = tls_->read(data, size, ended);
        }
        if (ended) throw error(errc::connection, "the daemon closed the connection");
        return count;
    }

    /// Sends from the front of `data`; gives how much of it is taken care of.
    std::size_t write(std::string_view data) {
        if (!tls_) return write_some(socket_.get(), data.data(), data.size());
        if (!flush()) return 0;
        const std::string_view part = data.substr(0, 65536);
        tls_->write(part);
        flush();
        return part.size();
    }

    /// Sends what TLS holds; true when nothing is left.
    bool flush() {
        if (!tls_) return true;
        tls_->take(sealed_);
        while (!sealed_.empty()) {
            const std::size_t count = write_some(socket_.get(), sealed_.data(), sealed_.size());
            if (count == 0) return false;
            sealed_.erase(0, count);
        }
        return true;
    }

private:
    enum class step { closed, crowded, connecting, handshake, open };

    void try_place() {
        int problem = 0;
        retry_at_ = clock::time_point::max();
        socket_ = begin_connect(places_[which_], problem);
        if (crowded(problem)) {
            step_ = step::crowded;
            retry_at_ = clock::now() + std::chrono::milliseconds(10);
            return;
        }
        step_ = step::connecting;
        // An address that does not answer must leave time for the next one.
        if (which_ + 1 < places_.size()) retry_at_ = clock::now() + patience_;
        if (problem != 0) connected(problem);
    }

    void connected(int problem) {
        if (problem == 0) {
            retry_at_ = clock::time_point::max();
            places_.clear();
            step_ = tls_ ? step::handshake : step::open;
        } else if (++which_ < places_.size()) {
            try_place();
        } else {
            close();
            throw error(errc::connection, "cannot connect to " + name_ + ": " + problem_text(problem) +
                                              "; is the daemon running there?");
        }
    }

    void shake_hands() {
        bool ended = false;
        bool done = tls_->handshake();
        while (!done && !ended && pull(ended)) done = tls_->handshake();
        flush();
        if (done) {
            step_ = step::open;
        } else if (ended) {
            throw error(errc::tls, "what listens at " + name_ + " ended the TLS handshake");
        }
    }

    /// Moves bytes from the socket into the filter; false when there are none now.
    bool pull(bool& ended) {
        char buffer[16384];
        const std::size_t count = read_some(socket_.get(), buffer, sizeof buffer, ended);
        if (count != 0) tls_->feed(buffer, count);
        return count != 0;
    }

    std::string name_;
    std::vector<endpoint> places_;
    std::size_t which_ = 0;
    milliseconds patience_{0};
    socket_handle socket_;
    std::unique_ptr<tls_filter> tls_;
    std::string sealed_;
    step step_ = step::closed;
    clock::time_point retry_at_ = clock::time_point::max();
};

}  // namespace jobd::detail
