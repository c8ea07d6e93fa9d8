/*
 * Connects and logs in, and says in plain words why it did not work. Blocks: only for the threads
 * of the transport and for amqp_check().
 *
 * The client's capabilities have to be announced: without consumer_cancel_notify a deleted queue
 * leaves its consumer deaf for ever, without connection.blocked an alarm is not told. The system's
 * time-out for unacknowledged data bounds what the library would wait for without limit: a send to
 * a broker that no longer reads.
 */
#include "transports/amqp/internal.h"

#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PASSWORD_MAX 4096
#define FRAME_MAX    131072
#define CHANNEL_MAX  2047

static const char *const ca_bundles[] = {"/etc/ssl/certs/ca-certificates.crt",
                                         "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};

/* --- passwords -------------------------------------------------------------------------------- */

/* The file's first line. 0 or -errno. */
static int read_password(const char *path, char ret_password[static PASSWORD_MAX])
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, ret_password, PASSWORD_MAX - 1);
        int r = n < 0 ? -errno : 0;
        if (fd >= 0) {
                close(fd);
        }
        if (r == 0) {
                ret_password[n] = '\0';
                ret_password[strcspn(ret_password, "\r\n")] = '\0';
        }
        return r;
}

/* --- TLS -------------------------------------------------------------------------------------- */

static const char *system_cas(void)
{
        for (size_t i = 0; i < ARRAY_LEN(ca_bundles); i++) {
                if (access(ca_bundles[i], R_OK) == 0) {
                        return ca_bundles[i];
                }
        }
        return ca_bundles[0];
}

static amqp_socket_t *tls_socket(const struct wire *w, const struct settings *s, char *note,
                                 size_t size)
{
        const char *ca = s->ca_file ? s->ca_file : system_cas();
        amqp_socket_t *socket = amqp_ssl_socket_new(w->state);
        if (!socket) {
                snprintf(note, size, "%s: out of memory", w->place->text);
                return NULL;
        }
        amqp_ssl_socket_set_verify_peer(socket, 1);
        amqp_ssl_socket_set_verify_hostname(socket, 1);
        (void)amqp_ssl_socket_set_ssl_versions(socket, AMQP_TLSv1_2, AMQP_TLSvLATEST);
        if (amqp_ssl_socket_set_cacert(socket, ca) != AMQP_STATUS_OK) {
                snprintf(note, size, "%s: cannot read certificates of authorities from %s",
                         w->place->text, ca);
                return NULL;
        }
        if (s->cert_file &&
            amqp_ssl_socket_set_key(socket, s->cert_file, s->key_file) != AMQP_STATUS_OK) {
                snprintf(note, size, "%s: cannot use the client certificate %s with the key %s",
                         w->place->text, s->cert_file, s->key_file);
                return NULL;
        }
        return socket;
}

static bool is_address(const char *host)
{
        struct in6_addr a;
        return inet_pton(AF_INET, host, &a) == 1 || inet_pton(AF_INET6, host, &a) == 1;
}

/* --- what went wrong -------------------------------------------------------------------------- */

static void open_text(const struct place *p, const struct settings *s, int status, int error,
                      char *note, size_t size)
{
        switch (status) {
        case AMQP_STATUS_HOSTNAME_RESOLUTION_FAILED:
                snprintf(note, size, "%s: no such host", p->text);
                break;
        case AMQP_STATUS_TIMEOUT:
                snprintf(note, size, "%s: no answer within %d s", p->text, LOGIN_LIMIT_S);
                break;
        case AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED:
                snprintf(note, size, "%s: the broker's certificate is for another host%s", p->text,
                         is_address(p->host)
                             ? "; addresses within certificates are not looked at, use a name"
                             : "");
                break;
        case AMQP_STATUS_SSL_PEER_VERIFY_FAILED:
                snprintf(note, size, "%s: the broker's certificate is of no authority in %s",
                         p->text, s->ca_file ? s->ca_file : system_cas());
                break;
        case AMQP_STATUS_SSL_CONNECTION_FAILED:
                snprintf(note, size, "%s: TLS failed; is it a port for amqps?", p->text);
                break;
        case AMQP_STATUS_SOCKET_ERROR:
                /* the library has closed the socket, and with it the reason, when it had to wait */
                snprintf(note, size, "%s: %s", p->text,
                         error && error != EINPROGRESS
                             ? strerror(error)
                             : "connection refused, or the host cannot be reached");
                break;
        default: snprintf(note, size, "%s: %s", p->text, amqp_error_string2(status)); break;
        }
}

