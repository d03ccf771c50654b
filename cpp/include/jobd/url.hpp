// Where a daemon is: jobd+unix:///path, jobd://host:port, jobds://host:port (TLS).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "error.hpp"
#include "number.hpp"

namespace jobd {

struct address {
    enum class kind { unix_socket, tcp, tls };

    kind how = kind::tcp;
    std::string path;  ///< of a Unix socket
    std::string host;  ///< without the brackets of an IPv6 address
    unsigned port = 7733;

    /// Whether it can only be a daemon on this machine.
    bool is_local() const {
        return how == kind::unix_socket || host == "localhost" || host == "::1" || host.compare(0, 4, "127.") == 0;
    }

    std::string url() const {
        if (how == kind::unix_socket) return "jobd+unix://" + quoted(path);
        const bool brackets = host.find(':') != std::string::npos;
        return std::string(how == kind::tls ? "jobds://" : "jobd://") + (brackets ? "[" + host + "]" : host) + ":" +
               std::to_string(port);
    }

private:
    static std::string quoted(const std::string& path) {
        static constexpr char digits[] = "0123456789ABCDEF";
        std::string out;
        for (const char c : path) {
            const auto byte = static_cast<unsigned char>(c);
            const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
            if (plain || std::string_view("/._-~").find(c) != std::string_view::npos) {
                out.push_back(c);
            } else {
                out += {'%', digits[byte >> 4], digits[byte & 0x0F]};
            }
        }
        return out;
    }
};

namespace detail {

/// Turns %20 and its like into what they stand for; a '%' without two hexadecimal digits stands for itself.
inline std::string unquote(std::string_view text) {
    std::string out;
    for (std::size_t at = 0; at < text.size(); ++at) {
        unsigned byte = 0;
        const std::string_view digits = text.substr(at + 1, 2);
        if (text[at] == '%' && digits.size() == 2 && read_integer(digits, byte, 16)) {
            out.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
            at += 2;
        } else {
            out.push_back(text[at]);
        }
    }
    return out;
}

inline address parse_host(std::string_view text, std::string_view url, address::kind how) {
    const auto refuse = [&](const char* why) { throw error(errc::usage, "the URL '" + std::string(url) + "' " + why); };
    address out;
    out.how = how;
    if (!text.empty() && text.back() == '/') text.remove_suffix(1);
    std::string_view port;
    bool has_port = false;
    if (!text.empty() && text.front() == '[') {
        const std::size_t bracket = text.find(']');
        if (bracket == text.npos) refuse("lacks the ']' behind the IPv6 address");
        out.host = std::string(text.substr(1, bracket - 1));
        const std::string_view rest = text.substr(bracket + 1);
        has_port = rest.size() > 1;
        if (!rest.empty() && rest.front() != ':') refuse("has something other than ':port' behind the ']'");
        port = has_port ? rest.substr(1) : rest;
    } else {
        const std::size_t colon = text.find(':');
        if (colon != text.npos && text.find(':', colon + 1) != text.npos) {
            refuse("needs brackets around its IPv6 address, as jobd://[::1]:7733");
        }
        out.host = std::string(text.substr(0, colon));
        has_port = colon != text.npos && colon + 1 != text.size();
        port = has_port ? text.substr(colon + 1) : std::string_view();
    }
    if (out.host.empty()) refuse("names no host");
    if (out.host.find_first_of("/@?# ") != std::string::npos) refuse("has more than a host and a port");
    if (has_port && (!read_integer(port, out.port) || out.port == 0 || out.port > 65535)) {
        refuse("has a port that is not a number from 1 to 65535");
    }
    return out;
}

}  // namespace detail

/// Throws error USAGE, which says what a URL looks like.
inline address parse_url(std::string_view url) {
    static constexpr std::string_view unix_scheme = "jobd+unix://";
    static constexpr std::string_view tcp_scheme = "jobd://";
    static constexpr std::string_view tls_scheme = "jobds://";
    if (url.substr(0, unix_scheme.size()) == unix_scheme) {
        address out;
        out.how = address::kind::unix_socket;
        out.path = detail::unquote(url.substr(unix_scheme.size()));
        if (out.path.empty() || out.path.front() != '/' || out.path.find('\0') != std::string::npos) {
            throw error(errc::usage, "the URL '" + std::string(url) + "' needs an absolute path: jobd+unix:///path");
        }
        return out;
    }
    if (url.substr(0, tcp_scheme.size()) == tcp_scheme) {
        return detail::parse_host(url.substr(tcp_scheme.size()), url, address::kind::tcp);
    }
    if (url.substr(0, tls_scheme.size()) == tls_scheme) {
        return detail::parse_host(url.substr(tls_scheme.size()), url, address::kind::tls);
    }
    const bool http = url.substr(0, 7) == "http://" || url.substr(0, 8) == "https://";
    throw error(errc::usage, "the URL '" + std::string(url) + "' is not one of jobd's" +
                                 (http ? ", which does not speak HTTP" : "") +
                                 ": jobd+unix:///path, jobd://host:port or jobds://host:port");
}

}  // namespace jobd
