// jobd in an event loop of your own, here poll(): the client has no thread, it shows its descriptor, says when it wants
// to be called, and process() does what there is to do. The loop has its own business too: lines typed by a person.
//
//     printf 'echo one\nsleep 1\n' | event_loop          each line runs in the shell
#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <string>

#include <poll.h>
#include <unistd.h>

#include <jobd/client.hpp>

int main() {
    try {
        jobd::options options;
        options.io_thread = false;
        jobd::client c(options);

        std::size_t running = 0;
        c.on_finish([&](const jobd::result& result) {
            --running;
            std::cout << "job " << result.id << ' ' << jobd::to_string(result.state) << std::endl;
        });
        c.on_lost([](const jobd::error& problem) {
            std::cerr << "event_loop: " << problem.what() << '\n';
            std::exit(125);
        });

        std::string typed;
        bool open = true;
        while (open || running > 0) {
            pollfd ready[2] = {};
            ready[0].fd = c.native_handle();
            ready[0].events = static_cast<short>(c.wants_write() ? POLLIN | POLLOUT : POLLIN);
            ready[1].fd = open ? STDIN_FILENO : -1;
            ready[1].events = POLLIN;
            ::poll(ready, 2, c.poll_timeout());

            c.process();
            if (ready[1].revents == 0) continue;
            char buffer[4096];
            const auto count = ::read(STDIN_FILENO, buffer, sizeof buffer);
            open = count > 0;
            if (open) typed.append(buffer, static_cast<std::size_t>(count));
            for (std::size_t end = typed.find('\n'); end != std::string::npos; end = typed.find('\n')) {
                c.post(jobd::shell(typed.substr(0, end)));  // does not wait for the reply
                ++running;
                typed.erase(0, end + 1);
            }
        }
        return 0;
    } catch (const jobd::error& problem) {
        std::cerr << "event_loop: " << problem.what() << '\n';
        return 125;
    }
}
