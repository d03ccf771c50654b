// JSON, lines, URLs, builders: what needs no socket.
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <jobd/client.hpp>

#include "testing.hpp"

using namespace std::chrono_literals;
using jobd::errc;
using jobd::json;
using jobd::parse_json;

namespace {

std::string round_trip(std::string_view text) { return parse_json(text).text(); }

std::string job_text(const jobd::spec& what, std::string_view key = {}) {
    std::string out;
    jobd::detail::write_job(out, what, what.edges(), key);
    return out;
}

}  // namespace

TEST("a JSON value that is read is written again as it was") {
    for (const char* text : {"null", "true", "false", "0", "-1", "9223372036854775807", "-9223372036854775808", "0.5", "1e+300",
                             "\"\"", "\"a \\\"quoted\\\" \\\\ word\"", "[]", "{}", "[1, [2, [3]], {\"a\": null}]",
                             "{\"a\": 1, \"b\": [true, false], \"c\": {\"d\": \"e\"}}", "\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\""}) {
        EQUAL(std::string(text), round_trip(text));
    }
}

TEST("escapes in a string are read, also pairs of surrogates") {
    EQUAL(std::string("\"\\/\b\f\n\r\tA\xC3\xA4\xF0\x9F\x98\x80"),
          parse_json("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e4\\ud83d\\uDE00\"").as_string());
    EQUAL(std::string("a\0b", 3), parse_json("\"a\\u0000b\"").as_string());
    EQUAL(std::string("\"\\u0001\\n\\u001f\""), json("\x01\n\x1f").text());
}

TEST("blanks between the parts of a JSON value do not matter") {
    EQUAL(std::string("{\"a\": [1, 2]}"), round_trip(" \t\r\n{ \"a\"\n:\t[ 1 ,2 ]\r} "));
}

TEST("what is not JSON is an error that says where") {
    for (const char* text : {"", " ", "nul", "tru", "+1", "01", "1.", ".5", "1e", "-", "\"", "\"a", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"",
                             "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\x01\"", "\"\xFF\"", "\"\xC0\xAF\"", "\"\xED\xA0\x80\"", "[", "[1", "[1,",
                             "[1,]", "[,]", "{", "{\"a\"", "{\"a\":", "{\"a\":1,", "{\"a\":1,}", "{a:1}", "{1:2}", "1 2", "[] []", "NaN",
                             "Infinity", "'a'", "\"a\" x", "]", "}", "1e999", "[1 2]", "{\"a\" 1}"}) {
        const jobd::error problem = ERROR_OF(parse_json(text));
        EQUAL(std::string("BAD_JSON"), problem.code_name());
        HOLDS(problem.text().find("at character") != std::string::npos);
    }
}

TEST("brackets nested too deeply are an error, not a crash") {
    const std::string deep(1'000'000, '[');
    EQUAL(std::string("BAD_JSON"), ERROR_OF(parse_json(deep)).code_name());
    const std::string fair = std::string(1000, '[') + std::string(1000, ']');
    EQUAL(fair, round_trip(fair));
}

TEST("numbers keep their kind, and integers beyond 64 bits become reals") {
    HOLDS(parse_json("2").is_integer());
    HOLDS(!parse_json("2.0").is_integer());
    EQUAL(std::string("2.0"), round_trip("2.0"));
    EQUAL(18446744073709551616.0, parse_json("18446744073709551616").as_number());
    HOLDS(json(std::numeric_limits<std::uint64_t>::max()).is_number());
    EQUAL(std::string("7"), json(std::uint64_t{7}).text());
    EQUAL(std::string("0.1"), json(0.1).text());
}

TEST("what JSON cannot express is refused when it is written") {
    EQUAL(std::string("BAD_VALUE"), ERROR_OF(json("\xFF").text()).code_name());
    EQUAL(std::string("BAD_VALUE"), ERROR_OF(json(std::numeric_limits<double>::infinity()).text()).code_name());
    EQUAL(std::string("BAD_VALUE"), ERROR_OF(json(std::numeric_limits<double>::quiet_NaN()).text()).code_name());
}

TEST("a value asked for as another kind is an error") {
    EQUAL(std::string("BAD_VALUE"), ERROR_OF(json("text").as_integer()).code_name());
    EQUAL(std::string("BAD_VALUE"), ERROR_OF(json(1).as_string()).code_name());
    HOLDS(json(1)["a"].is_null());
    EQUAL(2.0, json(2).as_number());
}

