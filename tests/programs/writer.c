/*
 * A program that prints much, little or in bursts, and tells when it did and how long it was kept waiting.
 *
 *     writer NAME STAMP MODE ARGUMENT ARGUMENT [ARGUMENT]
 *
 * NAME and STAMP are those of child.c. It waits for USR1, prints to standard output, appends one line to the file
 * STAMP.reports and waits for the next USR1. The line is "NAME FIRST LAST LONGEST BYTES": the nanoseconds of
 * CLOCK_MONOTONIC before its first write and after its last, the longest that one write took (0 for bulk and flood,
 * which do not look), and how much it printed. It obeys TERM.
 *
 * MODE   bulk BYTES CHUNK              text of lines of 100 bytes, CHUNK bytes a write, as fast as it can; the last four
 *                                      bytes are "END\n", which stands nowhere else
 *        flood SECONDS CHUNK           the same text for so long, without an end
 *        lines COUNT SIZE PER_S        lines of SIZE bytes, "NUMBER NANOSECONDS NAME" and dots, a write each, PER_S a
 *                                      second; NANOSECONDS is when it was printed
 *        bursts COUNT SIZE PAUSE_MS    lines of SIZE bytes, "NUMBER NAME" and dots, a write each: COUNT as fast as it can,
 *                                      a pause, and again until USR2
 *
 * NUMBER has 12 digits, counts from 0 and goes on over all reports. One line in a thousand of the text has the word
 * ERROR. Whatever goes wrong around it, it ends by SIGALRM after two hours.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST_LIFE_S = 7200, WRONG_USE = 125, LINE = 100, TEXT_LINES = 10000, TEXT = LINE * TEXT_LINES, MOST = 1 << 20 };

static char *text;
static volatile sig_atomic_t is_over;
static int64_t longest_ns, bytes;
static unsigned long number;

static int64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Sleeps until that moment, or until a signal comes. */
static void sleep_until(int64_t at_ns)
{
    struct timespec at = {.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static void append(const char *path, const char *line, int size)
{
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);

    if (file < 0 || size <= 0 || write(file, line, (size_t)size) != size)
        _exit(WRONG_USE);
    close(file);
}

static void finish(int taken)
{
    (void)taken;
    is_over = 1;
}

static void put(const char *from, size_t size)
{
    bytes += (int64_t)size;
    while (size) {
        ssize_t part = write(1, from, size);

        if (part < 0 && errno == EINTR)
            continue;
        if (part < 0)
            _exit(WRONG_USE);
        from += part;
        size -= (size_t)part;
    }
}

static void put_timed(const char *from, size_t size)
{
    int64_t began_ns = monotonic_ns(), took_ns;

    put(from, size);
    took_ns = monotonic_ns() - began_ns;
    if (took_ns > longest_ns)
        longest_ns = took_ns;
}

/* The text, and so much of its beginning once more that a write can begin anywhere in it. */
static void make_text(size_t chunk)
{
    static const char *const levels[] = {"DEBUG", "INFO ", "INFO ", "WARN "};
    uint64_t dice = 1;
    size_t i;

    text = malloc(TEXT + chunk + 1);
    if (!text)
        _exit(WRONG_USE);
    for (i = 0; i < TEXT_LINES; i++) {
        char line[160];

        dice = dice * 6364136223846793005u + 1442695040888963407u;
        snprintf(line, sizeof line, "%s request=%08x user=%05u GET /shop/%04u/items?page=%02u status=%u took=%u.%03ums "
                 "................................",
                 i % 1000 == 999 ? "ERROR" : levels[dice >> 62], (unsigned)(dice >> 20), (unsigned)(dice >> 30) % 99999,
                 (unsigned)(dice >> 40) % 9999, (unsigned)(dice >> 50) % 99, i % 1000 == 999 ? 503 : 200,
                 (unsigned)(dice >> 33) % 90, (unsigned)(dice >> 44) % 999);
        line[LINE - 1] = '\n';
        memcpy(text + i * LINE, line, LINE);
    }
    memcpy(text + TEXT, text, chunk);
}

static void bulk(int64_t wanted, size_t chunk)
{
    static char last[MOST];
    size_t at = 0;

    while (wanted > (int64_t)chunk) {
        put(text + at, chunk);
        wanted -= (int64_t)chunk;
        at = (at + chunk) % TEXT;
    }
    memcpy(last, text + at, (size_t)wanted);
    memcpy(last + wanted - 4, "END\n", 4);
    put(last, (size_t)wanted);
}

static void flood(int64_t seconds, size_t chunk)
{
    int64_t until_ns = monotonic_ns() + seconds * 1000000000;
    size_t at = 0;

    while (monotonic_ns() < until_ns) {
        put(text + at, chunk);
        at = (at + chunk) % TEXT;
    }
}

static void put_line(const char *name, size_t size, int64_t at_ns)
{
    static char line[MOST];
    int head;

    if (at_ns)
        head = snprintf(line, sizeof line, "%012lu %019lld %s ", number++, (long long)at_ns, name);
    else
        head = snprintf(line, sizeof line, "%012lu %s ", number++, name);
    if (head >= (int)size)
        _exit(WRONG_USE);
    memset(line + head, '.', size - (size_t)head);
    line[size - 1] = '\n';
    put_timed(line, size);
}

static void lines(const char *name, long count, size_t size, long per_s)
{
    /* Each begins at a place of its own within the time between two lines. */
    int64_t step_ns = 1000000000 / per_s, at_ns = monotonic_ns() + (int64_t)getpid() * 7919 * 1009 % step_ns;

    while (count-- > 0 && !is_over) {
        sleep_until(at_ns);
        put_line(name, size, monotonic_ns());
        at_ns += step_ns;
    }
}

static void bursts(const char *name, long count, size_t size, long pause_ms)
{
    while (!is_over) {
        long left = count;

        while (left-- > 0 && !is_over)
            put_line(name, size, 0);
        if (!is_over)
            sleep_until(monotonic_ns() + pause_ms * 1000000);
    }
}

int main(int argc, char **argv)
{
    int64_t began_ns = monotonic_ns();
    struct sigaction finishing = {.sa_handler = finish};
    char path[4096], line[512];
    sigset_t start;
    int taken;
    long first, second, third;

    if (argc < 6) {
        fprintf(stderr, "usage: writer NAME STAMP MODE ARGUMENT ARGUMENT [ARGUMENT]\n");
        return WRONG_USE;
    }
    first = atol(argv[4]);
    second = atol(argv[5]);
    third = argc > 6 ? atol(argv[6]) : 0;
    if (first < 1 || second < 4 || second > MOST) {
        fprintf(stderr, "writer: cannot print %ld times %ld bytes\n", first, second);
        return WRONG_USE;
    }
    alarm(LONGEST_LIFE_S);
    sigemptyset(&start);
    sigaddset(&start, SIGUSR1);
    sigprocmask(SIG_BLOCK, &start, NULL);
    sigaction(SIGUSR2, &finishing, NULL);
    make_text((size_t)second);
    append(argv[2], line,
           snprintf(line, sizeof line, "%lld %d %s -\n", (long long)began_ns, (int)getpid(), argv[1]));
    snprintf(path, sizeof path, "%s.reports", argv[2]);

    for (;;) {
        int64_t first_ns;

        sigwait(&start, &taken);
        longest_ns = bytes = 0;
        is_over = 0;
        first_ns = monotonic_ns();
        if (strcmp(argv[3], "bulk") == 0) {
            bulk(first, (size_t)second);
        } else if (strcmp(argv[3], "flood") == 0) {
            flood(first, (size_t)second);
        } else if (strcmp(argv[3], "lines") == 0 && third > 0) {
            lines(argv[1], first, (size_t)second, third);
        } else if (strcmp(argv[3], "bursts") == 0 && third > 0) {
            bursts(argv[1], first, (size_t)second, third);
        } else {
            fprintf(stderr, "writer: cannot do \"%s\"\n", argv[3]);
            return WRONG_USE;
        }
        append(path, line,
               snprintf(line, sizeof line, "%s %lld %lld %lld %lld\n", argv[1], (long long)first_ns,
                        (long long)monotonic_ns(), (long long)longest_ns, (long long)bytes));
    }
}
