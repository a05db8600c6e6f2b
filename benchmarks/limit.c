/*
 * The least that keeping programs running can cost: a yardstick, not a supervisor.
 *
 *     limit SOCKET COUNT PROGRAM NAME TAG [ARGUMENT...]
 *
 * Runs COUNT copies of "PROGRAM NAME/i@TAG ARGUMENT..." by posix_spawn, holds a pidfd of each in one epoll set and
 * starts whatever ends again at once. No policy, no back-off, no logs, no memory of anything. A connection on SOCKET
 * that sends a line gets all instances as text, "name state pid" a line, an empty line at the end; it is kept open.
 * TERM: passes TERM on to every program, waits for all of them and ends.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NAME_SIZE = 96, LINE_SIZE = NAME_SIZE + 24, FIRST_CLIENT = 1 << 24, LISTENER = 1 << 25, SIGNALS };

struct program {
    pid_t pid;
    int pidfd;
    char name[NAME_SIZE];
};

extern char **environ;

static struct program *programs;
static char **arguments;
static int count, living, polls;
static posix_spawnattr_t attributes;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int file, uint32_t key)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = key};

    if (epoll_ctl(polls, EPOLL_CTL_ADD, file, &event) != 0)
        fail("epoll_ctl");
}

static void start(int index)
{
    struct program *one = &programs[index];

    arguments[1] = one->name;
    errno = posix_spawn(&one->pid, arguments[0], NULL, &attributes, arguments, environ);
    if (errno)
        fail("posix_spawn");
    one->pidfd = (int)syscall(SYS_pidfd_open, one->pid, 0);
    if (one->pidfd < 0)
        fail("pidfd_open");
    watch(one->pidfd, (uint32_t)index);
    living++;
}

static void reap(int index)
{
    struct program *one = &programs[index];

    /* A child in the middle of its exec still shares the descriptor: only an explicit removal takes it out. */
    epoll_ctl(polls, EPOLL_CTL_DEL, one->pidfd, NULL);
    waitpid(one->pid, NULL, 0);
    close(one->pidfd);
    one->pid = 0;
    living--;
}

static void answer(int client)
{
    static char *text;
    char asked[256];
    ssize_t got = recv(client, asked, sizeof asked, 0);
    size_t size = 0, sent = 0;
    int i;

    if (got <= 0) {
        epoll_ctl(polls, EPOLL_CTL_DEL, client, NULL);
        close(client);
        return;
    }
    if (!text && !(text = malloc((size_t)count * LINE_SIZE + 2)))
        fail("malloc");
    for (i = 0; i < count; i++)
        size += (size_t)sprintf(text + size, "%s running %d\n", programs[i].name, programs[i].pid);
    text[size++] = '\n';
    while (sent < size) {
        ssize_t part = send(client, text + sent, size - sent, MSG_NOSIGNAL);

        if (part < 0)
            break;
        sent += (size_t)part;
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct rlimit files;
    sigset_t blocked, none, defaults;
    int listener, signals, is_stopping = 0, i;

    if (argc < 6 || strlen(argv[1]) >= sizeof address.sun_path) {
        fprintf(stderr, "usage: limit SOCKET COUNT PROGRAM NAME TAG [ARGUMENT...]\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    count = atoi(argv[2]);
    programs = calloc((size_t)count, sizeof *programs);
    arguments = calloc((size_t)argc, sizeof *arguments);
    if (!programs || !arguments)
        fail("calloc");
    arguments[0] = argv[3];
    for (i = 6; i < argc; i++)
        arguments[i - 4] = argv[i];
    for (i = 0; i < count; i++)
        snprintf(programs[i].name, NAME_SIZE, "%s/%d@%s", argv[4], i, argv[5]);

    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    sigfillset(&defaults);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);

    polls = epoll_create1(EPOLL_CLOEXEC);
    signals = signalfd(-1, &blocked, SFD_CLOEXEC);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, argv[1]);
    if (polls < 0 || signals < 0 || listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0
        || listen(listener, 128) != 0)
        fail("limit");
    watch(signals, SIGNALS);
    watch(listener, LISTENER);
    for (i = 0; i < count; i++)
        start(i);

    while (!is_stopping || living) {
        struct epoll_event events[256];
        int ready = epoll_wait(polls, events, 256, -1);

        for (i = 0; i < ready; i++) {
            uint32_t key = events[i].data.u32;

            if (key == SIGNALS) {
                struct signalfd_siginfo taken;
                int each;

                if (read(signals, &taken, sizeof taken) < 0)
                    fail("read");
                is_stopping = 1;
                for (each = 0; each < count; each++)
                    if (programs[each].pid)
                        kill(programs[each].pid, SIGTERM);
            } else if (key == LISTENER) {
                int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

                if (client >= 0)
                    watch(client, FIRST_CLIENT + (uint32_t)client);
            } else if (key >= FIRST_CLIENT) {
                answer((int)(key - FIRST_CLIENT));
            } else {
                reap((int)key);
                if (!is_stopping)
                    start((int)key);
            }
        }
    }
    unlink(argv[1]);
    return 0;
}
