// The adapter for nlohmann-json.
#include <string>

#include <jobd/nlohmann.hpp>

#include "testing.hpp"

TEST("values turn into nlohmann's and back") {
    const nlohmann::json theirs = nlohmann::json::parse(R"({"a": [1, 2.5, "x", true, null, -3, 18446744073709551615], "b": {}})");
    const auto ours = theirs.get<jobd::json>();
    HOLDS(ours["a"].as_array()[0].is_integer());
    EQUAL(2.5, ours["a"].as_array()[1].as_number());
    nlohmann::json back = ours;
    back["a"][6] = theirs["a"][6];
    HOLDS(back == theirs);
    EQUAL(std::string("{\"k\": [1]}"), jobd::from_nlohmann(nlohmann::json{{"k", {1}}}).text());
}
