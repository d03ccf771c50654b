/* Both sides of gearmand through libgearman.
 *
 *     gearman worker HOST PORT    answers calls of "nothing", until it is ended
 *     gearman client HOST PORT    for each line "many N" or "one N" on standard input: does so many calls, at once or one
 *                                 at a time, each in the foreground; prints the seconds of all, or a line for each
 */
#include <libgearman/gearman.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int wrong(const char* problem) {
    fprintf(stderr, "gearman: %s\n", problem);
    return 1;
}

static gearman_return_t nothing(gearman_job_st* job, void* context) {
    (void)job;
    (void)context;
    return GEARMAN_SUCCESS;
}

static int work(const char* host, in_port_t port) {
    gearman_worker_st* worker = gearman_worker_create(NULL);
    if (gearman_failed(gearman_worker_add_server(worker, host, port))) return wrong("no such server");
    const gearman_function_t function = gearman_function_create(nothing);
    if (gearman_failed(gearman_worker_define_function(worker, "nothing", 7, function, 0, NULL))) {
        return wrong(gearman_worker_error(worker));
    }
    while (gearman_success(gearman_worker_work(worker))) {
    }
    return wrong(gearman_worker_error(worker));
}

static size_t completed;

static gearman_return_t count(gearman_task_st* task) {
    (void)task;
    ++completed;
    return GEARMAN_SUCCESS;
}

static int many(gearman_client_st* client, size_t jobs) {
    completed = 0;
    const double began = now();
    for (size_t i = 0; i < jobs; ++i) {
        gearman_return_t result;
        char number[24];
        const int length = snprintf(number, sizeof number, "%zu", i);
        gearman_client_add_task(client, NULL, NULL, "nothing", NULL, number, (size_t)length, &result);
        if (gearman_failed(result)) return wrong(gearman_client_error(client));
    }
    if (gearman_failed(gearman_client_run_tasks(client))) return wrong(gearman_client_error(client));
    printf("%.9f\n", now() - began);
    gearman_client_task_free_all(client);
    return completed == jobs ? 0 : wrong("not all calls have completed");
}

static int one_at_a_time(gearman_client_st* client, size_t jobs) {
    for (size_t i = 0; i < jobs; ++i) {
        size_t size;
        gearman_return_t result;
        const double began = now();
        free(gearman_client_do(client, "nothing", NULL, "1", 1, &size, &result));
        if (gearman_failed(result)) return wrong(gearman_client_error(client));
        printf("%.9f\n", now() - began);
    }
    return 0;
}

static int ask(const char* host, in_port_t port) {
    gearman_client_st* client = gearman_client_create(NULL);
    if (gearman_failed(gearman_client_add_server(client, host, port))) return wrong("no such server");
    gearman_client_add_options(client, GEARMAN_CLIENT_FREE_TASKS);
    gearman_client_set_complete_fn(client, count);
    char how[8];
    size_t jobs;
    while (scanf("%7s %zu", how, &jobs) == 2) {
        const int status = strcmp(how, "many") == 0 ? many(client, jobs) : one_at_a_time(client, jobs);
        if (status != 0) return status;
        fflush(stdout);
    }
    gearman_client_free(client);
    return 0;
}

int main(int argc, char** argv) {
    if (argc != 4) return wrong("worker or client, a host and a port");
    const in_port_t port = (in_port_t)atoi(argv[3]);
    return strcmp(argv[1], "worker") == 0 ? work(argv[2], port) : ask(argv[2], port);
}
