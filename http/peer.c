/*
 * Connections and their time. libmicrohttpd's own time-out is one of inactivity, which a client
 * that sends a byte now and then never reaches; so each phase has an end of its own, and a
 * connection that has not brought a request gives way when others want in. Cutting is shutdown(2)
 * of the socket: libmicrohttpd notices and cleans up.
 */
#include <stdlib.h>
#include <sys/socket.h>

#include "http/call.h"

#define TRANSFER_TIMEOUT_S 120 /* of a body, of an answer */

static void cut(struct peer *p)
{
        if (!p->cut) {
                p->cut = true;
                shutdown(p->fd, SHUT_RDWR);
        }
}

void peer_enter(struct peer *p, enum phase phase)
{
        p->phase = phase;
        switch (phase) {
        case PHASE_HEAD:
                p->deadline_ns = now_ns() + (int64_t)p->listener->http->head_timeout_ms * NS_PER_MS;
                break;
        case PHASE_BODY:
        case PHASE_SEND: p->deadline_ns = now_ns() + TRANSFER_TIMEOUT_S * NS_PER_S; break;
        default:
                p->deadline_ns = INT64_MAX;
                break; /* the daemon's time, or libmicrohttpd's time-out alone */
        }
}

/* Makes room: the oldest connection that has not brought a request goes. */
static void cut_oldest(struct listener *l)
{
        for (struct peer *p = l->peers; p; p = p->next) {
                if (p->phase == PHASE_HEAD && !p->cut) {
                        cut(p);
                        return;
                }
        }
}

static void add_peer(struct listener *l, int fd, void **socket_context)
{
        struct peer *p = calloc(1, sizeof *p);
        *socket_context = p;
        if (!p) {
                return; /* the first request on it is answered 503 */
        }
        p->listener = l;
        p->fd = fd;
        if (l->n_peers >= l->connections_max / 4 * 3) {
                cut_oldest(l);
        }
        peer_enter(p, PHASE_HEAD);
        p->prev = l->last_peer;
        *(l->last_peer ? &l->last_peer->next : &l->peers) = p;
        l->last_peer = p;
        l->n_peers++;
}

static void remove_peer(struct listener *l, struct peer *p)
{
        *(p->prev ? &p->prev->next : &l->peers) = p->next;
        *(p->next ? &p->next->prev : &l->last_peer) = p->prev;
        l->n_peers--;
        free(p);
}

void peer_notify(void *cls, struct MHD_Connection *c, void **socket_context,
                 enum MHD_ConnectionNotificationCode code)
{
        struct listener *l = cls;
        if (code == MHD_CONNECTION_NOTIFY_STARTED) {
                const union MHD_ConnectionInfo *info =
                    MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
                add_peer(l, info->connect_fd, socket_context);
        } else if (*socket_context) {
                remove_peer(l, *socket_context);
                *socket_context = NULL;
        }
}

/* The other side has closed while its request is incomplete. libmicrohttpd misses that when the
 * last bytes and the end come together: its epoll is edge-triggered, and it stops reading at a
 * short read. */
static bool abandoned(const struct peer *p)
{
        char byte;
        return p->phase != PHASE_WAIT && p->phase != PHASE_SEND &&
               recv(p->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void peers_sweep(struct listener *l, int64_t now)
{
        for (struct peer *p = l->peers; p; p = p->next) {
                if (!p->cut && (p->deadline_ns <= now || abandoned(p))) {
                        cut(p);
                }
        }
}

bool peers_busy(const struct listener *l)
{
        for (const struct peer *p = l->peers; p; p = p->next) {
                if (!p->cut && (p->phase == PHASE_WAIT || p->phase == PHASE_SEND)) {
                        return true;
                }
        }
        return false;
}
