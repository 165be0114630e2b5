/* The limit: a server that does nothing but send(). No checks, no bounds, no protocol to speak of.

   epoll_writer PORT REDIS_PORT

   The path asks for symbols, /?s=SYM000,SYM001; Redis brings their messages on t:<symbol>. Each
   message is framed once and sent to each socket by itself. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { SYMBOLS = 1000, EVENTS = 512, READ_BYTES = 1 << 20, FRAME_MAX = 65536 };

static struct audience {
    int *sockets;
    size_t count, room;
} audiences[SYMBOLS];
static char incoming[READ_BYTES + 1];
static size_t waiting; /* bytes from Redis that are not a whole message */

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static struct sockaddr_in local(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void join(int socket, const char *path) {
    for (const char *at = strstr(path, "s="); at && *at != ' '; at = strpbrk(at, ", ")) {
        at = strstr(at, "SYM");
        struct audience *audience = &audiences[atoi(at + 3) % SYMBOLS];
        if (audience->count == audience->room) {
            audience->room = audience->room ? audience->room * 2 : 64;
            audience->sockets = realloc(audience->sockets, audience->room * sizeof(int));
        }
        audience->sockets[audience->count++] = socket;
        at += 3;
    }
}

/* The load always sends the key of RFC 6455, so its answer is known. */
static void shake_hands(int socket, int poller) {
    static const char answer[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    char request[8192];
    ssize_t length = recv(socket, request, sizeof request - 1, 0);
    epoll_ctl(poller, EPOLL_CTL_DEL, socket, NULL);
    if (length <= 0) {
        close(socket);
        return;
    }
    request[length] = 0;
    int one = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    send(socket, answer, sizeof answer - 1, MSG_NOSIGNAL);
    *strchr(request, '\r') = 0;
    join(socket, request);
}

static void deliver(const char *symbol, const char *payload, size_t length) {
    char frame[FRAME_MAX];
    size_t header = length < 126 ? 2 : 4;
    frame[0] = (char)0x81;
    frame[1] = (char)(length < 126 ? length : 126);
    if (header == 4) frame[2] = (char)(length >> 8), frame[3] = (char)length;
    memcpy(frame + header, payload, length);
    struct audience *audience = &audiences[atoi(symbol + 3) % SYMBOLS];
    for (size_t i = 0; i < audience->count; i++) {
        ssize_t sent;
        do sent = send(audience->sockets[i], frame, header + length, MSG_NOSIGNAL);
        while (sent < 0 && errno == EAGAIN);
    }
}

/* One bulk string, $<length>\r\n<bytes>\r\n; NULL while it is not all here. */
static char *bulk(char *at, char *end, char **text, size_t *length) {
    char *line = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    if (!line) return NULL;
    if (*at == ':') {
        *length = 0;
        return line + 1;
    }
    *length = (size_t)atoi(at + 1);
    *text = line + 1;
    return line + 1 + *length + 2 <= end ? line + 1 + *length + 2 : NULL;
}

/* *4 pmessage t:* t:<symbol> <payload>; the answer to PSUBSCRIBE has three parts and no payload. */
static void read_redis(int redis) {
    ssize_t got = recv(redis, incoming + waiting, READ_BYTES - waiting, 0);
    if (got <= 0) exit(0);
    char *at = incoming, *end = incoming + waiting + (size_t)got;
    while (at < end && memchr(at, '\n', (size_t)(end - at))) {
        int parts = atoi(at + 1);
        char *next = memchr(at, '\n', (size_t)(end - at)), *text[4] = {0};
        size_t length[4] = {0};
        next++;
        for (int i = 0; next && i < parts && i < 4; i++) next = bulk(next, end, &text[i], &length[i]);
        if (!next) break;
        if (parts == 4) deliver(text[2] + 2, text[3], length[3]);
        at = next;
    }
    waiting = (size_t)(end - at);
    memmove(incoming, at, waiting);
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    int one = 1, poller = epoll_create1(0), listener = socket(AF_INET, SOCK_STREAM, 0);
    int redis = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = local(atoi(arguments[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address)) fail("bind");
    listen(listener, 4096);
    address = local(atoi(arguments[2]));
    if (connect(redis, (struct sockaddr *)&address, sizeof address)) fail("redis");
    static const char subscribe[] = "*2\r\n$10\r\nPSUBSCRIBE\r\n$3\r\nt:*\r\n";
    send(redis, subscribe, sizeof subscribe - 1, 0);
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN};
    event.data.fd = listener;
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = redis;
    epoll_ctl(poller, EPOLL_CTL_ADD, redis, &event);
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int socket = events[i].data.fd;
            if (socket == redis) {
                read_redis(redis);
            } else if (socket == listener) {
                event.data.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                epoll_ctl(poller, EPOLL_CTL_ADD, event.data.fd, &event);
            } else {
                shake_hands(socket, poller);
            }
        }
    }
}
