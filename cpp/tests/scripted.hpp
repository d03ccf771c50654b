// A daemon that does what a test says: a listening socket and, for each connection in turn, a function that reads
// requests and writes whatever it likes.
#pragma once

#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace testing {

/// The connection is over, or the test has waited too long for it to speak.
struct hung_up : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class peer {
public:
    explicit peer(int handle) : handle_(handle) {
        const timeval patience{20, 0};
        ::setsockopt(handle_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    }
    ~peer() { hang_up(); }
    peer(const peer&) = delete;
    peer& operator=(const peer&) = delete;

    /// The next request; its tag is kept for ok() and error().
    std::string read() {
        std::size_t end = 0;
        while ((end = buffer_.find('\n')) == std::string::npos) {
            char chunk[65536];
            const auto count = ::recv(handle_, chunk, sizeof chunk, 0);
            if (count <= 0) throw hung_up("the client has gone");
            buffer_.append(chunk, static_cast<std::size_t>(count));
        }
        std::string line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        const std::size_t space = line.find(' ');
        if (line.empty() || line.front() != '#' || space == std::string::npos) throw std::runtime_error("no tag: " + line);
        tag = line.substr(0, space);
        return line.substr(space + 1);
    }

    /// The next request, which must begin so.
    std::string expect(std::string_view beginning) {
        std::string line = read();
        if (line.compare(0, beginning.size(), beginning) != 0) {
            throw std::runtime_error("expected '" + std::string(beginning) + "', got '" + line + "'");
        }
        return line;
    }

    void say(std::string_view bytes) {
        while (!bytes.empty()) {
            const auto count = ::send(handle_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (count <= 0) throw hung_up("the client has gone");
            bytes.remove_prefix(static_cast<std::size_t>(count));
        }
    }

    void ok(const std::string& text = {}) { say(tag + (text.empty() ? " ok\n" : " ok " + text + "\n")); }
    void error(const std::string& text) { say(tag + " error " + text + "\n"); }
    void finish(int cursor, int id, const std::string& rest = "succeeded {\"exit_code\": 0, \"attempt\": 1}") {
        say("* " + std::to_string(cursor) + " " + std::to_string(id) + " " + rest + "\n");
    }

    /// What every connection begins with.
    void greet(const std::string& instance = "a") {
        expect("hello");
        ok("{\"protocol\": 1, \"instance\": \"" + instance + "\"}");
    }

    /// The same and the ping a new client waits for.
    void welcome() {
        greet();
        expect("ping");
        ok();
    }

    /// Answers pings until the client goes.
    void linger() {
        try {
            for (;;) {
                expect("ping");
                ok();
            }
        } catch (const hung_up&) {
        }
    }

    /// Says nothing until the client goes.
    void wait_for_end() {
        try {
            for (;;) read();
        } catch (const hung_up&) {
        }
    }

    void hang_up() {
        if (handle_ >= 0) ::close(std::exchange(handle_, -1));
    }

    std::string tag;

private:
    int handle_;
    std::string buffer_;
};

class scripted {
public:
    using script = std::function<void(peer&)>;

    /// Listens on a free loopback port and serves one connection with each script, one after the other.
    explicit scripted(std::vector<script> scripts) : scripts_(std::move(scripts)) {
        listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in name{};
        name.sin_family = AF_INET;
        name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof name;
        auto* raw = reinterpret_cast<sockaddr*>(&name);
        if (::bind(listener_, raw, size) != 0 || ::listen(listener_, 50) != 0 || ::getsockname(listener_, raw, &size) != 0) {
            throw std::runtime_error("cannot listen");
        }
        port_ = ntohs(name.sin_port);
        thread_ = std::thread([this] { serve(); });
    }
    explicit scripted(script only) : scripted(std::vector<script>{std::move(only)}) {}
    scripted(const scripted&) = delete;
    scripted& operator=(const scripted&) = delete;

    ~scripted() {
        finish();
        ::close(listener_);
    }

    std::string url() const { return "jobd://127.0.0.1:" + std::to_string(port_); }

    /// Waits until all scripts have ended; what went wrong in one of them, empty if nothing.
    std::string finish() {
        if (thread_.joinable()) thread_.join();
        return problem_;
    }

private:
    void serve() {
        for (const script& each : scripts_) {
            pollfd waiting{listener_, POLLIN, 0};
            if (::poll(&waiting, 1, 20'000) != 1) {
                problem_ += "nobody connected; ";
                return;
            }
            peer connection(::accept(listener_, nullptr, nullptr));
            try {
                each(connection);
            } catch (const std::exception& caught) {
                problem_ += std::string(caught.what()) + "; ";
            }
        }
    }

    std::vector<script> scripts_;
    int listener_ = -1;
    unsigned port_ = 0;
    std::thread thread_;
    std::string problem_;
};

}  // namespace testing
