/*
 * Watches, from outside and without anyone's help, which processes of a test are alive.
 *
 *     observer TAG FILE [PERIOD_MS]
 *
 * Every PERIOD_MS (20) the process table is read; a process whose second argument ends in "@TAG" is one of the
 * test's. From its first sight on a pidfd is held, so that its end is seen at once and its pid can be used again
 * without being mistaken. Lines are appended to FILE, in the order in which things were seen to happen:
 *
 *     + NANOSECONDS PID STARTTIME NAME     seen for the first time (STARTTIME: field 22 of stat)
 *     - NANOSECONDS PID STARTTIME NAME     dead (perhaps not yet reaped)
 *     x NANOSECONDS PID STARTTIME END      how it ended, as the kernel tells once it is reaped (Linux 6.15 and
 *                                          later): 7, s9, or ? when it does not tell
 *     g NANOSECONDS LONGEST LOOKS          now and then and at the end: longest time between two looks, their number
 *
 * Before a new process is written down all deaths are taken from the kernel. A supervisor that starts a program
 * again after it has reaped it is therefore never seen as having two.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { HIGHEST_PID = 1 << 22, NAME_SIZE = 96, YOUNG_NS = 2000000000, OLD_EVERY = 25 };

/* linux/pidfd.h of 6.15, which the machine's headers may not have yet. */
struct exit_facts {
    uint64_t mask;
    uint64_t cgroup;
    uint32_t ids[11];
    int32_t exit_code;
};
#define ASK_EXIT _IOWR(0xFF, 11, struct exit_facts)
#define EXIT_KNOWN (1UL << 3)

/* What is known of a pid: `file` is the pidfd of one of ours, or -1 for a stranger. */
struct known {
    struct known *next;
    pid_t pid;
    int64_t first_ns;
    unsigned long long start;
    int file;
    unsigned round;
    int is_dead;
    int is_linked;
    char name[NAME_SIZE];
};

static struct known **table;
static struct known *strangers;
static FILE *out;
static int polls;
static volatile sig_atomic_t is_over;

static void finish(int number)
{
    (void)number;
    is_over = 1;
}

static int64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static ssize_t read_file(pid_t pid, const char *what, char *text, size_t size)
{
    char path[64];
    ssize_t length;
    int file;

    snprintf(path, sizeof path, "/proc/%d/%s", pid, what);
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -1;
    length = read(file, text, size - 1);
    close(file);
    if (length >= 0)
        text[length] = 0;
    return length;
}

/* Field 22 of stat and the state's letter; the command in parentheses may hold anything. */
static unsigned long long start_time(pid_t pid, char *state)
{
    char text[1024], *place;
    unsigned long long start = 0;
    int field;

    if (read_file(pid, "stat", text, sizeof text) <= 0 || !(place = strrchr(text, ')')))
        return 0;
    *state = place[2];
    for (field = 2; field < 22 && place; field++)
        place = strchr(place + 1, ' ');
    if (place)
        start = strtoull(place, NULL, 10);
    return start;
}

/* Takes every death that the kernel has to tell, waiting for one at most `wait_ms`. */
static void take_deaths(int wait_ms)
{
    struct epoll_event events[256];
    int count, i;

    do {
        count = epoll_wait(polls, events, 256, wait_ms);
        for (i = 0; i < count; i++) {
            pid_t pid = (pid_t)events[i].data.u32;
            struct known *one = table[pid];

            if (!one || one->file < 0)
                continue;
            if (!one->is_dead) {
                one->is_dead = 1;
                fprintf(out, "- %lld %d %llu %s\n", (long long)monotonic_ns(), pid, one->start, one->name);
            }
            if (events[i].events & EPOLLHUP) {
                struct exit_facts facts;

                memset(&facts, 0, sizeof facts);
                facts.mask = EXIT_KNOWN;
                fprintf(out, "x %lld %d %llu ", (long long)monotonic_ns(), pid, one->start);
                if (ioctl(one->file, ASK_EXIT, &facts) != 0 || !(facts.mask & EXIT_KNOWN))
                    fprintf(out, "?\n");
                else if (facts.exit_code & 0x7f)
                    fprintf(out, "s%d\n", facts.exit_code & 0x7f);
                else
                    fprintf(out, "%d\n", facts.exit_code >> 8 & 0xff);
                epoll_ctl(polls, EPOLL_CTL_DEL, one->file, NULL);
                close(one->file);
                table[pid] = NULL;
                if (!one->is_linked)
                    free(one);
            }
        }
        wait_ms = 0;
    } while (count == 256);
}