static const char *closed_text(const amqp_method_t *m, amqp_bytes_t *ret_text)
{
        if (m->id == AMQP_CONNECTION_CLOSE_METHOD) {
                *ret_text = ((amqp_connection_close_t *)m->decoded)->reply_text;
        } else if (m->id == AMQP_CHANNEL_CLOSE_METHOD) {
                *ret_text = ((amqp_channel_close_t *)m->decoded)->reply_text;
        } else {
                *ret_text = (amqp_bytes_t){0, NULL};
                return amqp_method_name(m->id);
        }
        return NULL;
}

int reply_code(amqp_rpc_reply_t reply)
{
        if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION) {
                return 0;
        }
        if (reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
                return ((amqp_connection_close_t *)reply.reply.decoded)->reply_code;
        }
        return reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD
                   ? ((amqp_channel_close_t *)reply.reply.decoded)->reply_code
                   : 0;
}

void reply_text(amqp_rpc_reply_t reply, char *text, size_t size)
{
        amqp_bytes_t bytes;
        if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
                snprintf(text, size, "%s", amqp_error_string2(reply.library_error));
                return;
        }
        if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION) {
                snprintf(text, size, "the broker went away");
                return;
        }
        const char *name = closed_text(&reply.reply, &bytes);
        char said[200];
        text_copy(bytes, said, sizeof said);
        snprintf(text, size, "%d %s", reply_code(reply), name ? name : said);
}

static int login_text(const struct place *p, const struct settings *s, amqp_rpc_reply_t reply,
                      char *note, size_t size)
{
        char said[200];
        int code = reply_code(reply);
        reply_text(reply, said, sizeof said);
        if (code == AMQP_ACCESS_REFUSED) {
                snprintf(note, size, "%s: user %s is refused: %s", p->text, s->user, said);
                return WIRE_DENIED;
        }
        if (code == AMQP_NOT_ALLOWED) {
                snprintf(note, size, "%s: virtual host %s cannot be used: %s", p->text, s->vhost,
                         said);
                return WIRE_DENIED;
        }
        if (s->tls && reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
            reply.library_error == AMQP_STATUS_SSL_ERROR) {
                snprintf(note, size,
                         "%s: TLS broke off; does the broker ask for a client "
                         "certificate?",
                         p->text);
                return WIRE_DENIED;
        }
        if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
            (reply.library_error == AMQP_STATUS_SOCKET_ERROR ||
             reply.library_error == AMQP_STATUS_CONNECTION_CLOSED)) {
                snprintf(note, size, "%s: the broker broke the login off", p->text);
                return WIRE_DOWN;
        }
        snprintf(note, size, "%s: login failed: %s", p->text, said);
        return WIRE_DOWN;
}

/* --- login ------------------------------------------------------------------------------------ */

static amqp_table_entry_t entry_text(const char *key, const char *value)
{
        return (amqp_table_entry_t){bytes_of(key),
                                    {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes_of(value)}};
}

