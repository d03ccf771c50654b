// A pipeline: some files are made, each is counted as soon as it is there, and a last job adds the counts up. Finishes
// are printed as they come.
//
//     pipeline FOLDER
#include <iostream>
#include <string>
#include <vector>

#include <jobd/client.hpp>

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: pipeline FOLDER\n";
        return 2;
    }
    try {
        const std::string folder = argv[1];
        jobd::client c;  // JOBD_URL, or this user's own daemon
        c.on_finish([](const jobd::result& result) {
            std::cout << "job " << result.id << ' ' << jobd::to_string(result.state) << " in " << result.wall << " s" << std::endl;
        });

        std::vector<jobd::job> counts;
        for (int i = 1; i <= 4; ++i) {
            const std::string name = "part" + std::to_string(i);
            auto made = c.submit(jobd::shell("seq " + std::to_string(i * 1000) + " > " + name).cwd(folder));
            counts.push_back(c.submit(jobd::command("wc").arg("-l").arg(name).cwd(folder).output_file(name + ".lines").after(made)));
        }
        auto total = c.submit(jobd::shell("cat part*.lines | awk '{sum += $1} END {print sum}'").cwd(folder).after(counts));

        c.wait_all();
        if (!total.get().ok()) {
            std::cerr << "no total: " << c.why(total) << '\n';
            return 1;
        }
        std::cout << "lines in all: " << c.output(total).data;
        return 0;
    } catch (const jobd::error& problem) {
        std::cerr << "pipeline: " << problem.what() << '\n';
        return 125;
    }
}
