/* A small MCP upstream for the benchmark: HTTP/1.1 keep-alive, one thread, epoll.
 *
 * usage: upstream PORT TOOLS ERA      (ERA: modern | legacy)
 *
 * It answers server/discover or initialize, tools/list (TOOLS tools named tool_0 …) and tools/call with a fixed text,
 * echoing the request's id. Everything else gets an empty result; notifications get 202. It keeps no state. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define IN_BYTES 65536
#define LIST_BYTES (8u << 20)

struct peer { int fd; size_t used; char in[IN_BYTES]; };

static char *tools;          /* the value of "tools" */
static int modern;
static char out[LIST_BYTES + 4096];

static void make_tools(int count) {
    tools = malloc(LIST_BYTES);
    size_t n = 0;
    n += (size_t)sprintf(tools + n, "[");
    for (int i = 0; i < count && n < LIST_BYTES - 1024; i++)
        n += (size_t)sprintf(tools + n,
            "%s{\"name\":\"tool_%d\",\"description\":\"Adds up the figures of account %d.\",\"inputSchema\":{\"type\":"
            "\"object\",\"properties\":{\"account\":{\"type\":\"string\"},\"limit\":{\"type\":\"integer\"}}}}",
            i ? "," : "", i, i);
    sprintf(tools + n, "]");
}

static void send_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) continue;
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

static void answer(int fd, const char *body) {
    const char *id = "null";
    size_t id_size = id_of(body, &id);
    if (!id_size) { send_all(fd, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", 45); return; }
    const char *kind = modern ? "\"resultType\":\"complete\"," : "";
    static char value[LIST_BYTES + 1024];
    if (strstr(body, "\"tools/call\""))
        sprintf(value, "{%s\"content\":[{\"type\":\"text\",\"text\":\"%s\"}],\"isError\":false}", kind,
            "The account has 17 open items of 1,203.44 in all; the oldest is 41 days old. Nothing was changed. "
            "Ask for an item by its number to see the lines, the person who entered it and the dates.");
    else if (strstr(body, "\"tools/list\""))
        sprintf(value, "{%s\"tools\":%s%s}", kind, tools, modern ? ",\"ttlMs\":0,\"cacheScope\":\"private\"" : "");
    else if (strstr(body, "\"server/discover\"") && modern)
        sprintf(value, "{%s\"supportedVersions\":[\"2026-07-28\"],\"capabilities\":{\"tools\":{}},\"ttlMs\":0,"
            "\"cacheScope\":\"private\"}", kind);
    else if (strstr(body, "\"initialize\"") && !modern)
        sprintf(value, "{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{}},"
            "\"serverInfo\":{\"name\":\"bench\",\"version\":\"1\"}}");
    else if (strstr(body, "\"ping\"")) sprintf(value, "{}");
    else {
        int n = sprintf(value, "{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"error\":{\"code\":-32601,\"message\":\"no\"}}",
            (int)id_size, id);
        int m = sprintf(out, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
            modern ? "404 Not Found" : "400 Bad Request", n, value);
        send_all(fd, out, (size_t)m);
        return;
    }
    size_t size = strlen(value) + id_size + 33; /* what stands around the id and the value */
    int n = sprintf(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n"
        "{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":%s}", size, (int)id_size, id, value);
    send_all(fd, out, (size_t)n);
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
    if (argc != 4) { fprintf(stderr, "usage: upstream PORT TOOLS modern|legacy\n"); return 2; }
    make_tools(atoi(argv[2]));
    modern = !strcmp(argv[3], "modern");
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&to, sizeof to) || listen(listener, 1024)) { perror("upstream"); return 1; }
    int poll = epoll_create1(0);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL}, ready[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &ev);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(poll, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            struct peer *peer = ready[i].data.ptr;
            if (!peer) {
                int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (fd < 0) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                peer = calloc(1, sizeof *peer);
                peer->fd = fd;
                struct epoll_event add = {.events = EPOLLIN, .data.ptr = peer};
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &add);
            } else if (serve(peer)) { close(peer->fd); free(peer); }
        }
    }
}
