/* What the halves of the load share: streams_load.c hears, streams_publish.c publishes. */
#pragma once
#include <stdint.h>

enum { BUCKETS = 20000, BUCKET_US = 20 };

/* streams_processes.py reads and writes the same fields, as unsigned 64-bit numbers in this order. */
struct shared {
    uint64_t delivered, ready, closed, stop, bytes, reads, published, enough, window, rate;
    uint64_t latency[BUCKETS]; /* deliveries by their age, in steps of BUCKET_US */
};

extern volatile struct shared *shared;

void fail(const char *what);

/* Read the batches of streams_messages.py, each tick of which `fan` clients hear, and connect to
   Redis; its socket. */
int prepare_to_publish(const char *batches, int redis_port, uint64_t fan);

/* Whether there is something to publish, now or later: a window or a rate is set. */
int is_publishing(void);

/* Publish what is due, if anything is. */
void publish_due(void);

/* Take Redis's answers from its socket. */
void hear_redis(void);
