/*
 * Asks a server on a Unix socket the same thing over and over, and tells how long the answers took.
 *
 *     load SOCKET CONNECTIONS SECONDS REQUEST http|text [MARK]
 *
 * One thread, CONNECTIONS kept-alive connections, each with one request under way at any time (a closed loop).
 * REQUEST is a file with the bytes to send. An answer is whole by its Content-Length (http; any status but 200 is an
 * error) or at the first empty line (text). MARK is counted in the first answer, as a proof that it says what it
 * should. Prints one line of JSON, times in milliseconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 256, HEAD_SIZE = 16384, BUFFER_SIZE = 1 << 20, MOST_SAMPLES = 1 << 22, MOST_FIRST = 1 << 24 };

struct connection {
    int file;
    int64_t sent_ns;
    size_t head_size;    /* bytes of the head in `head`, until it is whole */
    int is_body;
    size_t left;         /* bytes of the body still to come */
    char last;           /* last byte seen, for the empty line of text */
    char head[HEAD_SIZE];
};

static char *request, buffer[BUFFER_SIZE], *first;
static size_t request_size, first_size;
static int is_http, is_first = 1;
static float *samples;
static long answers, failures, bytes;
static struct connection connections[MOST_CONNECTIONS];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void ask(struct connection *one)
{
    size_t sent = 0;

    one->head_size = 0;
    one->is_body = 0;
    one->last = 0;
    one->sent_ns = monotonic_ns();
    while (sent < request_size) {
        ssize_t part = send(one->file, request + sent, request_size - sent, MSG_NOSIGNAL);

        if (part < 0)
            fail("send");
        sent += (size_t)part;
    }
}

static void finished(struct connection *one)
{
    if (answers < MOST_SAMPLES)
        samples[answers] = (float)(monotonic_ns() - one->sent_ns) / 1e6f;
    answers++;
    if (one == connections)
        is_first = 0;
    ask(one);
}

static void keep_first(const struct connection *one, const char *part, size_t size)
{
    if (is_first && one == connections && first_size + size < MOST_FIRST) {
        memcpy(first + first_size, part, size);
        first_size += size;
    }
}

/* Takes the head of an HTTP answer as far as it has come; gives the bytes that belong to it. */
static size_t take_head(struct connection *one, const char *part, size_t size)
{
    size_t room = HEAD_SIZE - 1 - one->head_size, taken = size < room ? size : room, before = one->head_size;
    char *end, *field;

    memcpy(one->head + before, part, taken);
    one->head[before + taken] = 0;
    end = strstr(one->head, "\r\n\r\n");
    if (!end) {
        one->head_size += taken;
        if (one->head_size >= HEAD_SIZE - 1) {
            fprintf(stderr, "load: the head of an answer is over %d bytes\n", HEAD_SIZE);
            exit(1);
        }
        return taken;
    }
    end[2] = 0;
    field = strcasestr(one->head, "\r\ncontent-length:");
    if (!field || strncmp(one->head, "HTTP/1.", 7) != 0) {
        fprintf(stderr, "load: cannot tell the length of an answer:\n%s\n", one->head);
        exit(1);
    }
    if (strncmp(one->head + 8, " 200", 4) != 0)
        failures++;
    one->left = (size_t)strtoull(strchr(field + 2, ':') + 1, NULL, 10);
    one->is_body = 1;
    return (size_t)(end + 4 - one->head) - before;
}

static void take(struct connection *one, const char *part, size_t size)
{
    bytes += (long)size;
    if (!is_http) {
        keep_first(one, part, size);
        if (size && part[size - 1] == '\n' && (size > 1 ? part[size - 2] : one->last) == '\n')
            finished(one);
        else if (size)
            one->last = part[size - 1];
        return;
    }
    while (size || (one->is_body && !one->left)) {
        size_t taken;

        if (!one->is_body) {
            taken = take_head(one, part, size);
        } else {
            taken = size < one->left ? size : one->left;
            keep_first(one, part, taken);
            one->left -= taken;
            if (!one->left) {
                finished(one);
                return;
            }
        }
        part += taken;
        size -= taken;
    }
}

static int ascending(const void *a, const void *b)
{
    float left = *(const float *)a, right = *(const float *)b;
    return (left > right) - (left < right);
}

static double share(double part)
{
    long count = answers < MOST_SAMPLES ? answers : MOST_SAMPLES;
    long place = (long)(part * (double)count);
    return count ? samples[place < count ? place : count - 1] : 0.0;
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int64_t began_ns, until_ns, now_ns;
    long marks = 0, count;
    int polls, wanted, i, file;
    struct stat facts;

    if (argc < 6 || strlen(argv[1]) >= sizeof address.sun_path) {
        fprintf(stderr, "usage: load SOCKET CONNECTIONS SECONDS REQUEST http|text [MARK]\n");
        return 2;
    }
    wanted = atoi(argv[2]);
    if (wanted < 1 || wanted > MOST_CONNECTIONS)
        wanted = MOST_CONNECTIONS;
    is_http = strcmp(argv[5], "http") == 0;
    file = open(argv[4], O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &facts) != 0)
        fail(argv[4]);
    request_size = (size_t)facts.st_size;
    request = malloc(request_size + 1);
    samples = malloc(sizeof *samples * MOST_SAMPLES);
    first = malloc(MOST_FIRST);
    if (!request || !samples || !first || read(file, request, request_size) != (ssize_t)request_size)
        fail("request");
    strcpy(address.sun_path, argv[1]);
    polls = epoll_create1(EPOLL_CLOEXEC);
    for (i = 0; i < wanted; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};

        connections[i].file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(connections[i].file, (struct sockaddr *)&address, sizeof address) != 0)
            fail("connect");
        epoll_ctl(polls, EPOLL_CTL_ADD, connections[i].file, &event);
    }
    began_ns = monotonic_ns();
    until_ns = began_ns + (int64_t)(atof(argv[3]) * 1e9);
    for (i = 0; i < wanted; i++)
        ask(&connections[i]);
    while ((now_ns = monotonic_ns()) < until_ns) {
        struct epoll_event events[64];
        int ready = epoll_wait(polls, events, 64, (int)((until_ns - now_ns) / 1000000) + 1);

        for (i = 0; i < ready; i++) {
            struct connection *one = &connections[events[i].data.u32];
            ssize_t got = recv(one->file, buffer, sizeof buffer, 0);

            if (got <= 0) {
                fprintf(stderr, "load: the server closed a connection after %ld answers\n", answers);
                return 1;
            }
            take(one, buffer, (size_t)got);
        }
    }
    count = answers < MOST_SAMPLES ? answers : MOST_SAMPLES;
    qsort(samples, (size_t)count, sizeof *samples, ascending);
    if (argc > 6) {
        char *place = first, *end = first + first_size;
        size_t size = strlen(argv[6]);

        while (place < end && (place = memmem(place, (size_t)(end - place), argv[6], size))) {
            marks++;
            place += size;
        }
    }
    printf("{\"answers\": %ld, \"failures\": %ld, \"seconds\": %.3f, \"bytes\": %ld, \"first_bytes\": %zu, \"marks\": %ld, "
           "\"p50_ms\": %.4f, \"p90_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f}\n",
           answers, failures, (double)(monotonic_ns() - began_ns) / 1e9, bytes, first_size, marks, share(0.5),
           share(0.9), share(0.99), share(1.0));
    return 0;
}
