/*
 * A command of the kill loop. It tells the witness file that it has begun, waits, and tells it that it ends:
 *
 *     job WITNESS NAME NUMBER MILLISECONDS FAILS CHILD
 *
 * It exits with 3 in its first FAILS attempts, with 0 after that. With CHILD 1 it leaves a process behind that
 * has left its session and would live for a minute. As long as any process of it lives, it holds a lock on the byte
 * NUMBER of the witness file: whoever finds that taken has proof of another live attempt of the same job.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int witness;
static const char *name;

static const char *variable(const char *which) {
    const char *value = getenv(which);
    return value ? value : "0";
}

static void tell(const char *what, int status) {
    struct timespec now;
    char line[256];
    clock_gettime(CLOCK_MONOTONIC, &now);
    int size = snprintf(line, sizeof line, "%s %s %s %d %s %lld%09ld %d\n", name, variable("JOBD_JOB_ID"),
                        variable("JOBD_ATTEMPT"), (int)getpid(), what, (long long)now.tv_sec, now.tv_nsec, status);
    if (write(witness, line, (size_t)size) != size)
        _exit(9);
}

static void rest(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&time, &time) != 0)
        ;
}

int main(int count, char **words) {
    if (count != 7)
        return 9;
    name = words[2];
    witness = open(words[1], O_WRONLY | O_APPEND | O_CLOEXEC);
    if (witness < 0)
        return 9;
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = atoll(words[3]);
    lock.l_len = 1;
    if (fcntl(witness, F_OFD_SETLK, &lock) != 0)
        tell("overlap", 0);
    tell("start", 0);
    if (atoi(words[6]) == 1 && fork() == 0) {
        setsid();
        rest(60000);
        _exit(0);
    }
    rest(atol(words[4]));
    int status = atoi(variable("JOBD_ATTEMPT")) <= atoi(words[5]) ? 3 : 0;
    tell("end", status);
    return status;
}
