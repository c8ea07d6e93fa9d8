/*
 * Each link has two flows: client to broker and back. A flow reads bytes, lets the protocol take
 * whole units off them and write what passes. One mutex guards everything; the thread lets go of it
 * only while it polls.
 */
#include "tests/conformance/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINKS_MAX 64
#define FLOW_MAX  (4u << 20) /* bytes that wait in one flow before it reads no more */

struct proxy {
        const struct proxy_protocol *protocol;
        void *state;
        int listener, wake, port, broker_port;
        pthread_t thread;
        pthread_mutex_t mutex;
        bool stop, refuse;
        struct proxy_link *links[LINKS_MAX];
};

static void *zeros(size_t n)
{
        void *p = calloc(1, n);
        if (!p) {
                abort();
        }
        return p;
}

/* --- bytes ------------------------------------------------------------------------------------ */

void proxy_append(struct proxy_bytes *b, const uint8_t *p, size_t n)
{
        if (b->n + n > b->size) {
                b->size = (b->n + n) * 2;
                b->p = realloc(b->p, b->size);
                if (!b->p) {
                        abort();
                }
        }
        if (n) {
                memcpy(b->p + b->n, p, n);
        }
        b->n += n;
}

void proxy_consume(struct proxy_bytes *b, size_t n)
{
        b->n -= n;
        if (b->n) {
                memmove(b->p, b->p + n, b->n);
        }
}

/* --- links ------------------------------------------------------------------------------------ */

static void end_link(struct proxy_link *l)
{
        for (int i = 0; i < 2; i++) {
                (void)shutdown(l->fd[i], SHUT_RDWR);
        }
        l->dead = true;
}

static void free_link(struct proxy *p, struct proxy_link *l)
{
        if (p->protocol->end) {
                p->protocol->end(l);
        }
        free(l->state);
        for (int i = 0; i < 2; i++) {
                if (l->fd[i] >= 0) {
                        close(l->fd[i]);
                }
                free(l->in[i].p);
                free(l->out[i].p);
        }
        free(l->waiting.p);
        free(l);
}

static int connect_broker(int port)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
                close(fd);
                fd = -1;
        }
        return fd;
}

