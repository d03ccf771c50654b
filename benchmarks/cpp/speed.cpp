// The C++ client measured from inside a program that uses it. Each line on standard input is a number of jobs, which
// are done at once; what is printed for it, a line at a time, is all that is measured.
//
//     speed post          "SECONDS PROCESSOR": from the first submission to the last finish, the jobs posted one by one
//     speed pairs SOCKET  for each job "LIBRARY RAW": seconds from submission to finish through the library and through
//                         a bare socket, one job of each at a time; who goes first changes
//
// The daemon is the one in JOBD_URL, SOCKET the path of its Unix socket.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <iostream>
#include <stdexcept>
#include <string>

#include <jobd/client.hpp>

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;
constexpr auto patience = 60s;
constexpr const char* callable = "benchmarks.nothing:nothing";

double seconds_since(std::chrono::steady_clock::time_point began) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

double seconds(const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; }

/// Processor time of all threads of this program.
double processor() {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

/// Jobs through the library, none waited for before the next is sent.
class posting {
public:
    posting() {
        client_.on_finish([this](const jobd::result& result) { succeeded_ += result.ok() ? 1U : 0U; });
    }

    void measure(std::size_t jobs) {
        succeeded_ = 0;
        const double used = processor();
        const auto began = std::chrono::steady_clock::now();
        for (std::size_t i = 0; i < jobs; ++i) client_.post(jobd::call(callable).arg(i));
        const bool in_time = client_.wait_all_for(patience * 5);
        std::cout << seconds_since(began) << ' ' << processor() - used << std::endl;
        if (!in_time || succeeded_ != jobs) throw std::runtime_error("not all of the posted jobs have succeeded");
    }

private:
    std::atomic<std::size_t> succeeded_{0};
    jobd::client client_;
};

/// The least a program can do: a line out, a reply and an event in.
class bare_socket {
public:
    explicit bare_socket(const char* path) : handle_(socket(AF_UNIX, SOCK_STREAM, 0)) {
        sockaddr_un place{};
        place.sun_family = AF_UNIX;
        std::strncpy(place.sun_path, path, sizeof place.sun_path - 1);
        const timeval limit{std::chrono::seconds(patience).count(), 0};
        setsockopt(handle_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        if (connect(handle_, reinterpret_cast<const sockaddr*>(&place), sizeof place) != 0) {
            throw std::runtime_error("the bare socket cannot connect");
        }
    }
    bare_socket(const bare_socket&) = delete;
    bare_socket& operator=(const bare_socket&) = delete;
    ~bare_socket() { close(handle_); }

    void one_job(std::size_t number) {
        const std::string request = std::string("call ") + callable + " [" + std::to_string(number) + "]\n";
        if (send(handle_, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) {
            throw std::runtime_error("the bare socket cannot send");
        }
        if (line().compare(0, 3, "ok ") != 0) throw std::runtime_error("a job on the bare socket was refused");
        if (line().find(" succeeded ") == std::string::npos) throw std::runtime_error("a job on the bare socket has failed");
    }

private:
    std::string line() {
        std::size_t end = 0;
        while ((end = received_.find('\n')) == std::string::npos) {
            char buffer[4096];
            const ssize_t count = recv(handle_, buffer, sizeof buffer, 0);
            if (count <= 0) throw std::runtime_error("nothing comes on the bare socket");
            received_.append(buffer, static_cast<std::size_t>(count));
        }
        std::string out = received_.substr(0, end);
        received_.erase(0, end + 1);
        return out;
    }

    int handle_;
    std::string received_;
};

/// Jobs through both, each waited for before the next is sent.
class pairing {
public:
    explicit pairing(const char* path) : bare_(path) {}

    void measure(std::size_t jobs) {
        for (std::size_t i = 0; i < jobs; ++i) {
            double library = 0;
            double raw = 0;
            if (i % 2 == 0) library = through_library(i);
            raw = through_bare(i);
            if (i % 2 != 0) library = through_library(i);
            std::cout << library << ' ' << raw << '\n';
        }
        std::cout.flush();
    }

private:
    double through_library(std::size_t number) {
        const auto began = std::chrono::steady_clock::now();
        const jobd::result result = client_.submit(jobd::call(callable).arg(number)).get(patience);
        const double taken = seconds_since(began);
        if (!result.ok()) throw std::runtime_error("a job through the library has failed");
        return taken;
    }

    double through_bare(std::size_t number) {
        const auto began = std::chrono::steady_clock::now();
        bare_.one_job(number);
        return seconds_since(began);
    }

    jobd::client client_;
    bare_socket bare_;
};

template <class Measuring>
int serve(Measuring&& measuring) {
    for (std::size_t jobs = 0; std::cin >> jobs;) measuring.measure(jobs);
    return 0;
}

}  // namespace

int main(int argc, char** argv) try {
    const std::string mode = argc > 1 ? argv[1] : "";
    if (mode == "post" && argc == 2) return serve(posting());
    if (mode == "pairs" && argc == 3) return serve(pairing(argv[2]));
    std::cerr << "speed: 'post', or 'pairs' and the path of a socket\n";
    return 2;
} catch (const std::exception& problem) {
    std::cerr << "speed: " << problem.what() << '\n';
    return 1;
}