/* Whether argv[1] of the process ends in "@TAG"; then `name` is that argument. */
static int is_ours(pid_t pid, const char *tag, char *name)
{
    char text[4096];
    ssize_t length = read_file(pid, "cmdline", text, sizeof text);
    size_t first, size, tag_size = strlen(tag);

    if (length <= 0)
        return 0;
    first = strlen(text) + 1;
    if (first >= (size_t)length)
        return 0;
    size = strlen(text + first);
    if (size <= tag_size + 1 || size >= NAME_SIZE || text[first + size - tag_size - 1] != '@'
        || strcmp(text + first + size - tag_size, tag) != 0)
        return 0;
    memcpy(name, text + first, size + 1);
    return 1;
}

static void look_at(pid_t pid, const char *tag, unsigned round)
{
    struct known *one = table[pid];
    int64_t now = monotonic_ns();
    struct epoll_event event;
    char state = 0;
    int file;

    if (one && one->file >= 0) {
        one->round = round;
        return;
    }
    if (one) {
        /* A stranger: it may become one of ours by exec, mostly soon after its fork. */
        int is_due = one->round + 1 != round || now - one->first_ns < YOUNG_NS || round % OLD_EVERY == (unsigned)pid % OLD_EVERY;

        one->round = round;
        if (!is_due)
            return;
    } else {
        one = calloc(1, sizeof *one);
        if (!one)
            exit(1);
        one->pid = pid;
        one->first_ns = now;
        one->file = -1;
        one->round = round;
        one->next = strangers;
        one->is_linked = 1;
        strangers = one;
        table[pid] = one;
    }
    if (!is_ours(pid, tag, one->name))
        return;
    file = (int)syscall(SYS_pidfd_open, pid, 0);
    if (file < 0)
        return;
    one->start = start_time(pid, &state);
    if (!one->start || state == 'Z' || state == 'X' || !is_ours(pid, tag, one->name)) {
        close(file);
        return;
    }
    take_deaths(0);
    one->file = file;
    fprintf(out, "+ %lld %d %llu %s\n", (long long)monotonic_ns(), pid, one->start, one->name);
    event.events = EPOLLIN | EPOLLET;
    event.data.u32 = (uint32_t)pid;
    epoll_ctl(polls, EPOLL_CTL_ADD, file, &event);
}

/* Lets go of the strangers that this look did not find, and of those that turned out to be ours. */
static void forget_strangers(unsigned round)
{
    struct known **link = &strangers;

    while (*link) {
        struct known *one = *link;
        int is_stranger = one->file < 0;

        if (is_stranger && one->round == round) {
            link = &one->next;
            continue;
        }
        *link = one->next;
        one->is_linked = 0;
        if (is_stranger && table[one->pid] == one)
            table[one->pid] = NULL;
        if (table[one->pid] != one)
            free(one);
    }
}

int main(int argc, char **argv)
{
    int64_t period_ns, next_ns, last_ns = 0, longest_ns = 0;
    struct sigaction on_end = {.sa_handler = finish};
    struct rlimit files;
    unsigned round = 0;
    DIR *folder;

    if (argc < 3) {
        fprintf(stderr, "usage: observer TAG FILE [PERIOD_MS]\n");
        return 2;
    }
    period_ns = (int64_t)(argc > 3 ? atol(argv[3]) : 20) * 1000000;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    sigaction(SIGTERM, &on_end, NULL);
    sigaction(SIGINT, &on_end, NULL);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    table = calloc(HIGHEST_PID + 1, sizeof *table);
    out = fopen(argv[2], "ae");
    polls = epoll_create1(EPOLL_CLOEXEC);
    folder = opendir("/proc");
    if (!table || !out || polls < 0 || !folder) {
        perror("observer");
        return 1;
    }
    next_ns = monotonic_ns();
    while (!is_over) {
        struct dirent *entry;
        int64_t now = monotonic_ns();

        if (last_ns && now - last_ns > longest_ns)
            longest_ns = now - last_ns;
        last_ns = now;
        round++;
        rewinddir(folder);
        while ((entry = readdir(folder)))
            if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
                look_at((pid_t)atol(entry->d_name), argv[1], round);
        forget_strangers(round);
        /* At every look, also when it is late and nothing is waited for below. */
        take_deaths(0);
        if (round % OLD_EVERY == 0)
            fprintf(out, "g %lld %lld %u\n", (long long)now, (long long)longest_ns, round);
        fflush(out);
        next_ns += period_ns;
        while (!is_over && (now = monotonic_ns()) < next_ns)
            take_deaths((int)((next_ns - now + 999999) / 1000000));
        if (now > next_ns + period_ns)
            next_ns = now;
    }
    take_deaths(0);
    fprintf(out, "g %lld %lld %u\n", (long long)monotonic_ns(), (long long)longest_ns, round);
    return fclose(out) != 0;
}