TEST("values are made from what C++ programs have") {
    EQUAL(std::string("[1, 2]"), json(std::vector<int>{1, 2}).text());
    EQUAL(std::string("[true, false]"), json(std::vector<bool>{true, false}).text());
    EQUAL(std::string("[\"a\"]"), json(std::vector<std::string>{"a"}).text());
    EQUAL(std::string("{\"a\": 1}"), json(std::map<std::string, int>{{"a", 1}}).text());
    json built;
    built.set("a", 1).set("b", json().push_back("x")).set("a", 2);
    EQUAL(std::string("{\"a\": 2, \"b\": [\"x\"]}"), built.text());
}

TEST("the last of equal names counts") { EQUAL(2, parse_json("{\"a\": 1, \"a\": 2}")["a"].as_integer()); }

TEST("lines are found wherever the stream is cut") {
    const std::string stream = "one\r\ntwo\n\nthree\n";
    for (std::size_t size = 1; size <= stream.size(); ++size) {
        jobd::line_reader reader(100);
        std::string seen;
        for (std::size_t at = 0; at < stream.size(); at += size) {
            const std::string part = stream.substr(at, size);
            reader.feed(part.data(), part.size());
            std::string_view line;
            while (reader.next(line)) seen += std::string(line) + "|";
        }
        EQUAL(std::string("one|two||three|"), seen);
    }
}

TEST("a line over the limit is an error, whether or not its end is there") {
    for (const char* text : {"12345678", "12345678\n"}) {
        jobd::line_reader reader(7);
        reader.feed(text, std::char_traits<char>::length(text));
        std::string_view line;
        EQUAL(std::string("PROTOCOL"), ERROR_OF(reader.next(line)).code_name());
    }
    jobd::line_reader reader(8);
    reader.feed("12345678\n", 9);
    std::string_view line;
    HOLDS(reader.next(line));
}

TEST("ids are read and written as ranges") {
    EQUAL(std::string("5,18-20,7"), jobd::format_ids(jobd::parse_ids("5,18-20,7")));
    EQUAL(std::size_t{5}, jobd::parse_ids("5,18-20,7").size());
    for (const char* text : {"", ",", "1,", "a", "0", "3-1", "1-", "-1", "1--2", "1-99999999999", "99999999999999999999"}) {
        EQUAL(std::string("PROTOCOL"), ERROR_OF(jobd::parse_ids(text)).code_name());
    }
}

TEST("URLs name a Unix socket, a host, or a host with TLS") {
    EQUAL(std::string("/run/jobd.sock"), jobd::parse_url("jobd+unix:///run/jobd.sock").path);
    EQUAL(std::string("/a b"), jobd::parse_url("jobd+unix:///a%20b").path);
    for (const char* url : {"jobd+unix:///a%20b", "jobd://example.org:7733", "jobds://[::1]:9", "jobd://10.0.0.1:1"}) {
        EQUAL(std::string(url), jobd::parse_url(url).url());
    }
    EQUAL(7733U, jobd::parse_url("jobd://example.org").port);
    EQUAL(7733U, jobd::parse_url("jobd://example.org/").port);
    HOLDS(jobd::parse_url("jobds://h").how == jobd::address::kind::tls);
    HOLDS(jobd::parse_url("jobd://127.0.0.1").is_local());
    HOLDS(!jobd::parse_url("jobd://example.org").is_local());
}

TEST("a URL that is none of jobd's is refused with the forms there are") {
    for (const char* url : {"http://localhost:7733", "https://x", "localhost", "jobd://", "jobd://:1", "jobd://h:0", "jobd://h:65536",
                            "jobd://h:x", "jobd://[::1", "jobd://[::1]x", "jobd://::1", "jobd://u@h", "jobd://h/path", "jobd+unix://rel",
                            "jobd+unix://", "tcp://h:1", "jobd:/h"}) {
        EQUAL(std::string("USAGE"), ERROR_OF(jobd::parse_url(url)).code_name());
    }
    HOLDS(ERROR_OF(jobd::parse_url("http://x")).text().find("does not speak HTTP") != std::string::npos);
}

