/*
 * The program that tests and benchmarks let droned and its peers supervise.
 *
 *     child NAME STAMP MODE [ARGUMENT...]
 *
 * NAME   the mark by which an outside observer finds the process, such as "web/17@3f9c": never read here.
 * STAMP  a file to which one line is appended at once after exec: "NANOSECONDS PID NAME END", the time of
 *        CLOCK_MONOTONIC and how the program means to end (7, s11, or - when it leaves that to others);
 *        "-" writes nothing. One write() to an O_APPEND file is whole however many programs write at once, needs
 *        no reader, and so disturbs what is measured least.
 * MODE   pause                 waits; obeys TERM as the kernel does by default
 *        ignore-term           waits; only KILL ends it
 *        linger MS             waits; ends with 0 so long after TERM, as a program that finishes its work first
 *        exit CODE AFTER_MS    ends with CODE (7), by a signal (s9) or in a way chosen by its pid (any)
 *        on-usr1 CODE          the same, as soon as it gets the signal USR1
 *        segv AFTER_MS         ends by a real access violation
 *        dfork DEPTH           a chain of DEPTH descendants, each double-forked into a session of its own; obey TERM
 *        tree COUNT            COUNT processes in all, double-forked, each in its own session; all ignore TERM
 *        headed COUNT          the same, but the first of them obeys TERM and leaves the others behind
 *        background            leaves a child behind and exits 0, as a program that daemonizes itself does
 *        burn SECONDS          uses a whole processor
 *
 * Whatever goes wrong around it, a program of this kind ends by SIGALRM after two hours.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST_LIFE_S = 7200, WRONG_USE = 125 };

static int64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void sleep_ms(long ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

static void wait_for_ever(void)
{
    for (;;)
        pause();
}

static void stamp(const char *path, int64_t at_ns, const char *name, const char *end)
{
    char line[256];
    int size, file;

    if (strcmp(path, "-") == 0)
        return;
    size = snprintf(line, sizeof line, "%lld %d %s %s\n", (long long)at_ns, (int)getpid(), name, end);
    file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (file < 0 || size <= 0 || size >= (int)sizeof line || write(file, line, size) != size)
        _exit(WRONG_USE);
    close(file);
}

/* Ends as `end` says: "s9" by that signal, anything else with that code. */
static void end_as(const char *end)
{
    if (end[0] == 's') {
        int number = atoi(end + 1);
        struct rlimit no_core = {0, 0};

        setrlimit(RLIMIT_CORE, &no_core);
        signal(number, SIG_DFL);
        kill(getpid(), number);
        wait_for_ever();
    }
    _exit(atoi(end));
}

/* One of 14 ways to end, by pid, so that a supervisor that mixes two programs up is found out. */
static const char *any_end(void)
{
    static const char *const ways[] = {"0",   "1",   "2",   "3",  "7",  "42",  "77",
                                       "126", "127", "255", "s6", "s9", "s11", "s15"};
    return ways[getpid() % (sizeof ways / sizeof ways[0])];
}

/* Forks twice; true in the grandchild, which has its own session and, soon, no parent of ours. */
static int is_detached_grandchild(void)
{
    pid_t child = fork();

    if (child == 0) {
        setsid();
        child = fork();
        if (child != 0)
            _exit(child < 0);
        setsid();
        return 1;
    }
    if (child > 0)
        waitpid(child, NULL, 0);
    return 0;
}

int main(int argc, char **argv)
{
    int64_t began_ns = monotonic_ns();
    const char *mode, *end = "-";
    sigset_t awaited;
    long number;
    int taken;

    if (argc < 4) {
        fprintf(stderr, "usage: child NAME STAMP MODE [ARGUMENT...]\n");
        return WRONG_USE;
    }
    mode = argv[3];
    number = argc > 4 ? atol(argv[argc - 1]) : 0;
    alarm(LONGEST_LIFE_S);

    if ((strcmp(mode, "exit") == 0 && argc > 5) || (strcmp(mode, "on-usr1") == 0 && argc > 4))
        end = strcmp(argv[4], "any") == 0 ? any_end() : argv[4];
    else if (strcmp(mode, "segv") == 0)
        end = "s11";
    else if (strcmp(mode, "background") == 0)
        end = "0";
    sigemptyset(&awaited);
    sigaddset(&awaited, strcmp(mode, "linger") == 0 ? SIGTERM : SIGUSR1);
    if (strcmp(mode, "on-usr1") == 0 || strcmp(mode, "linger") == 0)
        sigprocmask(SIG_BLOCK, &awaited, NULL);
    if (strcmp(mode, "ignore-term") == 0 || strcmp(mode, "tree") == 0 || strcmp(mode, "headed") == 0)
        signal(SIGTERM, SIG_IGN);
    stamp(argv[2], began_ns, argv[1], end);

    if (strcmp(mode, "pause") == 0 || strcmp(mode, "ignore-term") == 0)
        wait_for_ever();
    if (strcmp(mode, "exit") == 0 && argc > 5) {
        sleep_ms(number);
        end_as(end);
    }
    if (strcmp(mode, "on-usr1") == 0 && argc > 4) {
        sigwait(&awaited, &taken);
        end_as(end);
    }
    if (strcmp(mode, "linger") == 0) {
        sigwait(&awaited, &taken);
        sleep_ms(number);
        return 0;
    }
    if (strcmp(mode, "segv") == 0) {
        struct rlimit no_core = {0, 0};
        int *volatile nowhere = NULL;

        setrlimit(RLIMIT_CORE, &no_core);
        sleep_ms(number);
        *nowhere = 1;
    }
    if (strcmp(mode, "dfork") == 0) {
        while (number-- > 0 && is_detached_grandchild())
            alarm(LONGEST_LIFE_S);
        wait_for_ever();
    }
    if (strcmp(mode, "tree") == 0 || strcmp(mode, "headed") == 0) {
        while (--number > 0)
            if (is_detached_grandchild()) {
                alarm(LONGEST_LIFE_S);
                wait_for_ever();
            }
        if (strcmp(mode, "headed") == 0)
            signal(SIGTERM, SIG_DFL);
        wait_for_ever();
    }
    if (strcmp(mode, "background") == 0) {
        if (fork() == 0) {
            alarm(LONGEST_LIFE_S);
            wait_for_ever();
        }
        return 0;
    }
    if (strcmp(mode, "burn") == 0) {
        volatile unsigned long turns = 0;
        int64_t until_ns = began_ns + (int64_t)number * 1000000000;

        while (++turns % 4096 != 0 || monotonic_ns() < until_ns)
            ;
        return 0;
    }
    fprintf(stderr, "child: cannot do \"%s\"\n", mode);
    return WRONG_USE;
}
