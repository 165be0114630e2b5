/* Publishes ticks from inside the load: batches that streams_messages.py has made, in which only
   symbols, numbers and times are left to fill in.

   With a window there are never more messages under way than that, and they go as fast as they are
   heard; with a rate so many deliveries a second are published, whatever becomes of them. */
#define _GNU_SOURCE
#include "streams.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCHES_MAX = 512, SYMBOLS = 100, STEP = 61, FIRST_NUMBER = 100000, ANSWERS_BYTES = 1 << 16 };
static const int64_t SECOND_US = 1000000;

/* What is to be filled in, in the words of streams_messages.py. */
enum { SYMBOL = 's', NUMBER = 'n', BATCH_NUMBER = 'b', NUMBER_DIGITS = 'd', TIME = 'T', TIME_TEXT = 't' };

struct hole {
    uint32_t offset, kind, tick;
};

/* The Redis commands that publish so many ticks. */
static struct batch {
    uint32_t length, hole_count;
    struct hole *holes;
    uint8_t *bytes;
} batches[BATCHES_MAX + 1];

static size_t largest;
static int redis = -1;
static uint64_t fan, ticks, batches_published, due_from; /* numbers of ticks */
static int64_t started_us;

static void *read_exactly(FILE *file, size_t length) {
    void *read = malloc(length ? length : 1);
    if (!read || fread(read, 1, length, file) != length) fail("the batches");
    return read;
}

static void read_batches(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail(path);
    uint32_t sizes[2];
    while (largest < BATCHES_MAX && fread(sizes, sizeof sizes, 1, file) == 1) {
        struct batch *batch = &batches[++largest];
        batch->length = sizes[0];
        batch->hole_count = sizes[1];
        batch->holes = read_exactly(file, sizes[1] * sizeof *batch->holes);
        batch->bytes = read_exactly(file, sizes[0]);
    }
    fclose(file);
    if (!largest) fail("no batches");
}

int prepare_to_publish(const char *path, int port, uint64_t each_for) {
    read_batches(path);
    fan = each_for;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    redis = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(redis, (struct sockaddr *)&address, sizeof address)) fail("Redis");
    int one = 1;
    setsockopt(redis, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return redis;
}

int is_publishing(void) {
    return redis >= 0 && (shared->window || shared->rate) && !shared->enough;
}

static int64_t now_us(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

/* How many ticks are to be published by now. */
static uint64_t due(void) {
    if (shared->window) {
        if (!ticks) due_from = shared->delivered;
        uint64_t under_way = shared->published + due_from - shared->delivered;
        return under_way < shared->window ? (shared->window - under_way) / fan : 0;
    }
    int64_t now = now_us(CLOCK_MONOTONIC);
    if (!started_us) started_us = now;
    return (uint64_t)(now - started_us) * shared->rate / fan / SECOND_US - ticks;
}

static void put_big_endian(uint8_t *at, int bytes, uint64_t value) {
    for (int i = bytes - 1; i >= 0; i--, value >>= 8) at[i] = (uint8_t)value;
}

static void put_digits(uint8_t *at, int digits, uint64_t value) {
    for (int i = digits - 1; i >= 0; i--, value /= 10) at[i] = (uint8_t)('0' + value % 10);
}

/* An instant as 2013-10-07T13:30:00.000250Z. */
static void write_time(char *text, size_t room, int64_t at_us) {
    time_t seconds = at_us / SECOND_US;
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t length = strftime(text, room, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + length, room - length, ".%06dZ", (int)(at_us % SECOND_US));
}

static void fill_in(struct batch *batch) {
    int64_t at_us = now_us(CLOCK_REALTIME);
    char text[40];
    write_time(text, sizeof text, at_us);
    for (const struct hole *hole = batch->holes; hole < batch->holes + batch->hole_count; hole++) {
        uint8_t *at = batch->bytes + hole->offset;
        uint64_t number = FIRST_NUMBER + ticks + hole->tick;
        if (hole->kind == SYMBOL) put_digits(at + strlen("SYM"), 3, number * STEP % SYMBOLS);
        if (hole->kind == NUMBER) put_big_endian(at, 4, number);
        if (hole->kind == BATCH_NUMBER) put_big_endian(at, 4, FIRST_NUMBER + batches_published);
        if (hole->kind == NUMBER_DIGITS) put_digits(at, 9, number);
        if (hole->kind == TIME) put_big_endian(at, 8, (uint64_t)at_us);
        if (hole->kind == TIME_TEXT) memcpy(at, text, strlen(text));
    }
}

static void publish(size_t count) {
    struct batch *batch = &batches[count];
    fill_in(batch);
    for (size_t sent = 0; sent < batch->length;) {
        ssize_t taken = send(redis, batch->bytes + sent, batch->length - sent, MSG_NOSIGNAL);
        if (taken < 0 && errno != EINTR) fail("Redis");
        if (taken > 0) sent += (size_t)taken;
    }
    batches_published++;
    ticks += count;
    shared->published += count * fan;
}

void publish_due(void) {
    for (uint64_t count = due(); count; count = due()) publish(count < largest ? count : largest);
}

void hear_redis(void) {
    static char answers[ANSWERS_BYTES];
    ssize_t got = recv(redis, answers, sizeof answers, MSG_DONTWAIT);
    if (got > 0 && memchr(answers, '-', (size_t)got)) fail("Redis refused");
    if (!got || (got < 0 && errno != EAGAIN)) fail("Redis");
}
