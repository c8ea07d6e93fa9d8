/*
 * Each link has two flows: client to broker and back. A flow reads bytes, takes whole frames off
 * them, asks a judge what to do with each, and writes what passes. One mutex guards everything; the
 * thread lets go of it only while it polls.
 */
#include "tests/conformance/amqp_proxy.h"

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

#define LINKS_MAX    64
#define CHANNELS     65536
#define FLOW_MAX     (4u << 20) /* bytes that wait in one flow before it reads no more */
#define GREETING     8          /* "AMQP" and a version, before the first frame */
#define FRAME_AROUND 8          /* header of 7, end of 1 */

enum frame_type { FRAME_METHOD = 1, FRAME_HEARTBEAT = 8 };

#define METHOD(class, method) ((uint32_t)(class) << 16 | (method))
#define CHANNEL_OPEN          METHOD(20, 10)
#define QUEUE_DECLARE         METHOD(50, 10)
#define BASIC_DELIVER         METHOD(60, 60)

struct bytes {
        uint8_t *p;
        size_t n, size;
};

struct link {
        int fd[2]; /* the client's, the broker's */
        bool dead, lost, held, greeted;
        struct bytes in[2], out[2];  /* in[i]: read from fd[i]; out[i]: to be written to it */
        struct bytes waiting;        /* frames of the client behind a held declare */
        uint8_t deaf[CHANNELS / 8];  /* nothing is delivered on it */
        uint8_t quiet[CHANNELS / 8]; /* within a delivery that is left out */
};

struct amqp_proxy {
        int listener, wake, port, broker_port;
        pthread_t thread;
        pthread_mutex_t mutex;
        bool stop, refuse;
        char hold[256];
        struct link *links[LINKS_MAX];
};

/* --- bytes ------------------------------------------------------------------------------------ */

static void append(struct bytes *b, const uint8_t *p, size_t n)
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

static void consume(struct bytes *b, size_t n)
{
        b->n -= n;
        if (b->n) {
                memmove(b->p, b->p + n, b->n);
        }
}

static bool bit(const uint8_t *bits, uint16_t i)
{
        return bits[i / 8] >> (i % 8) & 1;
}

static void set_bit(uint8_t *bits, uint16_t i, bool on)
{
        bits[i / 8] = (uint8_t)((bits[i / 8] & ~(1u << (i % 8))) | (unsigned)on << (i % 8));
}

/* --- what passes ------------------------------------------------------------------------------ */

struct frame {
        const uint8_t *p;
        size_t n;
        uint8_t type;
        uint16_t channel;
        uint32_t method; /* of FRAME_METHOD */
};

static uint32_t big_endian(const uint8_t *p, int n)
{
        uint32_t v = 0;
        for (int i = 0; i < n; i++) {
                v = v << 8 | p[i];
        }
        return v;
}

/* The first whole frame; false: not all of it is here. */
static bool next_frame(const struct bytes *b, struct frame *ret)
{
        if (b->n < FRAME_AROUND || b->n < FRAME_AROUND + (size_t)big_endian(b->p + 3, 4)) {
                return false;
        }
        uint32_t size = big_endian(b->p + 3, 4);
        bool method = b->p[0] == FRAME_METHOD && size >= 4;
        *ret =
            (struct frame){b->p, FRAME_AROUND + (size_t)size, b->p[0],
                           (uint16_t)big_endian(b->p + 1, 2), method ? big_endian(b->p + 7, 4) : 0};
        return true;
}

/* Queue.Declare: two reserved bytes, then the name. */
static bool declares(const struct frame *f, const char *name)
{
        size_t n = strlen(name);
        return n && f->method == QUEUE_DECLARE && f->n > 14 + n && f->p[13] == n &&
               memcmp(f->p + 14, name, n) == 0;
}

static void from_client(struct amqp_proxy *p, struct link *l, const struct frame *f)
{
        l->held |= declares(f, p->hold);
        if (l->lost) {
                return;
        }
        if (f->method == CHANNEL_OPEN) {
                set_bit(l->deaf, f->channel, false);
        }
        append(l->held && f->type != FRAME_HEARTBEAT ? &l->waiting : &l->out[1], f->p, f->n);
}

static void from_broker(struct link *l, const struct frame *f)
{
        if (f->type == FRAME_METHOD) {
                bool left_out = f->method == BASIC_DELIVER && bit(l->deaf, f->channel);
                set_bit(l->quiet, f->channel, left_out);
        }
        if (f->type == FRAME_HEARTBEAT || !bit(l->quiet, f->channel)) {
                append(&l->out[0], f->p, f->n);
        }
}

static void pass_frames(struct amqp_proxy *p, struct link *l, int side)
{
        struct bytes *in = &l->in[side];
        struct frame f;
        if (side == 0 && !l->greeted) {
                if (in->n < GREETING) {
                        return;
                }
                append(&l->out[1], in->p, GREETING);
                consume(in, GREETING);
                l->greeted = true;
        }
        while (next_frame(in, &f)) {
                if (side == 0) {
                        from_client(p, l, &f);
                } else {
                        from_broker(l, &f);
                }
                consume(in, f.n);
        }
}

/* --- links ------------------------------------------------------------------------------------ */

static void end_link(struct link *l)
{
        for (int i = 0; i < 2; i++) {
                (void)shutdown(l->fd[i], SHUT_RDWR);
        }
        l->dead = true;
}