TEST("builders write the protocol's fields") {
    EQUAL(std::string("{\"argv\": [\"convert\", \"a.png\", \"b.jpg\"], \"cwd\": \"/data\", \"timeout\": 60.0, \"after\": [17]}"),
          job_text(jobd::command("convert").arg("a.png").args({"b.jpg"}).cwd("/data").timeout(60s).after(17)));
    EQUAL(std::string("{\"shell\": \"make\", \"env\": {\"A\": \"b\", \"C\": null}, \"stdin\": {\"file\": \"in\"}, \"stdout\": null, "
                      "\"stderr\": \"&1\", \"key\": \"k\"}"),
          job_text(jobd::shell("make").env("A", "b").unset_env("C").input_file("in").discard_output().merge_errors(), "k"));
    EQUAL(std::string("{\"call\": \"m:f\", \"args\": [1, \"x\", 2.5], \"kwargs\": {\"a\": [1, 2]}, \"lane\": \"io\"}"),
          job_text(jobd::call("m:f").arg(1).arg("x").arg(2.5).kwarg("a", std::vector<int>{1, 2}).io()));
    EQUAL(std::string("{\"shell\": \"x\", \"queue\": \"q\", \"priority\": -3, \"delay\": 0.5, \"grace\": 1.0, \"attempts\": 2, "
                      "\"backoff\": 0.25, \"group\": \"g\", \"label\": \"l\", \"cpus\": 0, \"notify\": false}"),
          job_text(jobd::shell("x").queue("q").priority(-3).delay(500ms).grace(1s).attempts(2).backoff(250ms).group("g").label("l").cpus(0)
                       .notify(false)));
}

TEST("a policy on one edge makes all of them say theirs") {
    EQUAL(std::string("{\"shell\": \"x\", \"after\": {\"1\": \"ok\", \"2\": \"any\", \"-1\": \"failed\"}}"),
          job_text(jobd::shell("x").after(1).after(2, jobd::on::any).after_previous(1, jobd::on::failed)));
    EQUAL(std::string("{\"shell\": \"x\", \"after\": [4, 5, -2]}"),
          job_text(jobd::shell("x").after(std::vector<std::uint64_t>{4, 5}).after_previous(2)));
    EQUAL(std::string("USAGE"), ERROR_OF(jobd::shell("x").after_previous(0)).code_name());
}

TEST("a finish event becomes a result with all its parts") {
    const auto told = std::get<jobd::event>(jobd::parse_message(
        "* 9 4 failed {\"exit_code\": 137, \"signal\": \"SIGKILL\", \"wall\": 1.5, \"user\": 1, \"sys\": 0.25, \"max_rss\": 4096, "
        "\"attempt\": 2, \"error\": \"e\", \"traceback\": \"t\", \"left\": 3}"));
    const jobd::result result = *jobd::parse_result(told);
    EQUAL(9U, result.cursor);
    EQUAL(4U, result.id);
    HOLDS(result.state == jobd::state::failed && !result && !result.ok());
    EQUAL(137, result.exit_code.value());
    EQUAL(std::string("SIGKILL"), result.signal);
    EQUAL(1.0, result.user);
    EQUAL(4096, result.max_rss);
    EQUAL(2, result.attempt);
    EQUAL(3, result.outcome["left"].as_integer());
    HOLDS(result.value().is_null());
}

TEST("an event that is no finish gives no result, and one that cannot be read is an error") {
    const auto result_of = [](std::string_view line) {
        return jobd::parse_result(std::get<jobd::event>(jobd::parse_message(line)));
    };
    for (const char* line : {"* 0 4 output {}", "* 3 0 group {}", "* 0 4 progress {}", "* 7 4 running {}", "* 7 4 dreaming {}"}) {
        HOLDS(!result_of(line));
    }
    HOLDS(!result_of("* 7 4 skipped")->exit_code);
    HOLDS(!result_of("* 7 4 lost {\"exit_code\": null}")->exit_code);
    EQUAL(std::string("PROTOCOL"), ERROR_OF(result_of("* 7 4 failed {\"exit_code\": \"x\"}")).code_name());
    EQUAL(std::string("PROTOCOL"), ERROR_OF(result_of("* 7 4 failed {")).code_name());
}

TEST("an error has the protocol's code, and knows whether to try again") {
    const jobd::error known = jobd::error::from_wire("NO_SUCH_JOB", "there is no job 9");
    HOLDS(known.code() == errc::no_such_job && !known.retryable());
    EQUAL(std::string("there is no job 9 [NO_SUCH_JOB]"), std::string(known.what()));
    HOLDS(jobd::error::from_wire("DRAINING", "x").retryable());
    const jobd::error later = jobd::error::from_wire("BRAND_NEW", "x");
    HOLDS(later.code() == errc::unknown);
    EQUAL(std::string("BRAND_NEW"), later.code_name());
}

TEST("base64 is decoded") {
    EQUAL(std::string("\xFF\x00""a", 3), jobd::detail::from_base64("/wBh"));
    EQUAL(std::string("ab"), jobd::detail::from_base64("YWI="));
    EQUAL(std::string(), jobd::detail::from_base64(""));
    EQUAL(std::string("PROTOCOL"), ERROR_OF(jobd::detail::from_base64("a*b")).code_name());
}
