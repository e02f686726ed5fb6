/* A small MCP upstream for the benchmark: HTTP/1.1 keep-alive (one thread, epoll), or stdio.
 *
 * usage: upstream PORT TOOLS ERA      (PORT: a number | stdio, ERA: modern | legacy)
 *
 * It answers server/discover or initialize, tools/list (TOOLS tools named tool_0 … and one named big) and tools/call
 * with a fixed text, or 5 MB of it for big, echoing the request's id. Any other method gets an error; notifications
 * get 202, on stdio nothing. It keeps no state. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define IN_BYTES 65536
#define LIST_BYTES (8u << 20)
#define BIG_BYTES (5u << 20)

struct peer { int fd; size_t used; char in[IN_BYTES]; };

static char *tools;          /* the value of "tools" */
static char *big;            /* the text of the tool `big` */
static int modern;
static int stdio;
static char out[LIST_BYTES + 4096];
static const char text[] =
    "The account has 17 open items of 1,203.44 in all; the oldest is 41 days old. Nothing was changed. "
    "Ask for an item by its number to see the lines, the person who entered it and the dates.";

static void make_tools(int count) {
    tools = malloc(LIST_BYTES);
    size_t n = 0;
    n += (size_t)sprintf(tools + n, "[");
    for (int i = 0; i < count && n < LIST_BYTES - 1024; i++)
        n += (size_t)sprintf(tools + n,
            "%s{\"name\":\"tool_%d\",\"description\":\"Adds up the figures of account %d.\",\"inputSchema\":{\"type\":"
            "\"object\",\"properties\":{\"account\":{\"type\":\"string\"},\"limit\":{\"type\":\"integer\"}}}}",
            i ? "," : "", i, i);
    sprintf(tools + n, "%s{\"name\":\"big\",\"inputSchema\":{\"type\":\"object\"}}]", count ? "," : "");
}

static void make_big(void) {
    big = malloc(BIG_BYTES + 1);
    for (size_t i = 0; i < BIG_BYTES; i++) big[i] = text[i % (sizeof text - 1)];
    big[BIG_BYTES] = 0;
}

static void send_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            struct pollfd room = {.fd = fd, .events = POLLOUT};
            if (poll(&room, 1, 30000) > 0) continue;
        }
        if (sent <= 0) return;
        data += sent; size -= (size_t)sent;
    }
}

static size_t id_of(const char *body, const char **start) {
    const char *at = strstr(body, "\"id\":");
    if (!at) return 0;
    at += 5;
    while (*at == ' ') at++;
    const char *end = at;
    if (*end == '"') { for (end++; *end && *end != '"'; end++); end++; }
    else while (*end && *end != ',' && *end != '}') end++;
    *start = at;
    return (size_t)(end - at);
}

/* The result or error member that answers a request; *known says whether the method is one of ours. */
static const char *result_of(const char *body, int *known) {
    const char *kind = modern ? "\"resultType\":\"complete\"," : "";
    static char value[LIST_BYTES + 1024];
    *known = 1;
    if (strstr(body, "\"tools/call\""))
        sprintf(value, "\"result\":{%s\"content\":[{\"type\":\"text\",\"text\":\"%s\"}],\"isError\":false}", kind,
            strstr(body, "\"big\"") ? big : text);
    else if (strstr(body, "\"tools/list\""))
        sprintf(value, "\"result\":{%s\"tools\":%s%s}", kind, tools,
            modern ? ",\"ttlMs\":0,\"cacheScope\":\"private\"" : "");
    else if (strstr(body, "\"server/discover\"") && modern)
        sprintf(value, "\"result\":{%s\"supportedVersions\":[\"2026-07-28\"],\"capabilities\":{\"tools\":{}},"
            "\"ttlMs\":0,\"cacheScope\":\"private\"}", kind);
    else if (strstr(body, "\"initialize\"") && !modern)
        sprintf(value, "\"result\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{}},"
            "\"serverInfo\":{\"name\":\"bench\",\"version\":\"1\"}}");
    else if (strstr(body, "\"ping\"")) sprintf(value, "\"result\":{}");
    else { *known = 0; sprintf(value, "\"error\":{\"code\":-32601,\"message\":\"no\"}"); }
    return value;
}

static void answer(int fd, const char *body) {
    const char *id = "null";
    size_t id_size = id_of(body, &id);
    if (!id_size) {
        if (!stdio) send_all(fd, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", 45);
        return;
    }
    int known, n = 0;
    const char *value = result_of(body, &known);
    size_t size = strlen(value) + id_size + 24; /* what stands around the id and the value */
    if (!stdio)
        n = sprintf(out, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
            known ? "200 OK" : modern ? "404 Not Found" : "400 Bad Request", size);
    n += sprintf(out + n, "{\"jsonrpc\":\"2.0\",\"id\":%.*s,%s}%s", (int)id_size, id, value, stdio ? "\n" : "");
    if (!stdio) { send_all(fd, out, (size_t)n); return; }
    for (char *at = out; n > 0;) {
        ssize_t wrote = write(1, at, (size_t)n);
        if (wrote <= 0) exit(1);
        at += wrote; n -= (int)wrote;
    }
}

static int serve_stdio(void) {
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0) answer(1, line);
    return 0;
}

static int serve(struct peer *peer) {
    ssize_t got = recv(peer->fd, peer->in + peer->used, IN_BYTES - 1 - peer->used, 0);
    if (got <= 0) return got < 0 && errno == EAGAIN ? 0 : -1;
    peer->used += (size_t)got;
    for (;;) {
        peer->in[peer->used] = 0;
        char *end = strstr(peer->in, "\r\n\r\n");
        if (!end) return 0;
        char *field = strcasestr(peer->in, "content-length:");
        size_t size = field && field < end ? strtoul(field + 15, NULL, 10) : 0;
        size_t whole = (size_t)(end + 4 - peer->in) + size;
        if (peer->used < whole) return 0;
        char saved = peer->in[whole];
        peer->in[whole] = 0;
        if (!strncmp(peer->in, "POST", 4)) answer(peer->fd, end + 4);
        else send_all(peer->fd, "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n", 54);
        peer->in[whole] = saved;
        memmove(peer->in, peer->in + whole, peer->used - whole);
        peer->used -= whole;
    }
}

int main(int argc, char **argv) {
    if (argc != 4) { fprintf(stderr, "usage: upstream PORT|stdio TOOLS modern|legacy\n"); return 2; }
    make_tools(atoi(argv[2]));
    make_big();
    modern = !strcmp(argv[3], "modern");
    stdio = !strcmp(argv[1], "stdio");
    if (stdio) return serve_stdio();
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&to, sizeof to) || listen(listener, 1024)) { perror("upstream"); return 1; }
    int events = epoll_create1(0);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL}, ready[256];
    epoll_ctl(events, EPOLL_CTL_ADD, listener, &ev);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(events, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            struct peer *peer = ready[i].data.ptr;
            if (!peer) {
                int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (fd < 0) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                peer = calloc(1, sizeof *peer);
                peer->fd = fd;
                struct epoll_event add = {.events = EPOLLIN, .data.ptr = peer};
                epoll_ctl(events, EPOLL_CTL_ADD, fd, &add);
            } else if (serve(peer)) { close(peer->fd); free(peer); }
        }
    }
}
