// The one place that knows sockets: POSIX and Winsock behind the same few functions. Nothing here waits but
// resolve() and wait_for_any().
#pragma once

#include <chrono>
#include <climits>
#include <cstddef>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#if defined(_WIN32)
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <cerrno>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#endif

#include "error.hpp"
#include "url.hpp"

namespace jobd {

#if defined(_WIN32)
using native_socket = SOCKET;
inline constexpr native_socket no_socket = INVALID_SOCKET;
#else
using native_socket = int;
inline constexpr native_socket no_socket = -1;
#endif

namespace detail {

#if defined(_WIN32)
using poll_entry = WSAPOLLFD;
inline constexpr int timed_out = WSAETIMEDOUT;
inline int last_problem() { return WSAGetLastError(); }
using io_size = int;
inline bool would_block(int problem) { return problem == WSAEWOULDBLOCK; }
inline bool connecting(int problem) { return problem == WSAEWOULDBLOCK || problem == WSAEINPROGRESS; }
inline bool crowded(int) { return false; }
inline bool interrupted(int) { return false; }
inline void close_socket(native_socket handle) { ::closesocket(handle); }

inline void start_sockets() {
    static const int started = [] {
        WSADATA data;
        return WSAStartup(MAKEWORD(2, 2), &data);
    }();
    if (started != 0) throw error(errc::connection, "Winsock cannot be started");
}
#else
using poll_entry = pollfd;
inline constexpr int timed_out = ETIMEDOUT;
inline int last_problem() { return errno; }
using io_size = std::size_t;
inline bool would_block(int problem) { return problem == EAGAIN || problem == EWOULDBLOCK; }
inline bool connecting(int problem) { return problem == EINPROGRESS || problem == EINTR; }
/// A Unix socket whose queue of new connections is full: try again soon.
inline bool crowded(int problem) { return problem == EAGAIN; }
inline bool interrupted(int problem) { return problem == EINTR; }
inline void close_socket(native_socket handle) { ::close(handle); }
inline void start_sockets() {}
#endif

inline std::string problem_text(int problem) { return std::error_code(problem, std::system_category()).message(); }

/// A socket that closes itself. It never blocks and is not inherited by child processes.
class socket_handle {
public:
    socket_handle() = default;
    explicit socket_handle(native_socket handle) : handle_(handle) {}
    socket_handle(socket_handle&& other) noexcept : handle_(std::exchange(other.handle_, no_socket)) {}
    socket_handle& operator=(socket_handle&& other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~socket_handle() { close(); }

    native_socket get() const noexcept { return handle_; }
    bool is_open() const noexcept { return handle_ != no_socket; }

    void close() noexcept {
        if (is_open()) close_socket(std::exchange(handle_, no_socket));
    }

    void make_private() const {
#if defined(_WIN32)
        u_long yes = 1;
        ::ioctlsocket(handle_, FIONBIO, &yes);
        ::SetHandleInformation(reinterpret_cast<HANDLE>(handle_), HANDLE_FLAG_INHERIT, 0);
#else
        ::fcntl(handle_, F_SETFL, ::fcntl(handle_, F_GETFL) | O_NONBLOCK);
        ::fcntl(handle_, F_SETFD, FD_CLOEXEC);
#endif
    }

private:
    native_socket handle_ = no_socket;
};

struct endpoint {
    sockaddr_storage where{};
    int size = 0;
};

/// The addresses behind a name, in the order the system prefers. Waits for the system's resolver.
inline std::vector<endpoint> resolve(const address& target) {
    start_sockets();
    std::vector<endpoint> out;
    if (target.how == address::kind::unix_socket) {
#if defined(_WIN32)
        throw error(errc::usage, "Unix sockets are not supported on this system: use jobd://127.0.0.1:7733");
#else
        sockaddr_un name{};
        if (target.path.size() >= sizeof name.sun_path) {
            throw error(errc::usage, "the path of the Unix socket is too long: " + target.path);
        }
        name.sun_family = AF_UNIX;
        std::memcpy(name.sun_path, target.path.c_str(), target.path.size() + 1);
        std::memcpy(&out.emplace_back().where, &name, sizeof name);
        out.back().size = static_cast<int>(sizeof name);
        return out;
#endif
    }
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int problem = ::getaddrinfo(target.host.c_str(), std::to_string(target.port).c_str(), &hints, &found);
    if (problem != 0) {
        throw error(errc::connection, "there is no host '" + target.host + "': " + ::gai_strerror(problem));
    }
    for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
        if (each->ai_addrlen > sizeof(sockaddr_storage)) continue;
        std::memcpy(&out.emplace_back().where, each->ai_addr, each->ai_addrlen);
        out.back().size = static_cast<int>(each->ai_addrlen);
    }
    ::freeaddrinfo(found);
    return out;
}

/// Begins to connect; `problem` is 0, or the reason why it failed at once.
inline socket_handle begin_connect(const endpoint& to, int& problem) {
    const int family = to.where.ss_family;
    socket_handle out(::socket(family, SOCK_STREAM, 0));
    problem = 0;
    if (!out.is_open()) {
        problem = last_problem();
        return out;
    }
    out.make_private();
    const int yes = 1;
    const auto* flag = reinterpret_cast<const char*>(&yes);
    if (family == AF_INET || family == AF_INET6) ::setsockopt(out.get(), IPPROTO_TCP, TCP_NODELAY, flag, sizeof yes);
#if defined(SO_NOSIGPIPE)
    ::setsockopt(out.get(), SOL_SOCKET, SO_NOSIGPIPE, flag, sizeof yes);
#endif
    const auto size = static_cast<socklen_t>(to.size);
    if (::connect(out.get(), reinterpret_cast<const sockaddr*>(&to.where), size) != 0) {
        const int why = last_problem();
        if (!connecting(why)) problem = why;
    }
    return out;
}

/// After the socket has become writable: 0, or why it is not connected.
inline int connect_problem(native_socket handle) {
    int problem = 0;
    socklen_t size = sizeof problem;
    if (::getsockopt(handle, SOL_SOCKET, SO_ERROR, reinterpret_cast<char*>(&problem), &size) != 0) return last_problem();
    return problem;
}

/// Bytes moved; 0 when it would have to wait, or has reached the end (then `ended` is set). Throws error CONNECTION.
inline std::size_t read_some(native_socket handle, char* data, std::size_t size, bool& ended) {
    for (;;) {
        const auto count = ::recv(handle, data, static_cast<io_size>(size), 0);
        if (count > 0) return static_cast<std::size_t>(count);
        ended = count == 0;
        if (ended) return 0;
        const int problem = last_problem();
        if (would_block(problem)) return 0;
        if (!interrupted(problem)) throw error(errc::connection, "the connection broke: " + problem_text(problem));
    }
}

/// Bytes moved; 0 when it would have to wait. Throws error CONNECTION.
inline std::size_t write_some(native_socket handle, const char* data, std::size_t size) {
#if defined(MSG_NOSIGNAL)
    constexpr int flags = MSG_NOSIGNAL;
#else
    constexpr int flags = 0;
#endif
    for (;;) {
        const auto count = ::send(handle, data, static_cast<io_size>(size), flags);
        if (count >= 0) return static_cast<std::size_t>(count);
        const int problem = last_problem();
        if (would_block(problem)) return 0;
        if (!interrupted(problem)) throw error(errc::connection, "the connection broke: " + problem_text(problem));
    }
}

using clock = std::chrono::steady_clock;

/// Milliseconds until `when`, rounded up; -1 for never.
inline int poll_milliseconds(clock::time_point now, clock::time_point when) {
    if (when == clock::time_point::max()) return -1;
    if (when <= now) return 0;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(when - now).count();
    return left > INT_MAX ? INT_MAX : static_cast<int>(left);
}

/// Waits until one of the entries is ready or `until` has come. An interruption by a signal counts as ready.
inline void wait_for_any(poll_entry* entries, std::size_t count, clock::time_point until) {
    const int wait = poll_milliseconds(clock::now(), until);
#if defined(_WIN32)
    ::WSAPoll(entries, static_cast<ULONG>(count), wait);
#else
    ::poll(entries, static_cast<nfds_t>(count), wait);
#endif
}

/// Lets one thread end another one's wait_for_any().
class waker {
public:
    waker() {
#if defined(_WIN32)
        start_sockets();
        // A UDP socket connected to itself: what is sent arrives.
        ends_[0] = socket_handle(::socket(AF_INET, SOCK_DGRAM, 0));
        sockaddr_in self{};
        self.sin_family = AF_INET;
        self.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int size = sizeof self;
        auto* name = reinterpret_cast<sockaddr*>(&self);
        if (!ends_[0].is_open() || ::bind(ends_[0].get(), name, size) != 0 ||
            ::getsockname(ends_[0].get(), name, &size) != 0 || ::connect(ends_[0].get(), name, size) != 0) {
            throw error(errc::connection, "no socket can be made: " + problem_text(last_problem()));
        }
#else
        int pair[2];
        if (::pipe(pair) != 0) throw error(errc::connection, "no pipe can be made: " + problem_text(errno));
        ends_[0] = socket_handle(pair[0]);
        ends_[1] = socket_handle(pair[1]);
        ends_[1].make_private();
#endif
        ends_[0].make_private();
    }

    native_socket handle() const { return ends_[0].get(); }

    void wake() noexcept {
        const char byte = 0;
#if defined(_WIN32)
        ::send(ends_[0].get(), &byte, 1, 0);
#else
        // A full pipe wakes as well.
        [[maybe_unused]] const auto written = ::write(ends_[1].get(), &byte, 1);
#endif
    }

    void drain() noexcept {
        char sink[64];
#if defined(_WIN32)
        while (::recv(ends_[0].get(), sink, sizeof sink, 0) > 0) {
        }
#else
        while (::read(ends_[0].get(), sink, sizeof sink) > 0) {
        }
#endif
    }

private:
    socket_handle ends_[2];
};

}  // namespace detail

}  // namespace jobd
