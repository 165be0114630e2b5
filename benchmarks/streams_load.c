/* Many WebSocket clients in one thread: counts what they hear, and how old it is.

   streams_load PORT SHARED IN_FLIGHT ANSWERS [BATCHES REDIS_PORT FAN] < clients

   Each line of `clients` is one of them: the path of its handshake and, after tabs, the messages it
   sends then. A client is ready once it has heard ANSWERS frames; every frame after that counts as
   delivered. The figures stand in the file SHARED, mapped, for whoever started us (streams.py).
   Messages carry the time of their publishing as "t":"2013-10-07T13:30:00.000250Z".

   With BATCHES it publishes too (streams_publish.c). As long as it does it never waits to be woken,
   but looks every 20 µs: to wake a sleeping reader costs the server that writes to it as much as to
   write, and only a server that is not busy would have to pay for it. */
#define _GNU_SOURCE
#include "streams.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 18, EVENTS = 64, HEADER_MAX = 10, WAIT_MS = 100, REST_NS = 20000 };
enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };
static const int64_t HOUR_US = 3600LL * 1000000;

struct client {
    int fd, open;
    uint64_t heard;
    char *say;  /* the handshake, then its messages */
    char *path;
    uint8_t *kept; /* the beginning of a frame that is not all here */
    size_t kept_bytes;
};

volatile struct shared *shared;
static struct client *clients;
static size_t client_count, next_client, connecting;
static uint64_t answers;
static int port, poller;
static uint8_t incoming[READ_BYTES * 2];

void fail(const char *what) {
    perror(what);
    exit(1);
}

/* --- sending ------------------------------------------------------------------------------- */

static void send_all(struct client *c, const void *data, size_t length) {
    const uint8_t *at = data;
    while (length) {
        ssize_t sent = send(c->fd, at, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) fail("send");
        if (sent > 0) at += sent, length -= (size_t)sent;
    }
}

/* A masked frame, as clients have to send them; the mask is zero, so the payload stays as it is. */
static void send_frame(struct client *c, int opcode, const char *payload, size_t length) {
    uint8_t header[8] = {(uint8_t)(0x80 | opcode), 0};
    size_t size = 2;
    if (length < 126) {
        header[1] = (uint8_t)(0x80 | length);
    } else {
        header[1] = 0x80 | 126;
        header[2] = (uint8_t)(length >> 8);
        header[3] = (uint8_t)length;
        size = 4;
    }
    memset(header + size, 0, 4);
    send_all(c, header, size > 2 ? 8 : 6);
    send_all(c, payload, length);
}

static void shake_hands(struct client *c) {
    char request[65536];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\n"
                          "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                          "Sec-WebSocket-Version: 13\r\n\r\n",
                          c->path, port, port);
    send_all(c, request, (size_t)length);
}

static void introduce(struct client *c) {
    for (char *message = c->say; message;) {
        char *end = strchr(message, '\t');
        send_frame(c, TEXT, message, end ? (size_t)(end - message) : strlen(message));
        message = end ? end + 1 : NULL;
    }
}

/* --- connecting ---------------------------------------------------------------------------- */

static void connect_next(void) {
    struct client *c = &clients[next_client++];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) fail("epoll_ctl");
    connecting++;
    shake_hands(c);
}

static void become_ready(void) {
    connecting--;
    shared->ready++;
}

static void read_clients(void) {
    char *line = NULL;
    size_t size = 0, room = 0;
    for (ssize_t length; (length = getline(&line, &size, stdin)) > 0;) {
        if (line[length - 1] == '\n') line[length - 1] = 0;
        if (client_count == room) {
            room = room ? room * 2 : 1024;
            clients = realloc(clients, room * sizeof *clients);
            if (!clients) fail("realloc");
        }
        struct client *c = &clients[client_count++];
        memset(c, 0, sizeof *c);
        c->path = strdup(line);
        c->say = strchr(c->path, '\t');
        if (c->say) *c->say++ = 0;
    }
    free(line);
}

/* --- hearing ------------------------------------------------------------------------------- */

/* Microseconds since the full hour, of MM:SS.ffffff. */
static int64_t within_hour(const uint8_t *at) {
    int64_t minutes = (at[0] - '0') * 10 + (at[1] - '0'), seconds = (at[3] - '0') * 10 + at[4] - '0';
    int64_t micros = 0;
    for (int digit = 6; digit < 12; digit++) micros = micros * 10 + (at[digit] - '0');
    return (minutes * 60 + seconds) * 1000000 + micros;
}