static amqp_table_entry_t entry_true(const char *key)
{
        return (amqp_table_entry_t){bytes_of(key),
                                    {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
}

static amqp_rpc_reply_t login(struct wire *w, const struct settings *s, const char *role,
                              const char *password)
{
        char name[256];
        snprintf(name, sizeof name, "%s %s", s->application, role);
        amqp_table_entry_t able[] = {entry_true("consumer_cancel_notify"),
                                     entry_true("connection.blocked"),
                                     entry_true("publisher_confirms"), entry_true("basic.nack"),
                                     entry_true("authentication_failure_close")};
        amqp_table_entry_t entries[] = {
            entry_text("product", "skep"),
            entry_text("version", SKEP_VERSION),
            entry_text("connection_name", name),
            {bytes_of("capabilities"),
             {.kind = AMQP_FIELD_KIND_TABLE, .value.table = {ARRAY_LEN(able), able}}}};
        amqp_table_t table = {ARRAY_LEN(entries), entries};
        return amqp_login_with_properties(w->state, s->vhost, CHANNEL_MAX, FRAME_MAX,
                                          s->heartbeat_s, &table, AMQP_SASL_METHOD_PLAIN, s->user,
                                          password);
}

static void tune_socket(int fd)
{
        unsigned limit_ms = 30000;
        int one = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof limit_ms);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static int open_socket(struct wire *w, const struct settings *s, char *note, size_t size)
{
        struct timeval limit = {.tv_sec = LOGIN_LIMIT_S};
        (void)amqp_set_handshake_timeout(w->state, &limit);
        (void)amqp_set_rpc_timeout(w->state, &limit);
        amqp_socket_t *socket =
            s->tls ? tls_socket(w, s, note, size) : amqp_tcp_socket_new(w->state);
        if (!socket) {
                if (!s->tls) {
                        snprintf(note, size, "%s: out of memory", w->place->text);
                }
                return WIRE_DOWN;
        }
        errno = 0;
        int status = amqp_socket_open_noblock(socket, w->place->host, w->place->port, &limit);
        if (status != AMQP_STATUS_OK) {
                open_text(w->place, s, status, errno, note, size);
                return WIRE_DOWN;
        }
        w->fd = amqp_get_sockfd(w->state);
        tune_socket(w->fd);
        return 0;
}

/* Reads the password each time: it may have been changed. */
static int reach(struct wire *w, const struct settings *s, const char *role, char *note,
                 size_t size)
{
        char password[PASSWORD_MAX] = "";
        int r = s->password_file ? read_password(s->password_file, password) : 0;
        if (r < 0) {
                snprintf(note, size, "%s: cannot read the password from %s: %s", w->place->text,
                         s->password_file, strerror(-r));
                return WIRE_DENIED;
        }
        w->state = amqp_new_connection();
        if (!w->state) {
                snprintf(note, size, "%s: out of memory", w->place->text);
                return WIRE_DOWN;
        }
        r = open_socket(w, s, note, size);
        if (r == 0) {
                amqp_rpc_reply_t reply =
                    login(w, s, role, s->password_file ? password : s->password);
                r = reply.reply_type == AMQP_RESPONSE_NORMAL
                        ? 0
                        : login_text(w->place, s, reply, note, size);
        }
        explicit_bzero(password, sizeof password);
        return r;
}

/* --- one of several brokers ------------------------------------------------------------------- */

/* The one that was lost, or could not be reached at last, comes last; where a round begins is left
 * to chance, so that the nodes of a lost broker do not all go to the same one. */
static uint32_t next_place(const struct wire *w, const struct settings *s, uint32_t tried)
{
        uint32_t n = s->n_places, chance = (uint32_t)(clock_ns() / 1000);
        if (!w->place) {
                return chance % n;
        }
        uint32_t skip = tried || n == 1 ? 0 : chance % (n - 1);
        return ((uint32_t)(w->place - s->places) + 1 + skip) % n;
}

bool wire_more(const struct wire *w, const struct settings *s)
{
        return w->tried && w->tried < s->n_places;
}

int wire_open(struct wire *w, const struct settings *s, const char *role, char *note, size_t size)
{
        uint32_t tried = wire_more(w, s) ? w->tried : 0;
        bool denied = tried && w->denied;
        size_t at = tried ? strlen(note) : 0;
        if (at && at + 2 < size) {
                memcpy(note + at, "; ", 3);
                at += 2;
        }
        *w = (struct wire){
            .fd = -1, .heartbeat_s = s->heartbeat_s, .place = &s->places[next_place(w, s, tried)]};
        int r = reach(w, s, role, note + at, size - at);
        if (r) {
                w->dead = true;
                w->tried = tried + 1;
                w->denied = denied || r == WIRE_DENIED;
                wire_close(w, false);
                return w->denied ? WIRE_DENIED : r;
        }
        int beat = amqp_get_heartbeat(w->state); /* the smaller of both sides' */
        w->heartbeat_s = beat > 0 ? beat : s->heartbeat_s;
        return 0;
}
