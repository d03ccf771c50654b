/*
 * A disk that fails when it is told to: put before a program by LD_PRELOAD (Linux).
 *
 * While the file named by DISK_FAULT holds a kind of call and an error's number, as "sync 5", such calls fail with
 * it, on files below DISK_UNDER that belong to the job store or have no name.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pwrite64)(int, const void *, size_t, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void find(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    real_pwrite64 = dlsym(RTLD_NEXT, "pwrite64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
}

static int concerns(int file) {
    char link[64], path[4096];
    const char *under = getenv("DISK_UNDER");
    if (under == NULL)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    size_t prefix = strlen(under);
    return !strncmp(path, under, prefix) && path[prefix] == '/' &&
           (!strncmp(path + prefix, "/jobs.", 6) || strstr(path, "(deleted)") != NULL);
}

/* The error with which a call of this kind is to fail, or 0. */
static int fault(const char *kind, int file) {
    int saved = errno, code = 0;
    char name[16];
    const char *path = getenv("DISK_FAULT");
    FILE *told = path != NULL && concerns(file) ? fopen(path, "r") : NULL;
    if (told != NULL) {
        if (fscanf(told, "%15s %d", name, &code) != 2 || strcmp(name, kind))
            code = 0;
        fclose(told);
    }
    errno = code ? code : saved;
    return code;
}

ssize_t write(int file, const void *data, size_t size) {
    return fault("write", file) ? -1 : real_write(file, data, size);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t place) {
    return fault("write", file) ? -1 : real_pwrite(file, data, size, place);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t place) {
    return fault("write", file) ? -1 : real_pwrite64(file, data, size, place);
}

int fsync(int file) { return fault("sync", file) ? -1 : real_fsync(file); }

int fdatasync(int file) { return fault("sync", file) ? -1 : real_fdatasync(file); }
