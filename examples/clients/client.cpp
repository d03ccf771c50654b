// A complete jobd client in C++ with nothing but sockets and std::getline: each argument is a line for the shell, run
// as a job; finishes are printed as they come; exits 0 if all succeeded.
//
//     c++ -std=c++17 -o client client.cpp && JOBD_URL=jobd://127.0.0.1:7733 JOBD_TOKEN=... ./client 'sleep 1' 'true'
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char** argv) {
    const std::string url = std::getenv("JOBD_URL");  // jobd://host:port
    const std::size_t colon = url.rfind(':');
    addrinfo hints{}, *place = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(url.substr(7, colon - 7).c_str(), url.substr(colon + 1).c_str(), &hints, &place) != 0) return 125;
    const int handle = socket(place->ai_family, SOCK_STREAM, 0);
    if (connect(handle, place->ai_addr, place->ai_addrlen) != 0) return 125;

    std::string requests = std::string("auth ") + std::getenv("JOBD_TOKEN") + "\n";
    for (int i = 1; i < argc; ++i) requests += std::string("sh ") + argv[i] + "\n";
    if (write(handle, requests.data(), requests.size()) < 0) return 125;
    shutdown(handle, SHUT_WR);  // what is still to come comes, then the daemon closes

    dup2(handle, STDIN_FILENO);  // so that std::cin is what the daemon says, each line as it comes
    int succeeded = 0;
    for (std::string line; std::getline(std::cin, line);) {
        std::string word, cursor, job, state;
        std::istringstream(line) >> word >> cursor >> job >> state;
        if (word == "error") std::cerr << "client: " << line << '\n';
        if (word != "*") continue;
        std::cout << "job " << job << ' ' << state << std::endl;
        succeeded += state == "succeeded";
    }
    return succeeded == argc - 1 ? 0 : 1;
}
