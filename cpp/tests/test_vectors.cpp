// The C++ side of the conformance vectors in tests/vectors: what a daemon says is read as they mean it, and the JSON in
// what a client sends is, too. JOBD_VECTORS names their folder.
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>

#include <jobd/client.hpp>

#include "testing.hpp"

using jobd::json;

namespace {

json load(const std::string& name) {
    std::ifstream file(std::string(JOBD_VECTORS) + "/" + name);
    std::stringstream text;
    text << file.rdbuf();
    return jobd::parse_json(text.str());
}

std::string line_of(const json& vector) {
    if (!vector.contains("hex")) return vector["line"].as_string();
    const std::string& digits = vector["hex"].as_string();
    std::string out;
    for (std::size_t i = 0; i < digits.size(); i += 2) {
        unsigned byte = 0;
        HOLDS(jobd::detail::read_integer(std::string_view(digits).substr(i, 2), byte, 16));
        out.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
    }
    return out;
}

/// Whether two values mean the same: numbers compared as numbers, objects without regard to order.
bool same(const json& a, const json& b) {
    if (a.is_number() && b.is_number()) {
        return a.is_integer() && b.is_integer() ? a == b : a.as_number() >= b.as_number() && a.as_number() <= b.as_number();
    }
    if (a.is_array() && b.is_array()) {
        bool out = a.as_array().size() == b.as_array().size();
        for (std::size_t i = 0; out && i < a.as_array().size(); ++i) out = same(a.as_array()[i], b.as_array()[i]);
        return out;
    }
    if (a.is_object() && b.is_object()) {
        bool out = a.as_object().size() == b.as_object().size();
        for (const auto& [name, value] : a.as_object()) out = out && b.contains(name) && same(value, b[name]);
        return out;
    }
    return a == b;
}

}  // namespace

TEST("the replies of the vectors are read") {
    for (const json& vector : load("replies.json").as_array()) {
        const std::string line = line_of(vector);
        const jobd::reply reply = std::get<jobd::reply>(jobd::parse_message(line));
        EQUAL(vector["tag"].as_string(), std::string(reply.tag));
        EQUAL(vector["ok"].as_bool(), reply.ok);
        EQUAL(vector["text"].as_string(), std::string(reply.text));
        if (reply.ok) continue;
        const jobd::error problem = jobd::error::from_wire(reply.code, reply.text);
        EQUAL(vector["code"].as_string(), problem.code_name());
        EQUAL(vector["retryable"].as_bool(), problem.retryable());
        EQUAL(vector["code"].as_string() == "NOT_YET_INVENTED", problem.code() == jobd::errc::unknown);
    }
}

TEST("the events of the vectors are read, and so is which of them end a job") {
    for (const json& vector : load("events.json").as_array()) {
        const std::string line = line_of(vector);
        const jobd::event event = std::get<jobd::event>(jobd::parse_message(line));
        EQUAL(static_cast<std::uint64_t>(vector["cursor"].as_integer()), event.cursor);
        EQUAL(static_cast<std::uint64_t>(vector["job"].as_integer()), event.job);
        EQUAL(vector["state"].as_string(), std::string(event.state));
        if (!event.json.empty()) HOLDS(same(vector["json"], jobd::parse_json(event.json)));
        const auto result = jobd::parse_result(event);
        EQUAL(vector["final"].as_bool(), result.has_value());
        if (!result) continue;
        EQUAL(vector["state"].as_string(), std::string(jobd::to_string(result->state)));
        HOLDS(same(vector["json"], result->outcome));
        if (vector["json"].contains("exit_code")) EQUAL(vector["json"]["exit_code"].as_integer(), result->exit_code.value());
    }
}

TEST("the malformed lines of the vectors are refused") {
    for (const json& vector : load("malformed.json").as_array()) {
        const std::string line = line_of(vector);
        const jobd::error problem = ERROR_OF([&] {
            const jobd::message message = jobd::parse_message(line);
            return jobd::parse_result(std::get<jobd::event>(message));
        }());
        EQUAL(std::string("PROTOCOL"), problem.code_name());
    }
}

TEST("the streams of the vectors are cut into their lines") {
    for (const json& vector : load("streams.json").as_array()) {
        jobd::line_reader reader(1000);
        json found(json::array{});
        for (const json& chunk : vector["chunks"].as_array()) {
            reader.feed(chunk.as_string().data(), chunk.as_string().size());
            std::string_view line;
            while (reader.next(line)) found.push_back(line);
        }
        HOLDS(same(vector["lines"], found));
    }
}

TEST("the JSON in the vectors' requests means the same here, and what is no JSON there is none here") {
    for (const json& vector : load("requests.json").as_array()) {
        if (vector["verb"] != json("submit")) continue;
        std::string argument = line_of(vector);
        argument.erase(0, argument.find("submit") + 6);
        if (vector.contains("jobs")) {
            const json jobs = jobd::parse_json(argument);
            HOLDS(same(vector["jobs"], jobs.is_array() ? jobs : json().push_back(jobs)));
        } else if (vector["error"] == json("BAD_JSON") && argument != " \"shell\"") {
            EQUAL(std::string("BAD_JSON"), ERROR_OF(jobd::parse_json(argument)).code_name());
        }
    }
}
