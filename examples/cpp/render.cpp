// A program that runs as a job and tells how far it is: one line. Started in any other way it works just the same.
//
//     jobctl run render 20
#include <cmath>
#include <iostream>
#include <string>

#include <jobd/progress.hpp>

int main(int argc, char** argv) {
    const int frames = argc > 1 ? std::stoi(argv[1]) : 10;
    double light = 0;
    for (int frame = 1; frame <= frames; ++frame) {
        for (int i = 1; i < 200'000; ++i) light += std::sin(frame * i) / i;
        jobd::progress(frame, frames, "frame " + std::to_string(frame));
    }
    std::cout << "light: " << light << '\n';
}
