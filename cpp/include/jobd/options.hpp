// How to reach the daemon, and what is found out when the program does not say: the same rules as those of the
// Python clients, so that every client on a machine finds the same daemon.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#if !defined(_WIN32)
#include <sys/stat.h>
#include <unistd.h>
#endif

#include "error.hpp"
#include "url.hpp"

namespace jobd {

using std::chrono::milliseconds;

/// How a client behaves. An empty text means: find it out (see docs/cpp.md).
struct options {
    std::string url;         ///< else JOBD_URL, else this user's Unix socket if there is one, else jobd://127.0.0.1:7733
    std::string token;       ///< else JOBD_TOKEN, else the text in token_file
    std::string token_file;  ///< else JOBD_TOKEN_FILE, else for a daemon on this machine the default one's
    std::string tls_ca;      ///< file of certificates to trust; else JOBD_TLS_CA, else the system's
    std::string tls_cert;    ///< file with the client's certificate chain; else JOBD_TLS_CERT
    std::string tls_key;     ///< file with its key; else JOBD_TLS_KEY

    milliseconds timeout{30'000};          ///< for the reply to a request, where a call gives no other
    milliseconds connect_timeout{10'000};  ///< for one attempt to connect, with TLS handshake and auth
    milliseconds reconnect_for{60'000};    ///< how long a lost daemon is tried again; 0: not at all
    milliseconds liveness{20'000};         ///< after so long without a word a daemon that owes one counts as lost
    std::size_t max_line = 16U << 20;      ///< bytes; a daemon that sends a longer line is not one
    std::size_t max_unanswered = 10'000;   ///< submissions under way before the next one waits for a reply
    bool io_thread = true;                 ///< false: nothing happens but in the caller's own calls, see client::process
};

namespace detail {

inline std::string env_or(const char* name, std::string fallback = {}) {
    const char* value = std::getenv(name);
    return value != nullptr && *value != '\0' ? std::string(value) : std::move(fallback);
}

inline std::string default_state_dir() {
#if defined(_WIN32)
    return env_or("LOCALAPPDATA") + "\\jobd";
#elif defined(__APPLE__)
    return env_or("XDG_STATE_HOME", env_or("HOME") + "/Library/Application Support") + "/jobd";
#else
    return env_or("XDG_STATE_HOME", env_or("HOME") + "/.local/state") + "/jobd";
#endif
}

/// The Unix socket this user's daemon listens on, whether or not it is there.
inline std::string default_socket() {
#if defined(_WIN32)
    return {};
#elif defined(__APPLE__)
    return env_or("XDG_RUNTIME_DIR", env_or("HOME") + "/Library/Caches/TemporaryItems") + "/jobd/jobd.sock";
#else
    const std::string runtime = env_or("XDG_RUNTIME_DIR", "/run/user/" + std::to_string(::getuid()));
    if (::access(runtime.c_str(), W_OK) == 0) return runtime + "/jobd/jobd.sock";
    // Not a folder in /tmp: anybody could make it first and listen there in our name.
    return default_state_dir() + "/jobd.sock";
#endif
}

inline bool is_socket([[maybe_unused]] const std::string& path) {
#if defined(_WIN32)
    return false;
#else
    struct stat found {};
    return !path.empty() && ::stat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode);
#endif
}

inline address find_daemon(const options& given) {
    const std::string url = given.url.empty() ? env_or("JOBD_URL") : given.url;
    if (!url.empty()) return parse_url(url);
    const std::string socket = default_socket();
    return parse_url(is_socket(socket) ? "jobd+unix://" + socket : "jobd://127.0.0.1:7733");
}

inline std::string strip(std::string text) {
    const char* blank = " \t\r\n";
    text.erase(0, text.find_first_not_of(blank));
    text.erase(text.find_last_not_of(blank) + 1);
    return text;
}

/// The token for a daemon over TCP, empty where none can be found. Read anew for each connection: a daemon may have
/// come back with another one.
inline std::string find_token(const options& given, const address& where) {
    if (where.how == address::kind::unix_socket) return {};
    std::string token = given.token;
    if (token.empty() && given.token_file.empty()) token = env_or("JOBD_TOKEN");
    if (token.empty()) {
        std::string path = given.token_file.empty() ? env_or("JOBD_TOKEN_FILE") : given.token_file;
        const bool asked_for = !path.empty();
        if (!asked_for && where.is_local()) path = default_state_dir() + "/token";
        if (path.empty()) return {};
        std::ifstream file(path);
        if (!file && asked_for) throw error(errc::usage, "the token file '" + path + "' cannot be read");
        std::getline(file, token);
    }
    token = strip(std::move(token));
    for (const char c : token) {
        if (static_cast<unsigned char>(c) <= 0x20) throw error(errc::usage, "a token is one word");
    }
    return token;
}

}  // namespace detail

}  // namespace jobd