static void note_age(const uint8_t *payload, size_t length, int64_t now_us) {
    static size_t usual; /* where the last one had its time */
    static const char before[] = "\"t\":";
    const size_t name = sizeof before - 1, until_minutes = 14, stamp = 29;
    const uint8_t *found = payload + usual;
    if (usual + name > length || memcmp(found, before, name))
        found = memmem(payload, length, before, name);
    if (!found || (size_t)(found - payload) + name + stamp > length) return;
    usual = (size_t)(found - payload);
    while (found[name] == ' ' || found[name] == '"') found++;
    int64_t age = now_us - within_hour(found + name + until_minutes);
    if (age < 0) age += HOUR_US;
    size_t bucket = (size_t)(age / BUCKET_US);
    shared->latency[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
}

static void hear(struct client *c, int opcode, const uint8_t *payload, size_t length, int64_t now) {
    if (opcode == PING) send_frame(c, PONG, (const char *)payload, length);
    if (opcode != TEXT && opcode != BINARY) return;
    if (++c->heard > answers) {
        shared->delivered++;
        note_age(payload, length, now);
    } else if (c->heard == answers) {
        become_ready();
    }
}

/* The bytes of whole frames at the beginning of `data`. */
static size_t hear_frames(struct client *c, const uint8_t *data, size_t length, int64_t now) {
    size_t at = 0;
    while (length - at >= 2) {
        size_t payload = data[at + 1] & 127, header = 2;
        if (payload == 126) header = 4;
        if (payload == 127) header = HEADER_MAX;
        if (length - at < header) break;
        if (header > 2) {
            payload = 0;
            for (size_t i = 2; i < header; i++) payload = payload << 8 | data[at + i];
        }
        if (length - at - header < payload) break;
        hear(c, data[at] & 15, data + at + header, payload, now);
        at += header + payload;
    }
    return at;
}

/* The bytes of the answer to the handshake, once it is all here. */
static size_t hear_handshake(struct client *c, const uint8_t *data, size_t length) {
    const uint8_t *end = memmem(data, length, "\r\n\r\n", 4);
    if (!end) return 0;
    if (memcmp(data, "HTTP/1.1 101", 12)) {
        fprintf(stderr, "refused: %.*s\n", (int)(end - data), data);
        exit(1);
    }
    c->open = 1;
    introduce(c);
    if (!answers) become_ready();
    return (size_t)(end + 4 - data);
}

static void lose(struct client *c) {
    close(c->fd);
    shared->closed++;
}

static void read_from(struct client *c) {
    memcpy(incoming, c->kept, c->kept_bytes);
    ssize_t got = recv(c->fd, incoming + c->kept_bytes, READ_BYTES, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        lose(c);
        return;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t now_us = (now.tv_sec % 3600) * 1000000LL + now.tv_nsec / 1000;
    size_t length = c->kept_bytes + (size_t)got, taken = 0;
    shared->bytes += (uint64_t)got;
    shared->reads++;
    if (!c->open) taken = hear_handshake(c, incoming, length);
    if (c->open) taken += hear_frames(c, incoming + taken, length - taken, now_us);
    c->kept_bytes = length - taken;
    if (c->kept_bytes > READ_BYTES) fail("a frame too large");
    if (c->kept_bytes && !(c->kept = realloc(c->kept, c->kept_bytes))) fail("realloc");
    memcpy(c->kept, incoming + taken, c->kept_bytes);
}

static void map_shared(const char *path) {
    int file = open(path, O_RDWR);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file < 0 || shared == MAP_FAILED) fail(path);
}

static void allow_many_files(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

/* Everything that waits to be heard; whether there was anything. */
static int hear_all(int wait_ms) {
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(poller, events, EVENTS, wait_ms);
    for (int i = 0; i < ready; i++) {
        struct client *c = events[i].data.ptr;
        if (c) {
            read_from(c);
        } else {
            hear_redis();
        }
    }
    return ready > 0;
}

/* Redis has the same core. */
static void rest(void) {
    const struct timespec pause = {.tv_nsec = REST_NS};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

int main(int count, char **arguments) {
    if (count != 5 && count != 8)
        return fprintf(stderr, "PORT SHARED IN_FLIGHT ANSWERS [BATCHES REDIS_PORT FAN]\n"), 2;
    port = atoi(arguments[1]);
    map_shared(arguments[2]);
    size_t in_flight = (size_t)atoi(arguments[3]);
    answers = (uint64_t)atoi(arguments[4]);
    allow_many_files();
    prctl(PR_SET_TIMERSLACK, 1); /* or each rest would last 50 µs more */
    poller = epoll_create1(0);
    if (count == 8) {
        int redis = prepare_to_publish(arguments[5], atoi(arguments[6]), (uint64_t)atoi(arguments[7]));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, redis, &event)) fail("epoll_ctl");
    }
    read_clients();
    while (!shared->stop) {
        while (next_client < client_count && connecting < in_flight) connect_next();
        if (is_publishing()) {
            publish_due();
            if (!hear_all(0)) rest();
        } else {
            hear_all(WAIT_MS);
        }
    }
    return 0;
}
