/* A closed-loop HTTP/1.1 load generator for the benchmark: one thread, epoll, keep-alive, one request in flight a
 * connection. Every answer is checked: status 200, the whole body read, the marker and the request's own id in it.
 *
 * usage: load PORT CONNECTIONS REQUESTS HEAD_FILE BODY_FILE MARKER [TOKENS_FILE]
 *
 * HEAD_FILE holds the request line and headers without Content-Length; BODY_FILE the JSON with @ID@ where the id goes
 * (always ten digits). With TOKENS_FILE (one token a line, all of one length) the head holds @TOKEN@, and each request
 * carries the next token. Prints one JSON line: requests, errors, seconds, p50_us, p99_us. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define IN_BYTES 65536

struct line { int fd; long id; double sent; size_t used; char in[IN_BYTES]; };

static char head[8192], body[65536], request[80000];
static char *id_at;
static size_t request_size;
static char *token_at, *tokens; /* where the token goes, and all tokens, each with a line feed */
static size_t token_size, token_count, next_token;
static const char *marker;
static long next_id = 1000000000, done, errors, wanted;
static uint32_t *times;

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return (double)t.tv_sec + (double)t.tv_nsec / 1e9; }

static void slurp(const char *path, char *to, size_t size) {
    FILE *file = fopen(path, "r");
    if (!file) { perror(path); exit(1); }
    size_t n = fread(to, 1, size - 1, file);
    to[n] = 0;
    fclose(file);
}

/* Puts the first token into the head, so that sizes are known. */
static void read_tokens(const char *path) {
    static char swapped[8192];
    tokens = calloc(1, 1u << 20);
    slurp(path, tokens, 1u << 20);
    token_size = strcspn(tokens, "\n");
    token_count = strlen(tokens) / (token_size + 1);
    char *at = strstr(head, "@TOKEN@");
    if (!at || !token_count) { fprintf(stderr, "load: no @TOKEN@ in the head, or no tokens\n"); exit(2); }
    sprintf(swapped, "%.*s%.*s%s", (int)(at - head), head, (int)token_size, tokens, at + 7);
    token_at = request + (at - head);
    strcpy(head, swapped);
}

static void prepare(void) {
    char *at = strstr(body, "@ID@");
    if (!at) { fprintf(stderr, "load: no @ID@ in the body\n"); exit(2); }
    size_t size = strlen(body) - 4 + 10;
    int n = sprintf(request, "%sContent-Length: %zu\r\n\r\n", head, size);
    memcpy(request + n, body, (size_t)(at - body));
    id_at = request + n + (at - body);
    strcpy(id_at + 10, at + 4);
    request_size = (size_t)n + size;
}

static void fire(struct line *line) {
    char digits[16];
    line->id = next_id++;
    sprintf(digits, "%010ld", line->id);
    memcpy(id_at, digits, 10);
    if (token_at) memcpy(token_at, tokens + (next_token++ % token_count) * (token_size + 1), token_size);
    line->used = 0;
    line->sent = now();
    if (send(line->fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size) { perror("load: send"); exit(1); }
}

/* 1 whole answer read, 0 more to come, -1 broken */
static int whole(struct line *line) {
    char *end = memmem(line->in, line->used, "\r\n\r\n", 4);
    if (!end) return 0;
    char *start = end + 4;
    size_t have = line->used - (size_t)(start - line->in);
    *end = 0;
    char *field = strcasestr(line->in, "content-length:");
    int chunked = !field && strcasestr(line->in, "transfer-encoding: chunked");
    *end = '\r';
    if (field) return have >= strtoul(field + 15, NULL, 10);
    if (chunked) return have >= 5 && !memcmp(line->in + line->used - 5, "0\r\n\r\n", 5);
    return -1;
}

static void settle(struct line *line) {
    double took = (now() - line->sent) * 1e6;
    char digits[32];
    sprintf(digits, "\"id\":%ld", line->id);
    line->in[line->used] = 0;
    int good = !strncmp(line->in + 9, "200", 3) && strstr(line->in, marker) && strstr(line->in, digits);
    if (!good && errors++ < 3) fprintf(stderr, "load: bad answer: %.600s\n", line->in);
    if (done < wanted) times[done] = took > 4e9 ? UINT32_MAX : (uint32_t)took;
    done++;
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    if (argc != 7 && argc != 8) { fprintf(stderr, "usage: load PORT CONNECTIONS REQUESTS HEAD BODY MARKER [TOKENS]\n"); return 2; }
    int connections = atoi(argv[2]);
    wanted = atol(argv[3]);
    slurp(argv[4], head, sizeof head);
    slurp(argv[5], body, sizeof body);
    marker = argv[6];
    if (argc == 8) read_tokens(argv[7]);
    prepare();
    times = calloc((size_t)wanted, sizeof *times);
    int poll = epoll_create1(0), one = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    double start = now();
    for (int i = 0; i < connections; i++) {
        struct line *line = calloc(1, sizeof *line);
        line->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(line->fd, (struct sockaddr *)&to, sizeof to)) { perror("load: connect"); return 1; }
        setsockopt(line->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = line};
        epoll_ctl(poll, EPOLL_CTL_ADD, line->fd, &ev);
        fire(line);
    }
    long fired = connections;
    struct epoll_event ready[256];
    while (done < wanted) {
        int n = epoll_wait(poll, ready, 256, 30000);
        if (n == 0) { fprintf(stderr, "load: no answer for 30 s\n"); return 1; }
        for (int i = 0; i < n; i++) {
            struct line *line = ready[i].data.ptr;
            ssize_t got = recv(line->fd, line->in + line->used, IN_BYTES - 1 - line->used, 0);
            if (got <= 0) { fprintf(stderr, "load: connection lost\n"); return 1; }
            line->used += (size_t)got;
            int state = whole(line);
            if (state < 0) { fprintf(stderr, "load: an answer without a length\n"); return 1; }
            if (!state) continue;
            settle(line);
            if (fired < wanted) { fired++; fire(line); }
        }
    }
    double took = now() - start;
    qsort(times, (size_t)wanted, sizeof *times, by_size);
    printf("{\"requests\":%ld,\"errors\":%ld,\"seconds\":%.6f,\"p50_us\":%u,\"p99_us\":%u}\n", wanted, errors, took,
           times[wanted / 2], times[(long)((double)wanted * 0.99)]);
    return errors ? 1 : 0;
}
