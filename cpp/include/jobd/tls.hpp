// TLS as a filter between bytes and bytes; the socket stays ours. Needs OpenSSL: define JOBD_WITH_OPENSSL, for the
// whole program alike, and link libssl and libcrypto (the CMake target jobd::tls does both).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "error.hpp"
#include "options.hpp"

#if defined(JOBD_WITH_OPENSSL)
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#endif

namespace jobd::detail {

#if defined(JOBD_WITH_OPENSSL)

class tls_filter {
public:
    tls_filter(const options& given, const std::string& host) {
        context_.reset(SSL_CTX_new(TLS_client_method()));
        if (!context_) refuse("TLS cannot be started");
        SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
        SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
        load_certificates(given);
        session_.reset(SSL_new(context_.get()));
        if (!session_) refuse("TLS cannot be started");
        expect_host(host);
        in_ = BIO_new(BIO_s_mem());
        out_ = BIO_new(BIO_s_mem());
        SSL_set_bio(session_.get(), in_, out_);  // which owns them from here on
        SSL_set_connect_state(session_.get());
    }

    /// True once the handshake is done. Throws error TLS when the daemon or we are refused.
    bool handshake() {
        ERR_clear_error();
        const int result = SSL_do_handshake(session_.get());
        if (result == 1) return true;
        if (SSL_get_error(session_.get(), result) == SSL_ERROR_WANT_READ) return false;
        const long verdict = SSL_get_verify_result(session_.get());
        if (verdict != X509_V_OK) {
            refuse("the daemon's certificate is refused: " + std::string(X509_verify_cert_error_string(verdict)));
        }
        refuse("the TLS handshake failed");
    }

    /// What came from the socket.
    void feed(const char* data, std::size_t size) { BIO_write(in_, data, static_cast<int>(size)); }

    /// Plain bytes, 0 when there are none yet or none will come any more (then `ended` is set).
    std::size_t read(char* data, std::size_t size, bool& ended) {
        ERR_clear_error();
        const int count = SSL_read(session_.get(), data, static_cast<int>(size));
        if (count > 0) return static_cast<std::size_t>(count);
        const int why = SSL_get_error(session_.get(), count);
        if (why == SSL_ERROR_ZERO_RETURN) {
            ended = true;
        } else if (why != SSL_ERROR_WANT_READ) {
            // With TLS 1.3 a daemon refuses our certificate only after the handshake has ended for us.
            refuse("the daemon ended TLS");
        }
        return 0;
    }

    void write(std::string_view data) {
        ERR_clear_error();
        if (!data.empty() && SSL_write(session_.get(), data.data(), static_cast<int>(data.size())) <= 0) {
            refuse("TLS cannot encrypt");
        }
    }

    /// Appends what has to go to the socket.
    void take(std::string& out) {
        char buffer[16384];
        for (int count = BIO_read(out_, buffer, sizeof buffer); count > 0; count = BIO_read(out_, buffer, sizeof buffer)) {
            out.append(buffer, static_cast<std::size_t>(count));
        }
    }

private:
    template <class T, void (*release)(T*)>
    struct releaser {
        void operator()(T* thing) const noexcept { release(thing); }
    };

    [[noreturn]] static void refuse(std::string what) {
        const unsigned long why = ERR_get_error();
        ERR_clear_error();
        if (why != 0) {
            const char* reason = ERR_reason_error_string(why);
            if (reason != nullptr) what += std::string(": ") + reason;
        }
        throw error(errc::tls, what);
    }

    void load_certificates(const options& given) {
        const std::string ca = given.tls_ca.empty() ? env_or("JOBD_TLS_CA") : given.tls_ca;
        const std::string certificate = given.tls_cert.empty() ? env_or("JOBD_TLS_CERT") : given.tls_cert;
        const std::string key = given.tls_key.empty() ? env_or("JOBD_TLS_KEY", certificate) : given.tls_key;
        SSL_CTX* context = context_.get();
        if (ca.empty()) {
            SSL_CTX_set_default_verify_paths(context);
        } else if (SSL_CTX_load_verify_locations(context, ca.c_str(), nullptr) != 1) {
            refuse("the file of trusted certificates '" + ca + "' cannot be used");
        }
        if (certificate.empty()) return;
        if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) {
            refuse("the certificate '" + certificate + "' cannot be used");
        }
        if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
            refuse("the key '" + key + "' cannot be used");
        }
    }

    void expect_host(const std::string& host) {
        X509_VERIFY_PARAM* rules = SSL_get0_param(session_.get());
        if (X509_VERIFY_PARAM_set1_ip_asc(rules, host.c_str()) == 1) return;
        SSL_set_hostflags(session_.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        if (SSL_set1_host(session_.get(), host.c_str()) != 1) refuse("'" + host + "' cannot be a host's name");
        SSL_set_tlsext_host_name(session_.get(), const_cast<char*>(host.c_str()));
    }

    std::unique_ptr<SSL_CTX, releaser<SSL_CTX, SSL_CTX_free>> context_;
    std::unique_ptr<SSL, releaser<SSL, SSL_free>> session_;
    BIO* in_ = nullptr;
    BIO* out_ = nullptr;
};

#else

/// Stands in where OpenSSL is not used: there is no way to make one.
class tls_filter {
public:
    tls_filter(const options&, const std::string&) {
        throw error(errc::tls, "this program was built without TLS: define JOBD_WITH_OPENSSL and link OpenSSL");
    }
    bool handshake() { return false; }
    void feed(const char*, std::size_t) {}
    std::size_t read(char*, std::size_t, bool&) { return 0; }
    void write(std::string_view) {}
    void take(std::string&) {}
};

#endif

}  // namespace jobd::detail