static void begin_link(struct proxy *p)
{
        int one = 1, at = 0;
        int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
        int broker = client < 0 || p->refuse ? -1 : connect_broker(p->broker_port);
        while (at < LINKS_MAX && p->links[at]) {
                at++;
        }
        struct proxy_link *l = broker < 0 || at == LINKS_MAX ? NULL : zeros(sizeof *l);
        if (!l) {
                if (client >= 0) {
                        close(client);
                }
                if (broker >= 0) {
                        close(broker);
                }
                return;
        }
        l->fd[0] = client;
        l->fd[1] = broker;
        l->state = zeros(p->protocol->link_size);
        for (int i = 0; i < 2; i++) {
                (void)setsockopt(l->fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        }
        p->links[at] = l;
}

/* What is there is read, passed and written; an end on one side is an end on both. */
static void serve(struct proxy *p, struct proxy_link *l, const struct pollfd *fds)
{
        static uint8_t room[65536];
        for (int i = 0; i < 2 && !l->dead; i++) {
                if (fds[i].revents & (POLLIN | POLLHUP | POLLERR)) {
                        ssize_t n = recv(l->fd[i], room, sizeof room, MSG_DONTWAIT);
                        if (n > 0) {
                                proxy_append(&l->in[i], room, (size_t)n);
                                p->protocol->pass(p->state, l, i);
                        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
                                l->dead = true;
                        }
                }
        }
        for (int i = 0; i < 2 && !l->dead; i++) {
                struct proxy_bytes *out = &l->out[i];
                ssize_t n =
                    out->n ? send(l->fd[i], out->p, out->n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
                if (n > 0) {
                        proxy_consume(out, (size_t)n);
                } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
                        l->dead = true;
                }
        }
}

static uint32_t list_fds(const struct proxy *p, struct pollfd *fds)
{
        uint32_t n = 0;
        fds[n++] = (struct pollfd){.fd = p->wake, .events = POLLIN};
        fds[n++] = (struct pollfd){.fd = p->listener, .events = POLLIN};
        for (uint32_t i = 0; i < LINKS_MAX; i++) {
                const struct proxy_link *l = p->links[i];
                for (int side = 0; l && side < 2; side++) {
                        bool full = l->out[1 - side].n + l->waiting.n > FLOW_MAX;
                        short events = full ? 0 : POLLIN;
                        events |= l->out[side].n ? POLLOUT : 0;
                        fds[n++] = (struct pollfd){.fd = l->fd[side], .events = events};
                }
        }
        return n;
}

/* Links are made only here, after those that were polled were served: both loops see the same ones.
 */
static void serve_all(struct proxy *p, const struct pollfd *fds)
{
        uint32_t at = 2;
        uint64_t count;
        for (uint32_t i = 0; i < LINKS_MAX; i++) {
                struct proxy_link *l = p->links[i];
                if (l) {
                        serve(p, l, fds + at);
                        at += 2;
                }
                if (l && l->dead) {
                        free_link(p, l);
                        p->links[i] = NULL;
                }
        }
        if (fds[0].revents) {
                (void)!read(p->wake, &count, sizeof count);
        }
        if (fds[1].revents) {
                begin_link(p);
        }
}

static void *run(void *argument)
{
        struct proxy *p = argument;
        struct pollfd fds[2 + 2 * LINKS_MAX];
        pthread_mutex_lock(&p->mutex);
        while (!p->stop) {
                uint32_t n = list_fds(p, fds);
                pthread_mutex_unlock(&p->mutex);
                (void)poll(fds, n, -1);
                pthread_mutex_lock(&p->mutex);
                serve_all(p, fds);
        }
        pthread_mutex_unlock(&p->mutex);
        return NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

struct proxy *proxy_new(int broker_port, const struct proxy_protocol *protocol)
{
        struct sockaddr_in a = {.sin_family = AF_INET};
        socklen_t size = sizeof a;
        struct proxy *p = zeros(sizeof *p);
        p->protocol = protocol;
        p->state = zeros(protocol->size);
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        p->broker_port = broker_port;
        p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        pthread_mutex_init(&p->mutex, NULL);
        if (p->wake < 0 || p->listener < 0 ||
            bind(p->listener, (struct sockaddr *)&a, sizeof a) < 0 ||
            listen(p->listener, LINKS_MAX) < 0 ||
            getsockname(p->listener, (struct sockaddr *)&a, &size) < 0 ||
            pthread_create(&p->thread, NULL, run, p) != 0) {
                perror("the proxy");
                free(p->state);
                free(p);
                return NULL;
        }
        p->port = ntohs(a.sin_port);
        return p;
}

void *proxy_lock(struct proxy *p)
{
        pthread_mutex_lock(&p->mutex);
        return p->state;
}

void proxy_unlock(struct proxy *p)
{
        uint64_t one = 1;
        (void)!write(p->wake, &one, sizeof one);
        pthread_mutex_unlock(&p->mutex);
}

struct proxy *proxy_free(struct proxy *p)
{
        if (!p) {
                return NULL;
        }
        proxy_lock(p);
        p->stop = true;
        proxy_unlock(p);
        pthread_join(p->thread, NULL);
        for (uint32_t i = 0; i < LINKS_MAX; i++) {
                if (p->links[i]) {
                        free_link(p, p->links[i]);
                }
        }
        close(p->listener);
        close(p->wake);
        pthread_mutex_destroy(&p->mutex);
        free(p->state);
        free(p);
        return NULL;
}

int proxy_port(const struct proxy *p)
{
        return p->port;
}

/* --- what it can do --------------------------------------------------------------------------- */

void proxy_each(struct proxy *p, void (*visit)(struct proxy_link *l, void *ctx), void *ctx)
{
        for (uint32_t i = 0; i < LINKS_MAX; i++) {
                if (p->links[i]) {
                        visit(p->links[i], ctx);
                }
        }
}

static void cut_link(struct proxy_link *l, void *ctx)
{
        (void)ctx;
        end_link(l);
}

static void lose_link(struct proxy_link *l, void *ctx)
{
        (void)ctx;
        l->lost = true;
        l->waiting.n = 0;
}

void proxy_cut(struct proxy *p)
{
        proxy_lock(p);
        proxy_each(p, cut_link, NULL);
        proxy_unlock(p);
}

void proxy_refuse(struct proxy *p, bool on)
{
        proxy_lock(p);
        p->refuse = on;
        proxy_unlock(p);
}

void proxy_lose(struct proxy *p)
{
        proxy_lock(p);
        proxy_each(p, lose_link, NULL);
        proxy_unlock(p);
}