static void free_link(struct link *l)
{
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

static void begin_link(struct amqp_proxy *p)
{
        int one = 1, at = 0;
        int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
        int broker = client < 0 || p->refuse ? -1 : connect_broker(p->broker_port);
        while (at < LINKS_MAX && p->links[at]) {
                at++;
        }
        struct link *l = broker < 0 || at == LINKS_MAX ? NULL : calloc(1, sizeof *l);
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
        for (int i = 0; i < 2; i++) {
                (void)setsockopt(l->fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        }
        p->links[at] = l;
}

/* What is there is read, passed and written; an end on one side is an end on both. */
static void serve(struct amqp_proxy *p, struct link *l, const struct pollfd *fds)
{
        static uint8_t room[65536];
        for (int i = 0; i < 2 && !l->dead; i++) {
                if (fds[i].revents & (POLLIN | POLLHUP | POLLERR)) {
                        ssize_t n = recv(l->fd[i], room, sizeof room, MSG_DONTWAIT);
                        if (n > 0) {
                                append(&l->in[i], room, (size_t)n);
                                pass_frames(p, l, i);
                        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
                                l->dead = true;
                        }
                }
        }
        for (int i = 0; i < 2 && !l->dead; i++) {
                struct bytes *out = &l->out[i];
                ssize_t n =
                    out->n ? send(l->fd[i], out->p, out->n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
                if (n > 0) {
                        consume(out, (size_t)n);
                } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
                        l->dead = true;
                }
        }
}

static uint32_t list_fds(const struct amqp_proxy *p, struct pollfd *fds)
{
        uint32_t n = 0;
        fds[n++] = (struct pollfd){.fd = p->wake, .events = POLLIN};
        fds[n++] = (struct pollfd){.fd = p->listener, .events = POLLIN};
        for (uint32_t i = 0; i < LINKS_MAX; i++) {
                const struct link *l = p->links[i];
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
static void serve_all(struct amqp_proxy *p, const struct pollfd *fds)
{
        uint32_t at = 2;
        uint64_t count;
        for (uint32_t i = 0; i < LINKS_MAX; i++) {
                struct link *l = p->links[i];
                if (l) {
                        serve(p, l, fds + at);
                        at += 2;
                }
                if (l && l->dead) {
                        free_link(l);
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
        struct amqp_proxy *p = argument;
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

struct amqp_proxy *amqp_proxy_new(int broker_port)
{
        struct sockaddr_in a = {.sin_family = AF_INET};
        socklen_t size = sizeof a;
        struct amqp_proxy *p = calloc(1, sizeof *p);
        if (!p) {
                return NULL;
        }
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
                free(p);
                return NULL;
        }
        p->port = ntohs(a.sin_port);
        return p;
}

static void wake_and_unlock(struct amqp_proxy *p)
{
        uint64_t one = 1;
        (void)!write(p->wake, &one, sizeof one);
        pthread_mutex_unlock(&p->mutex);
}

struct amqp_proxy *amqp_proxy_free(struct amqp_proxy *p)
{
        if (!p) {
                return NULL;
        }
        pthread_mutex_lock(&p->mutex);
        p->stop = true;
        wake_and_unlock(p);
        pthread_join(p->thread, NULL);
        for (uint32_t i = 0; i < LINKS_MAX; i++) {
                if (p->links[i]) {
                        free_link(p->links[i]);
                }
        }
        close(p->listener);
        close(p->wake);
        pthread_mutex_destroy(&p->mutex);
        free(p);
        return NULL;
}

int amqp_proxy_port(const struct amqp_proxy *p)
{
        return p->port;
}

/* --- what it can do --------------------------------------------------------------------------- */

static void cut_link(struct link *l)
{
        end_link(l);
}

static void lose_link(struct link *l)
{
        l->lost = true;
        l->waiting.n = 0;
}

static void deafen_link(struct link *l)
{
        memset(l->deaf, 0xff, sizeof l->deaf);
}

static void release_link(struct link *l)
{
        append(&l->out[1], l->waiting.p, l->waiting.n);
        l->waiting.n = 0;
        l->held = false;
}

static void each_link(struct amqp_proxy *p, void (*change)(struct link *l))
{
        for (uint32_t i = 0; i < LINKS_MAX; i++) {
                if (p->links[i]) {
                        change(p->links[i]);
                }
        }
}

void amqp_proxy_cut(struct amqp_proxy *p)
{
        pthread_mutex_lock(&p->mutex);
        each_link(p, cut_link);
        wake_and_unlock(p);
}

void amqp_proxy_refuse(struct amqp_proxy *p, bool on)
{
        pthread_mutex_lock(&p->mutex);
        p->refuse = on;
        wake_and_unlock(p);
}

void amqp_proxy_lose(struct amqp_proxy *p)
{
        pthread_mutex_lock(&p->mutex);
        each_link(p, lose_link);
        wake_and_unlock(p);
}

void amqp_proxy_deafen(struct amqp_proxy *p)
{
        pthread_mutex_lock(&p->mutex);
        each_link(p, deafen_link);
        wake_and_unlock(p);
}

void amqp_proxy_hold_declare(struct amqp_proxy *p, struct str queue)
{
        pthread_mutex_lock(&p->mutex);
        snprintf(p->hold, sizeof p->hold, "%.*s", (int)queue.n, queue.n ? queue.p : "");
        if (queue.n == 0) {
                each_link(p, release_link);
        }
        wake_and_unlock(p);
}
