#include "testing.hpp"

int main(int count, char** words) { return testing::run(count, words); }
