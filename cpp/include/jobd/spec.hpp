// What is to be done: builders for the three kinds of jobs a C++ program submits.
//
//     jobd::command("convert").arg("a.png").arg("b.jpg").cwd("/data").timeout(60s).after(first)
//     jobd::shell("make all > build.log")
//     jobd::call("pkg.mod:func").arg(3).arg("text").kwarg("scale", 2.5)
//
// The fields and their defaults are those of the table in docs/protocol.md; only what is set is sent.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "error.hpp"
#include "json.hpp"

namespace jobd {

class job;

/// How a job must have ended for the one that comes after it to start.
enum class on { ok, failed, any };

/// A job's fields. Made by command, shell and call, or from a JSON object that holds them all.
class spec {
public:
    explicit spec(json fields) : fields_(std::move(fields)) {
        if (!fields_.is_object()) throw error(errc::usage, "a job is a JSON object");
    }

    const json& fields() const noexcept { return fields_; }

    bool has_key() const noexcept { return fields_.contains("key"); }
    bool wants_event() const noexcept {
        const json& notify = fields_["notify"];
        return !notify.is_bool() || notify.as_bool();
    }

    struct edge {
        std::int64_t id;  ///< negative: so many places before in the same submission
        on how;
    };
    const std::vector<edge>& edges() const noexcept { return edges_; }

protected:
    spec() : fields_(json::object{}) {}

    json& list(const char* name) {
        if (!fields_.contains(name)) fields_.set(name, json::array{});
        return const_cast<json&>(fields_[name]);
    }

    json& map(const char* name) {
        if (!fields_.contains(name)) fields_.set(name, json::object{});
        return const_cast<json&>(fields_[name]);
    }

    json fields_;
    std::vector<edge> edges_;
};

namespace detail {

std::uint64_t id_of(const job& which);

/// The fields that every kind of job has, chained on the builder's own type.
template <class Self>
class common_fields : public spec {
public:
    using seconds = std::chrono::duration<double>;

    /// The folder it runs in; for a call also where modules are looked for first.
    Self& cwd(std::string_view folder) { return put("cwd", folder); }
    Self& env(std::string_view name, std::string_view value) {
        map("env").set(name, value);
        return self();
    }
    /// Takes a variable of the daemon's away.
    Self& unset_env(std::string_view name) {
        map("env").set(name, nullptr);
        return self();
    }
    Self& queue(std::string_view name) { return put("queue", name); }
    /// Higher starts first; -1000 to 1000.
    Self& priority(int value) { return put("priority", value); }
    Self& delay(seconds value) { return put("delay", value.count()); }
    /// An attempt that takes longer is ended.
    Self& timeout(seconds value) { return put("timeout", value.count()); }
    /// Between TERM and KILL when it is ended.
    Self& grace(seconds value) { return put("grace", value.count()); }
    /// How often it may be tried, in all.
    Self& attempts(int value) { return put("attempts", value); }
    /// The pause before the second attempt; it doubles each time.
    Self& backoff(seconds value) { return put("backoff", value.count()); }
    /// The same job with the same key is not run again: its id and its result are given.
    Self& key(std::string_view value) { return put("key", value); }
    Self& group(std::string_view value) { return put("group", value); }
    Self& label(std::string_view value) { return put("label", value); }
    /// How many of the workers' places it takes.
    Self& cpus(int value) { return put("cpus", value); }
    /// false: the finish is told only to who waits for it.
    Self& notify(bool value) { return put("notify", value); }
    /// Any field by its name in the protocol.
    Self& field(std::string_view name, json value) { return put(name, std::move(value)); }

    /// Not before this job has ended so. Waits for its id where it has none yet.
    Self& after(const job& which, on how = on::ok) { return after(id_of(which), how); }
    Self& after(std::uint64_t id, on how = on::ok) {
        edges_.push_back({static_cast<std::int64_t>(id), how});
        return self();
    }
    template <class Range, class = decltype(std::begin(std::declval<const Range&>()))>
    Self& after(const Range& all, on how = on::ok) {
        for (const auto& each : all) after(each, how);
        return self();
    }
    /// In submit_many: after the job so many places before this one.
    Self& after_previous(std::size_t places = 1, on how = on::ok) {
        if (places == 0) throw error(errc::usage, "a job cannot come after itself");
        edges_.push_back({-static_cast<std::int64_t>(places), how});
        return self();
    }

protected:
    Self& self() { return static_cast<Self&>(*this); }
    Self& put(std::string_view name, json value) {
        fields_.set(name, std::move(value));
        return self();
    }
};

template <class Self>
class command_fields : public common_fields<Self> {
public:
    /// Text given to its standard input.
    Self& input(std::string_view text) { return this->put("stdin", text); }
    Self& input_file(std::string_view path) { return this->put("stdin", json(json::object{{"file", path}})); }
    /// A file to write instead of the job's own.
    Self& output_file(std::string_view path) { return this->put("stdout", path); }
    Self& discard_output() { return this->put("stdout", nullptr); }
    Self& error_file(std::string_view path) { return this->put("stderr", path); }
    Self& discard_errors() { return this->put("stderr", nullptr); }
    /// Standard error goes where standard output goes.
    Self& merge_errors() { return this->put("stderr", "&1"); }
};

}  // namespace detail

/// A program and its arguments; no shell is involved.
class command : public detail::command_fields<command> {
public:
    explicit command(std::string_view program) { list("argv").push_back(program); }

    command& arg(std::string_view text) {
        list("argv").push_back(text);
        return *this;
    }
    command& args(std::initializer_list<std::string_view> all) {
        for (const std::string_view each : all) arg(each);
        return *this;
    }
    template <class Range>
    command& args(const Range& all) {
        for (const auto& each : all) arg(each);
        return *this;
    }
};

/// A line for the shell.
class shell : public detail::command_fields<shell> {
public:
    explicit shell(std::string_view line) { put("shell", line); }
};

/// A Python callable, "module:name" or "module:Class.method", run in a warm worker.
class call : public detail::common_fields<call> {
public:
    explicit call(std::string_view callable) { put("call", callable); }

    call& arg(json value) {
        list("args").push_back(std::move(value));
        return *this;
    }
    call& kwarg(std::string_view name, json value) {
        map("kwargs").set(name, std::move(value));
        return *this;
    }
    /// A thread (or a coroutine) beside others instead of a process of its own while it runs.
    call& io() { return put("lane", "io"); }
};

namespace detail {

inline std::string_view to_string(on how) { return how == on::ok ? "ok" : how == on::failed ? "failed" : "any"; }

/// The JSON of a job as it is sent. `key` is added where it is not empty; `edges` stand for what the spec's say.
inline void write_job(std::string& out, const spec& from, const std::vector<spec::edge>& edges, std::string_view key) {
    from.fields().write(out);
    const auto add = [&](std::string_view name) {
        out.pop_back();
        if (out.back() != '{') out += ", ";
        json::write_string(out, name);
        out += ": ";
    };
    if (!key.empty()) {
        add("key");
        json::write_string(out, key);
        out.push_back('}');
    }
    if (edges.empty()) return;
    add("after");
    const bool mixed = std::any_of(edges.begin(), edges.end(), [](const spec::edge& each) { return each.how != on::ok; });
    json after;
    for (const spec::edge& each : edges) {
        if (mixed) {
            after.set(std::to_string(each.id), to_string(each.how));
        } else {
            after.push_back(each.id);
        }
    }
    after.write(out);
    out.push_back('}');
}

}  // namespace detail

}  // namespace jobd
